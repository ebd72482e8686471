package site

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// trust is what one link believes: our own key pair and who the peer may be.
type trust struct {
	own   tls.Certificate
	pins  []*x509.Certificate
	roots *x509.CertPool // instead of pins
	name  string         // with roots
}

// UntrustedError says that a certificate is not the peer's, in words that an operator can act on.
type UntrustedError struct {
	Site   string // the peer that was expected; "" when any joined site would have done
	Shown  string // whose certificate was shown: subject and fingerprint
	Reason string
}

func (e *UntrustedError) Error() string {
	who := "a joined site"
	if e.Site != "" {
		who = "site " + e.Site
	}
	return fmt.Sprintf("certificate %s is not that of %s: %s", e.Shown, who, e.Reason)
}

// verify checks the certificates that a peer has shown and proven. A pinned certificate is compared octet for octet
// and its dates are not looked at, as with DANE-EE (RFC 7671 5.1): who holds the key was settled when the file was
// copied. With a CA the usual rules hold, including dates and the name.
func (t *trust) verify(site string, shown []*x509.Certificate) error {
	if len(shown) == 0 {
		return &UntrustedError{Site: site, Shown: "(none shown)", Reason: "the peer must show one"}
	}
	leaf := shown[0]
	bad := &UntrustedError{Site: site, Shown: describe(leaf)}
	if t.roots == nil {
		for _, p := range t.pins {
			if bytes.Equal(p.Raw, leaf.Raw) {
				return nil
			}
		}
		bad.Reason = "expected " + describe(t.pins[0]) + "; if the peer has a new key, copy its certificate into peer_certificate"
		return bad
	}
	rest := x509.NewCertPool()
	for _, c := range shown[1:] {
		rest.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: t.roots, Intermediates: rest, DNSName: t.name,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		bad.Reason = err.Error()
		return bad
	}
	return nil
}

// describe names a certificate: "CN=SITEB (sha256 3f2a...)".
func describe(c *x509.Certificate) string {
	return c.Subject.String() + " (sha256 " + fingerprint(c.Raw) + ")"
}

// keyring holds a link's trust and reads its files again when they change. A change that can't be read leaves the
// former trust in force.
type keyring struct {
	cfg *Config
	log *slog.Logger

	mu      sync.Mutex
	trust   *trust
	stamp   string
	checked time.Time
}

// recheck is how often the files are looked at, at most.
const recheck = time.Second

func openKeyring(cfg *Config, log *slog.Logger) (*keyring, error) {
	k := &keyring{cfg: cfg, log: log, checked: time.Now()}
	k.stamp = k.stampNow()
	var err error
	if k.trust, err = load(cfg); err != nil {
		return nil, err
	}
	k.warn()
	return k, nil
}

// now is the trust in force. Two calls that return the same pointer saw no change in between.
func (k *keyring) now() *trust {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.checked) < recheck {
		return k.trust
	}
	k.checked = time.Now()
	stamp := k.stampNow()
	if stamp == k.stamp {
		return k.trust
	}
	t, err := load(k.cfg)
	if err != nil {
		k.log.Error("site link keeps its former keys: the changed files can't be used", "err", err)
		k.stamp = stamp
		return k.trust
	}
	k.trust, k.stamp = t, stamp
	k.log.Info("site link read its keys again", "peer_site", k.cfg.PeerSite)
	k.warn()
	return k.trust
}

func (k *keyring) files() []string {
	return []string{k.cfg.Certificate, k.cfg.Key, k.cfg.PeerCertificate + k.cfg.CA} // Check allows one of the two
}

func (k *keyring) stampNow() string {
	var b strings.Builder
	for _, f := range k.files() {
		if fi, err := os.Stat(f); err != nil {
			fmt.Fprintf(&b, "%v;", err)
		} else {
			fmt.Fprintf(&b, "%d %d;", fi.Size(), fi.ModTime().UnixNano())
		}
	}
	return b.String()
}

// warn tells what works but should not stay so.
func (k *keyring) warn() {
	if fi, err := os.Stat(k.cfg.Key); err == nil && fi.Mode().Perm()&0o077 != 0 {
		k.log.Warn("the site's private key is readable by others: chmod 600", "file", k.cfg.Key, "mode", fi.Mode().Perm().String())
	}
}

func load(cfg *Config) (*trust, error) {
	own, err := tls.LoadX509KeyPair(cfg.Certificate, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", cfg.Certificate, cfg.Key, err)
	}
	t := &trust{own: own}
	if cfg.CA != "" {
		certs, err := readCertificates("ca", cfg.CA)
		if err != nil {
			return nil, err
		}
		t.roots, t.name = x509.NewCertPool(), cmp.Or(cfg.PeerName, cfg.PeerSite)
		for _, c := range certs {
			t.roots.AddCert(c)
		}
		return t, nil
	}
	t.pins, err = readCertificates("peer_certificate", cfg.PeerCertificate)
	return t, err
}

func readCertificates(key, file string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: %s holds a %s: only certificates belong there", key, file, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", key, file, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: %s holds no PEM certificate", key, file)
	}
	return out, nil
}

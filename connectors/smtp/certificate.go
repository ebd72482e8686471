package smtp

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"backbone/connectors"
)

// fileStamp tells one version of a file from the next.
type fileStamp struct {
	mod  time.Time
	size int64
}

func stampOf(path string) (fileStamp, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{fi.ModTime(), fi.Size()}, nil
}

// certificate is ours, read again when its files change. A version that can't be read is logged and the one before
// stays in use.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	looked time.Time
	stamps [2]fileStamp
	pair   *tls.Certificate
}

// relook is how often the files are looked at.
const relook = 10 * time.Second

// newCertificate reads the section's certificate; nil when it has none.
func newCertificate(env connectors.Env, c *Config) (*certificate, error) {
	if c.Certificate == "" {
		return nil, nil
	}
	ce := &certificate{cert: env.Path(c.Certificate), key: env.Path(c.Key), log: env.Log.With("connector", c.Name)}
	if c.Key == "" {
		ce.key = ce.cert
	}
	return ce, ce.load()
}

// load reads the files when they changed.
func (c *certificate) load() error {
	var stamps [2]fileStamp
	for i, path := range []string{c.cert, c.key} {
		st, err := stampOf(path)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		stamps[i] = st
	}
	if c.pair != nil && stamps == c.stamps {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.cert, err)
	}
	c.pair, c.stamps = &pair, stamps
	return nil
}

// current is the certificate to present now.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= relook {
		c.looked = now
		if err := c.load(); err != nil {
			c.log.Error("certificate not read, the one before stays in use", "err", err)
		}
	}
	return c.pair
}

func (c *certificate) forServer(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current(), nil
}

func (c *certificate) forClient(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if c == nil {
		return &tls.Certificate{}, nil
	}
	return c.current(), nil
}

// clientCA vouches for names in client certificates.
type clientCA struct{ pool *x509.CertPool }

func openClientCA(path string) (*clientCA, error) {
	if path == "" {
		return nil, nil
	}
	pool, err := readPool(path)
	if err != nil {
		return nil, fmt.Errorf("client_ca: %w", err)
	}
	return &clientCA{pool}, nil
}

func readPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(path + " holds no certificate in PEM form")
	}
	return pool, nil
}

// certificateNames is what a client proved with his certificate: its fingerprint, since he has the key, and its DNS
// names when client_ca signed it.
func (s *Source) certificateNames(chain []*x509.Certificate) []string {
	if len(chain) == 0 {
		return nil
	}
	sum := sha256.Sum256(chain[0].Raw)
	names := []string{"sha256:" + hex.EncodeToString(sum[:])}
	if s.clientCA == nil {
		return names
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: s.clientCA.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		s.log.Info("client certificate is not from client_ca", "subject", visible(chain[0].Subject.String()), "err", err)
		return names
	}
	for _, n := range chain[0].DNSNames {
		names = append(names, strings.ToLower(n))
	}
	return names
}

package site

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Identity names the files that say who a site is.
type Identity struct {
	Certificate string // PEM, to be copied to each joined site
	Key         string // PEM, PKCS #8, mode 0600; never leaves the site
	Fingerprint string // SHA-256 of the certificate, hex, for comparing over the telephone
}

// identityYears is how long a certificate made here says it is good for. A peer that pins it does not look.
const identityYears = 30

// CreateIdentity makes a key pair (ECDSA P-256) with a self-signed certificate for siteName in dir, as site.crt and
// site.key. An identity that is already there is kept, provided that it is siteName's; the error says so otherwise.
func CreateIdentity(dir, siteName string) (Identity, error) {
	if !validSiteName(siteName) {
		return Identity{}, fmt.Errorf("site identity: %q is not a site name: 1 to 32 letters, digits or '-'", siteName)
	}
	id := Identity{Certificate: filepath.Join(dir, "site.crt"), Key: filepath.Join(dir, "site.key")}
	present, err := readIdentity(&id, siteName)
	if present || err != nil {
		return id, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return id, fmt.Errorf("site identity: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return id, fmt.Errorf("site identity: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: siteName, Organization: []string{"Backbone site"}},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(identityYears, 0, 0), // a peer's clock may be behind
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, DNSNames: []string{siteName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return id, fmt.Errorf("site identity: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return id, fmt.Errorf("site identity: %w", err)
	}
	// The key first: a crash in between leaves a key without a certificate, which the next call finds and names.
	if err := writePEM(id.Key, "PRIVATE KEY", secret, 0o600); err != nil {
		return id, err
	}
	if err := writePEM(id.Certificate, "CERTIFICATE", der, 0o644); err != nil {
		return id, err
	}
	id.Fingerprint = fingerprint(der)
	return id, nil
}

// readIdentity looks for an identity made before.
func readIdentity(id *Identity, siteName string) (present bool, err error) {
	_, errCert := os.Stat(id.Certificate)
	_, errKey := os.Stat(id.Key)
	if errors.Is(errCert, fs.ErrNotExist) && errors.Is(errKey, fs.ErrNotExist) {
		return false, nil
	}
	pair, err := tls.LoadX509KeyPair(id.Certificate, id.Key)
	if err != nil {
		return true, fmt.Errorf("site identity: %w; move %s and %s away to have new ones made", err, id.Certificate, id.Key)
	}
	if got := pair.Leaf.Subject.CommonName; got != siteName {
		return true, fmt.Errorf("site identity: %s is the certificate of site %q, not %q", id.Certificate, got, siteName)
	}
	id.Fingerprint = fingerprint(pair.Leaf.Raw)
	return true, nil
}

func writePEM(name, kind string, der []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("site identity: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("site identity: %s: %w", name, err)
	}
	return nil
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

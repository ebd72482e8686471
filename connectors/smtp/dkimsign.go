package smtp

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"os"
	"slices"
	"strings"

	"backbone/connectors"
	"backbone/gateway/mail"

	"github.com/emersion/go-msgauth/dkim"
)

// dkimSigner signs what leaves in the name of our domains (RFC 6376).
type dkimSigner struct {
	selector string
	domains  []string // in lower case
	key      crypto.Signer
}

// minRSA is the shortest RSA key that signs (RFC 8301 3.2: should have 2048 bits).
const minRSA = 2048

// signedFields go into each signature. Those that stand twice are signed once more than they are there, so that nobody adds another
// one that a reader takes for ours (RFC 6376 8.15).
var signedFields = []string{
	"From", "From", "Subject", "Subject", "Date", "Date", "To", "To", "Cc", "Cc", "Reply-To", "Reply-To", "Message-ID", "Message-ID",
	"MIME-Version", "MIME-Version", "Content-Type", "Content-Type", "Content-Transfer-Encoding", "Content-Transfer-Encoding", "In-Reply-To", "References",
}

// newDKIMSigner reads the section's key; nil when it has none.
func newDKIMSigner(env connectors.Env, c *Config) (*dkimSigner, error) {
	if c.DKIMKey == "" {
		return nil, nil
	}
	path := env.Path(c.DKIMKey)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("dkim_key: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("dkim_key: %s: %w", path, err)
	}
	s := &dkimSigner{selector: c.DKIMSelector, key: key}
	domains := c.DKIMDomains
	if len(domains) == 0 {
		domains = env.Site.Domains
	}
	for _, d := range domains {
		s.domains = append(s.domains, strings.ToLower(d))
	}
	return s, nil
}

// parseKey reads a private key of RSA or Ed25519 in PEM form.
func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("holds no key in PEM form")
	}
	var key any
	var err error
	if block.Type == "RSA PRIVATE KEY" {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	} else {
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if err == nil && k.N.BitLen() < minRSA {
			return nil, fmt.Errorf("the key has %d bits: make one of %d or more", k.N.BitLen(), minRSA)
		}
		return k, err
	case ed25519.PrivateKey:
		return k, err
	}
	if err == nil {
		err = fmt.Errorf("a key of type %T: RSA or Ed25519 is needed", key)
	}
	return nil, err
}

// domain is the one that signs the message, "" for one that we do not answer for: only what came from who we know, or was made here,
// is signed, for a stranger's message in our name would gain our word. From decides, since that is what receivers compare (RFC 7489
// 3.1.1).
func (s *dkimSigner) domain(env *mail.Envelope, header []byte) string {
	made := env.Kind == mail.KindReport && env.Source.Connector == "gateway" && env.Source.Peer == ""
	if !made && !env.Source.Authenticated {
		return ""
	}
	var from []string
	for name, field := range fields(header) {
		if strings.EqualFold(name, "From") {
			from = append(from, value(field))
		}
	}
	if len(from) != 1 {
		return ""
	}
	list, err := (&netmail.AddressParser{WordDecoder: &words}).ParseList(from[0])
	if err != nil || len(list) != 1 {
		return ""
	}
	d := strings.ToLower(list[0].Address[strings.LastIndexByte(list[0].Address, '@')+1:])
	if !slices.Contains(s.domains, d) {
		return ""
	}
	return d
}

// sign gives the field for what write writes: heading and letter as they go to the peer.
func (s *dkimSigner) sign(domain string, write func(io.Writer) error) (field []byte, err error) {
	signer, err := dkim.NewSigner(&dkim.SignOptions{Domain: domain, Selector: s.selector, Signer: s.key, HeaderKeys: signedFields,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed})
	if err != nil {
		return nil, err
	}
	err = write(signer)
	if cerr := signer.Close(); err != nil || cerr != nil { // in each case: the signer has a goroutine
		return nil, errors.Join(err, cerr)
	}
	return []byte(signer.Signature()), nil
}

// signature is the DKIM-Signature field of the message as it goes to this peer, if it gets one.
func (tx *transaction) signature(heading []byte) ([]byte, error) {
	s, l := tx.d.c.dkim, tx.d.letter
	if s == nil {
		return nil, nil
	}
	domain := s.domain(&tx.d.t.Envelope, l.header())
	if domain == "" {
		return nil, nil
	}
	field, err := s.sign(domain, func(w io.Writer) error {
		_, err := l.write(w, tx.plan, heading)
		return err
	})
	if errors.Is(err, errStored) {
		return nil, err
	}
	if err != nil || !bytes.HasSuffix(field, []byte("\r\n")) {
		tx.d.c.log.Warn("message goes unsigned", "id", tx.d.t.Envelope.ID, "err", err)
		return nil, nil
	}
	return field, nil
}

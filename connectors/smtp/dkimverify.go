package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/emersion/go-msgauth/dkim"
)

// dkimVerifier says of what comes in whether its signatures hold (RFC 6376), in an Authentication-Results field (RFC 8601). It refuses
// nothing: what a result means is the reader's to decide.
type dkimVerifier struct {
	host   string // who says so
	dir    string
	lookup func(ctx context.Context, name string) ([]string, error) // TXT records
	log    *slog.Logger
}

const (
	fieldResults = "Authentication-Results"
	// maxSignatures is how many of a message's signatures are looked at: each costs a question to name servers of the sender's choice.
	maxSignatures = 5
	// A header with more fields, octets or longer signatures is not looked at, nor a body with more octets of empty lines in a row: the
	// library's work grows with the product of fields and of names in a signature (which covers each field one by one), with the square
	// of a field's lines, and, in the simple form, with the product of the empty lines and of the body's length.
	maxVerified       = 64 << 10
	maxVerifiedFields = 1000
	maxSignature      = 4 << 10
	maxEmpty          = 64 << 10
	// maxVerify bounds the time that the answers take: the client waits.
	maxVerify = 20 * time.Second
)

func newDKIMVerifier(env connectors.Env, c *Config, host string) (*dkimVerifier, error) {
	if !c.DKIMVerify {
		return nil, nil
	}
	dir, err := env.Dir(c.Name)
	if err != nil {
		return nil, fmt.Errorf("dkim_verify: %w", err)
	}
	return &dkimVerifier{host: host, dir: dir, lookup: newResolver(c.DNS).LookupTXT, log: env.Log.With("connector", c.Name)}, nil
}

// forged tells results that somebody else gives in our name (RFC 8601 5). A field that names us anywhere counts: comments and
// folding hide nothing.
func (v *dkimVerifier) forged(name string, field []byte) bool {
	return strings.EqualFold(name, fieldResults) && strings.Contains(strings.ToLower(unfold.Replace(string(field))), strings.ToLower(v.host))
}

// verified reads a message to its end, of which read is the beginning with its header, and gives the field with the results. rest
// replaces b; close it. Its error is b's, or a fault of our disk.
func (v *dkimVerifier) verified(ctx context.Context, read []byte, h head, b *body) (field string, rest io.ReadCloser, err error) {
	signed, n, long := false, 0, h.end > maxVerified
	for name, field := range fields(read[:h.end]) {
		n++
		if strings.EqualFold(name, "DKIM-Signature") {
			signed, long = true, long || len(field) > maxSignature
		}
	}
	switch {
	case !signed:
		return v.field([]string{"dkim=none"}), io.NopCloser(b), nil
	case long || n > maxVerifiedFields:
		return v.field([]string{"dkim=permerror"}), io.NopCloser(b), nil
	}
	f, err := os.CreateTemp(v.dir, "message-*")
	if err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		return "", nil, mail.LocalFault("the message can't be put into a file", err)
	}
	if _, err := io.Copy(f, b); err != nil {
		return "", nil, errors.Join(spooled(b, err), f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", nil, errors.Join(spooled(b, err), f.Close())
	}
	results := v.results(ctx, io.MultiReader(bytes.NewReader(read[:h.end]), &emptied{r: io.MultiReader(bytes.NewReader(read[h.end:]), f)}))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", nil, errors.Join(spooled(b, err), f.Close())
	}
	return v.field(results), f, nil
}

// emptied reads a body until it has too many empty lines in a row.
type emptied struct {
	r io.Reader
	n int
}

func (e *emptied) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	for _, c := range p[:n] {
		if c != '\r' && c != '\n' {
			e.n = 0
		} else if e.n++; e.n > maxEmpty {
			return 0, errors.New("empty lines without end")
		}
	}
	return n, err
}

// spooled tells the wire's error from our disk's.
func spooled(b *body, err error) error {
	if b.err != nil && b.err != io.EOF {
		return b.err
	}
	return mail.LocalFault("the message can't be kept in a file", err)
}

// results looks at each signature.
func (v *dkimVerifier) results(ctx context.Context, r io.Reader) []string {
	ctx, cancel := context.WithTimeout(ctx, maxVerify)
	defer cancel()
	all, err := dkim.VerifyWithOptions(r, &dkim.VerifyOptions{MaxVerifications: maxSignatures, LookupTXT: func(name string) ([]string, error) {
		return v.lookup(ctx, strings.TrimSuffix(name, ".")+".") // never with a search list's domains behind it
	}})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		v.log.Debug("signatures can't be looked at", "err", err)
		return []string{"dkim=permerror"}
	}
	var out []string
	for _, s := range all {
		word := "pass"
		switch {
		case s.Err == nil:
		case dkim.IsTempFail(s.Err):
			word = "temperror"
		case dkim.IsPermFail(s.Err):
			word = "permerror"
		default:
			word = "fail"
		}
		text := "dkim=" + word
		if d, err := address.ParseDomain(s.Domain); err == nil { // the sender's word goes into a header
			text += " header.d=" + d
		}
		out = append(out, text)
	}
	return out
}

func (v *dkimVerifier) field(results []string) string {
	return fieldResults + ": " + v.host + ";\r\n\t" + strings.Join(results, ";\r\n\t") + "\r\n"
}

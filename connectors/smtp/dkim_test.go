package smtp

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"backbone/connectors"
	"backbone/gateway/mail"

	"github.com/emersion/go-msgauth/dkim"
)

// keyFile makes a key for dkim_key, and what DNS says of it.
func keyFile(t testing.TB, kind string) (path, record string) {
	t.Helper()
	var block pem.Block
	if kind == "rsa" {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		block, record = pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}, "v=DKIM1; k=rsa; p="+base64.StdEncoding.EncodeToString(pub)
	} else {
		pub, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		block, record = pem.Block{Type: "PRIVATE KEY", Bytes: der}, "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(pub)
	}
	return file(t, "dkim.pem", pem.EncodeToMemory(&block)), record
}

// verdict is what a receiver says of a message.
func verdict(t testing.TB, text, record string) string {
	t.Helper()
	all, err := dkim.VerifyWithOptions(strings.NewReader(text), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if name != "gw1._domainkey.sitea.example" {
			return nil, &net.DNSError{Err: "no such name", Name: name, IsNotFound: true}
		}
		return []string{record}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range all {
		word := "pass"
		if v.Err != nil {
			word = v.Err.Error()
		}
		out = append(out, v.Domain+" "+word)
	}
	return strings.Join(out, ", ")
}

func TestWhatLeavesInOurNameIsSigned(t *testing.T) {
	const sevenBit, allBits = `EHLO 250-peer.example\n250 PIPELINING`, `EHLO 250-peer.example\n250-8BITMIME\n250 PIPELINING`
	const ours = "From: Kim <kim@SiteA.example>\r\nTo: x@siteb.example\r\nSubject: x\r\n"
	signed := "sitea.example pass"
	known := mail.Source{Connector: "drop", Authenticated: true}
	for _, tt := range []struct {
		name, content, key, ehlo, want string
		source                         mail.Source
		kind                           mail.Kind
	}{
		{"an ordinary message", ours + "\r\nhello\r\n.dot\r\n", "ed25519", allBits, signed, known, mail.KindMessage},
		{"with RSA", ours + "\r\nhello\r\n", "rsa", allBits, signed, known, mail.KindMessage},
		{"without a body", ours + "\r\n", "ed25519", allBits, signed, known, mail.KindMessage},
		{"without a last line end", ours + "\r\nhello", "ed25519", allBits, signed, known, mail.KindMessage},
		{"one that must be rewritten for its peer", ours + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nK\u00e4fer\r\n", "ed25519", sevenBit, signed, known, mail.KindMessage},
		{"a large one", ours + "\r\n" + strings.Repeat("The quick brown fox jumps.\r\n", 20_000), "ed25519", allBits, signed, known, mail.KindMessage},
		{"one with a field that does not leave", "Return-Path: <x@y>\r\n" + ours + "\r\nhello\r\n", "ed25519", allBits, signed, known, mail.KindMessage},
		{"our own report", strings.Replace(ours, "kim@", "postmaster@", 1) + "\r\nhello\r\n", "ed25519", allBits, signed, mail.Source{Connector: "gateway"}, mail.KindReport},
		{"a stranger's message in our name", ours + "\r\nhello\r\n", "ed25519", allBits, "", mail.Source{Connector: "out", Peer: "192.0.2.1"}, mail.KindMessage},
		{"a stranger's report in our name", ours + "\r\nhello\r\n", "ed25519", allBits, "", mail.Source{Connector: "gateway", Peer: "192.0.2.1"}, mail.KindReport},
		{"somebody else's name", "From: kim@elsewhere.example\r\n\r\nhello\r\n", "ed25519", allBits, "", known, mail.KindMessage},
		{"two authors", ours + "From: eve@elsewhere.example\r\n\r\nhello\r\n", "ed25519", allBits, "", known, mail.KindMessage},
		{"no author", "Subject: x\r\n\r\nhello\r\n", "ed25519", allBits, "", known, mail.KindMessage},
		{"what is no message", "this is no header\r\n", "ed25519", allBits, "", known, mail.KindMessage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, record := keyFile(t, tt.key)
			p := newPeer(t, tt.ehlo)
			c, closeOut := outbound(t, p.addr, func(c *Config) { c.DKIMKey, c.DKIMSelector = path, "gw1" })
			tr := transferOf(c, []byte(tt.content), smtpAddress("x@siteb.example"))
			tr.Envelope.Source, tr.Envelope.Kind = tt.source, tt.kind
			if got := states(c.Deliver(t.Context(), tr)); got != "delivered" {
				t.Fatal(got)
			}
			if err := closeOut(); err != nil {
				t.Error(err)
			}
			text := strings.ReplaceAll("\r\n"+p.received()[0], "\r\n.", "\r\n")[2:]
			if got := strings.Count(text, "DKIM-Signature:"); got != strings.Count(tt.want, "pass") {
				t.Fatalf("%d signatures, want %q:\n%.1000s", got, tt.want, text)
			}
			if tt.want == "" {
				return
			}
			if got := verdict(t, text, record); got != tt.want {
				t.Errorf("%q, want %q:\n%.1500s", got, tt.want, text)
			}
			if got := verdict(t, strings.Replace(text, "Subject: x", "Subject: y", 1), record); got == tt.want {
				t.Error("the subject is not signed")
			}
			if got := verdict(t, "From: eve@elsewhere.example\r\n"+text, record); got == tt.want {
				t.Error("another From may be added")
			}
		})
	}
}

func TestKeysThatCantSign(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"no PEM":      []byte("x"),
		"a short key": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(short)}),
		"garbage":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}),
		"a certificate": func() []byte {
			b := testCA().issue(t, "x.example")
			block, _ := pem.Decode(b)
			return pem.EncodeToMemory(block)
		}(),
	} {
		if _, err := parseKey(text); err == nil {
			t.Errorf("%s signs", name)
		}
	}
}

func TestSignaturesOfWhatComesInAreLookedAt(t *testing.T) {
	path, record := keyFile(t, "ed25519")
	server := zone(t, `gw1._domainkey.sitea.example. IN TXT "`+record+`"`)
	key, err := newDKIMSigner(connectors.Env{Base: "."}, &Config{DKIMKey: path, DKIMSelector: "gw1", DKIMDomains: []string{"sitea.example"}})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(domain, text string) string {
		field, err := key.sign(domain, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
		if err != nil {
			t.Fatal(err)
		}
		return string(field) + text
	}
	const text = "From: kim@sitea.example\r\nSubject: x\r\nDate: Mon, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@sitea.example>\r\n\r\nhello\r\n"
	good := sign("sitea.example", text)
	large := sign("sitea.example", text+strings.Repeat("The quick brown fox jumps.\r\n", 20_000))
	const ours, theirs = "Authentication-Results: (x)\r\n\tMX.sitea.EXAMPLE; dkim=pass\r\n", "Authentication-Results: mx.elsewhere.example; dkim=pass\r\n"
	s := serve(t, func(c *Config) { c.DKIMVerify, c.DNS = true, server })
	for _, tt := range []struct{ name, text, want string }{
		{"one that holds", good, "dkim=pass header.d=sitea.example"},
		{"one over a large message", large, "dkim=pass header.d=sitea.example"},
		{"a body that was changed", strings.Replace(good, "hello", "hullo", 1), "dkim=fail header.d=sitea.example"},
		{"a subject that was changed", strings.Replace(good, "Subject: x", "Subject: y", 1), "dkim=fail header.d=sitea.example"},
		{"a key that is not there", sign("nokey.example", text), "dkim=permerror header.d=nokey.example"},
		{"name servers that fail", sign("broken.example", text), "dkim=temperror header.d=broken.example"},
		{"two, of which one holds", sign("nokey.example", good), "dkim=permerror header.d=nokey.example;\r\n\tdkim=pass header.d=sitea.example"},
		{"none", text, "dkim=none"},
		{"no signature at all", "DKIM-Signature: x\r\n" + text, "dkim=permerror"},
		{"a domain that is none", strings.Replace(good, "d=sitea.example", "d=a b\"(", 1), "dkim=permerror"},
		{"a header without end", "DKIM-Signature: v=1\r\nthis is no field\r\n", "dkim=permerror"},
		{"a header beyond what is looked at", good[:strings.Index(good, "From: kim")] + strings.Repeat("X: y\r\n", 60_000) + text, "dkim=permerror"},
		{"more octets of header than are looked at", good[:strings.Index(good, "From: kim")] + "X: y\r\n" + strings.Repeat(" \r\n", 25_000) + text, "dkim=permerror"},
		{"more fields than are looked at", good[:strings.Index(good, "From: kim")] + strings.Repeat("X: y\r\n", 1000) + text, "dkim=permerror"},
		{"a signature over more fields than there can be", strings.Replace(good, " h=", " h="+strings.Repeat("a:", 2000), 1), "dkim=permerror"},
		{"empty lines without end", good + strings.Repeat("\r\n", 40_000), "dkim=permerror"},
		{"results that somebody gives in our name", ours + theirs + text, "dkim=none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := len(s.gw.Taken())
			c := s.dial().hello()
			c.do("MAIL FROM:<kim@sitea.example>", "250 *")
			c.do("RCPT TO:<bob@sitea.example>", "250 *")
			c.do("DATA", "354 *")
			c.raw(tt.text)
			c.do(".", "250 *")
			c.do("QUIT", "221 *")
			got := string(s.gw.Wait(t, n+1)[n].Content)
			if want := "Authentication-Results: mx.sitea.example;\r\n\t" + tt.want + "\r\nReceived: "; !strings.HasPrefix(got, want) {
				t.Errorf("it begins %.300q, want %q", got, want)
			}
			if strings.Count(strings.ToLower(got), "mx.sitea.example;\r\n\tdkim") != 1 || strings.Contains(got, "(x)") {
				t.Errorf("a forged result stays: %.600q", got)
			}
			_, body, _ := strings.Cut(tt.text, "\r\n\r\n")
			if !strings.HasSuffix(got, body) {
				t.Errorf("the message is not whole: %.600q", got)
			}
			if strings.Contains(tt.text, theirs) && !strings.Contains(got, theirs) {
				t.Error("another's result is gone")
			}
		})
	}
}

// TestADiskThatFailsWhileAMessageIsLookedAtLeavesItWithTheClient.
func TestADiskThatFailsWhileAMessageIsLookedAtLeavesItWithTheClient(t *testing.T) {
	s := serve(t, func(c *Config) { c.DKIMVerify, c.DNS = true, "127.0.0.1:9" })
	s.src.dkim.dir = "/nowhere/at/all"
	c := s.dial().hello()
	c.envelope()
	c.raw("DKIM-Signature: v=1\r\nFrom: a@far.example\r\n\r\nx\r\n")
	c.do(".", "451 4.3.0 *")
	c.do("NOOP", "250 *")
	if n := len(s.gw.Taken()); n != 0 {
		t.Errorf("%d taken", n)
	}
}

// FuzzSignatures: whatever a message's signatures and their records in DNS say, the field that we add is one field.
func FuzzSignatures(f *testing.F) {
	f.Add([]byte("DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=y; h=from; bh=AA==; b=AA==\r\nFrom: a@b\r\n\r\nx\r\n"), "v=DKIM1; p=AAAA")
	f.Add([]byte("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=x.example; s=y; t=1; x=2; i=@x.example; q=dns/txt; l=3; h=from:from; bh=AA==; b=\r\n AA==\r\nDKIM-Signature: v=2\r\nFrom: a@b\r\n\r\n \r\n\r\n"), "k=ed25519; h=sha256; s=email; t=y; p=")
	f.Fuzz(func(t *testing.T, text []byte, record string) {
		v := &dkimVerifier{host: "mx.sitea.example", dir: t.TempDir(), log: slog.New(slog.DiscardHandler)}
		v.lookup = func(context.Context, string) ([]string, error) { return []string{record}, nil }
		field := v.field(v.results(t.Context(), bytes.NewReader(text)))
		n := 0
		for name := range fields([]byte(field)) {
			if n++; name != fieldResults {
				t.Fatalf("%q", field)
			}
		}
		if n != 1 || strings.ContainsFunc(field, func(r rune) bool { return r > '~' || r < ' ' && r != '\r' && r != '\n' && r != '\t' }) {
			t.Fatalf("%q", field)
		}
	})
}

package smtp

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
)

// testSite is SITEA, as in the project's examples.
var testSite = connectors.Site{Name: "SITEA", Organization: "Northwind", Domains: []string{"sitea.example"}, Partners: []string{"siteb.example"}, MS: "NORTHWIND/HUB"}

// served is a source under test.
type served struct {
	t    testing.TB
	addr string
	gw   *connectortest.Acceptor
	src  *Source
	stop func() // waits
}

// serve opens a section as the daemon would and serves it.
func serve(t testing.TB, change func(*Config)) *served {
	t.Helper()
	cfg := NewConfig()
	cfg.Name, cfg.Type, cfg.Hostname = "mail", "smtp", "mx.sitea.example"
	cfg.Listen = []string{"127.0.0.1:0"}
	cfg.Drain = connectors.Duration(time.Second)
	if change != nil {
		change(cfg)
	}
	if bad := cfg.Check(); len(bad) > 0 {
		t.Fatalf("configuration: %v", bad)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	dir := t.TempDir()
	opened, err := Open(connectors.Env{Site: testSite, Book: &connectortest.Book{}, Log: log, Base: "testdata",
		Dir: func(string) (string, error) { return dir, nil }}, []connectors.Config{cfg})
	if err != nil {
		t.Fatal(err)
	}
	src := opened.Sources[0].(*Source)
	s := &served{t: t, addr: src.Addrs()[0].String(), gw: &connectortest.Acceptor{}, src: src}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := src.Serve(ctx, s.gw); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		cancel()
		serving.Wait()
		if err := opened.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// talk is a client's end of a session, octet by octet.
type talk struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// dial connects and reads the greeting.
func (s *served) dial() *talk {
	s.t.Helper()
	c := s.dialOnly()
	c.expect("220 mx.sitea.example *")
	return c
}

func (s *served) dialOnly() *talk {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &talk{t: s.t, conn: conn, r: bufio.NewReader(conn)}
}

func (c *talk) raw(s string) {
	c.t.Helper()
	if err := c.conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.conn.Write([]byte(s)); err != nil {
		c.t.Fatalf("sending %.60q: %v", s, err)
	}
}

func (c *talk) send(line string) { c.t.Helper(); c.raw(line + "\r\n") }

// line reads one reply line; "" is the end.
func (c *talk) line() string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	l, err := c.r.ReadString('\n')
	if err != nil && l == "" {
		if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
			c.t.Fatal("waited 60 s for a reply")
		}
		return ""
	}
	if !strings.HasSuffix(l, "\r\n") {
		c.t.Errorf("reply %q does not end with CRLF", l)
	}
	return strings.TrimRight(l, "\r\n")
}

// expect reads reply lines to the last one and matches that against pattern.
func (c *talk) expect(pattern string) string {
	c.t.Helper()
	l := c.line()
	for len(l) > 3 && l[3] == '-' {
		l = c.line()
	}
	if !match(pattern, l) {
		c.t.Fatalf("reply %q, want %q", l, pattern)
	}
	return l
}

// do sends a command and expects a reply.
func (c *talk) do(cmd, pattern string) string {
	c.t.Helper()
	c.send(cmd)
	return c.expect(pattern)
}

// end expects that the server closed.
func (c *talk) end() {
	c.t.Helper()
	if l := c.line(); l != "" {
		c.t.Fatalf("reply %q, want the end of the connection", l)
	}
}

// hello says EHLO.
func (c *talk) hello() *talk {
	c.t.Helper()
	c.do("EHLO client.example", "250 *")
	return c
}

// envelope says MAIL, RCPT and DATA.
func (c *talk) envelope() {
	c.t.Helper()
	c.do("MAIL FROM:<alice@far.example>", "250 *")
	c.do("RCPT TO:<bob@sitea.example>", "250 *")
	c.do("DATA", "354 *")
}

// startTLS puts TLS on, trusting the test certificate.
func (c *talk) startTLS(client ...tls.Certificate) {
	c.t.Helper()
	t := tls.Client(c.conn, &tls.Config{ServerName: "mx.sitea.example", RootCAs: testPool(c.t), Certificates: client})
	if err := t.Handshake(); err != nil {
		c.t.Fatalf("TLS handshake: %v", err)
	}
	c.conn, c.r = t, bufio.NewReader(t)
}

// match is a glob over a whole reply: * is any run.
func match(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// testCA signs what tests need, once.
var testCA = sync.OnceValue(func() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &authority{cert: cert, key: key}
})

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue gives certificate and key in PEM form.
func (a *authority) issue(t testing.TB, names ...string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func testPool(t testing.TB) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	p.AddCert(testCA().cert)
	return p
}

// file writes a file for one test and gives its path.
func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withTLS makes a section offer STARTTLS.
func withTLS(t testing.TB) func(*Config) {
	path := file(t, "mx.pem", testCA().issue(t, "mx.sitea.example"))
	return func(c *Config) { c.Certificate = path }
}

package site

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/connectors/connectortest"
	"backbone/gateway/mail"
)

// logBook keeps what was logged.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestAStrangerIsRefusedOnEitherSide(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(w *world, strangerCert, strangerKey string)
		want   []string // in the outcome
		logged []string
	}{
		{"the caller shows a certificate that the called does not expect",
			func(w *world, cert, key string) { w.cfgA.Certificate, w.cfgA.Key = cert, key },
			[]string{"site SITEB refused our certificate", "CN=STRANGER", "peer_certificate"},
			[]string{"level=ERROR", "site link refused a caller", "CN=STRANGER", "expected CN=SITEA"}},
		{"the called shows a certificate that the caller does not expect",
			func(w *world, cert, key string) { w.cfgB.Certificate, w.cfgB.Key = cert, key },
			[]string{"does not prove to be site SITEB", "CN=STRANGER", "expected CN=SITEB", "copy its certificate into peer_certificate"},
			[]string{"level=ERROR", "site link is not trusted"}},
		{"the called is the right site by name, with another key",
			func(w *world, _, _ string) {
				dir := filepath.Join(w.dir, "forged")
				w.cfgB.Certificate, w.cfgB.Key = identity(w.t, dir, "SITEB")
			},
			[]string{"does not prove to be site SITEB", "CN=SITEB", "expected CN=SITEB"},
			[]string{"level=ERROR", "site link is not trusted"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log logBook
			w := newWorld(t, func(w *world) {
				w.log = log.logger()
				cert, key := identity(t, w.dir, "STRANGER")
				tt.change(w, cert, key)
			})
			tr := transfer("stranger", connectortest.Bytes([]byte("secret")))
			o := w.deliver(tr)
			if o.State != mail.Deferred || o.Failure.Scope != mail.ScopeLink || o.Failure.Class != mail.Transient {
				t.Fatalf("got %s (%+v), want deferred at link scope", o.State, o.Failure)
			}
			for _, want := range tt.want {
				if !strings.Contains(o.Failure.Error(), want) {
					t.Errorf("the failure does not say %q: %v", want, o.Failure)
				}
			}
			for _, want := range tt.logged {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log does not say %q:\n%s", want, log.String())
				}
			}
			if n := len(w.gw.Taken()); n != 0 {
				t.Errorf("%d messages arrived", n)
			}
		})
	}
}

func TestWhatCallsWithoutTLS13AndCertificateGetsNowhere(t *testing.T) {
	w := newWorld(t, nil)
	own, err := tls.LoadX509KeyPair(w.cfgA.Certificate, w.cfgA.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]*tls.Config{
		"no certificate": {InsecureSkipVerify: true, NextProtos: []string{"h2"}},
		"TLS 1.2":        {InsecureSkipVerify: true, NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}},
		"HTTP/1.1":       {InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{own}},
	} {
		c, err := tls.Dial("tcp", w.cfgB.Listen, cfg)
		if err == nil { // TLS 1.3: the refusal comes with the first octets
			if err = c.SetDeadline(time.Now().Add(5 * time.Second)); err == nil {
				_, err = c.Read(make([]byte, 1))
			}
			c.Close()
		}
		if err == nil {
			t.Errorf("%s: the caller was let in", name)
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: the caller was left waiting", name)
		}
	}
}

// tick outwaits the interval at which certificate files are looked at.
func (k *keyring) tick() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.checked = time.Time{}
}

func copyFile(t testing.TB, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeysThatChangeAreReadAgain(t *testing.T) {
	var log logBook
	var pin string
	w := newWorld(t, func(w *world) {
		w.log = log.logger()
		pin = filepath.Join(w.dir, "pin.crt")
		copyFile(t, pin, w.cfgA.Certificate)
		w.cfgB.PeerCertificate = pin
	})
	server := w.source.links[0].keys
	send := func(k string) mail.Outcome { return w.deliver(transfer(k, connectortest.Bytes([]byte(k)))) }
	w.mustDeliver(transfer("before", connectortest.Bytes(nil)))

	t.Log("SITEB stops trusting SITEA: the open connection is of no use any more")
	strangers, _ := identity(t, w.dir, "STRANGER")
	copyFile(t, pin, strangers)
	server.tick()
	if o := send("distrusted"); o.State != mail.Deferred || o.Failure.Scope != mail.ScopeLink {
		t.Errorf("got %s (%v) after the pin was taken away", o.State, o.Failure)
	}

	t.Log("a file that can't be read changes nothing")
	if err := os.WriteFile(pin, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.tick()
	if o := send("still-distrusted"); o.State != mail.Deferred {
		t.Errorf("got %s with a broken pin file", o.State)
	}
	if !strings.Contains(log.String(), "keeps its former keys") {
		t.Errorf("the log does not tell of the broken file:\n%s", log.String())
	}

	t.Log("SITEA makes a new key, and SITEB has both certificates")
	fresh := filepath.Join(w.dir, "fresh")
	newCert, newKey := identity(t, fresh, "SITEA")
	both := readAll(t, w.cfgA.Certificate) + readAll(t, newCert)
	if err := os.WriteFile(pin, []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	server.tick()
	if o := send("old-key"); o.State != mail.Delivered {
		t.Errorf("old key: got %s (%v)", o.State, o.Failure)
	}
	copyFile(t, w.cfgA.Certificate, newCert)
	copyFile(t, w.cfgA.Key, newKey)
	w.link.keys.tick()
	if o := send("new-key"); o.State != mail.Delivered {
		t.Errorf("new key: got %s (%v)", o.State, o.Failure)
	}
	if got := describe(w.link.session.current.trust.own.Leaf); !strings.Contains(got, fingerprintOf(t, newCert)) {
		t.Errorf("the link still shows %s", got)
	}
}

func readAll(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func fingerprintOf(t testing.TB, file string) string {
	t.Helper()
	certs, err := readCertificates("test", file)
	if err != nil {
		t.Fatal(err)
	}
	return fingerprint(certs[0].Raw)
}

func TestLinksShareAnAddressAndAreToldApartByCertificate(t *testing.T) {
	gw := &connectortest.Acceptor{}
	w := newWorld(t, nil)
	w.stopServer()
	other := *w.cfgB
	other.Name, other.PeerSite = "sitec", "SITEC"
	cCert, cKey := identity(t, w.dir, "SITEC")
	other.PeerCertificate = cCert
	w.cfgB.Listen = "127.0.0.1:0"
	other.Listen = w.cfgB.Listen
	o := open(t, w.env("SITEB"), w.cfgB, &other)
	if len(o.Sources) != 1 || len(o.Connectors) != 2 {
		t.Fatalf("%d sources and %d connectors, want 1 and 2", len(o.Sources), len(o.Connectors))
	}
	stop := serve(t, o.Sources[0], gw)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	addr := o.Sources[0].(*listener).socket.Addr().String()
	fromC := *w.cfgA
	fromC.Certificate, fromC.Key, fromC.Peer = cCert, cKey, addr
	w.stopA()
	w.cfgA.Peer = addr
	w.startA()
	c := open(t, w.env("SITEC"), &fromC)
	defer c.Close()

	w.mustDeliver(transfer("same-key", connectortest.Bytes([]byte("from A"))))
	tr := transfer("same-key", connectortest.Bytes([]byte("from C")))
	if o := c.Connectors[0].Deliver(t.Context(), tr)[0]; o.State != mail.Delivered {
		t.Fatalf("SITEC: %s (%v)", o.State, o.Failure)
	}
	w.stopA()
	got := gw.Taken()
	if len(got) != 2 {
		t.Fatalf("%d messages, want one of each site: keys are a site's own", len(got))
	}
	if a, c := got[0].Envelope.Source, got[1].Envelope.Source; a.Connector != "sitea" || a.Peer != "SITEA" || c.Connector != "sitec" || c.Peer != "SITEC" {
		t.Errorf("sources %+v and %+v", a, c)
	}
	// SITEC's envelope claims in its trace to come from SITEA.
	if trace := got[1].Envelope.Trace; len(trace) != 2 || trace[1].Site != "SITEC" {
		t.Errorf("trace %+v: the site that handed it over must be the last", trace)
	}
	if trace := got[0].Envelope.Trace; len(trace) != 1 || trace[0].Site != "SITEA" {
		t.Errorf("trace %+v: nothing is to be added to a true one", trace)
	}
}

func TestAnAuthorityVouchesForAPeerByName(t *testing.T) {
	ca := newAuthority(t)
	for _, tt := range []struct {
		name, dns, peerName string
		ok                  bool
	}{
		{"the certificate names the site", "SITEB", "", true},
		{"the certificate has the configured name", "gw.siteb.example", "gw.siteb.example", true},
		{"the certificate names another", "gw.sitec.example", "gw.siteb.example", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				w.cfgA.PeerCertificate, w.cfgA.CA, w.cfgA.PeerName = "", ca.file, tt.peerName
				w.cfgB.Certificate, w.cfgB.Key = ca.issue(t, tt.dns)
			})
			o := w.deliver(transfer("ca", connectortest.Bytes([]byte("x"))))
			if ok := o.State == mail.Delivered; ok != tt.ok {
				t.Errorf("got %s (%v)", o.State, o.Failure)
			}
		})
	}
}

func TestIdentityIsMadeOnceAndKeptPrivate(t *testing.T) {
	dir := t.TempDir()
	id, err := CreateIdentity(dir, "SITEA")
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(id.Key)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v; want mode 0600", fi.Mode(), err)
	}
	if block, _ := pem.Decode([]byte(readAll(t, id.Certificate))); block == nil {
		t.Error("the certificate is not PEM")
	} else if c, err := x509.ParseCertificate(block.Bytes); err != nil || c.Subject.CommonName != "SITEA" || c.IsCA {
		t.Errorf("certificate of %v (CA %v), %v", c.Subject, c.IsCA, err)
	}
	again, err := CreateIdentity(dir, "SITEA")
	if err != nil || again != id {
		t.Errorf("the second call made another: %+v, %v", again, err)
	}
	if _, err := CreateIdentity(dir, "SITEB"); err == nil {
		t.Error("another site got SITEA's identity")
	}
	if _, err := CreateIdentity(dir, "../x"); err == nil {
		t.Error("a site name with a slash was taken")
	}
	if err := os.Remove(id.Certificate); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateIdentity(dir, "SITEA"); err == nil {
		t.Error("a lone key was written over")
	}
}

func TestAKeyOthersCanReadIsWarnedOf(t *testing.T) {
	var log logBook
	w := newWorld(t, func(w *world) {
		w.log = log.logger()
		if err := os.Chmod(w.cfgA.Key, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	w.mustDeliver(transfer("k", connectortest.Bytes(nil)))
	if !strings.Contains(log.String(), "readable by others") {
		t.Errorf("no warning in:\n%s", log.String())
	}
}

package smtp

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func TestTLSPolicyOutbound(t *testing.T) {
	cert := file(t, "mx.pem", testCA().issue(t, "localhost"))
	ca := file(t, "ca.pem", testCA().pem())
	other := file(t, "other.pem", testCA().issue(t, "other.example"))
	for _, tt := range []struct {
		name, policy, ca, peerCert string
		want, how                  string
	}{
		{"off stays in the clear", "off", "", cert, "delivered", "ESMTP from"},
		{"opportunistic takes TLS where it is offered", "opportunistic", "", cert, "delivered", "ESMTPS from"},
		{"opportunistic does without", "opportunistic", "", "", "delivered", "ESMTP from"},
		{"required takes any certificate", "required", "", other, "delivered", "ESMTPS from"},
		{"required does not do without", "required", "", "", "deferred/transient/link/451/4.7.4", ""},
		{"verify takes a certificate of the CA for the name", "verify", ca, cert, "delivered", "ESMTPS from"},
		{"verify wants the name", "verify", ca, other, "deferred/transient/link/451/4.7.5", ""},
		{"verify wants the CA", "verify", "", cert, "deferred/transient/link/451/4.7.5", ""},
		{"verify does not do without", "verify", ca, "", "deferred/transient/link/451/4.7.4", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(c *Config) {
				c.Certificate = tt.peerCert
				c.Relay = []Relay{{Networks: []string{"127.0.0.1"}}}
			})
			addr := "localhost" + s.addr[strings.LastIndexByte(s.addr, ':'):]
			c, closeOut := outbound(t, addr, func(c *Config) { c.TLS, c.CA = tt.policy, tt.ca })
			out := c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))
			if got := states(out); got != tt.want {
				t.Fatalf("%s, want %s: %v", got, tt.want, out[0].Failure)
			}
			if err := closeOut(); err != nil {
				t.Error(err)
			}
			if tt.how != "" && !strings.HasPrefix(s.gw.Taken()[0].Envelope.Source.Detail, tt.how) {
				t.Errorf("came as %q, want %q", s.gw.Taken()[0].Envelope.Source.Detail, tt.how)
			}
		})
	}
}

func TestOpportunisticTLSFallsBack(t *testing.T) {
	offers := `EHLO 250-peer.example\n250 STARTTLS`
	for name, steps := range map[string][]string{
		"the peer refuses":                   {offers, "STARTTLS 454 4.7.0 not available"},
		"the handshake fails":                {offers, "STARTTLS 220 go on then drop", "STARTTLS 454 no"},
		"something stands behind the answer": {offers, `STARTTLS 220 go on\n250 injected`, "STARTTLS 454 no"},
	} {
		p := newPeer(t, steps...)
		c, closeOut := outbound(t, p.addr, nil)
		out := c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))
		if got := states(out); got != "delivered" {
			t.Errorf("%s: %s %v", name, got, out[0].Failure)
		}
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	}
}

// TestWhatThePeerSaysBeforeTLSDoesNotCount is the client's half of the STARTTLS injection: an answer that was sent in the
// clear must not be taken for the first one over TLS.
func TestWhatThePeerSaysBeforeTLSDoesNotCount(t *testing.T) {
	p := newPeer(t, `EHLO 250-peer.example\n250 STARTTLS`, `STARTTLS 220 go on\n250-injected\n250 AUTH PLAIN`)
	c, closeOut := outbound(t, p.addr, func(c *Config) { c.TLS = "required" })
	out := c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))
	if got := states(out); !match("deferred/transient/link/*", got) || !strings.Contains(out[0].Failure.Error(), "behind its reply") {
		t.Errorf("%s: %v", got, out[0].Failure)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

func TestAuthOutbound(t *testing.T) {
	usersFile := file(t, "users", []byte("mira:$2a$04$DAizFuH.jLal63t4id0MOuZxWKOptgSNA2m3wkcQZpypP29S4s4r2\n"))
	secret := file(t, "password", []byte("secret\n"))
	for _, tt := range []struct {
		name, password, want string
	}{
		{"the right password", "secret", "delivered"},
		{"the password's file", "@" + secret, "delivered"},
		{"a wrong password returns no mail", "wrong", "deferred/transient/link/451/4.7.8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(c *Config) {
				withTLS(t)(c)
				c.Users, c.Relay = usersFile, []Relay{{Users: []string{"mira"}}}
			})
			c, closeOut := outbound(t, s.addr, func(c *Config) { c.User, c.Password = "mira", connectors.Secret(tt.password) })
			out := c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@elsewhere.example")))
			if got := states(out); got != tt.want {
				t.Errorf("%s, want %s: %v", got, tt.want, out[0].Failure)
			}
			if err := closeOut(); err != nil {
				t.Error(err)
			}
			if tt.want == "delivered" && !s.gw.Taken()[0].Envelope.Source.Authenticated {
				t.Error("not authenticated")
			}
		})
	}
	t.Run("LOGIN when PLAIN is not offered", func(t *testing.T) {
		p := newPeer(t, `EHLO 250-peer\n250 AUTH LOGIN NTLM`, "AUTH 334 "+b64([]byte("What is your name?")), b64([]byte("mira"))[:4]+" x")
		p.mu.Lock()
		p.script[strings.ToUpper(b64([]byte("mira")))] = []string{"334 " + b64([]byte("pass"))}
		p.script[strings.ToUpper(b64([]byte("secret")))] = []string{"235 ok"}
		p.mu.Unlock()
		c, closeOut := outbound(t, p.addr, func(c *Config) { c.User, c.Password = "mira", "secret" })
		out := c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))
		if got := states(out); got != "delivered" {
			t.Errorf("%s: %v, heard %q", got, out[0].Failure, p.heard())
		}
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	})
}

func TestNoPasswordInTheClear(t *testing.T) {
	c, closeOut := outbound(t, "127.0.0.1:1", func(c *Config) { c.User, c.Password = "mira", "secret" })
	v := &conversation{c: c, host: "relay.example", ext: map[string]string{"AUTH": "PLAIN"}}
	f := v.authenticate(netip.MustParseAddr("192.0.2.1")) // there is no connection that it could be written to
	if f == nil || f.Enhanced != "4.7.8" || !strings.Contains(f.Text, "in the clear") {
		t.Errorf("%v", f)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

func TestClientCertificatesMayRelay(t *testing.T) {
	mine := testCA().issue(t, "gateway.siteb.example")
	pair, err := tls.X509KeyPair(mine, mine)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(mine)
	sum := sha256.Sum256(block.Bytes)
	ca := file(t, "ca.pem", testCA().pem())
	for _, tt := range []struct {
		name  string
		rule  string
		ca    string
		certs []tls.Certificate
		want  string
	}{
		{"by fingerprint", "sha256:" + hex.EncodeToString(sum[:]), "", []tls.Certificate{pair}, "250 *"},
		{"by a name that the CA proves", "gateway.siteb.example", ca, []tls.Certificate{pair}, "250 *"},
		{"not by another name", "other.example", ca, []tls.Certificate{pair}, "550 5.7.1 *"},
		{"not without a certificate", "gateway.siteb.example", ca, nil, "550 5.7.1 *"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(c *Config) {
				withTLS(t)(c)
				c.ClientCA, c.Relay = tt.ca, []Relay{{Certificates: []string{tt.rule}}}
			})
			c := s.dial().hello()
			c.do("STARTTLS", "220 *")
			c.startTLS(tt.certs...)
			c.hello()
			c.do("MAIL FROM:<a@b.example>", "250 *")
			c.do("RCPT TO:<any@elsewhere.example>", tt.want)
		})
	}
}

func TestAStrangersCertificateCostsNothing(t *testing.T) {
	s := serve(t, func(c *Config) {
		withTLS(t)(c)
		c.ClientCA = file(t, "ca.pem", testCA().issue(t, "unrelated.example"))
		c.Relay = []Relay{{Certificates: []string{"gateway.siteb.example"}}}
	})
	mine := testCA().issue(t, "gateway.siteb.example")
	pair, err := tls.X509KeyPair(mine, mine)
	if err != nil {
		t.Fatal(err)
	}
	c := s.dial().hello()
	c.do("STARTTLS", "220 *")
	c.startTLS(pair)
	c.hello()
	c.do("MAIL FROM:<a@b.example>", "250 *")
	c.do("RCPT TO:<bob@sitea.example>", "250 *")
	c.do("RCPT TO:<any@elsewhere.example>", "550 5.7.1 *")
}

func TestACertificateIsReadAgain(t *testing.T) {
	path := file(t, "mx.pem", testCA().issue(t, "mx.sitea.example"))
	s := serve(t, func(c *Config) { c.Certificate = path })
	serial := func() string {
		c := s.dial().hello()
		c.do("STARTTLS", "220 *")
		c.startTLS()
		st := c.conn.(*tls.Conn).ConnectionState()
		return st.PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	replace := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
		s.src.certs.mu.Lock()
		s.src.certs.looked = time.Time{}
		s.src.certs.mu.Unlock()
	}
	replace([]byte("not a certificate"))
	if got := serial(); got != first {
		t.Error("a broken file replaced the certificate in use")
	}
	replace(testCA().issue(t, "mx.sitea.example"))
	if got := serial(); got == first {
		t.Error("the new certificate is not used")
	}
}

func TestRelayDecisionsLookInside(t *testing.T) {
	p := newRelayPolicy(testSite, &Config{AnyoneTo: []string{"MS:", "X400:"}})
	for in, want := range map[string]string{
		"SMTP:bob@sitea.example":                                   "SMTP:bob@sitea.example",
		"SMTP:IMCEAMS-NET_PO_BOB@sitea.example":                    "MS:NET/PO/BOB",
		"SMTP:IMCEAMS-NET_PO_BOB@elsewhere.example":                "SMTP:IMCEAMS-NET_PO_BOB@elsewhere.example",
		"SMTP:IMCEASMTP-v+40x+2Eexample@siteb.example":             "SMTP:v@x.example",
		"X400:c=US;a= ;p=Other;dda:RFC-822=v(a)x.example;":         "SMTP:v@x.example",
		"X400:c=US;a= ;p=Other;o=Any;dda:MS=NET/PO/BOB;":           "MS:NET/PO/BOB",
		"SMTP:IMCEAX400-c=US+3Ba=+20+3Bp=O+3Bs=K+3B@sitea.example": "X400:c=US;a= ;p=O;s=K;",
	} {
		a, err := address.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.decode(a).String(); got != want {
			t.Errorf("%s stands for %s, want %s", in, got, want)
		}
	}
	if err := p.allows(client{}, address.Address{}, smtpAddress("v@x.example")); err == nil || mail.AsFailure(err).Class != mail.Policy {
		t.Errorf("a stranger may relay: %v", err)
	}
}

package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// policyHost serves a policy under the names that its certificate has.
type policyHost struct {
	port  string
	asked atomic.Int32
	mu    sync.Mutex
	serve http.HandlerFunc
}

func newPolicyHost(t *testing.T, names ...string) *policyHost {
	t.Helper()
	h := &policyHost{}
	pair := testCA().issue(t, names...)
	cert, err := tls.X509KeyPair(pair, pair)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		h.mu.Lock()
		f := h.serve
		h.mu.Unlock()
		f(w, r)
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, h.port, err = net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *policyHost) says(text string) {
	h.answers(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/mta-sts.txt" || !strings.HasPrefix(r.Host, "mta-sts.far.example") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, text)
	})
}

func (h *policyHost) answers(f http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serve = f
}

// farExample is a domain with one mail exchanger of ours, and a connector that knows both.
func farExample(t *testing.T, cert, server string, h *policyHost) (*served, *Connector) {
	t.Helper()
	s := serve(t, func(c *Config) {
		c.Certificate, c.Relay = cert, []Relay{{Networks: []string{"127.0.0.1"}}}
	})
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	c, closeOut := outbound(t, "", func(c *Config) {
		c.DNS, c.ReuseIdle = server, 0
		if c.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	})
	c.sts.port, c.sts.roots = h.port, x509.NewCertPool()
	if !c.sts.roots.AppendCertsFromPEM(testCA().pem()) {
		t.Fatal("no CA")
	}
	return s, c
}

const (
	enforced = "version: STSv1\r\nmode: enforce\r\nmx: *.far.example\r\nmax_age: 86400\r\n"
	inTheTLS = "ESMTPS from"
	inClear  = "ESMTP from"
)

func TestTheDomainsPolicyForItsExchangersIsKept(t *testing.T) {
	good, other := file(t, "mx.pem", testCA().issue(t, "mx.far.example")), file(t, "other.pem", testCA().issue(t, "mx.evil.example"))
	redirect := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/mta-sts.txt" {
			http.Redirect(w, r, "https://"+r.Host+"/elsewhere.txt", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, enforced)
	}
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, enforced)
	}
	const announced = "v=STSv1; id=20261122;"
	const refused, undelivered = "deferred/transient/link/451/4.7.4", "deferred/transient/link/451/4.7.5"
	for _, tt := range []struct {
		name, txt, policy string
		answer            http.HandlerFunc
		hostCert, mxCert  string
		want, how         string
	}{
		{"kept by the exchanger", announced, enforced, nil, "mta-sts.far.example", good, "delivered", inTheTLS},
		{"another exchanger than the policy names", announced, strings.Replace(enforced, "*.far", "mx2.far", 1), nil, "mta-sts.far.example", good, undelivered, ""},
		{"a certificate for another name", announced, enforced, nil, "mta-sts.far.example", other, undelivered, ""},
		{"an exchanger whose offer of TLS was taken away", announced, enforced, nil, "mta-sts.far.example", "", refused, ""},
		{"only being tried", announced, strings.Replace(enforced, "enforce", "testing", 1), nil, "mta-sts.far.example", "", "delivered", inClear},
		{"withdrawn", announced, "version: STSv1\nmode: none\nmax_age: 86400\n", nil, "mta-sts.far.example", "", "delivered", inClear},
		{"not announced", "", enforced, nil, "mta-sts.far.example", "", "delivered", inClear},
		{"announced twice", announced + `" IN TXT`, enforced, nil, "mta-sts.far.example", "", "delivered", inClear},
		{"from a host without its certificate", announced, enforced, nil, "www.far.example", "", "delivered", inClear},
		{"behind a redirect", announced, enforced, redirect, "mta-sts.far.example", "", "delivered", inClear},
		{"as a page", announced, enforced, page, "mta-sts.far.example", "", "delivered", inClear},
		{"without end", announced, enforced + strings.Repeat("x: y\r\n", 20_000), nil, "mta-sts.far.example", "", "delivered", inClear},
		{"of another version", announced, strings.Replace(enforced, "STSv1", "STSv2", 1), nil, "mta-sts.far.example", "", "delivered", inClear},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records := []string{"far.example. IN MX 10 mx.far.example.", "mx.far.example. IN A 127.0.0.1", "mta-sts.far.example. IN A 127.0.0.1"}
			if txt, twice := strings.CutSuffix(tt.txt, `" IN TXT`); txt != "" {
				records = append(records, `_mta-sts.far.example. IN TXT "`+txt+`"`)
				if twice {
					records = append(records, `_mta-sts.far.example. IN TXT "v=STSv1; id=2"`)
				}
			}
			h := newPolicyHost(t, tt.hostCert)
			if h.says(tt.policy); tt.answer != nil {
				h.answers(tt.answer)
			}
			s, c := farExample(t, tt.mxCert, zone(t, records...), h)
			out := c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@far.example")))
			if got := states(out); got != tt.want {
				t.Fatalf("%s, want %s: %v", got, tt.want, out[0].Failure)
			}
			taken := s.gw.Taken()
			if tt.how != "" && (len(taken) != 1 || !strings.HasPrefix(taken[0].Envelope.Source.Detail, tt.how)) {
				t.Errorf("%d taken, want one %q", len(taken), tt.how)
			}
			if tt.how == "" && len(taken) != 0 {
				t.Errorf("%d taken", len(taken))
			}
		})
	}
}

// TestAPolicyIsRememberedThoughItsAnnouncementIsGone: whoever forges answers of name servers can't take it away.
func TestAPolicyIsRememberedThoughItsAnnouncementIsGone(t *testing.T) {
	common := []string{"far.example. IN MX 10 mx.far.example.", "mx.far.example. IN A 127.0.0.1", "mta-sts.far.example. IN A 127.0.0.1"}
	h := newPolicyHost(t, "mta-sts.far.example")
	h.says(enforced)
	_, c := farExample(t, "", zone(t, append(common, `_mta-sts.far.example. IN TXT "v=STSv1; id=1"`)...), h)
	deliver := func(what string) {
		t.Helper()
		if got := states(c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@far.example")))); got != "deferred/transient/link/451/4.7.4" {
			t.Errorf("%s: %s", what, got)
		}
	}
	deliver("announced")
	deliver("announced again")
	if n := h.asked.Load(); n != 1 {
		t.Errorf("the policy host was asked %d times, want once", n)
	}
	c.sts.resolver = newResolver(zone(t, common...))
	deliver("no longer announced")
	c.sts.resolver = newResolver(zone(t, append(common, `_mta-sts.far.example. IN TXT "v=STSv1; id=2"`)...))
	h.answers(http.NotFound)
	deliver("another one announced that is not there")
	deliver("and again")
	if n := h.asked.Load(); n != 2 {
		t.Errorf("the policy host was asked %d times, want twice", n)
	}
	c.sts.mu.Lock()
	c.sts.known["far.example"].until = time.Now()
	c.sts.mu.Unlock()
	if got := states(c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@far.example")))); got != "delivered" {
		t.Errorf("when its time is over: %s", got)
	}
}

func TestWhichExchangersAPolicyNames(t *testing.T) {
	p := &stsPolicy{mx: []string{"mx.far.example", "*.mail.far.example"}}
	for host, want := range map[string]bool{
		"mx.far.example": true, "mx2.far.example": false, "a.mail.far.example": true, "mail.far.example": false, "b.a.mail.far.example": false,
		"amail.far.example": false, "": false, "example": false,
	} {
		if got := p.names(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestPoliciesCostBoundedMemory(t *testing.T) {
	s := newSTSPolicies(nil, nil)
	now := time.Now()
	for i := range 6 * maxPolicies {
		d := strconv.Itoa(i) + ".example"
		if i%2 == 0 {
			s.remember(d, &stsPolicy{until: now.Add(time.Hour)}, nil, now)
		} else {
			s.remember(d, nil, errNotSMTP, now)
		}
	}
	if n := len(s.known) + len(s.failed); n > 2*maxPolicies || len(s.known) > maxPolicies {
		t.Errorf("%d are kept", n)
	}
	s.remember("new.example", &stsPolicy{until: now.Add(2 * time.Hour)}, nil, now.Add(time.Hour))
	if n := len(s.known) + len(s.failed); n != 1 {
		t.Errorf("%d are kept when the time of the others is over", n)
	}
}

// FuzzPolicy: what a policy host says is a policy within bounds, or an error.
func FuzzPolicy(f *testing.F) {
	f.Add(enforced, "v=STSv1; id=1;")
	f.Add("version: STSv1\nmode: none\nmax_age: 99999999999999999999\n", "v=STSv1;id")
	f.Fuzz(func(t *testing.T, text, txt string) {
		if id := policyID([]string{txt}); len(id) > 32 {
			t.Errorf("id %q", id)
		}
		now := time.Now()
		p, err := parsePolicy(text, now)
		if err != nil {
			return
		}
		if p.until.Before(now) || p.until.After(now.Add(maxPolicyAge*time.Second)) || p.enforce && len(p.mx) == 0 {
			t.Errorf("%+v of %q", p, text)
		}
		p.names("mx.far.example")
	})
}

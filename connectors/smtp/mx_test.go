package smtp

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"

	"backbone/connectors"

	"github.com/miekg/dns"
)

// zone serves records in this process: "name. IN MX 10 host." and so on. SERVFAIL is answered for names under
// broken.example, NOERROR without records for names that exist with other types.
func zone(t testing.TB, records ...string) string {
	t.Helper()
	byName := map[string][]dns.RR{}
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ToLower(rr.Header().Name)
		byName[name] = append(byName[name], rr)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		name := strings.ToLower(q.Question[0].Name)
		if strings.HasSuffix(name, "broken.example.") {
			m.Rcode = dns.RcodeServerFailure
		} else if all, ok := byName[name]; !ok {
			m.Rcode = dns.RcodeNameError
		} else {
			for _, rr := range all {
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				}
			}
		}
		if err := w.WriteMsg(m); err != nil {
			t.Error(err)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- srv.ActivateAndServe() }()
	t.Cleanup(func() {
		if err := srv.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return pc.LocalAddr().String()
}

func TestMailExchangers(t *testing.T) {
	server := zone(t,
		"three.example. IN MX 30 c.three.example.", "three.example. IN MX 10 a.three.example.", "three.example. IN MX 20 b.three.example.",
		"implicit.example. IN A 192.0.2.1",
		"null.example. IN MX 0 .",
		"usfirst.example. IN MX 10 mx.sitea.example.", "usfirst.example. IN MX 20 backup.example.",
		"ussecond.example. IN MX 10 first.example.", "ussecond.example. IN MX 20 mx.sitea.example.", "ussecond.example. IN MX 20 equal.example.", "ussecond.example. IN MX 30 last.example.",
		"usonly.example. IN MX 10 mx.sitea.example.",
		"mx.sitea.example. IN A 192.0.2.9",
		"byaddress.example. IN MX 10 alias.example.", "alias.example. IN A 127.0.0.1",
		"onlytxt.example. IN TXT x",
	)
	c, closeOut := outbound(t, "", func(c *Config) { c.DNS, c.Port = server, 2525 })
	defer func() {
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	}()
	c.self.addrs = []net.Addr{&net.TCPAddr{IP: net.IPv4zero, Port: 2525}}
	for _, tt := range []struct {
		name, domain, want string
		failure            string
	}{
		{"by preference", "three.example", "a.three.example b.three.example c.three.example", ""},
		{"the domain's own address when there is no MX", "implicit.example", "implicit.example", ""},
		{"a literal is an address", "[192.0.2.7]", "192.0.2.7", ""},
		{"an IPv6 literal too", "[IPv6:2001:db8::7]", "2001:db8::7", ""},
		{"null MX", "null.example", "", "permanent/recipient/5.1.10"},
		{"a domain that is not there", "nowhere.example", "", "permanent/recipient/5.1.2"},
		{"a domain without host", "onlytxt.example", "", "permanent/recipient/5.1.2"},
		{"name servers that fail are no verdict", "broken.example", "", "transient/link/4.4.3"},
		{"only better ones than ourselves", "ussecond.example", "first.example", ""},
		{"we are the best", "usfirst.example", "", "permanent/recipient/5.4.6"},
		{"we are the only one", "usonly.example", "", "permanent/recipient/5.4.6"},
		{"an alias that leads to where we listen", "byaddress.example", "", "permanent/recipient/5.4.6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			targets, f := c.targets(t.Context(), tt.domain)
			var hosts []string
			for _, x := range targets {
				if x.port != 2525 {
					t.Errorf("port %d", x.port)
				}
				hosts = append(hosts, x.host)
			}
			if got := strings.Join(hosts, " "); got != tt.want {
				t.Errorf("targets %q, want %q", got, tt.want)
			}
			got := ""
			if f != nil {
				got = string(f.Class) + "/" + string(f.Scope) + "/" + f.Enhanced
			}
			if got != tt.failure {
				t.Errorf("failure %q (%v), want %q", got, f, tt.failure)
			}
		})
	}
}

// TestDeliveryByMX goes the whole way: the first exchanger is dead, the second takes the message.
func TestDeliveryByMX(t *testing.T) {
	p := newPeer(t)
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	server := zone(t, "far.example. IN MX 10 dead.far.example.", "far.example. IN MX 15 gone.far.example.", "far.example. IN MX 20 mx.far.example.",
		"dead.far.example. IN A 127.0.0.2", "mx.far.example. IN A 127.0.0.1")
	c, closeOut := outbound(t, "", func(c *Config) {
		c.DNS = server
		if c.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
	})
	tr := transferOf(c, letterText, smtpAddress("one@far.example"))
	if tr.NextHop != "far.example" {
		t.Errorf("next hop %q", tr.NextHop)
	}
	out := c.Deliver(t.Context(), tr)
	if got := states(out); got != "delivered" {
		t.Errorf("%s: %v", got, out[0].Failure)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

func TestDNSFailuresEndInOutcomes(t *testing.T) {
	server := zone(t, "null.example. IN MX 0 .")
	c, closeOut := outbound(t, "", func(c *Config) { c.DNS = server })
	for domain, want := range map[string]string{
		"null.example": "failed/permanent/recipient/556/5.1.10", "no.example": "failed/permanent/recipient/550/5.1.2", "broken.example": "deferred/transient/link/451/4.4.3",
	} {
		tr := transferOf(c, letterText, smtpAddress("one@"+domain))
		if got := states(c.Deliver(t.Context(), tr)); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := states(c.Deliver(ctx, transferOf(c, letterText, smtpAddress("one@null.example")))); !match("deferred/transient/link/*", got) {
		t.Error(got)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

var _ connectors.Connector = (*Connector)(nil)

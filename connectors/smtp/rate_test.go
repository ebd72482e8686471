package smtp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail/pace"
)

// TestMailThatComesTooFastIsAskedToComeLater, with 450, and comes then.
func TestMailThatComesTooFastIsAskedToComeLater(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		// send is one try; it gives the reply that decides.
		send func(p *pipe, n int) string
	}{
		{"by client", func(c *Config) { c.HostRate = 6 }, func(p *pipe, n int) string {
			return p.send("MAIL FROM:<a"+string(rune('a'+n))+"@far.example>\r\n") + p.send("RSET\r\n")
		}},
		{"by sender", func(c *Config) { c.SenderRate = 6 }, func(p *pipe, _ int) string {
			return p.send("MAIL FROM:<A@far.example>\r\n") + p.send("RSET\r\n")
		}},
		{"by destination", func(c *Config) { c.DestRate = 6 }, func(p *pipe, _ int) string {
			p.send("MAIL FROM:<a@far.example>\r\n")
			return p.send("RCPT TO:<bob@sitea.example>\r\n") + p.send("RSET\r\n")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, l := inMemory(t, func(cfg *Config) { cfg.Idle, cfg.Session = cfg.Session, 2*cfg.Session; c.change(cfg) })
				defer s.stop()
				p := l.dial(t)
				p.take()
				p.send("EHLO c.example\r\n")
				for n := range 6 {
					if r := c.send(p, n); !strings.HasPrefix(r, "250") {
						t.Fatalf("number %d of 6: %q", n+1, r)
					}
				}
				if r := c.send(p, 6); !strings.HasPrefix(r, "450 4.7.28 ") || !strings.Contains(r, "try again in 10m0s") {
					t.Fatalf("number 7: %q, want 450 and when to come again", r)
				}
				sleep(10 * time.Minute)
				if r := c.send(p, 7); !strings.HasPrefix(r, "250") {
					t.Errorf("ten minutes later: %q", r)
				}
				if r := c.send(p, 8); !strings.HasPrefix(r, "450") {
					t.Errorf("and one more: %q, want 450", r)
				}
				p.conn.Close()
			})
		})
	}
}

func TestWhatIsCountedTogether(t *testing.T) {
	r := &rates{cfg: &Config{HostRate: 1, SenderRate: 1, DestRate: 1}}
	from := func(a string, partner bool) client {
		return client{addr: netip.MustParseAddr(a), rules: []*relayRule{{partner: partner}}}
	}
	sender := address.Mailbox{Local: "a", Domain: "far.example"}
	for _, c := range []struct {
		what    string
		err     error
		refused bool
	}{
		{"the first message of a host", r.message(t.Context(), from("192.0.2.1", false), address.Mailbox{}), false},
		{"its second", r.message(t.Context(), from("192.0.2.1", false), address.Mailbox{}), true},
		{"its neighbour's, with a null sender again", r.message(t.Context(), from("192.0.2.2", false), address.Mailbox{}), false},
		{"one from an IPv6 host", r.message(t.Context(), from("2001:db8::1", false), sender), false},
		{"one from the same /64", r.message(t.Context(), from("2001:db8::2", false), address.Mailbox{}), true},
		{"the same sender from elsewhere", r.message(t.Context(), from("2001:db8:1::1", false), sender), true},
		{"a partner's", r.message(t.Context(), from("192.0.2.1", true), sender), false},
		{"a recipient", r.recipient(t.Context(), client{}, address.Address{Type: address.MS, Value: "NET/PO/ANN"}), false},
		{"another at his post office", r.recipient(t.Context(), client{}, address.Address{Type: address.MS, Value: "NET/PO/BOB"}), true},
		{"one at another post office", r.recipient(t.Context(), client{}, address.Address{Type: address.MS, Value: "NET/PO2/BOB"}), false},
		{"one in a PRMD", r.recipient(t.Context(), client{}, address.Address{Type: address.X400, Value: "c=US;a= ;p=Other;s=Kumar;"}), false},
		{"another there", r.recipient(t.Context(), client{}, address.Address{Type: address.X400, Value: "c=US;a= ;p=Other;s=Lee;"}), true},
	} {
		if (c.err != nil) != c.refused {
			t.Errorf("%s: %v", c.what, c.err)
		}
	}
}

// tally is a cluster's count that lets through so many events of a kind, whatever their keys.
type tally struct {
	left  map[string]int
	asked [][]pace.Limit
}

func (c *tally) Take(_ context.Context, limits []pace.Limit) (int, time.Duration, error) {
	c.asked = append(c.asked, limits)
	for i, l := range limits {
		if c.left[l.Kind]--; c.left[l.Kind] < 0 {
			return i, time.Minute, nil
		}
	}
	return len(limits), 0, nil
}

func (c *tally) Book(context.Context, []pace.Limit) ([]time.Duration, error) {
	return nil, errors.New("nothing is booked here")
}

// TestTheClusterCountsWhatComesIn: one question for a MAIL, one for a RCPT, and none where nothing is bounded.
func TestTheClusterCountsWhatComesIn(t *testing.T) {
	sender := address.Mailbox{Local: "A", Domain: "far.example"}
	who := client{addr: netip.MustParseAddr("192.0.2.1")}
	shared := &tally{left: map[string]int{"imc messages_per_host": 2, "imc messages_per_sender": 1, "imc recipients_per_destination": 1}}
	cfg := &Config{Common: connectors.Common{Name: "imc"}}
	r := &rates{cfg: cfg, pace: pace.Pace{Shared: shared}}
	bob := address.Address{Type: address.SMTP, Value: "bob@Near.example"}
	if r.message(t.Context(), who, sender) != nil || r.recipient(t.Context(), who, bob) != nil || len(shared.asked) != 0 {
		t.Fatalf("without bounds: asked %v", shared.asked)
	}
	cfg.HostRate, cfg.SenderRate, cfg.DestRate = 100, 50, 25
	for _, c := range []struct {
		what string
		err  error
		says string
	}{
		{"a message", r.message(t.Context(), who, sender), ""},
		{"its sender's second", r.message(t.Context(), who, sender), "from this sender"},
		{"its host's third", r.message(t.Context(), who, sender), "from your address"},
		{"a recipient", r.recipient(t.Context(), who, bob), ""},
		{"the second at his domain", r.recipient(t.Context(), who, bob), "at this destination, try again in 1m0s"},
	} {
		if (c.err == nil) != (c.says == "") || c.err != nil && !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.what, c.err, c.says)
		}
	}
	want := []pace.Limit{{Kind: "imc messages_per_host", Key: "192.0.2.1", PerHour: 100}, {Kind: "imc messages_per_sender", Key: "a@far.example", PerHour: 50}}
	if len(shared.asked) != 5 || !slices.Equal(shared.asked[0], want) {
		t.Errorf("asked %v, want 5 questions, the first %v", shared.asked, want)
	}
}

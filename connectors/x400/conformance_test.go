package x400

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// site is one side of a link under test: an opened kind that serves into gw.
type site struct {
	opened connectors.Opened
	gw     *connectortest.Acceptor
	stop   func() error
}

// open opens cfg and serves its sources until stop.
func open(t testing.TB, name string, cfg *Config) *site {
	t.Helper()
	return openFor(t, name, cfg, &connectortest.Acceptor{})
}

// openFor serves into a gateway that is there already.
func openFor(t testing.TB, name string, cfg *Config, gw *connectortest.Acceptor) *site {
	t.Helper()
	if bad := cfg.Check(); len(bad) > 0 {
		t.Fatalf("configuration of %s: %v", name, bad)
	}
	dir := t.TempDir()
	or, err := address.ParseORAddress("c=US;a= ;p=Northwind;o=" + name + ";")
	if err != nil {
		t.Fatal(err)
	}
	domain := strings.ToLower(name) + ".example"
	opened, err := Open(connectors.Env{Site: connectors.Site{Name: name, Domains: []string{domain}, X400: or}, Book: &connectortest.Book{Domain: domain},
		Dir: func(string) (string, error) { return dir, nil }}, []connectors.Config{cfg})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{opened: opened, gw: gw}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	for _, src := range opened.Sources {
		serving.Go(func() {
			if err := src.Serve(ctx, s.gw); err != nil {
				t.Errorf("%s: %v", src.Name(), err)
			}
		})
	}
	s.stop = func() error {
		cancel()
		serving.Wait()
		return opened.Close()
	}
	return s
}

func (s *site) addr() string { return s.opened.Sources[0].(*listener).Addr().String() }

// section is a configuration for mail between SITEA, which calls, and SITEB, which answers.
func section(local, remote string) *Config {
	c := NewConfig()
	c.Name, c.Type, c.Transport = "x400-"+remote, "x400", "loopback"
	c.Spaces = []connectors.Space{{Address: "SMTP:*@siteb.example"}}
	c.LocalMTA, c.LocalPassword = local, connectors.Secret("secret of "+local)
	c.RemoteMTA, c.RemotePassword = remote, connectors.Secret("secret of "+remote)
	return c
}

// pair is a caller and an answerer on loop-back. Each may be changed before it opens.
func pair(t testing.TB, change func(caller, answerer *Config)) (a, b *site) {
	t.Helper()
	answerer := section("SITEB", "SITEA")
	answerer.Listen = "127.0.0.1:0"
	caller := section("SITEA", "SITEB")
	if change != nil {
		change(caller, answerer)
	}
	b = open(t, "SITEB", answerer)
	caller.Peer = b.addr()
	return open(t, "SITEA", caller), b
}

// link is what the suite sees of a and its peer: b, or none, and what else must end.
func link(a, b *site, also ...func()) connectortest.Link {
	return connectortest.Link{
		Connector: a.opened.Connectors[0],
		Received: func() []connectortest.Received {
			if b == nil {
				return nil
			}
			var out []connectortest.Received
			for _, m := range b.gw.Taken() {
				r := connectortest.Received{Originator: m.Envelope.Originator, Content: m.Content}
				for _, rcpt := range m.Envelope.Recipients {
					r.Recipients = append(r.Recipients, rcpt.Address)
				}
				out = append(out, r)
			}
			return out
		},
		Close: func() error {
			errA := a.stop()
			for _, end := range also {
				end()
			}
			if b != nil {
				if err := b.stop(); err != nil {
					return err
				}
			}
			return errA
		},
	}
}

// callTo is a connector alone, which calls addr.
func callTo(t testing.TB, addr string, set func(caller, answerer *Config)) *site {
	c := section("SITEA", "SITEB")
	set(c, section("SITEB", "SITEA"))
	c.Peer = addr
	c.Disconnect = connectors.Duration(300 * time.Millisecond)
	return open(t, "SITEA", c)
}

func TestConformance(t *testing.T) {
	for _, over := range []string{"loopback", "normal", "x410", "1984"} {
		t.Run(over, func(t *testing.T) {
			set := func(caller, answerer *Config) {
				for _, c := range []*Config{caller, answerer} {
					if over != "loopback" {
						c.Transport, c.Mode = "rfc1006", over
					}
				}
			}
			h := harness(set)
			switch over {
			case "loopback":
				h.Binary = true
			case "1984":
				h.Equal = func(sent, got []byte) error { return sameMessage(sent, got, "Subject", "Message-ID") }
			default:
				h.Equal = func(sent, got []byte) error { return sameMessage(sent, got, "Subject", "Message-ID", "Date") }
			}
			if over != "loopback" {
				// P1 has no refusal of a message but for now: what can't be served is taken and reported on, see reports_test.go.
				h.Refusing = nil
			}
			connectortest.Run(t, h)
		})
	}
}

// sameMessage compares what X.400 carries: the body to the octet, and the fields that a heading has.
func sameMessage(sent, got []byte, fields ...string) error {
	body := connectortest.Body(got)
	if fieldOf(got, "Content-Transfer-Encoding") == "quoted-printable" { // what a relay might change is encoded
		var err error
		if body, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body))); err != nil {
			return err
		}
	}
	if !bytes.Equal(connectortest.Body(sent), body) {
		return fmt.Errorf("bodies of %d and %d octets differ", len(connectortest.Body(sent)), len(body))
	}
	for _, field := range fields {
		if a, b := fieldOf(sent, field), fieldOf(got, field); a != b {
			return fmt.Errorf("%s %q became %q", field, a, b)
		}
	}
	return nil
}

func fieldOf(message []byte, name string) string {
	head, _, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

func harness(set func(caller, answerer *Config)) connectortest.Harness {
	return connectortest.Harness{
		Recipients:  connectortest.SMTPRecipients(4),
		ExactlyOnce: true,
		Working: func(t testing.TB) connectortest.Link {
			a, b := pair(t, set)
			return link(a, b)
		},
		Dead: func(t testing.TB) connectortest.Link {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := ln.Addr().String()
			if err := ln.Close(); err != nil {
				t.Fatal(err)
			}
			return link(callTo(t, addr, set), nil)
		},
		Refusing: func(t testing.TB, _ int, f *mail.Failure) connectortest.Link {
			a, b := pair(t, set)
			b.gw.Script(f)
			return link(a, b)
		},
		Silent: func(t testing.TB) connectortest.Link {
			addr, end := silentPeer(t)
			return link(callTo(t, addr, set), nil, end)
		},
		LosingAnswer: func(t testing.TB) connectortest.Link {
			answerer, caller := section("SITEB", "SITEA"), section("SITEA", "SITEB")
			answerer.Listen = "127.0.0.1:0"
			set(caller, answerer)
			b := open(t, "SITEB", answerer)
			addr, end := loseFirst(t, b.addr(), func() bool { return len(b.gw.Taken()) > 0 })
			caller.Peer = addr
			caller.Recovery = connectors.Duration(time.Nanosecond) // else the transfer is resumed within the attempt
			return link(open(t, "SITEA", caller), b, end)
		},
	}
}

// silentPeer accepts connections and says nothing.
func silentPeer(t testing.TB) (addr string, end func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		}
	}()
	return ln.Addr().String(), func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		<-done
		for _, c := range conns {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// loseFirst relays connections to addr until taken; then it cuts them, once, before the answer gets through.
func loseFirst(t testing.TB, addr string, taken func() bool) (own string, end func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for first := true; ; first = false {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			lose := first
			running.Go(func() { pump(up, c, nil) })
			running.Go(func() {
				stop := func() bool { return lose && taken() }
				pump(c, up, stop)
			})
		}
	})
	return ln.Addr().String(), func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	}
}

// pump copies from src to dst until either ends, or until cut says so after something was read; then it closes both.
func pump(dst, src net.Conn, cut func() bool) {
	defer func() { _, _ = dst.Close(), src.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if cut != nil && cut() {
			return
		}
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

package x400

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
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
	if bad := cfg.Check(); len(bad) > 0 {
		t.Fatalf("configuration of %s: %v", name, bad)
	}
	dir := t.TempDir()
	opened, err := Open(connectors.Env{Site: connectors.Site{Name: name, Domains: []string{"example.com"}}, Book: &connectortest.Book{},
		Dir: func(string) (string, error) { return dir, nil }}, []connectors.Config{cfg})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{opened: opened, gw: &connectortest.Acceptor{}}
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
	c.Name, c.Type = "x400-"+remote, "x400"
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
func callTo(t testing.TB, addr string) *site {
	c := section("SITEA", "SITEB")
	c.Peer = addr
	c.Disconnect = connectors.Duration(2 * time.Second)
	return open(t, "SITEA", c)
}

func TestConformanceOfTheLoopback(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		Recipients:  connectortest.SMTPRecipients(4),
		ExactlyOnce: true,
		Binary:      true,
		Working: func(t testing.TB) connectortest.Link {
			a, b := pair(t, nil)
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
			return link(callTo(t, addr), nil)
		},
		Refusing: func(t testing.TB, _ int, f *mail.Failure) connectortest.Link {
			a, b := pair(t, nil)
			b.gw.Script(f)
			return link(a, b)
		},
		Silent: func(t testing.TB) connectortest.Link {
			addr, end := silentPeer(t)
			return link(callTo(t, addr), nil, end)
		},
		LosingAnswer: func(t testing.TB) connectortest.Link {
			answerer := section("SITEB", "SITEA")
			answerer.Listen = "127.0.0.1:0"
			b := open(t, "SITEB", answerer)
			caller := section("SITEA", "SITEB")
			addr, end := loseFirst(t, b.addr(), func() bool { return len(b.gw.Taken()) > 0 })
			caller.Peer = addr
			return link(open(t, "SITEA", caller), b, end)
		},
	})
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

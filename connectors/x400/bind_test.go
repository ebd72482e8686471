package x400

import (
	"context"
	"io"
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

// message is a transfer of n octets to one recipient.
func message(key string, n int) *connectors.Transfer {
	return &connectors.Transfer{
		Key: key, NextHop: "SITEB", Attempt: 1, Note: func(mail.Note) {},
		Envelope: mail.Envelope{ID: key, Kind: mail.KindMessage, Originator: address.Address{Type: address.SMTP, Value: "o@sitea.example"},
			Recipients: []mail.Recipient{{Address: connectortest.SMTPRecipients(1)[0]}}},
		Content: connectortest.Bytes(connectortest.Message(n, 1)),
	}
}

func TestABindIsRefusedUnlessBothSidesAreWhoTheySay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(caller, answerer *Config)
		want   string // "" is success
	}{
		{"names and passwords agree", nil, ""},
		{"the name is in another case", func(c, _ *Config) { c.LocalMTA = "sitea" }, ""},
		{"the caller's password is wrong", func(c, _ *Config) { c.LocalPassword = "guess" }, "authentication-error"},
		{"the caller's password is in another case", func(c, _ *Config) { c.LocalPassword = "SECRET OF SITEA" }, "authentication-error"},
		{"the caller has an unknown name", func(c, _ *Config) { c.LocalMTA = "SITEX" }, "authentication-error"},
		{"the answerer's password is wrong", func(_, a *Config) { a.LocalPassword = "guess" }, "name or password is wrong"},
		{"the answerer is another MTA", func(_, a *Config) { a.LocalMTA = "SITEX" }, `"SITEX" is not SITEB`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pair(t, tt.change)
			got := a.opened.Connectors[0].Deliver(context.Background(), message("k", 100))[0]
			if err := link(a, b).Close(); err != nil {
				t.Error(err)
			}
			if tt.want == "" {
				if got.State != mail.Delivered || !got.PeerReports {
					t.Errorf("got %+v", got)
				}
				return
			}
			if got.State != mail.Deferred || got.Failure.Scope != mail.ScopeLink || !strings.Contains(got.Failure.Error(), tt.want) {
				t.Errorf("got %s, %v, want deferred by the link with %q", got.State, got.Failure, tt.want)
			}
			if n := len(b.gw.Taken()); n != 0 {
				t.Errorf("%d messages arrived", n)
			}
		})
	}
}

// counting counts the connections that a peer accepts.
func counting(t testing.TB, addr string) (own string, count func() int, end func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			up, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			running.Go(func() { pump(up, c, nil) })
			running.Go(func() { pump(c, up, nil) })
		}
	})
	count = func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
	return ln.Addr().String(), count, func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	}
}

func TestAnAssociationIsReusedAndReleasedWhenIdle(t *testing.T) {
	b := open(t, "SITEB", func() *Config { c := section("SITEB", "SITEA"); c.Listen = "127.0.0.1:0"; return c }())
	addr, count, end := counting(t, b.addr())
	caller := section("SITEA", "SITEB")
	caller.Peer = addr
	caller.AssociationLifetime = connectors.Duration(50 * time.Millisecond)
	a := open(t, "SITEA", caller)
	c := a.opened.Connectors[0].(*Connector)
	deliver := func(key string) {
		if got := c.Deliver(context.Background(), message(key, 10))[0]; got.State != mail.Delivered {
			t.Error(key, got.Failure)
		}
	}
	deliver("1")
	deliver("2")
	if count() != 1 {
		t.Errorf("%d associations for two messages in a row, want 1", count())
	}
	connectortest.Until(t, "the idle association to be released", func() bool {
		c.pool.mu.Lock()
		defer c.pool.mu.Unlock()
		return c.pool.open == 0
	})
	deliver("3")
	if count() != 2 {
		t.Errorf("%d associations, want 2: the idle one was released", count())
	}
	if err := link(a, b, end).Close(); err != nil {
		t.Error(err)
	}
}

func TestMoreThanTheThresholdWaitingOpensAnotherAssociation(t *testing.T) {
	for _, tt := range []struct{ threshold, want int }{{50, 1}, {1, 3}} {
		b := open(t, "SITEB", func() *Config { c := section("SITEB", "SITEA"); c.Listen = "127.0.0.1:0"; return c }())
		hold := make(chan struct{})
		b.gw.OnAccept(func(context.Context, connectors.Submission) error { <-hold; return nil })
		addr, count, end := counting(t, b.addr())
		caller := section("SITEA", "SITEB")
		caller.Peer, caller.Threshold = addr, tt.threshold
		a := open(t, "SITEA", caller)
		c := a.opened.Connectors[0].(*Connector)
		var running sync.WaitGroup
		for _, key := range []string{"1", "2", "3", "4", "5"} {
			running.Go(func() {
				if got := c.Deliver(context.Background(), message(key, 10))[0]; got.State != mail.Delivered {
					t.Error(key, got.Failure)
				}
			})
		}
		connectortest.Until(t, "all five to wait or be under way", func() bool {
			c.pool.mu.Lock()
			defer c.pool.mu.Unlock()
			return c.pool.open+len(c.pool.waiting) == 5 && count() == c.pool.open
		})
		close(hold)
		running.Wait()
		if count() != tt.want {
			t.Errorf("threshold %d: %d associations for five messages, want %d", tt.threshold, count(), tt.want)
		}
		if len(b.gw.Taken()) != 5 {
			t.Errorf("%d messages arrived", len(b.gw.Taken()))
		}
		if err := link(a, b, end).Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAnAssociationThatDiedWhileIdleIsReplacedUnnoticed(t *testing.T) {
	for _, transport := range []string{"loopback", "rfc1006"} {
		a, b := pair(t, func(caller, answerer *Config) { caller.Transport, answerer.Transport = transport, transport })
		c := a.opened.Connectors[0]
		if got := c.Deliver(context.Background(), message("1", 10))[0]; got.State != mail.Delivered {
			t.Fatal(got.Failure)
		}
		addr, gw := b.addr(), b.gw
		if err := b.stop(); err != nil { // the peer starts anew
			t.Fatal(err)
		}
		again := section("SITEB", "SITEA")
		again.Transport, again.Listen = transport, addr
		b = openFor(t, "SITEB", again, gw)
		if got := c.Deliver(context.Background(), message("2", 10))[0]; got.State != mail.Delivered {
			t.Errorf("%s: %v", transport, got.Failure)
		}
		if err := link(a, b).Close(); err != nil {
			t.Error(err)
		}
		if len(gw.Taken()) != 2 {
			t.Errorf("%s: %d messages arrived, want 2", transport, len(gw.Taken()))
		}
	}
}

func TestAHandOverThatIsRepeatedIsStoredOnce(t *testing.T) {
	a, b := pair(t, nil)
	c := a.opened.Connectors[0]
	for range 3 {
		if got := c.Deliver(context.Background(), message("same", 10))[0]; got.State != mail.Delivered {
			t.Error(got.Failure)
		}
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
	if len(b.gw.Taken()) != 1 {
		t.Errorf("%d messages arrived, want 1", len(b.gw.Taken()))
	}
}

func TestAFloodOfGarbageEndsTheConnectionNotTheListener(t *testing.T) {
	a, b := pair(t, nil)
	for _, bytes := range []string{"GET / HTTP/1.0\r\n\r\n", "\xff\xff\xff\xff\xff\xff", "B\xff\xff\xff\xff", "B\x00\x00\x00\x02{}"} {
		conn, err := net.Dial("tcp", b.addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, bytes); err != nil {
			t.Error(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadAll(conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%q: the connection stays open", bytes)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := a.opened.Connectors[0].Deliver(context.Background(), message("1", 10))[0]; got.State != mail.Delivered {
		t.Error(got.Failure)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
}

package x400

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/cotp"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/rtse"
	"backbone/connectors/x400/session"
	"backbone/connectors/x400/tpkt"
	"backbone/gateway/mail"
)

// guarded is an answerer of SITEA, on P1.
func guarded(t testing.TB, change func(*Config)) *site {
	c := section("SITEB", "SITEA")
	c.Transport, c.Listen = "rfc1006", "127.0.0.1:0"
	if change != nil {
		change(c)
	}
	return open(t, "SITEB", c)
}

// call opens a transport connection to addr.
func call(t testing.TB, addr string) (net.Conn, *cotp.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c, err := cotp.Connect(tpkt.New(conn), nil, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	return conn, c
}

// bindWith opens an association with a bind argument of user's.
func bindWith(c *cotp.Conn, mode rtse.Mode, user []byte) (*rtse.Association, error) {
	return rtse.Open(session.New(c), rtse.Terms{Mode: mode, Checkpoint: 1, Window: 3, User: user, Name: "SITEA", Time: time.Now()})
}

func simple(t testing.TB) []byte {
	b, err := p1.Bind{Name: "SITEA", Password: []byte("secret of SITEA")}.Encode(false, true)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hungUp waits for the end of a connection.
func hungUp(conn net.Conn) error {
	if _, err := io.Copy(io.Discard, conn); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return fmt.Errorf("the connection is still there: %w", err)
		}
	}
	return conn.Close()
}

// alive tells whether s still serves its peer.
func alive(t testing.TB, s *site) {
	t.Helper()
	conn, c := call(t, s.addr())
	a, err := bindWith(c, rtse.Normal, simple(t))
	if err != nil {
		t.Error("a peer can't bind any more:", err)
	} else if err := a.Release(); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestABindWithoutSimpleCredentialsIsRefused(t *testing.T) {
	strong := []byte{0xb0, 0x11, 0xa1, 0x0f, 0x80, 5, 'S', 'I', 'T', 'E', 'A', 0xa1, 6, 0xa0, 4, 0x80, 2, 5, 0}
	for _, tt := range []struct {
		name string
		user []byte
	}{
		{"strong credentials", strong}, {"nobody", []byte{0xb0, 2, 5, 0}}, {"no password", []byte{0xb0, 9, 0xa1, 7, 0x80, 5, 'S', 'I', 'T', 'E', 'A'}},
		{"something else", []byte{4, 1, 'x'}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := guarded(t, func(c *Config) { c.RemotePassword = "" }) // even where a peer needs no password
			conn, c := call(t, s.addr())
			_, err := bindWith(c, rtse.Normal, tt.user)
			var refused *rtse.Refused
			if tt.name == "no password" {
				if err != nil {
					t.Error("a peer without a password:", err)
				}
			} else if !errors.As(err, &refused) || refusal(refused) != "authentication-error" {
				t.Errorf("got %v", err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNobodyHoldsAConnectionWithoutBinding: by silence, by an octet now and then, or by many connections at once.
func TestNobodyHoldsAConnectionWithoutBinding(t *testing.T) {
	s := guarded(t, func(c *Config) { c.Disconnect = connectors.Duration(400 * time.Millisecond) })
	silent, _ := call(t, s.addr())
	trickling, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond) // each within the patience, all together beyond it
		defer tick.Stop()
		for _, b := range append([]byte{3, 0, 0xff, 0xff}, make([]byte, 200)...) {
			<-tick.C
			if _, err := trickling.Write([]byte{b}); err != nil {
				ended <- nil
				return
			}
		}
		ended <- errors.New("two hundred octets in ten seconds were waited for")
	}()
	if err := hungUp(silent); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := trickling.Close(); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func TestOneHostHasAFewUnboundConnectionsOnly(t *testing.T) {
	d := door{unbound: map[string]int{}}
	var leave func()
	for i := range maxUnbound {
		l, ok := d.enter("192.0.2.1")
		if !ok {
			t.Fatalf("connection %d was refused", i+1)
		}
		leave = l
	}
	if _, ok := d.enter("192.0.2.1"); ok {
		t.Errorf("connection %d was let in", maxUnbound+1)
	}
	if _, ok := d.enter("192.0.2.2"); !ok {
		t.Error("another host was kept out")
	}
	leave()
	leave() // bound, and then ended
	if _, ok := d.enter("192.0.2.1"); !ok {
		t.Error("nobody came in after one had bound")
	}
	if _, ok := d.enter("192.0.2.1"); ok {
		t.Error("one that left twice made two places")
	}

	s := guarded(t, nil)
	var held []net.Conn
	for range maxUnbound {
		conn, _ := call(t, s.addr())
		held = append(held, conn)
	}
	conn, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := hungUp(conn); err != nil {
		t.Error(err)
	}
	for _, c := range held {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func TestAnIdleAssociationIsGivenUp(t *testing.T) {
	s := guarded(t, func(c *Config) { c.AssociationLifetime = connectors.Duration(50 * time.Millisecond) })
	conn, c := call(t, s.addr())
	if _, err := bindWith(c, rtse.Normal, simple(t)); err != nil {
		t.Fatal(err)
	}
	if err := hungUp(conn); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// TestAPeerBeyondALimitLosesItsAssociationOnly tries what hostile or broken peers say, before and after they have bound.
func TestAPeerBeyondALimitLosesItsAssociationOnly(t *testing.T) {
	s := guarded(t, func(c *Config) { c.MaxSize = 64 << 10 })
	start := (&session.SPDU{Type: session.AS, ActivityID: []byte{1}}).Append(nil)
	data := func(b []byte) []byte { return (&session.SPDU{Type: session.DT, UserData: b}).Append(nil) }
	sync := func(serial int) []byte { return (&session.SPDU{Type: session.MIP, Serial: serial}).Append(nil) }
	deep := make([]byte, 0, 20_000)
	for range 5000 {
		deep = append(deep, 0x30, 0x80)
	}
	for _, tt := range []struct {
		name  string
		bound bool
		say   func(conn net.Conn, c *cotp.Conn) error
	}{
		{"a packet that is longer than it says", false, func(conn net.Conn, _ *cotp.Conn) error { return raw(conn, 0x20, []byte{2, 0xf0, 0x80, 1, 2, 3}) }},
		{"a packet of another version", false, func(conn net.Conn, _ *cotp.Conn) error {
			_, err := conn.Write([]byte{4, 0, 0, 7, 2, 0xf0, 0x80})
			return err
		}},
		{"a TPDU whose header is longer than its packet", false, func(conn net.Conn, _ *cotp.Conn) error { return raw(conn, 7, []byte{200, 0xf0, 0x80}) }},
		{"a second connection request", false, func(conn net.Conn, _ *cotp.Conn) error {
			return raw(conn, 11, []byte{6, 0xe0, 0, 0, 0, 1, 0})
		}},
		{"a connect without end", false, func(conn net.Conn, _ *cotp.Conn) error { return endless(conn) }},
		{"an SPDU that is longer than its TSDU", false, func(_ net.Conn, c *cotp.Conn) error { return c.WriteTSDU([]byte{0x0d, 200, 1, 2, 3}) }},
		{"a connect of nested values", false, func(_ net.Conn, c *cotp.Conn) error {
			needs := session.ForRTSE
			return c.WriteTSDU((&session.SPDU{Type: session.CN, Versions: 2, Requirements: &needs, UserData: deep[:10_000]}).Append(nil))
		}},
		{"data before the bind", false, func(_ net.Conn, c *cotp.Conn) error { return c.WriteTSDU(start) }},
		{"data outside an activity", true, func(_ net.Conn, c *cotp.Conn) error { return c.WriteTSDU(data([]byte("x"))) }},
		{"a checkpoint that skips one", true, func(_ net.Conn, c *cotp.Conn) error { return say(c, start, sync(2)) }},
		{"checkpoints and nothing between them", true, func(_ net.Conn, c *cotp.Conn) error {
			all := [][]byte{start}
			for i := range 5000 {
				all = append(all, sync(i+1))
			}
			return say(c, all...)
		}},
		{"a segment of nested values", true, func(_ net.Conn, c *cotp.Conn) error { return say(c, start, data(deep)) }},
		{"data in a context that was not agreed", true, func(_ net.Conn, c *cotp.Conn) error {
			return say(c, start, data([]byte{0x61, 8, 0x30, 6, 2, 1, 99, 0x81, 1, 'x'}))
		}},
		{"an activity that is resumed and never was", true, func(_ net.Conn, c *cotp.Conn) error {
			return c.WriteTSDU((&session.SPDU{Type: session.AR, OldActivity: []byte{9}, Serial: 7, ActivityID: []byte{1}}).Append(nil))
		}},
		{"a confirmation of what was not sent", true, func(_ net.Conn, c *cotp.Conn) error {
			return c.WriteTSDU((&session.SPDU{Type: session.MIA, Serial: 4}).Append(nil))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, c := call(t, s.addr())
			if tt.bound {
				if _, err := bindWith(c, rtse.Normal, simple(t)); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.say(conn, c); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Log(err) // it may hang up while we speak
			}
			if tt.name == "a packet that is longer than it says" { // and then ends
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Error(err)
				}
			}
			if err := hungUp(conn); err != nil {
				t.Error(err)
			}
			alive(t, s)
		})
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if n := len(s.gw.Taken()); n != 0 {
		t.Errorf("%d messages were taken", n)
	}
}

func raw(conn net.Conn, length int, payload []byte) error {
	head := binary.BigEndian.AppendUint16([]byte{3, 0}, uint16(length))
	_, err := conn.Write(append(head, payload...))
	return err
}

// endless sends TPDUs of one TSDU until it is hung up on.
func endless(conn net.Conn) error {
	payload := append([]byte{2, 0xf0, 0}, make([]byte, 8000)...)
	for range 10_000 {
		if err := raw(conn, len(payload)+4, payload); err != nil {
			return err
		}
	}
	return errors.New("eighty megabytes before the bind were taken")
}

func say(c *cotp.Conn, tsdus ...[]byte) error {
	for _, b := range tsdus {
		if err := c.WriteTSDU(b); err != nil {
			return err
		}
	}
	return nil
}

// TestATransferBeyondTheLimitIsNotTaken: the sender hears of it while it sends, and the association goes on.
func TestATransferBeyondTheLimitIsNotTaken(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) {
		caller.Transport, answerer.Transport = "rfc1006", "rfc1006"
		answerer.MaxSize = 100 << 10
	})
	c := a.opened.Connectors[0]
	if got := c.Deliver(context.Background(), message("LARGE", 4<<20))[0]; got.State == mail.Delivered {
		t.Error("four megabytes were taken where a tenth of one is the limit")
	}
	if got := c.Deliver(context.Background(), message("SMALL", 100))[0]; got.State != mail.Delivered {
		t.Error(got.Failure)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
	if n := len(b.gw.Taken()); n != 1 {
		t.Errorf("%d taken, want the small one", n)
	}
}

// TestTheTimeToBindIsBoundedAsAWhole: a caller that says an octet whenever its patience would end.
func TestTheTimeToBindIsBoundedAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := &patient{Conn: ours, patience: 120 * time.Second, by: time.Now().Add(120 * time.Second)}
		began, over := time.Now(), make(chan struct{})
		go func() {
			for {
				if _, err := theirs.Write([]byte{1}); err != nil {
					return
				}
				select {
				case <-time.After(100 * time.Second):
				case <-over:
					return
				}
			}
		}()
		var err error
		for err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		if took := time.Since(began); took != 120*time.Second {
			t.Errorf("it took %v", took)
		}
		close(over)
		c.bound()
		c.wait(0)
		if !c.deadline().IsZero() {
			t.Error("the time to bind goes on after the bind")
		}
		_, _ = ours.Close(), theirs.Close()
	})
}

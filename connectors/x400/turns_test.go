package x400

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"
)

// oneWay is SITEA, which calls, and SITEB, which can't, over a line that may be cut; both agree on two-way alternate.
func oneWay(t *testing.T, mode string, change func(a, b *Config)) (a, b *site, cut *cutter, end func()) {
	t.Helper()
	answerer, caller := answererIn(mode), section("SITEA", "SITEB")
	caller.Transport, caller.Mode, caller.RemoteTSelector = "rfc1006", mode, "x400"
	answerer.Dialogue, caller.Dialogue = "twa", "twa"
	if change != nil {
		change(caller, answerer)
	}
	b = open(t, "SITEB", answerer)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cut = &cutter{ln: ln, to: b.addr(), left: -1}
	cut.running.Go(func() { cut.serve(t) })
	caller.Peer = ln.Addr().String()
	a = open(t, "SITEA", caller)
	return a, b, cut, func() {
		if err := link(a, b, func() { ln.Close(); cut.running.Wait() }).Close(); err != nil {
			t.Error(err)
		}
	}
}

func (s *site) send(t *testing.T, key string) mail.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return s.opened.Connectors[0].Deliver(ctx, message(key, 5000))[0]
}

// once checks that each of the messages arrived, and none twice.
func (s *site) once(t *testing.T, prefix string, n int) {
	t.Helper()
	seen := map[string]int{}
	for _, m := range s.gw.Taken() {
		if strings.HasPrefix(m.Envelope.ID, prefix) {
			seen[m.Envelope.ID]++
		}
	}
	if len(seen) != n {
		t.Errorf("%d messages %s arrived, want %d", len(seen), prefix, n)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
}

// TestAPeerThatOnlyIsCalledSendsInItsTurn: mail flows both ways over the one association that SITEA opens.
func TestAPeerThatOnlyIsCalledSendsInItsTurn(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"normal", "x410", "1984"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			a, b, cut, end := oneWay(t, mode, nil)
			if out := b.send(t, "EARLY"); out.State != mail.Deferred || out.Failure.Scope != mail.ScopeLink || !strings.Contains(out.Failure.Error(), "has not called") {
				t.Errorf("before the call: %s, %v", out.State, out.Failure)
			}
			must := func(s *site, key string) {
				t.Helper()
				if out := s.send(t, key); out.State != mail.Delivered {
					t.Errorf("%s: %s, %v", key, out.State, out.Failure)
				}
			}
			must(a, "A-FIRST")
			must(b, "B-FIRST") // SITEA is idle, and hears that the turn is wanted
			must(b, "B-SECOND")
			must(a, "A-SECOND")
			const each = perTurn + 5
			var all sync.WaitGroup
			for i := range each {
				all.Go(func() { must(a, fmt.Sprintf("A-%d", i)) })
				all.Go(func() { must(b, fmt.Sprintf("B-%d", i)) })
			}
			all.Wait()
			end()
			b.once(t, "A-", each+2)
			a.once(t, "B-", each+2)
			if n := cut.connections(); n != 1 {
				t.Errorf("%d connections, want one", n)
			}
		})
	}
}

// TestACutInTheOtherSidesTurnLosesAndDoublesNothing cuts the line at many points of what SITEB sends over SITEA's call.
func TestACutInTheOtherSidesTurnLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	a, b, cut, end := oneWay(t, "normal", func(_, b *Config) { b.CheckpointSize = 2 })
	calls := 0
	deliver := func(key string) {
		t.Helper()
		for attempt := range 6 {
			calls++
			if out := a.send(t, fmt.Sprintf("CALL%d", calls)); out.State != mail.Delivered {
				continue // the cut met the call
			}
			out := b.send(t, key)
			if out.State == mail.Delivered {
				return
			}
			if out.State != mail.Deferred {
				t.Fatalf("%s: attempt %d: %s, %v", key, attempt, out.State, out.Failure)
			}
		}
		t.Fatalf("%s is not delivered", key)
	}
	deliver("B-MEASURE")
	before := cut.octets()
	deliver("B-MEASURE2")
	per := cut.octets()
	per[0], per[1] = per[0]-before[0], per[1]-before[1]
	const points = 40
	for i := range points {
		cut.arm(true, per[0]*i/points)
		deliver(fmt.Sprintf("B-F%d", i))
		cut.arm(false, per[1]*i/points)
		deliver(fmt.Sprintf("B-B%d", i))
	}
	end()
	a.once(t, "B-", 2*points+2)
	if cut.cuts < points {
		t.Errorf("%d cuts only", cut.cuts)
	}
}

// TestAPeerWithoutATurnIsCalledWhenItCanBe: the turn is not given in time, so we call.
func TestAPeerWithoutATurnIsCalledWhenItCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{connector: "x", cfg: NewConfig(), remoteMTA: "SITEB", transport: refusing{}}
		p.cfg.Peer, p.cfg.Disconnect = "192.0.2.1:102", connectors.Duration(time.Minute)
		pool := newPool(p)
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		g := &guest{sitting: &sitting{conn: near, pending: func() bool { return false }}}
		pool.join(g)
		if _, _, err := pool.get(t.Context()); err == nil || !strings.Contains(err.Error(), "refusing") {
			t.Errorf("with a peer that can be called: %v", err)
		}
		p.cfg.Peer = ""
		if _, _, err := pool.get(t.Context()); err == nil || !strings.Contains(err.Error(), "does not give us the turn") {
			t.Errorf("with one that can't: %v", err)
		}
		done := make(chan error)
		go func() {
			_, _, err := pool.get(context.Background())
			done <- err
		}()
		synctest.Wait() // it waits for the turn
		pool.leave(g)
		if err := <-done; err == nil || !strings.Contains(err.Error(), "has not called") {
			t.Errorf("when its association has ended: %v", err)
		}
	})
}

type refusing struct{}

func (refusing) dial(context.Context, *peer) (association, error) {
	return nil, mail.LinkDown("refusing", nil)
}
func (refusing) answer(context.Context, net.Conn, *desk) error { return nil }

package x400

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/connectors/x400/rtse"
	"backbone/gateway/mail"
)

// fakeLine is a transport and each association of it.
type fakeLine struct {
	mu       sync.Mutex
	dialling int
	most     int
	opened   chan struct{} // dial waits for it, when set
	onUsable func()
	onTake   func() error
	taken    int
}

func (f *fakeLine) dial(ctx context.Context, _ *peer) (association, error) {
	f.mu.Lock()
	f.dialling++
	f.most = max(f.most, f.dialling)
	f.mu.Unlock()
	if f.opened != nil {
		select {
		case <-f.opened:
		case <-ctx.Done():
			return nil, mail.LinkDown("fake", ctx.Err())
		}
	}
	return f, nil
}

func (*fakeLine) answer(context.Context, net.Conn, *desk) error { return nil }
func (*fakeLine) release(context.Context) error                 { return nil }
func (f *fakeLine) abort()                                      {}

func (f *fakeLine) usable() bool {
	if f.onUsable != nil {
		f.onUsable()
	}
	return true
}

func (f *fakeLine) transfer(context.Context, *connectors.Transfer) error {
	if f.onTake != nil {
		if err := f.onTake(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken++
	return nil
}

func (f *fakeLine) probe(ctx context.Context, t *connectors.Transfer) error {
	return f.transfer(ctx, t)
}

func (f *fakeLine) connector() *Connector {
	p := &peer{connector: "x", cfg: NewConfig(), remoteMTA: "SITEB", transport: f}
	p.cfg.Peer = "192.0.2.1:102"
	p.pool = newPool(p)
	return &Connector{peer: p, pool: p.pool, log: slog.New(slog.DiscardHandler)}
}

// TestAPanicInATransferKeepsNoAssociation: the gateway goes on after a connector's panic, and so must the next message.
func TestAPanicInATransferKeepsNoAssociation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLine{onTake: func() error { panic("a message that nobody foresaw") }}
		c := f.connector()
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			c.Deliver(t.Context(), message("1", 10))
		}()
		f.onTake = nil
		if out := c.Deliver(t.Context(), message("2", 10))[0]; out.State != mail.Delivered {
			t.Errorf("the next message: %s, %v", out.State, out.Failure)
		}
		c.pool.close()
		if c.pool.open != 0 {
			t.Errorf("%d associations are open after the end", c.pool.open)
		}
	})
}

// TestATransferWhoseTimeIsOverIsNotBegun: the peer could take it all the same, while the gateway offers it once more.
func TestATransferWhoseTimeIsOverIsNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLine{}
		c := f.connector()
		ctx, cancel := context.WithCancel(t.Context())
		f.onUsable = cancel
		for i, want := range []mail.State{mail.Delivered, mail.Deferred} {
			if out := c.Deliver(ctx, message(fmt.Sprint(i), 10))[0]; out.State != want {
				t.Errorf("message %d: %s, %v", i, out.State, out.Failure)
			}
		}
		if f.taken != 1 || len(c.pool.idle) != 1 {
			t.Errorf("%d were handed over, %d associations kept; want one of each", f.taken, len(c.pool.idle))
		}
		c.pool.close()
	})
}

// TestMailThatWaitsForATurnInVainOpensNoMoreAssociationsThanItMay although it all becomes impatient at the same moment.
func TestMailThatWaitsForATurnInVainOpensNoMoreAssociationsThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLine{opened: make(chan struct{})}
		c := f.connector()
		c.peer.cfg.MaxAssociations, c.peer.cfg.Threshold = 2, 1
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		c.pool.join(&guest{sitting: &sitting{conn: near, pending: func() bool { return false }}})
		const messages = 8
		var all sync.WaitGroup
		for i := range messages {
			all.Go(func() {
				if out := c.Deliver(t.Context(), message(fmt.Sprint(i), 10))[0]; out.State != mail.Delivered {
					t.Errorf("message %d: %s, %v", i, out.State, out.Failure)
				}
			})
		}
		time.Sleep(c.peer.cfg.Disconnect.D() + time.Second)
		synctest.Wait()
		if f.most != 2 {
			t.Errorf("%d associations are being opened, want 2", f.most)
		}
		close(f.opened)
		all.Wait()
		c.pool.close()
		if f.taken != messages || c.pool.open != 0 {
			t.Errorf("%d taken, %d open", f.taken, c.pool.open)
		}
	})
}

// TestNoTurnOfOursBeginsWhenTheSourceEndsWithinOne: whoever lends is told, or the association would outlive the source.
func TestNoTurnOfOursBeginsWhenTheSourceEndsWithinOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := (&fakeLine{}).connector()
		c.peer.cfg.Peer = ""
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		g := &guest{sitting: &sitting{conn: near, pending: func() bool { return false }}}
		c.pool.join(g)
		gate := &turnstile{conn: near}
		var got [2]error
		var all sync.WaitGroup
		for i := range got {
			all.Go(func() {
				a, _, err := c.pool.get(t.Context())
				if got[i] = err; err == nil {
					gate.close()
					c.pool.put(a)
				}
			})
		}
		synctest.Wait()
		sound, more := c.pool.lend(&p1Association{}, gate)
		if !sound || more {
			t.Errorf("after the end: sound %t, more %t", sound, more)
		}
		c.pool.leave(g)
		all.Wait()
		if (got[0] == nil) == (got[1] == nil) {
			t.Errorf("got %v", got)
		}
	})
}

// holding makes gw hold the first message of a prefix until the returned channel is closed; here tells that it is there.
func holding(gw *connectortest.Acceptor, prefix string) (here, release chan struct{}) {
	here, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	gw.OnAccept(func(_ context.Context, s connectors.Submission) error {
		if strings.HasPrefix(s.Envelope.ID, prefix) {
			once.Do(func() { close(here); <-release })
		}
		return nil
	})
	return here, release
}

// backlog is n messages that s has for its peer's turn.
func (s *site) backlog(t *testing.T, prefix string, n int) (delivered func() int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	count := 0
	for i := range n {
		all.Go(func() {
			if out := s.send(t, fmt.Sprint(prefix, i)); out.State == mail.Delivered {
				mu.Lock()
				defer mu.Unlock()
				count++
			} else {
				t.Log(out.Failure)
			}
		})
	}
	return func() int { all.Wait(); return count }
}

func (s *site) waiting() int {
	p := s.opened.Connectors[0].(*Connector).pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// TestAnEndWaitsForTheMessageInHandAndNotForThePeersWholeTurn, on the side that has opened the association.
func TestAnEndWaitsForTheMessageInHandAndNotForThePeersWholeTurn(t *testing.T) {
	t.Parallel()
	a, b, _, end := oneWay(t, "normal", nil)
	if out := a.send(t, "CALL"); out.State != mail.Delivered {
		t.Fatal(out.Failure)
	}
	here, release := holding(a.gw, "B-")
	delivered := b.backlog(t, "B-", perTurn)
	<-here
	connectortest.Until(t, "the others to wait", func() bool { return b.waiting() == perTurn-1 })
	closed := make(chan error)
	go func() { closed <- a.stop() }()
	<-a.opened.Connectors[0].(*Connector).pool.ctx.Done()
	close(release)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	n := delivered()
	if n == perTurn {
		t.Errorf("the end waited for all %d messages", n)
	}
	a.once(t, "B-", n)
	end()
}

// TestAnEndInTheAnswerersTurnLeavesNoAssociation that it would wait for until the peer speaks.
func TestAnEndInTheAnswerersTurnLeavesNoAssociation(t *testing.T) {
	t.Parallel()
	a, b, _, end := oneWay(t, "normal", nil)
	if out := a.send(t, "CALL"); out.State != mail.Delivered {
		t.Fatal(out.Failure)
	}
	here, release := holding(a.gw, "B-")
	delivered := b.backlog(t, "B-", 1)
	<-here
	closed := make(chan error, 1)
	go func() { closed <- b.stop() }()
	connectortest.Until(t, "the listener to end", func() bool {
		c, err := net.Dial("tcp", b.addr())
		return err != nil || c.Close() != nil
	})
	close(release)
	if n := delivered(); n != 1 {
		t.Error("the message in hand was not handed over")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("it does not end")
	}
	end()
}

// TestAPeerWithABacklogTakesTurnsWithOurMail: it asks for the turn again as soon as it has given it back.
func TestAPeerWithABacklogTakesTurnsWithOurMail(t *testing.T) {
	t.Parallel()
	a, b, _, end := oneWay(t, "normal", nil)
	if out := a.send(t, "CALL"); out.State != mail.Delivered {
		t.Fatal(out.Failure)
	}
	here, release := holding(a.gw, "B-")
	before := make(chan int, 1)
	b.gw.OnAccept(func(_ context.Context, s connectors.Submission) error {
		if s.Envelope.ID == "A-WAITS" {
			before <- len(a.gw.Taken())
		}
		return nil
	})
	const many = 4 * perTurn
	delivered := b.backlog(t, "B-", many)
	<-here
	connectortest.Until(t, "the others to wait", func() bool { return b.waiting() == many-1 })
	var sent sync.WaitGroup
	sent.Go(func() {
		if out := a.send(t, "A-WAITS"); out.State != mail.Delivered {
			t.Error(out.Failure)
		}
	})
	connectortest.Until(t, "ours to wait", func() bool { return a.waiting() == 1 })
	close(release)
	sent.Wait()
	if n := <-before; n != perTurn {
		t.Errorf("ours went after %d of the peer's, want %d: those of one turn", n, perTurn)
	}
	if n := delivered(); n != many {
		t.Errorf("%d of the peer's %d", n, many)
	}
	end()
	a.once(t, "B-", many)
}

// TestAPeerThatWantsItsTurnBeforeOurSourceServesWaitsForIt and keeps its association.
func TestAPeerThatWantsItsTurnBeforeOurSourceServesWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := (&fakeLine{}).connector()
		p := c.peer
		p.served = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		near, far := net.Pipe()
		defer far.Close()
		attended := make(chan error, 1)
		go func() {
			attended <- (&p1Association{peer: p, conn: &patient{Conn: near}, rtse: &rtse.Association{}}).attend(ctx)
		}()
		synctest.Wait()
		if len(attended) > 0 {
			t.Errorf("it did not wait: %v", <-attended)
		}
		cancel()
		if err := <-attended; !errors.Is(err, errClosing) {
			t.Errorf("when all ends: %v", err)
		}
		c.pool.close()
	})
}

// TestAnIdleGuestHearsOrLeaves: an association on which nothing is said is given up after its time, and not kept deaf.
func TestAnIdleGuestHearsOrLeaves(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, b, _, end := oneWay(t, "normal", func(a, b *Config) { b.AssociationLifetime = connectors.Duration(50 * time.Millisecond) })
	a.opened.Connectors[0].(*Connector).peer.cfg.Peer = ln.Addr().String()
	var sent sync.WaitGroup
	sent.Go(func() { a.send(t, "CALL") })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l := b.opened.Sources[0].(*listener)
	err = l.transport.answer(t.Context(), conn, &desk{gw: b.gw, peers: l.peers, log: slog.New(slog.DiscardHandler), bound: func() {}})
	if err == nil || !strings.Contains(err.Error(), "was idle for") {
		t.Errorf("it ended with %v", err)
	}
	sent.Wait()
	end()
	b.once(t, "CALL", 1)
}

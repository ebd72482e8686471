package x400

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"
)

// guillotine relays connections and, at a point, cuts the line and lets no other through until it is told to.
type guillotine struct {
	t       testing.TB
	ln      net.Listener
	running sync.WaitGroup
	fell    chan struct{}

	mu      sync.Mutex
	to      string
	left    int // octets until it falls; negative: it does not
	forward bool
	passed  [2]int
	blocked chan struct{} // closed when connections may pass again
}

func newGuillotine(t testing.TB, to string) *guillotine {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &guillotine{t: t, ln: ln, to: to, left: -1, fell: make(chan struct{}, 1)}
	g.running.Go(g.serve)
	return g
}

func (g *guillotine) arm(forward bool, octets int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forward, g.left = forward, octets
}

// lift lets connections pass again, to the address where the answerer lives now.
func (g *guillotine) lift(to string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.to = to
	close(g.blocked)
	g.blocked = nil
}

// pass tells how much of n octets may pass, and whether the blade has fallen.
func (g *guillotine) pass(forward bool, n int) (int, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if forward {
		g.passed[0] += n
	} else {
		g.passed[1] += n
	}
	if g.blocked != nil {
		return 0, true // whatever else was under way
	}
	if g.left < 0 || forward != g.forward {
		return n, false
	}
	if n <= g.left {
		g.left -= n
		return n, false
	}
	n, g.left = g.left, -1
	g.blocked = make(chan struct{})
	g.fell <- struct{}{}
	return n, true
}

func (g *guillotine) serve() {
	for {
		in, err := g.ln.Accept()
		if err != nil {
			return
		}
		g.running.Go(func() {
			defer in.Close()
			g.mu.Lock()
			blocked := g.blocked
			g.mu.Unlock()
			if blocked != nil {
				<-blocked
			}
			g.mu.Lock()
			to := g.to
			g.mu.Unlock()
			out, err := net.Dial("tcp", to)
			if err != nil {
				return // the answerer is dead
			}
			defer out.Close()
			var both sync.WaitGroup
			both.Go(func() { g.copy(out, in, true) })
			both.Go(func() { g.copy(in, out, false) })
			both.Wait()
		})
	}
}

func (g *guillotine) copy(dst, src net.Conn, forward bool) {
	defer func() { _, _ = dst.Close(), src.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		n, cut := g.pass(forward, n)
		if _, werr := dst.Write(buf[:n]); werr != nil || err != nil || cut {
			return
		}
	}
}

// TestADeathAtAnyOctetLosesAndDoublesNothing cuts the line at 200 points of a transfer and lets one side die there, with all
// that it knew but its queue. It starts again and the message is attempted again, as after a crash.
func TestADeathAtAnyOctetLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	const points = 200
	for _, who := range []string{"initiator", "responder"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			answerer := func() *Config {
				c := answererIn("normal")
				c.CheckpointSize = 2
				return c
			}
			b := open(t, "SITEB", answerer())
			durable := b.gw // the responder's queue, which survives
			g := newGuillotine(t, b.addr())
			caller := func() *Config {
				c := section("SITEA", "SITEB")
				c.Transport, c.Peer, c.RemoteTSelector, c.Recovery = "rfc1006", g.ln.Addr().String(), "x400", connectors.Duration(5*time.Second)
				return c
			}
			a := open(t, "SITEA", caller())
			attempt := func(key string, n int) mail.Outcome {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				done := make(chan mail.Outcome, 1)
				m := message(key, 20_000)
				m.Attempt, m.Repeated = n, n > 1
				c := a.opened.Connectors[0]
				go func() { done <- c.Deliver(ctx, m)[0] }()
				select {
				case out := <-done:
					return out
				case <-g.fell:
				}
				dies, to := a, b.addr()
				if who == "responder" {
					dies = b
				} else {
					cancel() // nobody is left to resume the transfer
					<-done
				}
				if err := dies.stop(); err != nil {
					t.Error(err)
				}
				if who == "responder" {
					b = openFor(t, "SITEB", answerer(), durable)
					to = b.addr()
				} else {
					a = open(t, "SITEA", caller())
				}
				g.lift(to)
				if who == "initiator" {
					return mail.Outcome{State: mail.Deferred}
				}
				return <-done
			}
			deliver := func(key string) {
				t.Helper()
				for n := 1; ; n++ {
					out := attempt(key, n)
					if out.State == mail.Delivered {
						return
					}
					if n == 5 || out.State != mail.Deferred {
						t.Fatalf("%s: attempt %d: %s, %v", key, n, out.State, out.Failure)
					}
				}
			}
			// Even points are those of a message with the bind before it, odd ones of the next over the same association.
			measure := func(key string) [2]int {
				g.mu.Lock()
				before := g.passed
				g.mu.Unlock()
				deliver(key)
				g.mu.Lock()
				defer g.mu.Unlock()
				return [2]int{g.passed[0] - before[0], g.passed[1] - before[1]}
			}
			total := [2][2]int{measure("MEASURE-BIND"), measure("MEASURE-NEXT")}
			for i := range points {
				if i%2 == 0 {
					if err := a.stop(); err != nil {
						t.Error(err)
					}
					a = open(t, "SITEA", caller())
				}
				// An answerer says little: each ninth and tenth death is within its answers.
				direction := 0
				if i%10 > 7 {
					direction = 1
				}
				g.arm(direction == 0, total[i%2][direction]*i/(points+1))
				deliver(fmt.Sprintf("M%d", i))
				g.mu.Lock()
				armed := g.left >= 0
				g.mu.Unlock()
				if armed {
					t.Errorf("point %d lies behind the transfer", i)
				}
			}
			if err := link(a, b, func() { g.ln.Close(); g.running.Wait() }).Close(); err != nil {
				t.Error(err)
			}
			seen := map[string]int{}
			for _, m := range durable.Taken() {
				seen[m.Envelope.ID]++
			}
			if len(seen) != points+2 {
				t.Errorf("%d of %d messages arrived", len(seen), points+2)
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%s arrived %d times", id, n)
				}
			}
		})
	}
}

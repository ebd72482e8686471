package x400

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/p1"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func traceOf(or address.ORAddress) string {
	return base64.StdEncoding.EncodeToString(p1.EncodeTrace([]p1.TraceElement{{GDI: p1.GDI{Country: or.C, ADMD: or.A, PRMD: or.P}, Arrival: time.Unix(9e8, 0)}}))
}

// cutter relays connections and cuts one after so many octets in one direction.
type cutter struct {
	ln      net.Listener
	to      string
	running sync.WaitGroup

	mu      sync.Mutex
	left    int // octets until the cut; negative: no cut
	forward bool
	cuts    int
	passed  [2]int
	opened  int
}

func (c *cutter) octets() [2]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed
}

func (c *cutter) connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

func (c *cutter) arm(forward bool, octets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forward, c.left = forward, octets
}

// pass tells how much of n octets may pass, and whether the line is cut then.
func (c *cutter) pass(forward bool, n int) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if forward {
		c.passed[0] += n
	} else {
		c.passed[1] += n
	}
	if c.left < 0 || forward != c.forward {
		return n, false
	}
	if n <= c.left {
		c.left -= n
		return n, false
	}
	n, c.left = c.left, -1
	c.cuts++
	return n, true
}

func (c *cutter) serve(t testing.TB) {
	for {
		in, err := c.ln.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.opened++
		c.mu.Unlock()
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			t.Error(err)
			return
		}
		c.running.Go(func() { c.copy(out, in, true) })
		c.running.Go(func() { c.copy(in, out, false) })
	}
}

func (c *cutter) copy(dst, src net.Conn, forward bool) {
	defer func() { _, _ = dst.Close(), src.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		n, cut := c.pass(forward, n)
		if _, werr := dst.Write(buf[:n]); werr != nil || err != nil || cut {
			return
		}
	}
}

// TestACutAtAnyOctetLosesAndDoublesNothing cuts the line at many points of a transfer, in both directions, in each mode; both
// sides live on and resume.
func TestACutAtAnyOctetLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for mode, points := range map[string]int{"normal": 100, "x410": 25, "1984": 25} {
		b := open(t, "SITEB", func() *Config {
			c := answererIn(mode)
			c.CheckpointSize = 2
			return c
		}())
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cut := &cutter{ln: ln, to: b.addr(), left: -1}
		cut.running.Go(func() { cut.serve(t) })
		caller := section("SITEA", "SITEB")
		caller.Transport, caller.Mode, caller.Peer, caller.RemoteTSelector = "rfc1006", mode, ln.Addr().String(), "x400"
		caller.Recovery = connectors.Duration(5 * time.Second)
		a := open(t, "SITEA", caller)
		c := a.opened.Connectors[0].(*Connector)
		deliver := func(key string) {
			t.Helper()
			for attempt := 1; ; attempt++ {
				m := message(key, 20_000)
				m.Attempt = attempt
				got := c.Deliver(context.Background(), m)[0]
				if got.State == mail.Delivered {
					return
				}
				if attempt == 5 || got.State != mail.Deferred {
					t.Fatalf("%s: attempt %d: %s, %v", key, attempt, got.State, got.Failure)
				}
			}
		}
		deliver("MEASURE")
		cut.mu.Lock()
		total := cut.passed
		cut.mu.Unlock()
		for i := range points {
			cut.arm(true, total[0]*i/points)
			deliver(fmt.Sprintf("F%d", i))
			cut.arm(false, total[1]*i/points)
			deliver(fmt.Sprintf("B%d", i))
		}
		cut.mu.Lock()
		cuts := cut.cuts
		cut.mu.Unlock()
		if err := link(a, b, func() { ln.Close(); cut.running.Wait() }).Close(); err != nil {
			t.Error(err)
		}
		seen := map[string]int{}
		for _, m := range b.gw.Taken() {
			seen[m.Envelope.ID]++
		}
		if len(seen) != 2*points+1 || cuts < points {
			t.Errorf("%s: %d of %d messages arrived after %d cuts", mode, len(seen), 2*points+1, cuts)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s: %s arrived %d times", mode, id, n)
			}
		}
	}
}

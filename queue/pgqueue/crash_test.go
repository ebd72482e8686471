package pgqueue

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/queue/pgqueue/pgtest"
)

var kills = flag.Int("kills", 4, "how often TestAServerThatDiesAgainAndAgain kills its server")

// crashLoad is what two gateways did with a queue whose server died again and again.
type crashLoad struct {
	t    *testing.T
	mu   sync.Mutex
	put  map[string]bool // acknowledged
	done map[string]int  // settled, and said so
	kept int
}

func (c *crashLoad) failed(what string, err error) bool {
	if err != nil && !errors.Is(err, context.Canceled) {
		c.t.Errorf("%s: %v", what, err)
	}
	return err != nil
}

// source puts messages of every size until ctx ends: some with a dedup key, of which some are put again.
func (c *crashLoad) source(ctx context.Context, s *Store, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		n := queue.New{}
		if i%3 == 0 {
			n.Dedup = id
		}
		size := 100 + rand.IntN(4000)
		if i%10 == 9 {
			size = 2*chunkSize + 3
		}
		for range 1 + i%2 {
			var err error
			if n.Body, err = s.Stage(ctx, strings.NewReader(strings.Repeat("x", size)), 0); err != nil {
				c.failed("stage", err)
				return
			}
			n.Items = []queue.Item{{Dest: far, Next: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour), Envelope: mail.Envelope{
				ID: id, Recipients: []mail.Recipient{{Address: address.Address{Type: address.SMTP, Value: "bob@far.example"}}}}}}
			_, twice, err := s.Put(ctx, n)
			if c.failed("put", err) {
				return
			}
			c.mu.Lock()
			again := c.put[id]
			c.put[id] = true
			c.mu.Unlock()
			if twice != again {
				c.t.Errorf("%s: put before: %t, the store says %t", id, again, twice)
			}
			if n.Dedup == "" {
				break
			}
		}
	}
}

// sink leases and settles until ctx ends, or nothing is left when it has: every fifth is kept once for another attempt.
func (c *crashLoad) sink(ctx context.Context, s *Store) {
	for {
		ls, err := s.Lease(context.Background(), far, s.o.Node, 8, queue.NoWindow, time.Hour)
		if c.failed("lease", err) || len(ls) == 0 && ctx.Err() != nil {
			return
		}
		for _, l := range ls {
			st := queue.Settlement{}
			if l.ID%5 == 0 && l.Attempts == 0 {
				k := l.Item
				k.State, k.Attempts = queue.Ready, 1
				st.Keep = []queue.Item{k}
			}
			err := s.Settle(context.Background(), l, st)
			c.mu.Lock()
			switch {
			case errors.Is(err, queue.ErrLeaseLost):
				c.t.Errorf("%s: the lease of a gateway that lives was taken from it", l.Envelope.ID)
			case c.failed("settle", err):
			case st.Keep != nil:
				c.kept++
			default:
				c.done[l.Envelope.ID]++
			}
			c.mu.Unlock()
		}
	}
}

// TestAServerThatDiesAgainAndAgain ends all the server's processes at once, at any time, while two gateways put, lease and
// settle: each message that was acknowledged is settled once, and the tables are sound.
func TestAServerThatDiesAgainAndAgain(t *testing.T) {
	server, err := pgtest.Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	})
	c := &crashLoad{t: t, put: map[string]bool{}, done: map[string]int{}}
	patient := func(o *Options) { o.Patience = time.Minute }
	stores := []*Store{member(t, server.DSN(), "a", patient), member(t, server.DSN(), "b", patient)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sources, sinks sync.WaitGroup
	ended, end := context.WithCancel(context.Background())
	defer end()
	for _, s := range stores {
		for i := range 3 {
			sources.Go(func() { c.source(ctx, s, fmt.Sprint(s.o.Node, i)) })
			sinks.Go(func() { c.sink(ended, s) })
		}
	}
	acknowledged := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.put)
	}
	for range *kills {
		n := acknowledged() + 20 + rand.IntN(200)
		eventually(t, "mail to be put", func() bool { return acknowledged() >= n })
		server.Kill()
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	n := acknowledged() + 20
	eventually(t, "mail to be put after the last", func() bool { return acknowledged() >= n })
	stop()
	sources.Wait()
	end()
	sinks.Wait()
	for id := range c.put {
		if c.done[id] != 1 {
			t.Errorf("%s was settled %d times", id, c.done[id])
		}
	}
	for id := range c.done {
		if !c.put[id] {
			t.Logf("%s was stored, though nobody heard of it", id)
		}
	}
	if items, _, err := stores[0].List(t.Context(), queue.Filter{}, "", 10); err != nil || len(items) > 0 {
		t.Errorf("%d items left, %v", len(items), err)
	}
	if bad, err := stores[0].Check(t.Context()); err != nil || bad != nil {
		t.Errorf("check: %v, %v", bad, err)
	}
	t.Logf("%d messages, %d kept for another attempt", len(c.put), c.kept)
}

package pgqueue

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5"

	"backbone/gateway/mail"
	"backbone/queue"
)

// gather has n calls wait for each other, which start begins one by one, and lets them go together, in this order.
func gather[C any](t *testing.T, g *group[C], n int, start func(i int)) {
	t.Helper()
	g.mu.Lock()
	g.busy = true
	g.mu.Unlock()
	for i := range n {
		start(i)
		eventually(t, "the call to wait", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.waiting) == i+1
		})
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.waiting[0].lead)
	g.waiting = slices.Delete(g.waiting, 0, 1)
}

// putAnswer is what a Put said.
type putAnswer struct {
	ids       []queue.ID
	duplicate bool
	err       error
}

// putTogether puts messages in one group.
func putTogether(t *testing.T, s *Store, ns ...queue.New) []putAnswer {
	t.Helper()
	out := make([]putAnswer, len(ns))
	var wg sync.WaitGroup
	gather(t, &s.smalls, len(ns), func(i int) {
		wg.Go(func() { a := &out[i]; a.ids, a.duplicate, a.err = s.Put(context.Background(), ns[i]) })
	})
	wg.Wait()
	return out
}

// settling is a settlement to be tried.
type settling struct {
	lease queue.Lease
	st    queue.Settlement
}

// settleTogether settles in one group: all keep something, or none does.
func settleTogether(t *testing.T, s *Store, all ...settling) []error {
	t.Helper()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	gather(t, groupOf(s, all[0]), len(all), func(i int) {
		wg.Go(func() { errs[i] = s.Settle(context.Background(), all[i].lease, all[i].st) })
	})
	wg.Wait()
	return errs
}

func groupOf(s *Store, x settling) *group[*plain] {
	if len(x.st.Keep) > 0 {
		return &s.keeps
	}
	return &s.finishes
}

// again keeps a lease's item for another attempt.
func again(l queue.Lease) settling {
	k := l.Item
	k.State, k.Attempts, k.Next = queue.Ready, k.Attempts+1, k.Created
	k.Last = &mail.Failure{Class: "connect", Text: "refused"}
	return settling{l, queue.Settlement{Keep: []queue.Item{k}}}
}

func finish(l queue.Lease) settling { return settling{lease: l} }

var settlements = []struct {
	name string
	of   func(queue.Lease) settling
}{{"kept for another attempt", again}, {"nothing is left", finish}}

func wantItems(t *testing.T, s *Store, want int) []queue.Item {
	t.Helper()
	items, _, err := s.List(t.Context(), queue.Filter{}, "", 1000)
	if err != nil || len(items) != want {
		t.Errorf("%d items, %v; want %d", len(items), err, want)
	}
	if bad, err := s.Check(t.Context()); err != nil || bad != nil {
		t.Errorf("check: %v, %v", bad, err)
	}
	return items
}

func TestCallsThatWaitShareACommit(t *testing.T) {
	s := member(t, schema(t), "a")
	const n = 20
	var ns []queue.New
	for i := range n {
		ns = append(ns, letter(t, s, []string{"", string(rune('a' + i))}[i%2], far.Host))
	}
	commits := func(what string, f func()) {
		t.Helper()
		before := s.commits.Load()
		if f(); s.commits.Load() != before+1 {
			t.Errorf("%s: %d commits of %d", what, s.commits.Load()-before, n)
		}
	}
	commits("put", func() {
		for i, a := range putTogether(t, s, ns...) {
			if a.err != nil || a.duplicate || len(a.ids) != 1 {
				t.Errorf("put %d: %+v", i, a)
			}
		}
	})
	for i, x := range settlements {
		var all []settling
		for _, l := range leaseFar(t, s, n) {
			all = append(all, x.of(l))
		}
		if len(all) != n {
			t.Fatalf("leased %d", len(all))
		}
		commits(x.name, func() {
			for i, err := range settleTogether(t, s, all...) {
				if err != nil {
					t.Errorf("%s: %d: %v", x.name, i, err)
				}
			}
		})
		wantItems(t, s, n*(1-i))
	}
}

func TestABadNeighbourHarmsNobody(t *testing.T) {
	dsn := schema(t)
	s := member(t, dsn, "a")
	known := put(t, s, "known", far.Host)
	bad := letter(t, s, "", far.Host)
	bad.Items[0].Last = &mail.Failure{Class: "no\x00text"}
	as := putTogether(t, s, letter(t, s, "", far.Host), bad, letter(t, s, "known", far.Host), letter(t, s, "twice", far.Host),
		letter(t, s, "twice", far.Host), letter(t, s, "", far.Host))
	for _, i := range []int{0, 5} {
		if as[i].err != nil || as[i].duplicate {
			t.Errorf("the good neighbour %d: %+v", i, as[i])
		}
	}
	if as[1].err == nil {
		t.Error("text that no table takes was stored")
	}
	if a := as[2]; a.err != nil || !a.duplicate || !slices.Equal(a.ids, known) {
		t.Errorf("a known key: %+v", a)
	}
	if a, b := as[3], as[4]; a.err != nil || b.err != nil || a.duplicate == b.duplicate || !slices.Equal(a.ids, b.ids) {
		t.Errorf("a key twice: %+v and %+v", a, b)
	}
	wantItems(t, s, 4)
}

func TestALeaseThatIsLostHarmsNoNeighbour(t *testing.T) {
	for _, x := range settlements {
		t.Run(x.name, func(t *testing.T) {
			s := member(t, schema(t), "a")
			for range 5 {
				put(t, s, "", far.Host)
			}
			ls := leaseFar(t, s, 5)
			if _, err := s.Change(t.Context(), queue.Filter{IDs: []queue.ID{ls[1].ID}}, queue.Op{Verb: queue.Hold}); err != nil {
				t.Fatal(err)
			}
			stale := ls[2]
			stale.Epoch--
			bad := x.of(ls[4])
			if len(bad.st.Keep) > 0 {
				bad.st.Keep[0].Last = &mail.Failure{Class: "no\x00text"}
			}
			errs := settleTogether(t, s, x.of(ls[0]), x.of(ls[1]), x.of(stale), x.of(ls[3]), x.of(ls[3]), bad)
			if errs[0] != nil {
				t.Errorf("the good neighbour: %v", errs[0])
			}
			for _, i := range []int{1, 2} {
				if !errors.Is(errs[i], queue.ErrLeaseLost) {
					t.Errorf("a lease that was lost, %d: %v", i, errs[i])
				}
			}
			if a, b := errs[3], errs[4]; (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), queue.ErrLeaseLost) {
				t.Errorf("of two settlements of one lease: %v, %v", a, b)
			}
			kept := len(bad.st.Keep)
			if (errs[5] != nil) != (kept > 0) {
				t.Errorf("text that no table takes: %v", errs[5])
			}
			wantItems(t, s, 2+3*kept)
		})
	}
}

// TestWhatIsLockedIsWaitedForAlone has somebody hold the body of one of the messages, and one of the dedup keys.
func TestWhatIsLockedIsWaitedForAlone(t *testing.T) {
	dsn, said := schema(t), &notes{}
	s := member(t, dsn, "a", func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	// The second call's answer comes when what it waits for is free, the others' before.
	answers := func(what string, second, others chan error) {
		t.Helper()
		for range 3 {
			if err := <-others; err != nil {
				t.Errorf("%s: a neighbour of what is locked: %v", what, err)
			}
		}
		if len(second) > 0 {
			t.Errorf("%s: done although locked: %v", what, <-second)
		}
		exec("rollback")
		if err := <-second; err != nil {
			t.Errorf("%s: what was locked: %v", what, err)
		}
	}
	for _, x := range settlements {
		for range 4 {
			put(t, s, "", far.Host)
		}
		ls := leaseFar(t, s, 4)
		body, err := bodyNumber(ls[1].Body.Where)
		if err != nil {
			t.Fatal(err)
		}
		exec("begin")
		exec("select 1 from chunk where body = $1 for update", int64(body))
		second, others := make(chan error, 1), make(chan error, 3)
		gather(t, groupOf(s, x.of(ls[0])), 4, func(i int) {
			to := others
			if i == 1 {
				to = second
			}
			go func() { to <- s.Settle(context.Background(), ls[i], x.of(ls[i]).st) }()
		})
		answers(x.name, second, others)
	}
	if strings.Contains(said.String(), "SQLSTATE") { // of the single ones: their turn came before their patience ended
		t.Errorf("a group waited for a lock: %s", said)
	}
	exec("begin")
	exec("insert into dedup (hash, day, put, ids) values ($1, 0, 0, '[]')", hashOf("elsewhere"))
	second, others := make(chan error, 1), make(chan error, 3)
	gather(t, &s.smalls, 4, func(i int) {
		to, n := others, letter(t, s, "", far.Host)
		if i == 1 {
			to, n.Dedup = second, "elsewhere"
		}
		go func() { _, _, err := s.Put(context.Background(), n); to <- err }()
	})
	answers("put", second, others)
}

func TestAnEntryWhoseBodyIsGoneCanBeSettled(t *testing.T) {
	s := member(t, schema(t), "a")
	put(t, s, "", far.Host)
	if _, err := s.pool.Exec(t.Context(), "delete from chunk"); err != nil {
		t.Fatal(err)
	}
	for _, x := range settlements {
		l := leaseFar(t, s, 1)[0]
		if err := s.Settle(t.Context(), l, x.of(l).st); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	wantItems(t, s, 0)
}

func TestAGroupThatFailsLetsThoseWhoWaitGoByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carried := 0
		gate := make(chan struct{})
		g := group[int]{carry: func(cs []int) bool { <-gate; carried += len(cs); return false }}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := g.ride(t.Context(), t.Context(), 0); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(gate)
		wg.Wait()
		if carried != 1 || g.busy {
			t.Errorf("%d calls were tried although the first met a database that is away; busy: %t", carried, g.busy)
		}
	})
}

// TestGroupsAreBounded has calls of one octet and of half of what a group may send.
func TestGroupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		gate := make(chan struct{})
		g := group[int64]{octets: func(n int64) int64 { return n }, carry: func(cs []int64) bool {
			<-gate
			sizes = append(sizes, len(cs))
			return true
		}}
		var wg sync.WaitGroup
		ride := func(calls int, size int64) {
			for range calls {
				wg.Go(func() {
					if err := g.ride(t.Context(), t.Context(), size); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait() // in this order
			}
		}
		ride(1, 1) // nobody else is there: it does not wait
		ride(maxGroup+3, 1)
		ride(3, maxGroupOctets/2)
		ride(1, 2*maxGroupOctets)
		close(gate)
		wg.Wait()
		if want := []int{1, maxGroup, 3 + 1, 2, 1}; !slices.Equal(sizes, want) {
			t.Errorf("groups of %v, want %v", sizes, want)
		}
		if g.busy || len(g.waiting) > 0 {
			t.Error("the group is busy with nobody in it")
		}
	})
}

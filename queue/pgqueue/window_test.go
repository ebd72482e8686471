package pgqueue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// rival is a gateway as its dispatcher is: one that leases, and transfers that run beside it.
type rival struct {
	s       *Store
	busy    atomic.Int64 // its own transfers
	carried sync.WaitGroup
}

// street is a destination with a window, and what is under way there.
type street struct {
	window            int64
	under, most, done atomic.Int64
}

// enter counts transfers that begin.
func (st *street) enter(n int) {
	now := st.under.Add(int64(n))
	for m := st.most.Load(); now > m && !st.most.CompareAndSwap(m, now); m = st.most.Load() {
	}
}

// drive carries what it can get until ctx ends. Its death is that its store closes: what is under way then ends at once, unsettled.
func (r *rival) drive(t *testing.T, ctx context.Context, st *street) {
	defer r.carried.Wait()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		room := int(st.window - r.busy.Load())
		if room > 0 {
			ls, err := r.s.Lease(ctx, far, r.s.o.Node, min(room, 3), room, time.Hour)
			if err != nil && !errors.Is(err, queue.ErrNoRoom) && !errors.Is(err, queue.ErrClosed) && ctx.Err() == nil {
				t.Errorf("lease: %v", err)
			}
			st.enter(len(ls))
			r.busy.Add(int64(len(ls)))
			for _, l := range ls {
				r.carried.Go(func() { r.carry(t, ctx, st, l) })
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// carry is a transfer. Its place of its own is free again before the outcome is durable, as in a gateway.
func (r *rival) carry(t *testing.T, ctx context.Context, st *street, l queue.Lease) {
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Millisecond):
	}
	st.under.Add(-1)
	r.busy.Add(-1)
	if ctx.Err() != nil {
		return
	}
	switch err := r.s.Settle(context.WithoutCancel(ctx), l, queue.Settlement{}); {
	case err == nil:
		st.done.Add(1)
	case ctx.Err() == nil:
		t.Errorf("settle: %v", err)
	}
}

// TestThreeGatewaysNeverExceedAWindow has three lease as fast as they can while transfers run. One dies on the way and is started
// again, and its work is done by whoever gets it.
func TestThreeGatewaysNeverExceedAWindow(t *testing.T) {
	const items = 100
	dsn := schema(t)
	st := &street{window: 4}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	start := func(ctx context.Context, s *Store) (ended chan struct{}) {
		ended = make(chan struct{})
		r := &rival{s: s}
		wg.Go(func() {
			defer close(ended)
			r.drive(t, ctx, st)
		})
		return ended
	}
	mortal, others := member(t, dsn, "gw0"), []*Store{member(t, dsn, "gw1"), member(t, dsn, "gw2")}
	for range items {
		put(t, mortal, "", far.Host)
	}
	life, die := context.WithCancel(ctx)
	defer die()
	ended := start(life, mortal)
	for _, s := range others {
		start(ctx, s)
	}
	eventually(t, "a part to be carried", func() bool { return st.done.Load() > items/4 })
	die()
	<-ended
	if err := mortal.Close(); err != nil {
		t.Error(err)
	}
	start(ctx, member(t, dsn, "gw0"))
	eventually(t, "everything to be carried", func() bool { return others[0].Stats().Dests == 0 })
	stop()
	wg.Wait()
	if got := st.most.Load(); got > st.window {
		t.Errorf("%d at once in a window of %d", got, st.window)
	}
}

func leaseIn(t *testing.T, s *Store, n, room int) ([]queue.Lease, error) {
	t.Helper()
	ls, err := s.Lease(t.Context(), far, s.o.Node, n, room, time.Hour)
	if err != nil && !errors.Is(err, queue.ErrNoRoom) {
		t.Fatal(err)
	}
	return ls, err
}

// TestADeadGatewayFillsItsPlacesUntilTheyAreFreed: nobody can know that its transfers have ended before it has been silent.
func TestADeadGatewayFillsItsPlacesUntilTheyAreFreed(t *testing.T) {
	dsn := schema(t)
	short := func(o *Options) { o.Silence = 2 * time.Second }
	dead, other := member(t, dsn, "dead", short), member(t, dsn, "other", short)
	for range 4 {
		put(t, dead, "", far.Host)
	}
	if ls, _ := leaseIn(t, dead, 9, 2); len(ls) != 2 {
		t.Fatalf("leased %d", len(ls))
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := leaseIn(t, other, 1, 2); !errors.Is(err, queue.ErrNoRoom) {
		t.Errorf("right after its death: %v", err)
	}
	var ls []queue.Lease
	eventually(t, "its places to be free", func() bool {
		got, _ := leaseIn(t, other, 1, 2-len(ls))
		ls = append(ls, got...)
		return len(ls) == 2
	})
}

// TestAWindowThatIsCountedBlocksNoOther holds the lock of one destination's.
func TestAWindowThatIsCountedBlocksNoOther(t *testing.T) {
	s := member(t, schema(t), "a")
	put(t, s, "", far.Host, "near.example")
	near := queue.Dest{Connector: far.Connector, Host: "near.example"}
	if _, err := s.pool.Exec(t.Context(), "insert into dest_window values ($1, $2), ($1, $3)", far.Connector, far.Host, near.Host); err != nil {
		t.Fatal(err)
	}
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := window{dest: far}.lock()
	if _, err := tx.Exec(t.Context(), q.sql, q.args...); err != nil {
		t.Fatal(err)
	}
	waits := make(chan int)
	go func() {
		ls, err := s.Lease(context.Background(), far, "x", 1, 1, time.Hour)
		if err != nil {
			t.Error(err)
		}
		waits <- len(ls)
	}()
	ls, err := s.Lease(t.Context(), near, "x", 1, 1, time.Hour)
	if err != nil || len(ls) != 1 {
		t.Errorf("another destination: leased %d, %v", len(ls), err)
	}
	eventually(t, "the first to wait for the lock", func() bool {
		var n int
		if err := s.pool.QueryRow(t.Context(), "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%dest_window%'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
	select {
	case n := <-waits:
		t.Errorf("%d leased while another counted", n)
	default:
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := <-waits; n != 1 {
		t.Errorf("leased %d afterwards", n)
	}
}

// TestWindowsOfDestinationsThatAreNoMoreAreForgotten: strangers choose some of them.
func TestWindowsOfDestinationsThatAreNoMoreAreForgotten(t *testing.T) {
	s := member(t, schema(t), "a")
	put(t, s, "", far.Host, "near.example")
	l, _ := leaseIn(t, s, 1, 1)
	if ls, err := s.Lease(t.Context(), queue.Dest{Connector: far.Connector, Host: "near.example"}, "x", 1, 1, time.Hour); err != nil || len(ls) != 1 {
		t.Fatal(len(ls), err)
	}
	if err := s.Settle(t.Context(), l[0], queue.Settlement{}); err != nil {
		t.Fatal(err)
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := s.pool.Query(t.Context(), "select host from dest_window")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(left) != 1 || left[0] != "near.example" {
		t.Errorf("left: %v, %v", left, err)
	}
}

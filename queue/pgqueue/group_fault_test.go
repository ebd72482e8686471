package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// letters are n messages, every second with a dedup key of its own.
func letters(t *testing.T, s *Store, n int, keys string) (ns []queue.New) {
	t.Helper()
	for i := range n {
		key := ""
		if i%2 == 1 {
			key = fmt.Sprint(keys, i)
		}
		ns = append(ns, letter(t, s, key, far.Host))
	}
	return ns
}

// carryTogether puts n messages in one group, keeps all for another attempt in one, and settles them in one. Before each, do is
// called with what that group alone sends to the server.
func carryTogether(t *testing.T, s, watch *Store, n int, keys string, do func(sent string)) {
	t.Helper()
	do("bob@" + far.Host)
	for i, a := range putTogether(t, s, letters(t, s, n, keys)...) {
		if a.err != nil || a.duplicate || len(a.ids) != 1 {
			t.Errorf("put %d: %+v", i, a)
		}
	}
	wantItems(t, watch, n)
	for i, x := range settlements {
		ls := leaseFar(t, s, n)
		if len(ls) != n {
			t.Fatalf("leased %d", len(ls))
		}
		var all []settling
		for _, l := range ls {
			all = append(all, x.of(l))
		}
		do([]string{"commit", "done"}[i])
		for i, err := range settleTogether(t, s, all...) {
			if err != nil {
				t.Errorf("%s: %d: %v", x.name, i, err)
			}
		}
		for _, it := range wantItems(t, watch, n*(1-i)) {
			if it.Attempts != 1 || it.State != queue.Ready {
				t.Errorf("kept once, it is %s after %d attempts", it.State, it.Attempts)
			}
		}
	}
	var attempts int
	if err := watch.pool.QueryRow(t.Context(), "select count(*) from attempt").Scan(&attempts); err != nil || attempts%(2*n) != 0 {
		t.Errorf("%d attempts are on record of %d items with two each, %v", attempts, n, err)
	}
}

// TestEachOfAGroupAsksForItself cuts the connection between the commit of a group and its answer, or before the group is sent.
func TestEachOfAGroupAsksForItself(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	s, watch := member(t, w.through(t, dsn), "cut"), member(t, dsn, "watch")
	carryTogether(t, s, watch, 6, "a", func(string) {}) // its statements are prepared
	carryTogether(t, s, watch, 6, "b", w.arm)
	w.wantCuts(t, 3)
	carryTogether(t, s, watch, 6, "c", w.armBefore)
	w.wantCuts(t, 6)
}

// TestGatewaysThatSettleTheSameBodiesDoNotBlock has two gateways settle the items of the same messages, in opposite orders, while
// somebody holds one of the messages in the middle.
func TestGatewaysThatSettleTheSameBodiesDoNotBlock(t *testing.T) {
	dsn := schema(t)
	said := &notes{}
	tells := func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	a, b := member(t, dsn, "a", tells), member(t, dsn, "b", tells)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	const n = 9
	near := queue.Dest{Connector: far.Connector, Host: "near.example"}
	for range n {
		put(t, a, "", far.Host, near.Host)
	}
	for _, x := range settlements {
		one := leaseFar(t, a, n)
		two, err := b.Lease(t.Context(), near, "b", n, queue.NoWindow, time.Hour)
		if err != nil || len(one) != n || len(two) != n {
			t.Fatalf("leased %d and %d, %v", len(one), len(two), err)
		}
		slices.Reverse(two)
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		body, err := bodyNumber(one[n/2].Body.Where)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "select 1 from chunk where body = $1 for update", int64(body)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, of := range []struct {
			s  *Store
			ls []queue.Lease
		}{{a, one}, {b, two}} {
			gather(t, groupOf(of.s, x.of(one[0])), n, func(i int) {
				wg.Go(func() {
					if err := of.s.Settle(context.Background(), of.ls[i], x.of(of.ls[i]).st); err != nil {
						t.Errorf("%s: %v", x.name, err)
					}
				})
			})
		}
		eventually(t, "both to wait for what is held", func() bool {
			var waiting int
			err := tx.QueryRow(t.Context(), "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name in ('backbone a', 'backbone b')").Scan(&waiting)
			return err == nil && waiting >= 2
		})
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
	wantItems(t, a, 0)
	if strings.Contains(said.String(), "SQLSTATE") {
		t.Errorf("they met in a circle: %s", said)
	}
}

// TestCloseEndsThoseWhoWait has one call under way that gets no answer, and others that wait for it.
func TestCloseEndsThoseWhoWait(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	s, watch := member(t, w.through(t, dsn), "closed"), member(t, dsn, "watch")
	ns := letters(t, s, 6, "a")
	w.gate.Lock()
	first, others := make(chan error, 1), make(chan error, 4)
	gather(t, &s.smalls, 1, func(int) { go func() { _, _, err := s.Put(context.Background(), ns[0]); first <- err }() })
	eventually(t, "it to be under way", func() bool { return s.pool.Stat().AcquiredConns() > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, _, err := s.Put(ctx, ns[1]); gone <- err }()
	for _, n := range ns[2:] {
		go func() { _, _, err := s.Put(context.Background(), n); others <- err }()
	}
	eventually(t, "all to wait", func() bool { s.smalls.mu.Lock(); defer s.smalls.mu.Unlock(); return len(s.smalls.waiting) == 5 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("one whose caller has gone: %v", err)
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	for range 4 {
		if err := <-others; !errors.Is(err, queue.ErrClosed) {
			t.Errorf("one that waited: %v", err)
		}
	}
	if len(first) > 0 {
		t.Error("they waited for the end of the one under way")
	}
	w.gate.Unlock()
	stored := 0
	if err := <-first; err == nil {
		stored++
	} else if !errors.Is(err, queue.ErrClosed) {
		t.Errorf("the one under way: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if s.smalls.busy || len(s.smalls.waiting) > 0 {
		t.Error("somebody is left in the group")
	}
	wantItems(t, watch, stored)
}

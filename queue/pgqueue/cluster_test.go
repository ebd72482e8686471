package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

var far = queue.Dest{Connector: "internet", Host: "far.example"}

// member opens a store of one node of a cluster, in real time.
func member(t *testing.T, dsn, node string, with ...func(*Options)) *Store {
	t.Helper()
	o := Options{DSN: dsn, Node: node}
	for _, f := range with {
		f(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, queue.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// letter is a message for some hosts.
func letter(t *testing.T, s *Store, dedup string, hosts ...string) queue.New {
	t.Helper()
	g, err := s.Stage(t.Context(), strings.NewReader("text"), 0)
	if err != nil {
		t.Fatal(err)
	}
	n := queue.New{Body: g, Dedup: dedup}
	for _, h := range hosts {
		n.Items = append(n.Items, queue.Item{Dest: queue.Dest{Connector: far.Connector, Host: h}, Next: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour),
			Envelope: mail.Envelope{ID: "A-1", Recipients: []mail.Recipient{{Address: address.Address{Type: address.SMTP, Value: "bob@" + h}}}}})
	}
	return n
}

func put(t *testing.T, s *Store, dedup string, hosts ...string) []queue.ID {
	t.Helper()
	ids, _, err := s.Put(t.Context(), letter(t, s, dedup, hosts...))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func leaseFar(t *testing.T, s *Store, n int) []queue.Lease {
	t.Helper()
	ls, err := s.Lease(t.Context(), far, s.o.Node, n, queue.NoWindow, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// eventually waits for a condition that another's clock or server brings about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-limit:
			t.Fatalf("waited a minute for %s", what)
		case <-tick.C:
		}
	}
}

func TestOfTwoGatewaysEachItemHasOne(t *testing.T) {
	dsn := schema(t)
	a, b := member(t, dsn, "a"), member(t, dsn, "b")
	const n = 60
	for range n {
		put(t, a, "", far.Host)
	}
	var mu sync.Mutex
	seen := map[queue.ID]string{}
	var wg sync.WaitGroup
	for _, s := range []*Store{a, b, a, b} {
		wg.Go(func() {
			for {
				ls, err := s.Lease(t.Context(), far, s.o.Node, 3, queue.NoWindow, time.Hour)
				if err != nil || len(ls) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				for _, l := range ls {
					mu.Lock()
					if other := seen[l.ID]; other != "" {
						t.Errorf("%s was leased to %s and to %s", l.ID, other, s.o.Node)
					}
					seen[l.ID] = s.o.Node
					mu.Unlock()
					if err := s.Settle(t.Context(), l, queue.Settlement{}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != n {
		t.Errorf("%d of %d were leased", len(seen), n)
	}
	if bad, err := a.Check(t.Context()); err != nil || bad != nil {
		t.Errorf("check: %v, %v", bad, err)
	}
}

// TestAGatewayThatFellSilentLosesItsWork takes the keeper of one gateway away, as a stopped process would be.
func TestAGatewayThatFellSilentLosesItsWork(t *testing.T) {
	dsn := schema(t)
	short := func(o *Options) { o.Silence = 2 * time.Second }
	paused, other := member(t, dsn, "paused", short), member(t, dsn, "other", short)
	put(t, paused, "", far.Host)
	was := leaseFar(t, paused, 1)[0]
	if got := leaseFar(t, other, 1); len(got) != 0 {
		t.Fatal("another took what a living gateway holds")
	}
	paused.quit() // its keeper says no more
	var now []queue.Lease
	eventually(t, "the lease to be free", func() bool { now = leaseFar(t, other, 1); return len(now) == 1 })
	if !now[0].Unknown {
		t.Error("the outcome of the lost attempt is taken for known")
	}
	if err := paused.Settle(t.Context(), was, queue.Settlement{}); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("the paused gateway settled what it lost: %v", err)
	}
	if err := other.Settle(t.Context(), now[0], queue.Settlement{}); err != nil {
		t.Error(err)
	}
}

func TestAGatewayThatLivesKeepsItsWork(t *testing.T) {
	dsn := schema(t)
	short := func(o *Options) { o.Silence = time.Second }
	a, b := member(t, dsn, "a", short), member(t, dsn, "b", short)
	put(t, a, "", far.Host)
	l := leaseFar(t, a, 1)[0]
	end := time.Now().Add(2 * time.Second)
	eventually(t, "two silences to pass", func() bool {
		if ls := leaseFar(t, b, 1); len(ls) > 0 {
			t.Fatal("its lease was taken")
		}
		if err := a.Extend(t.Context(), l, time.Hour); err != nil { // which is no word of life by itself
			t.Fatal(err)
		}
		return time.Now().After(end)
	})
	if err := a.Settle(t.Context(), l, queue.Settlement{}); err != nil {
		t.Error(err)
	}
}

func TestASecondProcessOfANameTakesThePlaceOfTheFirst(t *testing.T) {
	dsn := schema(t)
	first := member(t, dsn, "gw")
	put(t, first, "", far.Host)
	l := leaseFar(t, first, 1)[0]
	second := member(t, dsn, "gw")
	if got := leaseFar(t, second, 1); len(got) != 1 || !got[0].Unknown {
		t.Fatalf("leased at once: %d", len(got))
	}
	if err := first.Settle(t.Context(), l, queue.Settlement{}); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("settle: %v", err)
	}
	if _, err := first.Lease(t.Context(), far, "x", 1, queue.NoWindow, time.Hour); !errors.Is(err, queue.ErrFatal) {
		t.Errorf("lease: %v", err)
	}
}

func TestASuspensionHoldsForAll(t *testing.T) {
	dsn := schema(t)
	a, b := member(t, dsn, "a"), member(t, dsn, "b")
	put(t, a, "", far.Host)
	if err := a.Suspend(t.Context(), queue.Suspension{Dest: queue.Dest{Connector: far.Connector}}); err != nil {
		t.Fatal(err)
	}
	if ls := leaseFar(t, b, 1); len(ls) != 0 {
		t.Error("leased although suspended")
	}
	eventually(t, "the other to list it", func() bool { return len(b.Suspensions()) == 1 })
	if err := b.Resume(t.Context(), queue.Dest{Connector: far.Connector}); err != nil {
		t.Fatal(err)
	}
	if ls := leaseFar(t, a, 1); len(ls) != 1 {
		t.Error("not leased although resumed")
	}
}

func TestWhatAnotherPutsWakes(t *testing.T) {
	dsn := schema(t)
	a, b := member(t, dsn, "a"), member(t, dsn, "b")
	put(t, a, "", far.Host)
	eventually(t, "the other to find it due", func() bool {
		<-b.Wake()
		ds, _ := b.Due(time.Now(), 10)
		return len(ds) == 1
	})
}

func TestAServerThatMayLoseMailIsRefused(t *testing.T) {
	dsn := schema(t)
	_, err := Open(t.Context(), Options{DSN: dsn + "&synchronous_commit=off", Node: "a"})
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit = off") {
		t.Fatalf("got %v", err)
	}
	s := member(t, dsn, "a")
	if err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMigrations(t *testing.T) {
	plan := func(sql ...string) []step {
		fsys := fstest.MapFS{}
		for i, q := range sql {
			fsys[fmt.Sprintf("migrations/%04d_step.sql", i+1)] = &fstest.MapFile{Data: []byte(q)}
		}
		out, err := readSteps(fsys)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	one, two := "create table one (x integer)", "create table two (x integer)"
	conn, err := pgx.Connect(t.Context(), schema(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, c := range []struct {
		name  string
		steps []step
		wrong string
	}{
		{"the first step", plan(one), ""},
		{"a step that fails leaves nothing", plan(one, "create table half (x integer); create nonsense"), "nonsense"},
		{"the second step", plan(one, two), ""},
		{"nothing to do", plan(one, two), ""},
		{"a step that was edited", plan(one+" -- edited", two), "another program"},
		{"tables of a newer program", plan(one), "newer program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := migrate(t.Context(), conn, c.steps)
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Fatalf("got %v, want %q", err, c.wrong)
			}
		})
	}
	var half *string
	if err := conn.QueryRow(t.Context(), "select to_regclass('half')::text").Scan(&half); err != nil || half != nil {
		t.Errorf("half a step is there: %v, %v", half, err)
	}
}

func TestManyGatewaysStartAtOnce(t *testing.T) {
	dsn := schema(t)
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			s, err := Open(t.Context(), Options{DSN: dsn, Node: fmt.Sprint(i), Connections: 2})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestADeadSiteDoesNotFillTheBatches has a backlog for one destination, most of it for later, and mail for another.
func TestADeadSiteDoesNotFillTheBatches(t *testing.T) {
	s := member(t, schema(t), "a")
	put(t, s, "", "near.example")
	err := s.limited(t.Context(), func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `insert into item select g + 1000000, body, size, sha256, connector, 'dead.example', 0, state, was,
			next + case when g % 100 = 0 then 0 else 86400000000000 end, expires, created, changed, attempts, key, delayed, unknown, reason, by_whom, dedup,
			message, message_id, originator, class, envelope, tries, last from item, generate_series(1, 20000) g; analyze item`, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ds, _ := s.Due(time.Now(), 10)
	if len(ds) != 2 {
		t.Fatalf("due: %v", ds)
	}
	ls, err := s.Lease(t.Context(), queue.Dest{Connector: far.Connector, Host: "near.example"}, "x", 10, queue.NoWindow, time.Hour)
	if err != nil || len(ls) != 1 {
		t.Fatalf("leased %d, %v", len(ls), err)
	}
	for _, q := range []struct {
		name, sql string
		args      []any
	}{
		{"due", heads, []any{nil}},
		{"lease", dueItems + " select * from due", []any{nil, int64(1), "a", "a", int64(1), int64(1), far.Connector, "dead.example", 10, 10}},
	} {
		if q.name == "lease" { // the parameters that only the claim uses have to be named
			q.sql = strings.Replace(q.sql, "select * from due", "select *, $2::bigint, $3::text, $4::text, $5::bigint, $6::bigint from due", 1)
		}
		rows, err := s.pool.Query(t.Context(), "explain (analyze, buffers, format text) "+q.sql, q.args...)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.Join(plan, "\n"), "Seq Scan on item") {
			t.Errorf("%s looks at every row:\n%s", q.name, strings.Join(plan, "\n"))
		}
	}
}

func TestABodyIsGoneWithItsLastItem(t *testing.T) {
	dsn := schema(t)
	a, b := member(t, dsn, "a"), member(t, dsn, "b")
	for range 20 {
		put(t, a, "", far.Host, far.Host)
		var wg sync.WaitGroup
		for _, s := range []*Store{a, b} { // both end one of the two items at once
			ls := leaseFar(t, s, 1)
			if len(ls) != 1 {
				t.Fatal("not leased")
			}
			wg.Go(func() {
				if err := s.Settle(t.Context(), ls[0], queue.Settlement{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	var n int
	if err := a.pool.QueryRow(t.Context(), "select count(*) from chunk").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d chunks are left, %v", n, err)
	}
}

func TestALongBodyEndsForItsReaderWhenItGoes(t *testing.T) {
	s := member(t, schema(t), "a")
	g, err := s.Stage(t.Context(), strings.NewReader(strings.Repeat("x", 3*chunkSize)), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(t.Context(), queue.New{Body: g, Items: []queue.Item{{Dest: far, Next: time.Now().Add(-time.Minute)}}}); err != nil {
		t.Fatal(err)
	}
	l := leaseFar(t, s, 1)[0]
	r, err := s.Body(l.Body).Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(t.Context(), l, queue.Settlement{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// TestAfterAnOutageTheLivingKeepTheirWork has the database away for longer than a gateway may be silent.
func TestAfterAnOutageTheLivingKeepTheirWork(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	short := func(o *Options) { o.Silence = 3 * time.Second }
	through := w.through(t, dsn)
	a, b := member(t, through, "a", short), member(t, through, "b", short)
	put(t, a, "", far.Host)
	l := leaseFar(t, a, 1)[0]
	w.gate.Lock() // as a failover: nobody is answered
	asked := make(chan error)
	go func() { _, err := b.Lease(context.Background(), far, "b", 1, queue.NoWindow, time.Hour); asked <- err }()
	w.severAll()
	outage := time.Now().Add(4 * time.Second)
	eventually(t, "the outage to pass", func() bool { return time.Now().After(outage) })
	w.gate.Unlock()
	if err := <-asked; err != nil {
		t.Error(err)
	}
	if err := a.Settle(t.Context(), l, queue.Settlement{}); err != nil {
		t.Errorf("its work was taken although it lives: %v", err)
	}
}

func TestALeaseMadeInTheLastMomentOfAPredecessorIsFreed(t *testing.T) {
	dsn := schema(t)
	first := member(t, dsn, "gw")
	put(t, first, "", far.Host)
	second := member(t, dsn, "gw")
	// What the first had sent before it was killed, and the server did afterwards.
	if _, err := second.pool.Exec(t.Context(), `insert into lease select id, $1, 'gw', 'x', 0, 9000000000000000000, false, '[]' from item`, first.incarnation+1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease to be freed", func() bool { return len(leaseFar(t, second, 1)) == 1 })
}

package pgqueue

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// partitions are the names of a table's.
func partitions(t *testing.T, s *Store, table string) []string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = to_regclass($1) order by 1`, table)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func count(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), "select count(*) from "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// carryOne takes a message through the queue.
func carryOne(t *testing.T, s *Store) {
	t.Helper()
	put(t, s, "", far.Host)
	ls := leaseFar(t, s, 1)
	if len(ls) != 1 {
		t.Fatalf("leased %d", len(ls))
	}
	if err := s.Settle(t.Context(), ls[0], queue.Settlement{}); err != nil {
		t.Fatal(err)
	}
}

// days are the names of partitions, by days from now.
func days(table string, now time.Time, from, to int) (names []string) {
	for d := from; d <= to; d++ {
		names = append(names, table+"_"+now.UTC().AddDate(0, 0, d).Format("20060102"))
	}
	return append(names, table+"_rest")
}

func TestAFortnightOfAttemptsIsDroppedByTheDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := member(t, schema(t), "a", func(o *Options) { o.Clock, o.Poll = time.Now, 24*time.Hour })
		time.Sleep(time.Second)
		for day := range 14 {
			carryOne(t, s)
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			want := days("attempt", time.Now(), max(-day-1, -3), daysAhead)
			if got := partitions(t, s, "attempt"); !slices.Equal(got, want) {
				t.Fatalf("after %d days: partitions %v, want %v", day+1, got, want)
			}
		}
		if n := count(t, s, "attempt"); n != 3 {
			t.Errorf("%d attempts are on record after a fortnight, want those of three days", n)
		}
		if n := count(t, s, "attempt_rest"); n != 0 {
			t.Errorf("%d attempts found no partition", n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// notes is a log that tests read.
type notes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) { n.mu.Lock(); defer n.mu.Unlock(); return n.b.Write(p) }
func (n *notes) String() string              { n.mu.Lock(); defer n.mu.Unlock(); return n.b.String() }

func TestAMissingPartitionStopsNoMail(t *testing.T) {
	dsn := schema(t)
	w, said := &wire{}, &notes{}
	s := member(t, w.through(t, dsn), "a", func(o *Options) { o.Log = slog.New(slog.NewTextHandler(said, nil)) })
	for _, name := range partitions(t, s, "attempt") {
		if name == "attempt_rest" {
			continue
		}
		if _, err := s.pool.Exec(t.Context(), "drop table "+name); err != nil {
			t.Fatal(err)
		}
	}
	carryOne(t, s)
	if n := count(t, s, "attempt_rest"); n != 1 {
		t.Errorf("%d attempts are in the rest, want 1", n)
	}
	w.arm("done") // the answer to a commit is asked for as ever
	carryOne(t, s)
	if w.cuts != 1 {
		t.Errorf("cut %d times", w.cuts)
	}
	text, err := s.ServerReport(t.Context())
	if err != nil || !strings.Contains(text, "history without a partition: attempt") {
		t.Errorf("the report says %q, %v", text, err)
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "no partition had been made") {
		t.Errorf("the log says nothing: %s", said)
	}
	now := time.Now()
	if got, want := partitions(t, s, "attempt"), days("attempt", now, 1, daysAhead); !slices.Equal(got, want) {
		t.Errorf("partitions %v, want %v: today's rows are in the rest", got, want)
	}
	// Days later the rest is empty again.
	later := member(t, dsn, "b", func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(keepAttempts + time.Minute) } })
	if n := count(t, later, "attempt_rest"); n != 0 {
		t.Errorf("%d old attempts are left in the rest", n)
	}
}

// TestADumpThatHoldsTheHistoryHoldsUpNoMail has a reader's lock on the table while a day is to be dropped, and a session whose
// own patience for locks and statements is longer than the test's.
func TestADumpThatHoldsTheHistoryHoldsUpNoMail(t *testing.T) {
	dsn := schema(t) + "&lock_timeout=600000&statement_timeout=600000"
	first := member(t, dsn, "first")
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	dump, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dump.Exec(t.Context(), "lock table attempt in access share mode"); err != nil {
		t.Fatal(err)
	}
	later := func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(30 * 24 * time.Hour) } }
	s := member(t, dsn, "later", later)
	old := days("attempt", time.Now(), 0, daysAhead)[:1+daysAhead]
	tries := make(chan error)
	go func() {
		var err error
		for range 10 {
			if err = s.keepHistory(context.Background()); code(err) != lockNotHad {
				break
			}
		}
		tries <- err
	}()
	for range 5 {
		carryOne(t, first)
	}
	select {
	case err = <-tries:
	case <-time.After(time.Minute):
		t.Fatal("the housekeeping waits for the dump")
	}
	if code(err) != lockNotHad {
		t.Errorf("a day was dropped in spite of a reader, or not at all: %v", err)
	}
	if got := partitions(t, s, "attempt"); !slices.Contains(got, old[0]) {
		t.Errorf("partitions %v: %s is gone while it is read", got, old[0])
	}
	if err := dump.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old days to be dropped", func() bool {
		if err := s.keepHistory(t.Context()); err != nil && code(err) != lockNotHad {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(partitions(t, s, "attempt"), func(name string) bool { return slices.Contains(old, name) })
	})
}

func TestGatewaysKeepTheHistoryTogether(t *testing.T) {
	dsn := schema(t)
	var ss []*Store
	var ahead sync.Map
	for i := range 4 {
		ss = append(ss, member(t, dsn, fmt.Sprint(i), func(o *Options) {
			o.Clock = func() time.Time {
				d, _ := ahead.LoadOrStore("days", 0)
				return time.Now().AddDate(0, 0, d.(int))
			}
		}))
	}
	for day := 5; day <= 15; day += 5 {
		ahead.Store("days", day)
		var wg sync.WaitGroup
		for _, s := range ss {
			wg.Go(func() {
				if err := s.keepHistory(context.Background()); err != nil && code(err) != lockNotHad {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		eventually(t, "the partitions of the day", func() bool {
			if err := ss[0].keepHistory(t.Context()); err != nil && code(err) != lockNotHad {
				t.Fatal(err)
			}
			got := partitions(t, ss[0], "attempt")
			return len(got) > daysAhead+1 && slices.Equal(got[len(got)-daysAhead-2:], days("attempt", ss[0].o.Clock(), 0, daysAhead))
		})
	}
}

// TestAttemptsOfBeforeThePartitionsAreKept upgrades a table of one piece with rows in it.
func TestAttemptsOfBeforeThePartitionsAreKept(t *testing.T) {
	dsn := schema(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	plan, err := readSteps(steps)
	if err != nil {
		t.Fatal(err)
	}
	before := slices.IndexFunc(plan, func(s step) bool { return strings.HasSuffix(s.name, "attempt_days.sql") })
	if err := migrate(t.Context(), conn, plan[:before]); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := conn.Exec(t.Context(), "insert into attempt values (7, 8, 'a', 'a', 0, $1, 'done', ''), (9, 10, 'a', 'a', 0, $2, 'done', '')",
		now.UnixNano(), now.Add(-48*time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	s := member(t, dsn, "a")
	carryOne(t, s)
	if got, want := partitions(t, s, "attempt"), days("attempt", now, 0, daysAhead); !slices.Equal(got, want) {
		t.Errorf("partitions %v, want %v", got, want)
	}
	if n, rest := count(t, s, "attempt"), count(t, s, "attempt_rest"); n != 3 || rest != 0 {
		t.Errorf("%d attempts, %d of them in the rest; want 3 and 0", n, rest)
	}
	later := member(t, dsn, "b", func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(keepAttempts + 24*time.Hour) } })
	if n := count(t, later, "attempt"); n != 0 {
		t.Errorf("%d attempts are left when their time is over", n)
	}
}

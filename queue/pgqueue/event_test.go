package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"backbone/gateway/mail"
	"backbone/gateway/tracking"
)

// diary opens the tracking log of a gateway that shares the database.
func diary(t *testing.T, s *Store, dir string) *tracking.Log {
	t.Helper()
	l, err := tracking.Open(dir, tracking.Options{Subjects: true, Archive: s.Events(), Node: s.o.Node, Keep: 30 * 24 * time.Hour, SyncEvery: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func note(t *testing.T, l *tracking.Log, es ...tracking.Event) {
	t.Helper()
	if err := l.Append(t.Context(), es...); err != nil {
		t.Fatal(err)
	}
}

// told is events as "type@node", in their order.
func told(es []tracking.Event) (out []string) {
	for _, e := range es {
		out = append(out, fmt.Sprintf("%s@%s", e.Type, e.Node))
	}
	return out
}

func withEvents(o *Options) { o.KeepEvents = 30 * 24 * time.Hour }

// eventuallyTraced waits until a log traces a key to what is wanted.
func eventuallyTraced(t *testing.T, l *tracking.Log, key string, want ...string) {
	t.Helper()
	var es []tracking.Event
	var err error
	eventually(t, "the trace at another gateway", func() bool {
		es, err = l.Trace(t.Context(), key)
		return err == nil && len(es) >= len(want)
	})
	if diff := cmp.Diff(want, told(es)); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}

func TestAMessageIsTracedAtAnyGateway(t *testing.T) {
	dsn := schema(t)
	var ls []*tracking.Log
	for i := range 3 {
		ls = append(ls, diary(t, member(t, dsn, fmt.Sprint("gw", i+1), withEvents), t.TempDir()))
	}
	first := tracking.Event{Type: tracking.Received, ID: "SITEA-1", MessageID: "<one@sitea.example>", Source: "NET.PO1/submit/M1.MSG", Originator: "MS:NET/PO1/A"}
	note(t, ls[0], first, tracking.Event{Type: tracking.Queued, ID: "SITEA-1", Item: "7QX"})
	note(t, ls[1], tracking.Event{Type: tracking.Attempt, ID: "SITEA-1", Item: "7QX"}, tracking.Event{Type: tracking.Failed, ID: "SITEA-1", Item: "7QX"},
		tracking.Event{Type: tracking.Report, ID: "SITEA-1", About: "SITEA-2"})
	note(t, ls[0], tracking.Event{Type: tracking.Delivered, ID: "SITEA-2", Item: "7QY"}, tracking.Event{Type: tracking.Received, ID: "SITEA-3"})
	want := []string{"received@gw1", "queued@gw1", "attempt@gw2", "failed@gw2", "report@gw2", "delivered@gw1"}
	for _, key := range []string{"SITEA-1", "sitea-2", "<ONE@sitea.example>", "m1.msg", "7qx", "7QY"} {
		eventuallyTraced(t, ls[2], key, want...)
		eventuallyTraced(t, ls[0], key, want...) // half of it is in this one's own log, too
	}
	all := append(want[:len(want):len(want)], "received@gw1")
	for i, l := range ls {
		for _, n := range []int{1, 2, 100} {
			var got []string
			for at := tracking.Cursor(""); ; {
				es, next, err := l.Search(t.Context(), tracking.Filter{}, at, n)
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, told(es)...); next == "" {
					break
				}
				at = next
			}
			if diff := cmp.Diff(all, got); diff != "" {
				t.Errorf("searched at gateway %d, %d at a time, -want +got:\n%s", i+1, n, diff)
			}
		}
	}
	var text strings.Builder
	if err := ls[2].WriteExchange(t.Context(), &text, tracking.Filter{ID: "SITEA-1"}, nil); err != nil || !strings.Contains(text.String(), "SITEA-1\t0\t") {
		t.Errorf("Exchange's form: %v\n%s", err, &text)
	}
	if _, err := ls[2].Trace(t.Context(), "nobody"); !errors.Is(err, tracking.ErrNotFound) {
		t.Errorf("an unknown name: %v", err)
	}
}

// TestASearchOfTheClusterFindsWhatALogFinds asks both with the same filters.
func TestASearchOfTheClusterFindsWhatALogFinds(t *testing.T) {
	dsn := schema(t)
	a, b := member(t, dsn, "a", withEvents), member(t, dsn, "b", withEvents)
	alone, err := tracking.Open(t.TempDir(), tracking.Options{Subjects: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := alone.Close(); err != nil {
			t.Error(err)
		}
	})
	one, two := diary(t, a, t.TempDir()), diary(t, b, t.TempDir())
	began := time.Now().Add(-time.Hour)
	var all []tracking.Event
	var parts [2][]tracking.Event
	for i := range 120 {
		for k, e := range life(i) {
			e.Time = began.Add(time.Duration(i)*time.Second + time.Duration(k)*time.Millisecond)
			if i%40 == 0 {
				e.Class, e.Subject = mail.Permanent, "50% off_now 'Ärger'\x00 über \\u0000"
			}
			all, parts[i%2] = append(all, e), append(parts[i%2], e)
		}
	}
	note(t, alone, all...)
	note(t, one, parts[0]...)
	note(t, two, parts[1]...)
	eventually(t, "all to be shipped", func() bool { return one.Stats().Shipped+two.Stats().Shipped == 360 })
	for _, f := range []tracking.Filter{
		{}, {Sender: "MS:NET/PO1/USER17"}, {Sender: "*user1*"}, {Sender: "ms:net/po1/user_"}, {Recipient: "user33@elsewhere.example"}, {Subject: "week 17"}, {Subject: "ärger"}, {Subject: "50% off_"},
		{Types: []tracking.Type{tracking.Received, tracking.Relayed}}, {Class: mail.Permanent}, {Connector: "PO1"}, {From: began.Add(100 * time.Second), To: began.Add(110 * time.Second)},
		{From: began.Add(119 * time.Second)}, {ID: "M0000007.MSG"}, {ID: "SITEA-01J9Z3K6T2C7V5X100000009", Types: []tracking.Type{tracking.Queued}}, {Connector: "nothing"},
	} {
		want, _, err := alone.Search(t.Context(), f, "", 5000)
		if err != nil {
			t.Fatal(err)
		}
		got, next, err := one.Search(t.Context(), f, "", 5000)
		if err != nil || next != "" {
			t.Fatal(err, next)
		}
		for i := range got {
			got[i].Node = ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: -alone +cluster:\n%.2000s", f, diff)
		}
	}
}

func TestEventsWaitForTheDatabaseAndAreShippedOnce(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	off, on := member(t, w.through(t, dsn), "off", withEvents, func(o *Options) { o.askFor = 300 * time.Millisecond }), member(t, dsn, "on", withEvents)
	dir := t.TempDir()
	l, there := diary(t, off, dir), diary(t, on, t.TempDir())
	note(t, l, tracking.Event{Type: tracking.Received, ID: "X-1"})
	eventuallyTraced(t, there, "X-1", "received@off")
	w.gate.Lock()
	w.severAll()
	note(t, l, tracking.Event{Type: tracking.Queued, ID: "X-1"}) // mail does not wait
	var partly *tracking.Partly
	if es, err := l.Trace(t.Context(), "X-1"); !errors.As(err, &partly) || len(es) != 2 {
		t.Errorf("while the database is away: %v, %v", told(es), err)
	}
	if es, _, err := l.Search(t.Context(), tracking.Filter{}, "", 10); !errors.As(err, &partly) || len(es) != 2 {
		t.Errorf("searched while the database is away: %v, %v", told(es), err)
	}
	if err := l.Close(); err != nil { // the gateway ends and starts again
		t.Error(err)
	}
	l = diary(t, off, dir)
	note(t, l, tracking.Event{Type: tracking.Attempt, ID: "X-1"})
	w.gate.Unlock()
	eventuallyTraced(t, there, "X-1", "received@off", "queued@off", "attempt@off")
	eventuallyTraced(t, l, "X-1", "received@off", "queued@off", "attempt@off")

	// The connection is cut between the commit and its answer.
	w.arm("commit")
	note(t, l, tracking.Event{Type: tracking.Delivered, ID: "X-1"})
	eventuallyTraced(t, there, "X-1", "received@off", "queued@off", "attempt@off", "delivered@off")
	note(t, l, tracking.Event{Type: tracking.Received, ID: "X-2"})
	eventuallyTraced(t, there, "X-2", "received@off")
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := count(t, on, "event"); n != 5 || w.cuts != 1 {
		t.Errorf("%d events after %d cuts, want 5 after 1", n, w.cuts)
	}
}

func TestASecondProcessOfANameShipsAlone(t *testing.T) {
	dsn := schema(t)
	first := member(t, dsn, "gw", withEvents)
	member(t, dsn, "gw", withEvents)
	if ok, err := first.Events().Add(t.Context(), "gw", "", "20260101:1", []tracking.Record{{Line: "{}"}}); ok || err != nil {
		t.Errorf("the first, whose place was taken, added events: %v, %v", ok, err)
	}
}

func TestEventsAreAddedFromOnePlaceOnce(t *testing.T) {
	s := member(t, schema(t), "gw", withEvents)
	add := func(from, to tracking.Cursor) (bool, error) {
		return s.Events().Add(t.Context(), "gw", from, to, []tracking.Record{{Line: "{}"}})
	}
	var wg sync.WaitGroup
	var stored atomic.Int64
	for range 8 { // the first may be on its way still when the answer is given up
		wg.Go(func() {
			if ok, err := add("", "20260101:1"); err != nil {
				t.Error(err)
			} else if ok {
				stored.Add(1)
			}
		})
	}
	wg.Wait()
	if ok, err := add("20260101:1", "20260101:2"); !ok || err != nil {
		t.Errorf("the next: %v, %v", ok, err)
	}
	if n := count(t, s, "event"); n != 2 || stored.Load() != 1 {
		t.Errorf("%d events, the first stored %d times", n, stored.Load())
	}
	if at, err := s.Events().Position(t.Context(), "gw"); at != "20260101:2" || err != nil {
		t.Errorf("the log is stored as far as %q, %v", at, err)
	}
}

func TestAFortnightOfEventsIsDroppedByTheDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := member(t, schema(t), "a", func(o *Options) { o.Clock, o.Poll, o.KeepEvents = time.Now, 24*time.Hour, 5*24*time.Hour })
		l := diary(t, s, t.TempDir())
		for day := range 14 {
			note(t, l, tracking.Event{Type: tracking.Received, ID: fmt.Sprint("D-", day)})
			time.Sleep(24*time.Hour + time.Minute)
			synctest.Wait()
			want := days("event", time.Now(), max(-day-1, -5), daysAhead)
			if diff := cmp.Diff(want, partitions(t, s, "event")); diff != "" {
				t.Fatalf("after %d days, -want +got:\n%s", day+1, diff)
			}
		}
		if es, err := l.Trace(t.Context(), "D-10"); err != nil || len(es) != 1 {
			t.Errorf("within the time: %v, %v", es, err)
		}
		if n, rest := count(t, s, "event"), count(t, s, "event_rest"); n != 5 || rest != 0 {
			t.Errorf("%d events are kept, %d without a partition; want 5 and 0", n, rest)
		}
		if err := errors.Join(l.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestAGatewayWithoutWorkIsNotForgotten has nothing to do for longer than silent gateways are remembered.
func TestAGatewayWithoutWorkIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dsn := schema(t)
		virtual := func(o *Options) { o.Clock, o.Poll = time.Now, 24*time.Hour }
		a, b := member(t, dsn, "a", virtual), member(t, dsn, "b", virtual)
		time.Sleep(keepAttempts + 6*time.Hour)
		carryOne(t, b)
		carryOne(t, a)
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestATraceLooksIntoIndexes asks for the plans that are made without knowing the parameters.
func TestATraceLooksIntoIndexes(t *testing.T) {
	s := member(t, schema(t), "a", withEvents)
	if _, err := s.pool.Exec(t.Context(), `insert into event select `+strings.ReplaceAll(clock, "$1", "null")+`, g, 'a', 1, g, array[g, -g], repeat('x', 300) from generate_series(1, 30000) g;
		analyze event`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	today := days("event", time.Now(), 0, 0)[0]
	for name, q := range map[string]struct{ sql, args, index string }{
		"trace":  {named, "array[17::bigint, -4], 20000", "_names_idx"},
		"search": {page, "10, 'a', 1, 1, 9000, array['x'], array['y'], 100", "_at_idx"},
	} {
		c, err := s.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rs, err := c.Conn().PgConn().Exec(t.Context(), "prepare asked as "+q.sql+"; explain execute asked("+q.args+"); deallocate asked").ReadAll()
		c.Release()
		if err != nil {
			t.Fatal(err)
		}
		var plan strings.Builder
		for _, line := range rs[1].Rows {
			fmt.Fprintf(&plan, "%s\n", line[0])
		}
		if text := plan.String(); !strings.Contains(text, today+q.index) || strings.Contains(text, "Seq Scan on "+today) {
			t.Errorf("%s looks at every row:\n%s", name, text)
		}
	}
	rs, err := s.Events().Named(context.Background(), []int64{17, -4}, 10)
	if err != nil || len(rs) != 2 {
		t.Errorf("found %d, %v", len(rs), err)
	}
}

package pgqueue

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"backbone/gateway/mail/pace"
)

// still is a clock that stands still: what comes back meanwhile is nothing.
func still(o *Options) {
	at := time.Now()
	o.Clock = func() time.Time { return at }
}

func rateLimit(kind, key string, perHour int) pace.Limit {
	return pace.Limit{Kind: kind, Key: key, PerHour: perHour}
}

// TestThreeGatewaysLetThroughWhatTheLimitSays has all of them count the same events at once, under three limits, of which the
// narrowest decides.
func TestThreeGatewaysLetThroughWhatTheLimitSays(t *testing.T) {
	const limit, each = 30, 20
	dsn := schema(t)
	limits := []pace.Limit{rateLimit("host", "h", 100), rateLimit("sender", "a@b.example", limit), rateLimit("dest", "d", limit)}
	var mu sync.Mutex
	let := map[string]int{}
	var waits []time.Duration
	var wg sync.WaitGroup
	now := time.Now()
	for i := range 3 {
		s := member(t, dsn, fmt.Sprint("gw", i), func(o *Options) { o.Clock = func() time.Time { return now } })
		for range 2 { // sessions at once
			wg.Go(func() {
				for range each {
					n, _, err := s.Limits().Take(t.Context(), limits)
					if err != nil {
						t.Error(err)
						return
					}
					w, err := s.Limits().Book(t.Context(), []pace.Limit{rateLimit("reports", "o", limit)})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, l := range limits[:n] {
						let[l.Kind]++
					}
					waits = append(waits, w...)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if let["host"] != 100 || let["sender"] != limit || let["dest"] != limit {
		t.Errorf("let through: %v, want host 100, sender and dest %d", let, limit)
	}
	slices.Sort(waits)
	for i, w := range waits { // the turns of reports are those of one gateway that makes them all
		if want := time.Duration(max(i-limit+1, 0)) * (time.Hour / limit); w != want {
			t.Fatalf("turn %d is in %s, want %s", i, w, want)
		}
	}
}

// TestTheClustersCountIsThatOfOneGateway compares what both make of the same events.
func TestTheClustersCountIsThatOfOneGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := member(t, schema(t), "a", func(o *Options) { o.Clock = time.Now })
		run := 0
		rapid.Check(undated{t}, func(rt *rapid.T) {
			run++
			var own pace.Pace
			shared := pace.Pace{Shared: s.Limits()}
			key := rapid.StringMatching(`[ab]`)
			for range rapid.IntRange(1, 40).Draw(rt, "events") {
				limits := []pace.Limit{rateLimit(fmt.Sprint(run, "first"), key.Draw(rt, "key"), rapid.IntRange(0, 4).Draw(rt, "an hour"))}
				for i := range rapid.IntRange(0, 2).Draw(rt, "further limits") {
					limits = append(limits, rateLimit(fmt.Sprint(run, "further", i), key.Draw(rt, "key"), rapid.IntRange(0, 4).Draw(rt, "an hour")))
					limits[i+1].Later = rapid.SampledFrom([]string{"", "later"}).Draw(rt, "later")
				}
				count := (*pace.Pace).Take
				if rapid.Bool().Draw(rt, "book") {
					count = (*pace.Pace).Book
				}
				w, over := count(&own, t.Context(), limits...)
				x, xover := count(&shared, t.Context(), limits...)
				if w.Truncate(time.Microsecond) != x.Truncate(time.Microsecond) || over != xover {
					rt.Fatalf("the cluster's count says %s over %q, a gateway's %s over %q", x, xover, w, over)
				}
				elapse(time.Duration(rapid.IntRange(0, 40).Draw(rt, "minutes")) * time.Minute)
			}
		})
	})
}

// undated is a test in a bubble: its deadline is not of the bubble's time.
type undated struct{ *testing.T }

func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

func elapse(d time.Duration) { <-time.After(d) }

// TestWhatOneLimitRefusesIsNotCountedByTheNext: a flood from one host that forges a sender takes nothing from that sender's count.
func TestWhatOneLimitRefusesIsNotCountedByTheNext(t *testing.T) {
	s := member(t, schema(t), "a", still)
	sender := rateLimit("sender", "victim", 3)
	for i, want := range []int{2, 0, 0, 0} {
		if n, _, err := s.Limits().Take(t.Context(), []pace.Limit{rateLimit("host", "flood", 1), sender}); n != want || err != nil {
			t.Errorf("event %d: counted by %d, %v, want %d", i+1, n, err, want)
		}
	}
	for i, want := range []int{1, 1, 0} {
		if n, _, err := s.Limits().Take(t.Context(), []pace.Limit{sender}); n != want || err != nil {
			t.Errorf("from elsewhere, event %d: counted by %d, %v, want %d", i+1, n, err, want)
		}
	}
}

func TestKeysOfStrangersCostBoundedRows(t *testing.T) {
	s := member(t, schema(t), "a", still)
	s.rates.max = 5
	take := func(key string) bool {
		n, _, err := s.Limits().Take(t.Context(), []pace.Limit{rateLimit("sender", key, 2)})
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	}
	for i := range 5 {
		if !take(fmt.Sprint("known", i)) {
			t.Fatal("refused at first")
		}
	}
	let := 0
	for i := range 20 {
		if take(fmt.Sprint("new", i)) {
			let++
		}
	}
	if let != 2 {
		t.Errorf("%d of new keys let through, want the 2 of one key", let)
	}
	if !take("known3") || take("known3") {
		t.Error("a key that is known has lost its own count")
	}
	var n int
	if err := s.pool.QueryRow(t.Context(), "select count(*) from rate").Scan(&n); err != nil || n != 6 {
		t.Errorf("%d rows, %v, want 6", n, err)
	}
	if n, _, err := s.Limits().Take(t.Context(), []pace.Limit{rateLimit("host", "new", 1)}); n != 1 || err != nil {
		t.Errorf("another kind is crowded out: %d, %v", n, err)
	}
	s.o.Clock = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if rows, err := s.rates.tidy(t.Context()); err != nil || rows != 0 {
		t.Errorf("%d rows left when all counts are whole, %v", rows, err)
	}
	if !take("new0") || !take("new1") || !take("new0") {
		t.Error("new keys share a count although there is room")
	}
}

// TestTidyingTakesOutWhatIsWholeAgain and waits for nobody.
func TestTidyingTakesOutWhatIsWholeAgain(t *testing.T) {
	s := member(t, schema(t), "a", still)
	start := s.o.Clock()
	for _, l := range []pace.Limit{rateLimit("k", "soon", 60), rateLimit("k", "late", 1), rateLimit("k", "used", 60)} {
		if _, _, err := s.Limits().Take(t.Context(), []pace.Limit{l}); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select 1 from rate where key = $1 for update", hashOf("used")); err != nil {
		t.Fatal(err)
	}
	s.o.Clock = func() time.Time { return start.Add(2 * time.Minute) }
	if rows, err := s.rates.tidy(t.Context()); err != nil || rows != 2 {
		t.Errorf("%d rows left, %v, want what is not whole and what is in use", rows, err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows, err := s.rates.tidy(t.Context()); err != nil || rows != 1 {
		t.Errorf("%d rows left, %v, want 1", rows, err)
	}
}

// TestACountWaitsForNoDisk, and its setting does not outlive its transaction.
func TestACountWaitsForNoDisk(t *testing.T) {
	s := member(t, schema(t), "a", func(o *Options) { o.Connections = 1 })
	show := func(before ...query) (v string) {
		q := query{sql: "select current_setting('synchronous_commit')"}
		q.read = func(rows pgx.Rows) error { return rows.Scan(&v) }
		if err := s.batch(t.Context(), append(before, q)...); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if got := show(query{sql: asynchronous}); got != "off" {
		t.Errorf("within the transaction: %s", got)
	}
	if _, _, err := s.Limits().Take(t.Context(), []pace.Limit{rateLimit("k", "x", 1)}); err != nil {
		t.Fatal(err)
	}
	if got := show(); got != "on" {
		t.Errorf("after it: %s", got)
	}
}

// TestLimitsHoldWithoutTheDatabase, as each gateway's own.
func TestLimitsHoldWithoutTheDatabase(t *testing.T) {
	w := &wire{}
	s := member(t, w.through(t, schema(t)), "cut")
	var said bytes.Buffer
	p := pace.Pace{Shared: pace.Patiently(s.Limits(), slog.New(slog.NewTextHandler(&said, nil)))}
	limit := rateLimit("k", "x", 10)
	take := func() (ok bool) { w, _ := p.Take(t.Context(), limit); return w == 0 }
	if !take() {
		t.Fatal("refused at first")
	}
	w.gate.Lock()
	let := 0
	for range 20 {
		if take() {
			let++
		}
	}
	w.gate.Unlock()
	if let != 9 {
		t.Errorf("%d let through while the database was away, want 9: it knows one", let)
	}
	if n := strings.Count(said.String(), "level=WARN"); n < 1 || n > 2 { // on a busy machine it may have been away before
		t.Errorf("logged %d times:\n%s", n, said.String())
	}
	eventually(t, "the database to be asked again", func() bool {
		_, _, err := s.Limits().Take(t.Context(), []pace.Limit{limit})
		return err == nil
	})
}

package tracking

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// shelf is an archive in memory.
type shelf struct {
	mu       sync.Mutex
	at       map[string]Cursor
	rs       []Record
	away     error
	refuse   error // what Add says
	lose     bool  // the answer to the next Add
	adds     int
	pageSize int
}

func (s *shelf) Position(_ context.Context, node string) (Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[node], s.away
}

func (s *shelf) Add(_ context.Context, node string, from, to Cursor, rs []Record) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adds++; s.away != nil || s.refuse != nil || s.at[node] != from {
		return false, errors.Join(s.away, s.refuse)
	}
	if s.at == nil {
		s.at = map[string]Cursor{}
	}
	s.at[node] = to
	s.rs = append(s.rs, rs...)
	if s.lose {
		s.lose = false
		return false, errors.New("the answer was lost")
	}
	return true, nil
}

func (s *shelf) Named(_ context.Context, names []int64, _ int) (rs []Record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rs {
		if slices.ContainsFunc(r.Names, func(n int64) bool { return slices.Contains(names, n) }) {
			rs = append(rs, r)
		}
	}
	return rs, s.away
}

func (s *shelf) Page(_ context.Context, _ Query, after Mark) (rs []Record, end Mark, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.rs, func(a, b Record) int { return a.Compare(b.Mark) })
	for _, r := range s.rs {
		if r.Compare(after) > 0 {
			if rs = append(rs, r); len(rs) == cmp.Or(s.pageSize, 3) {
				return rs, r.Mark, s.away
			}
		}
	}
	return rs, Mark{}, s.away
}

func (s *shelf) gone(err error) { s.mu.Lock(); s.away = err; s.mu.Unlock() }

// ids are what is on the shelf, in the order of its arrival.
func (s *shelf) ids() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.rs {
		e, _ := r.event()
		out = append(out, e.ID)
	}
	return strings.Join(out, " ")
}

// said is a log that tests read.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.b.Write(p) }
func (s *said) text() string                { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }
func (s *said) log() *slog.Logger           { return slog.New(slog.NewTextHandler(s, nil)) }

func numbered(from, to int) (es []Event) {
	for i := from; i <= to; i++ {
		es = append(es, Event{Type: Queued, ID: fmt.Sprint(i)})
	}
	return es
}

func list(from, to int) string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return strings.Join(out, " ")
}

// shipping runs f in a bubble, with a log that it opens on a folder as often as it likes.
func shippingTest(t *testing.T, f func(t *testing.T, a *shelf, log *said, dir string, open func(Options) *Log)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a, log := &shelf{}, &said{}
		f(t, a, log, dir, func(o Options) *Log {
			o.Archive, o.Node, o.Log = a, "gw", log.log()
			l, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			return l
		})
	})
}

func closed(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func wantIDs(t *testing.T, a *shelf, want string) {
	t.Helper()
	if got := a.ids(); got != want {
		t.Errorf("in the archive: %s, want %s", got, want)
	}
}

func TestOnlyWhatIsSyncedIsShipped(t *testing.T) {
	shippingTest(t, func(t *testing.T, a *shelf, _ *said, _ string, open func(Options) *Log) {
		l := open(Options{SyncEvery: time.Hour})
		put(t, l, numbered(1, 3)...)
		<-time.After(time.Minute)
		synctest.Wait()
		wantIDs(t, a, "")
		<-time.After(time.Hour)
		synctest.Wait()
		wantIDs(t, a, "1 2 3")
		a.gone(errors.New("away"))
		put(t, l, numbered(4, 4)...)
		<-time.After(time.Hour)
		put(t, l, numbered(5, 5)...)
		a.gone(nil)
		<-time.After(time.Minute)
		synctest.Wait()
		wantIDs(t, a, "1 2 3 4")
		closed(t, l)
		wantIDs(t, a, "1 2 3 4 5")
	})
}

func TestShippingGoesOnAfterOutagesRestartsAndLostAnswers(t *testing.T) {
	shippingTest(t, func(t *testing.T, a *shelf, log *said, _ string, open func(Options) *Log) {
		l := open(Options{})
		put(t, l, numbered(1, 5)...)
		a.mu.Lock()
		a.lose = true
		a.mu.Unlock()
		<-time.After(time.Minute)
		synctest.Wait()
		wantIDs(t, a, list(1, 5))
		if err := l.Stats().Unshipped; err != nil {
			t.Errorf("nothing waits, and it says %v", err)
		}
		a.gone(errors.New("away"))
		put(t, l, numbered(6, 7)...)
		<-time.After(10 * time.Minute)
		if l.Stats().Unshipped == nil {
			t.Error("it does not say that events wait")
		}
		put(t, l, numbered(8, 8)...)
		if n := strings.Count(log.text(), "events wait here"); n != 2 {
			t.Errorf("an outage and a lost answer were told %d times:\n%s", n, log.text())
		}
		closed(t, l) // waits for nothing
		l = open(Options{})
		put(t, l, numbered(9, 1500)...) // several batches, on another day
		<-time.After(24 * time.Hour)
		put(t, l, numbered(1501, 1501)...)
		a.gone(nil)
		<-time.After(time.Minute)
		synctest.Wait()
		wantIDs(t, a, list(1, 1501))
		if s := l.Stats(); s.Shipped != 1496 || s.Unshipped != nil {
			t.Errorf("stats: %d shipped, %v", s.Shipped, s.Unshipped)
		}
		adds := a.adds
		<-time.After(24 * time.Hour)
		if a.adds != adds {
			t.Errorf("a log in which nothing happens was shipped %d times", a.adds-adds)
		}
		closed(t, l)
	})
}

func TestALogThatIsPrunedBeforeItWasShippedIsTold(t *testing.T) {
	shippingTest(t, func(t *testing.T, a *shelf, log *said, _ string, open func(Options) *Log) {
		o := Options{Keep: 48 * time.Hour}
		l := open(o)
		for day := 1; day <= 9; day++ {
			if day == 4 {
				a.gone(errors.New("away"))
			}
			put(t, l, numbered(day, day)...)
			<-time.After(24 * time.Hour)
			synctest.Wait()
			if told := strings.Count(log.text(), "removed before"); day == 5 && told != 0 {
				t.Fatalf("told although nothing is lost:\n%s", log.text())
			}
		}
		a.gone(nil)
		<-time.After(time.Minute)
		synctest.Wait()
		if told := strings.Count(log.text(), "removed before"); told == 0 {
			t.Errorf("not told:\n%s", log.text())
		}
		told := strings.Count(log.text(), "removed before")
		wantIDs(t, a, "1 2 3 8 9")
		closed(t, l)
		l = open(o)
		<-time.After(time.Minute)
		closed(t, l)
		if again := strings.Count(log.text(), "removed before"); again != told {
			t.Errorf("told again:\n%s", log.text())
		}
	})
}

func TestALogThatIsNotTheOneThatWasShippedGoesOnFromItsEnd(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, file string){
		"restored from an older copy": func(t *testing.T, file string) {
			if err := os.Truncate(file, 0); err != nil {
				t.Fatal(err)
			}
		},
		"on a new disk": func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
		"another text": func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte(strings.Repeat("x", 10_000)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			shippingTest(t, func(t *testing.T, a *shelf, log *said, dir string, open func(Options) *Log) {
				l := open(Options{})
				put(t, l, numbered(1, 5)...)
				closed(t, l)
				change(t, filepath.Join(dir, time.Now().UTC().Format(dayLayout)+logSuffix))
				a.refuse = errors.New("read only")
				l = open(Options{})
				<-time.After(time.Hour) // and many tries
				a.mu.Lock()
				a.refuse = nil
				a.mu.Unlock()
				<-time.After(time.Minute)
				closed(t, l)
				l = open(Options{})
				put(t, l, numbered(6, 7)...)
				closed(t, l)
				wantIDs(t, a, list(1, 7))
				if n := strings.Count(log.text(), "does not have"); n != 1 {
					t.Errorf("told %d times:\n%s", n, log.text())
				}
			})
		})
	}
}

func TestOldEventsAreNotShipped(t *testing.T) {
	shippingTest(t, func(t *testing.T, a *shelf, _ *said, dir string, open func(Options) *Log) {
		l, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		put(t, l, numbered(1, 1)...)
		<-time.After(10 * 24 * time.Hour)
		put(t, l, numbered(2, 2)...)
		closed(t, l)
		l = open(Options{Keep: 20 * 24 * time.Hour})
		closed(t, l)
		wantIDs(t, a, "1 2")
		a.at, a.rs = nil, nil // a gateway that has been away for so long that its place is forgotten
		<-time.After(15 * 24 * time.Hour)
		l = open(Options{Keep: 20 * 24 * time.Hour})
		closed(t, l)
		wantIDs(t, a, "2")
	})
}

// TestWhatIsShippedDuringASearchIsFoundOnce has the archive say of less than it has that it has it.
func TestWhatIsShippedDuringASearchIsFoundOnce(t *testing.T) {
	shippingTest(t, func(t *testing.T, a *shelf, _ *said, _ string, open func(Options) *Log) {
		l := open(Options{})
		put(t, l, numbered(1, 10)...)
		<-time.After(time.Minute)
		synctest.Wait()
		a.mu.Lock()
		a.at["gw"] = ""
		a.mu.Unlock()
		for _, n := range []int{1, 4, 100} {
			var got []string
			for at := Cursor(""); ; {
				es, next, err := l.Search(t.Context(), Filter{}, at, n)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range es {
					got = append(got, e.ID)
				}
				if at = next; at == "" {
					break
				}
			}
			if s := strings.Join(got, " "); s != list(1, 10) {
				t.Errorf("%d at a time: %s", n, s)
			}
		}
		closed(t, l)
	})
}

func TestAListingBegunWithoutTheArchiveGoesOnWithoutIt(t *testing.T) {
	shippingTest(t, func(t *testing.T, a *shelf, _ *said, _ string, open func(Options) *Log) {
		l := open(Options{})
		put(t, l, numbered(1, 10)...)
		a.gone(errors.New("away"))
		es, next, err := l.Search(t.Context(), Filter{}, "", 4)
		var partly *Partly
		if !errors.As(err, &partly) || len(es) != 4 || es[0].Node != "gw" {
			t.Fatalf("%v, %v", es, err)
		}
		a.gone(nil)
		es, next, err = l.Search(t.Context(), Filter{}, next, 100)
		if !errors.As(err, &partly) || len(es) != 6 || next != "" || es[0].ID != "5" {
			t.Errorf("%v, %q, %v", es, next, err)
		}
		a.gone(errors.New("away"))
		if _, err := l.Trace(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) || !errors.As(err, &partly) {
			t.Errorf("a name that is not here, and who knows where: %v", err)
		}
		a.gone(nil)
		closed(t, l)
	})
}

package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/queue"
	"backbone/queue/boltqueue/crashfs"
)

// fastDir is a folder in memory where there is one: these tests open hundreds of stores, and model the disk themselves.
func fastDir(t testing.TB) string {
	t.Helper()
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "boltqueue")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// tiny makes every step of the store happen within a few messages.
func tiny(dir string) Options {
	return Options{dir: dir, segmentSize: 6 << 10, bodyLimit: 2000, opsLimit: 9, mapSize: 1 << 18, lockWait: 50 * time.Millisecond}
}

// Stages of a message's life in these tests. Each is reached by one call, in this order.
const (
	absent   = iota
	stored   // ready, no attempts
	deferred // one attempt
	reported // ended, its report is there
	stages
)

// life is one message's history: when, in the filesystem's steps, each stage began and was answered.
type life struct {
	n           int
	size        int
	dedup       string
	begun       [stages]int
	acked       [stages]int
	leasedFrom  int // a lease was given...
	leasedUntil int // ...and not yet being settled
	reportSize  int
}

const never = 1 << 60

func newLife(n int, r *rand.Rand) *life {
	l := &life{n: n, size: []int{10, 1500, 5000}[r.IntN(3)], reportSize: []int{10, 3000}[r.IntN(2)], leasedFrom: never, leasedUntil: never}
	if r.IntN(2) == 0 {
		l.dedup = fmt.Sprint("claim ", n)
	}
	for i := 1; i < stages; i++ {
		l.begun[i], l.acked[i] = never, never
	}
	return l
}

func (l *life) text() string { return strings.Repeat(fmt.Sprintf("message %d. ", l.n), l.size/10) }
func (l *life) report() string {
	return strings.Repeat(fmt.Sprintf("report %d. ", l.n), l.reportSize/10)
}

func subject(d queue.Dest, s string) queue.Item {
	it := message1(d)
	it.Envelope.Subject = s
	return it
}

func (l *life) new(s *Store) (queue.New, error) {
	g, err := s.Stage(context.Background(), strings.NewReader(l.text()), 0)
	return queue.New{Body: g, Items: []queue.Item{subject(site, fmt.Sprint("message ", l.n))}, Dedup: l.dedup}, err
}

// live takes a message through its life. It stops at the first error, as a source or dispatcher would.
func (l *life) live(s *Store, fs *crashfs.FS) error {
	ctx := context.Background()
	n, err := l.new(s)
	if err != nil {
		return err
	}
	l.begun[stored] = fs.Len()
	ids, _, err := s.Put(ctx, n)
	if err != nil {
		return err
	}
	l.acked[stored] = fs.Len()
	for stage := deferred; stage < stages; stage++ {
		le, err := s.LeaseID(ctx, ids[0], "tester", time.Minute)
		if err != nil {
			return err
		}
		l.leasedFrom = fs.Len()
		var st queue.Settlement
		if stage == deferred {
			k := le.Item
			k.Attempts, k.Unknown = 1, false
			st.Keep = []queue.Item{k}
		} else {
			g, err := s.Stage(ctx, strings.NewReader(l.report()), 0)
			if err != nil {
				return err
			}
			st.Spawn = []queue.New{{Body: g, Items: []queue.Item{subject(queue.Dest{Connector: "back"}, fmt.Sprint("report ", l.n))}}}
		}
		l.begun[stage], l.leasedUntil = fs.Len(), fs.Len()
		if err := s.Settle(ctx, le, st); err != nil {
			return err
		}
		l.acked[stage] = fs.Len()
		if stage == deferred {
			l.leasedFrom, l.leasedUntil = never, never
		}
	}
	return nil
}

// workload runs some lives at once and answers the errors that ended any.
func workload(s *Store, fs *crashfs.FS, lives []*life) []error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	const workers = 6
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(lives); i += workers {
				if err := lives[i].live(s, fs); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errs
}

// verify opens what a cut after n steps left and holds it against what had been answered by then.
func verify(t *testing.T, dir string, lives []*life, n int, mode crashfs.Mode) {
	t.Helper()
	s, err := Open(dir, tiny(dir))
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	bad, err := s.Check(context.Background())
	if err != nil || len(bad) > 0 {
		t.Errorf("check: %v, %q", err, bad)
	}
	found := map[string][]queue.Item{}
	items, _, err := s.List(context.Background(), queue.Filter{}, "", 10000)
	if err != nil {
		t.Errorf("list: %v", err)
	}
	for _, it := range items {
		found[it.Envelope.Subject] = append(found[it.Envelope.Subject], it)
	}
	for _, l := range lives {
		l.verify(t, s, found, n, mode)
	}
	if err := put1(s, []byte("after the cut"), message1(site)); err != nil {
		t.Errorf("put after the cut: %v", err)
	}
}

func (l *life) verify(t *testing.T, s *Store, found map[string][]queue.Item, n int, mode crashfs.Mode) {
	t.Helper()
	msgs, reports := found[fmt.Sprint("message ", l.n)], found[fmt.Sprint("report ", l.n)]
	if len(msgs)+len(reports) > 1 {
		t.Errorf("message %d: %d entries and %d reports at once", l.n, len(msgs), len(reports))
		return
	}
	stage := absent
	switch {
	case len(reports) == 1:
		stage = reported
	case len(msgs) == 1:
		stage = stored + msgs[0].Attempts
	}
	least, most := absent, absent
	for i := 1; i < stages; i++ {
		if l.acked[i] <= n {
			least = i
		}
		if l.begun[i] < n {
			most = i
		}
	}
	if stage < least || stage > most {
		t.Errorf("message %d is at stage %d; what was answered allows %d to %d", l.n, stage, least, most)
	}
	for _, it := range append(msgs, reports...) {
		want := l.text()
		if stage == reported {
			want = l.report()
		}
		if got, err := readAll(s, it); err != nil || got != want {
			t.Errorf("%s: its text is wrong (%d octets, want %d; %v)", it.Envelope.Subject, len(got), len(want), err)
		}
	}
	if mode == crashfs.Everything && l.leasedFrom <= n && n <= l.leasedUntil && len(msgs) == 1 && !msgs[0].Unknown {
		t.Errorf("message %d: its attempt had begun, but its outcome is not unknown", l.n)
	}
	if l.dedup == "" || stage == absent && most > absent {
		return
	}
	if known, err := s.Known(context.Background(), l.dedup); err != nil || known != (stage > absent) {
		t.Errorf("message %d is at stage %d, its dedup key is known: %v (%v)", l.n, stage, known, err)
	}
}

func readAll(s *Store, it queue.Item) (string, error) {
	r, err := s.Body(it.Body).Open()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

// openRecorded opens a store on a recording filesystem.
func openRecorded(t testing.TB, dir string) (*Store, *crashfs.FS) {
	t.Helper()
	fs := crashfs.New(dir)
	o := tiny(dir)
	o.FS = fs
	o.committed = func() {
		if err := fs.NoteIndex(filepath.Join(dir, "index.db")); err != nil {
			t.Error(err)
		}
	}
	s, err := Open(o.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, fs
}

// TestPowerCutAfterEveryStep records a few messages' lives, cuts the power after each step of the filesystem in one of four
// ways, and compares what is there after opening again with what had been answered.
func TestPowerCutAfterEveryStep(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	dir := fastDir(t)
	s, fs := openRecorded(t, filepath.Join(dir, "store"))
	var lives []*life
	for n := range 12 {
		lives = append(lives, newLife(n, r))
	}
	if errs := workload(s, fs, lives); len(errs) > 0 {
		t.Fatal(errs)
	}
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	more := newLife(len(lives), r)
	if err := more.live(s, fs); err != nil {
		t.Fatal(err)
	}
	lives = append(lives, more)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps, seed %d", fs.Len(), seed)
	for n := range fs.Len() + 1 {
		mode := crashfs.Mode((n + int(seed%4)) % 4)
		cut := filepath.Join(dir, "cut")
		if err := fs.Rebuild(cut, n, mode, r); err != nil {
			t.Fatal(err)
		}
		verify(t, cut, lives, n, mode)
		if t.Failed() {
			t.Fatalf("cut after %d steps of %d leaving %s; seed %d", n, fs.Len(), mode, seed)
		}
		if err := os.RemoveAll(cut); err != nil {
			t.Fatal(err)
		}
	}
}

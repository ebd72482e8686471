package boltqueue

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"backbone/queue"
	"backbone/queue/boltqueue/crashfs"
	"backbone/queue/boltqueue/disk"
)

// TestWhatARestartFoundIsDurable: after kill -9 the log may hold records that are in the kernel's memory only. Once the
// store is open again they count, so a power cut must not undo them.
func TestWhatARestartFoundIsDurable(t *testing.T) {
	dir := fastDir(t)
	s, fs := openRecorded(t, filepath.Join(dir, "store"))
	o := s.o
	if err := put1(s, []byte("before"), message1(queue.Dest{Connector: "other"})); err != nil {
		t.Fatal(err)
	}
	fs.Fail(func(op crashfs.Op, _ string) error {
		if op == crashfs.Sync {
			return unix.EIO
		}
		return nil
	})
	if err := put1(s, []byte("first"), message1(site)); !errors.Is(err, queue.ErrFatal) {
		t.Fatalf("put: %v", err)
	}
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	fs.Fail(nil)
	s, err := Open(o.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	ls, err := s.Lease(context.Background(), site, "x", 1, queue.NoWindow, time.Minute)
	if err != nil || len(ls) != 1 {
		t.Fatalf("after the restart: leased %v, %v", ls, err)
	}
	cut := filepath.Join(dir, "cut")
	if err := fs.Rebuild(cut, fs.Len(), crashfs.Nothing, rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	s = openBench(t, tiny(cut))
	it, err := s.Get(context.Background(), ls[0].ID)
	if err != nil {
		t.Fatalf("the power cut undid what the restart had found: %v", err)
	}
	if text, err := readAll(s, it); text != "first" || err != nil {
		t.Errorf("text %q, %v", text, err)
	}
}

// TestALeaseEndsOnTimeWhetherReapedOrNot: the housekeeper may be late, the lease is over all the same.
func TestALeaseEndsOnTimeWhetherReapedOrNot(t *testing.T) {
	s := openBench(t, tiny(fastDir(t)))
	if err := put1(s, []byte("x"), message1(site)); err != nil {
		t.Fatal(err)
	}
	ls, err := s.Lease(context.Background(), site, "x", 1, queue.NoWindow, time.Hour)
	if err != nil || len(ls) != 1 {
		t.Fatalf("leased %v, %v", ls, err)
	}
	s.mu.Lock()
	s.leases[ls[0].ID].until = time.Now()
	s.mu.Unlock()
	if err := s.Settle(context.Background(), ls[0], queue.Settlement{}); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("settle: %v", err)
	}
	if err := s.Extend(context.Background(), ls[0], time.Hour); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("extend: %v", err)
	}
}

// TestDiskUseFollowsTheQueue puts many messages through, over restarts, and looks at what is left on the disk: nothing of
// them but a segment or two.
func TestDiskUseFollowsTheQueue(t *testing.T) {
	o := Options{dir: fastDir(t), segmentSize: 64 << 10, bodyLimit: 2000, opsLimit: 50}
	for round := range 6 {
		s, err := Open(o.dir, o)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if err := put1(s, make([]byte, 1000), message1(site)); err != nil {
				t.Fatal(err)
			}
		}
		if err := put1(s, make([]byte, 50000), message1(site)); err != nil {
			t.Fatal(err)
		}
		drain(t, s, 101, 5)
		end := s.Close
		if round%2 == 1 {
			end = s.kill
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	s := openBench(t, o)
	st := s.Stats()
	if st.BodyBytes > 2*o.segmentSize || st.Ready != 0 {
		t.Errorf("%d octets of bodies are left for %d messages; a segment has %d", st.BodyBytes, st.Ready, o.segmentSize)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.x.live); n > 0 || s.x.fileSize != 0 {
		t.Errorf("%d segments are in use, %d octets in files", n, s.x.fileSize)
	}
}

// TestSparseSegmentsAreVacated leaves one message in each of many segments: they are moved together while the store runs,
// and survive a crash right after.
func TestSparseSegmentsAreVacated(t *testing.T) {
	ctx := context.Background()
	o := Options{dir: fastDir(t), segmentSize: 64 << 10, bodyLimit: 2000, opsLimit: 50}
	s, err := Open(o.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	stuck := queue.Dest{Connector: "stuck"}
	if err := s.Suspend(ctx, queue.Suspension{Dest: stuck}); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		d := site
		if i%30 == 0 {
			d = stuck
		}
		if err := put1(s, make([]byte, 1900), message1(d)); err != nil {
			t.Fatal(err)
		}
	}
	drain(t, s, 290, 5)
	deadline := time.Now().Add(10 * time.Second)
	for s.Stats().BodyBytes > 4*o.segmentSize { // moved when a checkpoint finds them, given up at the next
		if time.Now().After(deadline) {
			t.Fatalf("10 messages of 1900 octets still take %d", s.Stats().BodyBytes)
		}
		if err := put1(s, []byte("x"), message1(site)); err != nil {
			t.Fatal(err)
		}
		drain(t, s, 1, 1)
	}
	for _, again := range []func() error{s.kill, nil} {
		items, _, err := s.List(ctx, queue.Filter{Connector: "stuck"}, "", 100)
		if err != nil || len(items) != 10 {
			t.Fatalf("%d of 10 messages are left, %v", len(items), err)
		}
		for _, it := range items {
			if text, err := readAll(s, it); err != nil || len(text) != 1900 {
				t.Errorf("%s: %d octets, %v", it.ID, len(text), err)
			}
		}
		if bad, err := s.Check(ctx); err != nil || len(bad) > 0 {
			t.Errorf("check: %q, %v", bad, err)
		}
		if again != nil {
			if err := again(); err != nil {
				t.Fatal(err)
			}
			s = openBench(t, o)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if found, err := Salvage(o.dir, o); err != nil || found.Entries != 10 {
		t.Errorf("the log alone gives back %d of 10 moved messages, %v", found.Entries, err)
	}
}

// TestTidyComesToAnEnd: what has been moved is not moved again, whatever the messages are made of.
func TestTidyComesToAnEnd(t *testing.T) {
	ctx := context.Background()
	s := openBench(t, Options{dir: fastDir(t), segmentSize: 64 << 10, bodyLimit: 2000, opsLimit: 10})
	if err := s.Suspend(ctx, queue.Suspension{Dest: site}); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		its := []queue.Item{message1(site)}
		for range i % 30 {
			its = append(its, message1(queue.Dest{Connector: "other"}))
		}
		if err := put1(s, make([]byte, []int{10, 1900, 5000}[i%3]), its...); err != nil {
			t.Fatal(err)
		}
	}
	drain(t, s, 2*30*29/2, 5) // one item of each is left, and the rest of its record is not
	last := uint32(0)
	for round := range 20 {
		if err := s.tidy(ctx); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		err, at := s.checkpoint(), s.log.num
		s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if at == last {
			return
		}
		t.Logf("round %d: the log goes on in segment %d", round, at)
		last = at
	}
	t.Errorf("tidying has not ended after 20 rounds, at segment %d", last)
}

// TestIndexShrinksByItself drains a backlog: the index gives its pages back without being told.
func TestIndexShrinksByItself(t *testing.T) {
	s := openBench(t, Options{dir: fastDir(t), opsLimit: 100, compactAt: 1 << 20})
	fill(t, s, site, 5000, 0)
	full := s.Stats().IndexBytes
	drain(t, s, 5000, 10)
	deadline := time.Now().Add(10 * time.Second)
	for s.Stats().IndexBytes > 1<<20 {
		if time.Now().After(deadline) {
			t.Fatalf("the index had %d octets and still has %d", full, s.Stats().IndexBytes)
		}
		if err := put1(s, []byte("x"), message1(site)); err != nil {
			t.Fatal(err)
		}
		drain(t, s, 1, 1)
	}
	if full < 1<<20 {
		t.Errorf("the index was never larger than %d octets", full)
	}
	if bad, err := s.Check(context.Background()); err != nil || len(bad) > 0 {
		t.Errorf("check: %q, %v", bad, err)
	}
}

// movingFS lets a test do something between a reader's looking up a body and its opening the segment.
type movingFS struct {
	disk.FS
	before func()
}

func (f *movingFS) Open(name string, write bool) (disk.File, error) {
	if b := f.before; b != nil && !write && filepath.Ext(name) == ".seg" {
		f.before = nil
		b()
	}
	return f.FS.Open(name, write)
}

// TestABodyIsReadThoughItMoves: between looking up where a body is and reading it there, the segment is vacated and used
// again for other messages.
func TestABodyIsReadThoughItMoves(t *testing.T) {
	ctx := context.Background()
	fs := &movingFS{FS: disk.OS{}}
	s := openBench(t, Options{dir: fastDir(t), FS: fs, segmentSize: 8 << 10, bodyLimit: 2000, opsLimit: 1 << 20})
	if err := put1(s, []byte("the message that moves"), message1(queue.Dest{Connector: "stuck"})); err != nil {
		t.Fatal(err)
	}
	items, _, err := s.List(ctx, queue.Filter{}, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	push := func() {
		for range 30 {
			if err := put1(s, make([]byte, 1500), message1(site)); err != nil {
				t.Error(err)
			}
		}
	}
	push()
	moved := false
	fs.before = func() {
		if err := s.vacate(ctx, 1); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		err := s.checkpoint()
		_, old := s.log.sizes[1]
		s.mu.Unlock()
		if err != nil || old {
			t.Errorf("the first segment is still there (%v), %v", old, err)
		}
		push()
		moved = true
	}
	if text, err := readAll(s, items[0]); text != "the message that moves" || err != nil || !moved {
		t.Errorf("read %q, %v; moved %v", text, err, moved)
	}
}

// TestAVerbLeavesNewcomersAlone: what arrives while a verb works its way through the queue is not touched.
func TestAVerbLeavesNewcomersAlone(t *testing.T) {
	s := openBench(t, tiny(fastDir(t)))
	if err := put1(s, []byte("x"), message1(site)); err != nil {
		t.Fatal(err)
	}
	w, last := walk{f: queue.Filter{}, at: time.Now(), limit: verbSlice}, s.lastID()
	if err := put1(s, []byte("x"), message1(site)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	n, _, err := s.changeSlice(&w, queue.Op{Verb: queue.Hold}, last)
	s.mu.Unlock()
	if n != 1 || err != nil || !w.done {
		t.Errorf("touched %d, %v, done %v", n, err, w.done)
	}
}

// TestAnUncleanStopIsLogged tells the operator once that the process had died, and not after a clean stop.
func TestAnUncleanStopIsLogged(t *testing.T) {
	var text bytes.Buffer
	o := tiny(fastDir(t))
	o.Log = slog.New(slog.NewTextHandler(&text, nil))
	for _, step := range []struct {
		end  func(*Store) error
		want bool
	}{{(*Store).Close, false}, {(*Store).kill, false}, {(*Store).Close, true}, {(*Store).Close, false}} {
		text.Reset()
		s, err := Open(o.dir, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text.String(), "was not closed"); got != step.want {
			t.Errorf("logged %q, want a word about the unclean stop: %v", text.String(), step.want)
		}
		if err := put1(s, []byte("x"), message1(site)); err != nil {
			t.Fatal(err)
		}
		if err := step.end(s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompactKeepsTheLogItNeeds: while the index is being copied, segments that the copy has not seen fall dead.
func TestCompactKeepsTheLogItNeeds(t *testing.T) {
	ctx := context.Background()
	fs := &movingFS{FS: disk.OS{}}
	s := openBench(t, Options{dir: fastDir(t), FS: fs, segmentSize: 8 << 10, bodyLimit: 2000, opsLimit: 20})
	churn := func(n int) {
		for range n {
			if err := put1(s, make([]byte, 1500), message1(site)); err != nil {
				t.Error(err)
			}
		}
		drain(t, s, n-1, 3)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.checkpoint(); err != nil {
			t.Error(err)
		}
	}
	churn(20)
	if err := put1(s, []byte("x"), message1(site)); err != nil { // the log is ahead of the checkpoint
		t.Fatal(err)
	}
	fs.before = func() { churn(50) }
	if err := s.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	if fs.before != nil {
		t.Error("nothing happened beside the compaction")
	}
	if n := s.Stats().Ready; n != 3 {
		t.Errorf("%d messages are left, want 3", n)
	}
	if bad, err := s.Check(ctx); err != nil || len(bad) > 0 {
		t.Errorf("check: %q, %v", bad, err)
	}
}

// TestCompactOfAnIdleStore: right after a start there is no segment to append to.
func TestCompactOfAnIdleStore(t *testing.T) {
	ctx := context.Background()
	o := tiny(fastDir(t))
	s, err := Open(o.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := put1(s, []byte("x"), message1(site)); err != nil {
			t.Fatal(err)
		}
	}
	if ls, err := s.Lease(ctx, site, "x", 1, queue.NoWindow, time.Hour); err != nil || len(ls) != 1 {
		t.Fatal(ls, err)
	}
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	s = openBench(t, o)
	before, _, err := s.List(ctx, queue.Filter{}, "", 10)
	if err != nil || !before[0].Unknown {
		t.Fatalf("unknown %v, %v", before[0].Unknown, err)
	}
	if err := s.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	after, _, err := s.List(ctx, queue.Filter{}, "", 10)
	if d := cmp.Diff(before, after); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

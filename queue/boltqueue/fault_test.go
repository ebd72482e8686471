package boltqueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"backbone/queue"
	"backbone/queue/boltqueue/crashfs"
	"backbone/queue/boltqueue/disk"
)

var errFull = error(unix.ENOSPC)

// TestAnyStepMayFail makes a step of the filesystem fail and each one after it, for every fifth step, another fifth in
// each run: the process never panics or hangs, says ErrFatal or ErrFull, and nothing that was answered is lost.
func TestAnyStepMayFail(t *testing.T) {
	for _, fault := range []error{unix.EIO, unix.ENOSPC} {
		t.Run(fault.Error(), func(t *testing.T) {
			dir := fastDir(t)
			for n := rand.IntN(5); ; n += 5 {
				if !failAt(t, filepath.Join(dir, fmt.Sprint(n)), n, fault) {
					break
				}
			}
		})
	}
}

// failAt runs a workload whose nth step fails and tells whether it got that far.
func failAt(t *testing.T, dir string, n int, fault error) (reached bool) {
	s, fs := openRecorded(t, dir)
	start, r := fs.Len(), rand.New(rand.NewPCG(uint64(n), 2))
	steps := 0
	fs.Fail(func(op crashfs.Op, name string) error {
		if steps++; steps > n {
			reached = true
			return fault
		}
		return nil
	})
	var lives []*life
	for i := range 4 {
		lives = append(lives, newLife(i, r))
	}
	for _, err := range workload(s, fs, lives) {
		if !errors.Is(err, queue.ErrFatal) && !errors.Is(err, queue.ErrFull) && !errors.Is(err, fault) {
			t.Errorf("step %d: %v", n, err)
		}
	}
	if _, _, err := s.List(context.Background(), queue.Filter{}, "", 100); err != nil {
		t.Errorf("step %d: reading after the fault: %v", n, err)
	}
	s.mu.Lock()
	fatal := s.fatal
	s.mu.Unlock()
	if err := s.Close(); err != nil && fatal == nil && !errors.Is(err, fault) {
		t.Errorf("step %d: close: %v", n, err)
	}
	fs.Fail(nil)
	mode := crashfs.Mode(n % 4)
	cut := filepath.Join(dir, "cut")
	if err := fs.Rebuild(cut, fs.Len(), mode, r); err != nil {
		t.Fatal(err)
	}
	verify(t, cut, lives, fs.Len(), mode)
	if t.Failed() {
		t.Fatalf("step %d of %d failed with %v, then the power, leaving %s", n, fs.Len()-start, fault, mode)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return reached
}

func TestSyncErrorIsFinal(t *testing.T) {
	s, fs := openRecorded(t, fastDir(t))
	if err := put1(s, []byte("before"), message1(site)); err != nil {
		t.Fatal(err)
	}
	syncs := 0
	fs.Fail(func(op crashfs.Op, _ string) error {
		if op == crashfs.Sync {
			syncs++
			return unix.EIO
		}
		return nil
	})
	err := put1(s, []byte("lost"), message1(site))
	if !errors.Is(err, queue.ErrFatal) || !errors.Is(err, unix.EIO) {
		t.Fatalf("put: %v, want ErrFatal with its cause", err)
	}
	for range 3 {
		if err := put1(s, []byte("refused"), message1(site)); !errors.Is(err, queue.ErrFatal) {
			t.Errorf("later put: %v", err)
		}
	}
	if _, err := s.Lease(context.Background(), site, "x", 1, queue.NoWindow, time.Minute); !errors.Is(err, queue.ErrFatal) {
		t.Errorf("lease: %v; what can't be settled must not be leased", err)
	}
	if syncs != 1 {
		t.Errorf("%d syncs were tried after one failed", syncs-1)
	}
	items, _, err := s.List(context.Background(), queue.Filter{}, "", 10)
	if err != nil || len(items) == 0 {
		t.Errorf("reads must go on: %d items, %v", len(items), err)
	}
	if _, err := readAll(s, items[0]); err != nil {
		t.Errorf("body: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestFullDiskRefusesNewMailAndSettlesOld(t *testing.T) {
	s, fs := openRecorded(t, fastDir(t))
	ctx := context.Background()
	if err := put1(s, []byte("before"), message1(site)); err != nil {
		t.Fatal(err)
	}
	steps := fs.Len()
	fs.SetFree(s.o.Reserve - 1)
	for _, size := range []int{100, 10000} {
		if err := put1(s, make([]byte, size), message1(site)); !errors.Is(err, queue.ErrFull) {
			t.Errorf("put of %d octets: %v, want ErrFull", size, err)
		}
	}
	if names, err := fs.List(filepath.Join(s.o.dir, "body", "00")); err == nil && len(names) > 0 {
		t.Errorf("refused bodies left %v", names)
	}
	_ = steps
	ls, err := s.Lease(ctx, site, "x", 1, queue.NoWindow, time.Minute)
	if err != nil || len(ls) != 1 {
		t.Fatalf("lease: %v, %v", ls, err)
	}
	g, err := s.Stage(ctx, strings.NewReader("report"), 0)
	if err != nil {
		t.Fatalf("a report must be possible: %v", err)
	}
	if err := s.Settle(ctx, ls[0], queue.Settlement{Spawn: []queue.New{{Body: g, Items: []queue.Item{message1(site)}}}}); err != nil {
		t.Errorf("settle: %v", err)
	}
	fs.SetFree(1 << 40)
	if err := put1(s, []byte("after"), message1(site)); err != nil {
		t.Errorf("put once there is room again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNothingIsLeasedBeforeItIsDurable stops the disk in the middle of a sync.
func TestNothingIsLeasedBeforeItIsDurable(t *testing.T) {
	s, fs := openRecorded(t, fastDir(t))
	ctx := context.Background()
	if err := put1(s, []byte("before"), message1(queue.Dest{Connector: "other"})); err != nil {
		t.Fatal(err)
	}
	inSync, goOn := make(chan struct{}), make(chan struct{})
	f := &slowSync{FS: fs, in: inSync, out: goOn}
	s.mu.Lock()
	s.log.cur = slowFile{s.log.cur, f}
	s.mu.Unlock()
	done, again := make(chan error, 1), make(chan error, 1)
	put := func(c chan error) {
		g, err := s.Stage(ctx, strings.NewReader("text"), 0)
		if err == nil {
			_, _, err = s.Put(ctx, queue.New{Body: g, Items: []queue.Item{message1(site)}, Dedup: "k"})
		}
		c <- err
	}
	go put(done)
	<-inSync
	go put(again)
	if ds, next := s.Due(time.Now(), 10); len(ds) != 1 || ds[0].Connector != "other" || !next.IsZero() {
		t.Errorf("due %v, next %v while the message is not durable", ds, next)
	}
	for name, lease := range map[string]func() ([]queue.Lease, error){
		"Lease": func() ([]queue.Lease, error) { return s.Lease(ctx, site, "x", 1, queue.NoWindow, time.Minute) },
		"LeaseWaiting": func() ([]queue.Lease, error) {
			return s.LeaseWaiting(ctx, site, "x", 0, 1, queue.NoWindow, time.Minute)
		},
	} {
		if ls, err := lease(); err != nil || len(ls) != 0 {
			t.Errorf("%s gave out %v, %v", name, ls, err)
		}
	}
	select {
	case err := <-done:
		t.Errorf("put answered %v before the sync ended", err)
	case err := <-again:
		t.Errorf("a second put with its dedup key answered %v before the sync ended", err)
	case <-time.After(50 * time.Millisecond):
	}
	wake := s.Wake()
	close(goOn)
	if err := errors.Join(<-done, <-again); err != nil {
		t.Fatal(err)
	}
	<-wake
	if ls, err := s.Lease(ctx, site, "x", 1, queue.NoWindow, time.Minute); err != nil || len(ls) != 1 {
		t.Errorf("lease after the sync: %v, %v", ls, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// slowSync tells when a sync begins and waits before it ends.
type slowSync struct {
	*crashfs.FS
	in, out chan struct{}
}

type slowFile struct {
	disk.File
	f *slowSync
}

func (f slowFile) Sync() error {
	select {
	case f.f.in <- struct{}{}:
	case <-f.f.out:
	}
	<-f.f.out
	return f.File.Sync()
}

func TestDamagedIndexSaysWhatToDo(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"both meta pages overwritten": func(b []byte) []byte { copy(b[:8192], bytes.Repeat([]byte{0xAA}, 8192)); return b },
		"cut to a page and a half":    func(b []byte) []byte { return b[:6000] },
		"data pages overwritten": func(b []byte) []byte {
			for i := 8192; i < len(b); i++ {
				b[i] = byte(i * 7)
			}
			return b
		},
		"removed": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			o := tiny(fastDir(t))
			s, err := Open(o.dir, o)
			if err != nil {
				t.Fatal(err)
			}
			texts := map[string]bool{}
			for i := range 20 {
				text := strings.Repeat(fmt.Sprint("text ", i), 100*(i%3)+1)
				texts[text] = true
				if err := put1(s, []byte(text), message1(site)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.kill(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(o.dir, "index.db")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if b = spoil(b); b != nil {
				err = os.WriteFile(path, b, 0o600)
			} else {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, err := Open(o.dir, o); err == nil || !strings.Contains(err.Error(), "backbone queue salvage") {
				t.Fatalf("open: %v, want what to type (store %v)", err, s != nil)
			}
			found, err := Salvage(o.dir, o)
			if err != nil || found.Entries != 20 || len(found.Damaged) > 0 {
				t.Fatalf("salvage: %+v, %v", found, err)
			}
			if (found.Aside != "") != (b != nil) {
				t.Errorf("old index kept as %q", found.Aside)
			}
			s, err = Open(o.dir, o)
			if err != nil {
				t.Fatal(err)
			}
			items, _, err := s.List(context.Background(), queue.Filter{}, "", 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range items {
				text, err := readAll(s, it)
				if err != nil || !texts[text] || !it.Unknown {
					t.Errorf("entry %s: text known %v, unknown %v, %v", it.ID, texts[text], it.Unknown, err)
				}
				delete(texts, text)
			}
			if len(texts) > 0 {
				t.Errorf("%d messages were lost", len(texts))
			}
			if bad, err := s.Check(context.Background()); err != nil || len(bad) > 0 {
				t.Errorf("check: %q, %v", bad, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestASecondProcessIsTold(t *testing.T) {
	o := tiny(fastDir(t))
	s := openBench(t, o)
	if _, err := Open(o.dir, o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second open: %v", err)
	}
	if _, err := Salvage(o.dir, o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("salvage beside a running daemon: %v", err)
	}
	if err := put1(s, []byte("x"), message1(site)); err != nil {
		t.Errorf("the first process suffered: %v", err)
	}
}

// TestDamagedBodyIsNeverSent: a body whose octets changed on the disk fails to open, or to read to its end.
func TestDamagedBodyIsNeverSent(t *testing.T) {
	for _, size := range []int{1000, 100000} {
		o := tiny(fastDir(t))
		s := openBench(t, o)
		text := bytes.Repeat([]byte("0123456789"), size/10)
		if err := put1(s, text, message1(site)); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := filepath.Walk(o.dir, func(path string, _ os.FileInfo, err error) error {
			if err != nil || filepath.Ext(path) == ".db" {
				return err
			}
			b, err := os.ReadFile(path)
			if i := bytes.Index(b, []byte("456789012345")); err == nil && i >= 0 {
				n++
				b[i] ^= 1
				return os.WriteFile(path, b, 0o600)
			}
			return nil
		})
		if err != nil || n != 1 {
			t.Fatalf("spoiled %d files, %v", n, err)
		}
		items, _, err := s.List(context.Background(), queue.Filter{}, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(s, items[0]); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%d octets: read with %v", size, err)
		}
		if bad, err := s.Check(context.Background()); err != nil || len(bad) != 1 || !strings.Contains(bad[0], "damaged") {
			t.Errorf("check: %q, %v", bad, err)
		}
	}
}

// TestReadsGoOnWhenTheIndexCannotGrow: a checkpoint that fails stops all writing, but not who wants to see the queue, and
// the log gives everything back at the next start.
func TestReadsGoOnWhenTheIndexCannotGrow(t *testing.T) {
	o := tiny(fastDir(t))
	o.opsLimit = 500
	s, err := Open(o.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.x.db.MaxSize = o.mapSize
	s.mu.Unlock()
	stored := 0
	for ; err == nil; stored++ {
		if stored > 10000 {
			t.Fatal("the index never hit its limit")
		}
		err = put1(s, []byte("text"), message1(site))
	}
	stored--
	if !errors.Is(err, queue.ErrFatal) {
		t.Fatalf("put: %v", err)
	}
	items, _, err := s.List(context.Background(), queue.Filter{}, "", 10)
	if err != nil || len(items) != 10 {
		t.Errorf("list: %d items, %v", len(items), err)
	}
	if _, err := readAll(s, items[0]); err != nil {
		t.Errorf("body: %v", err)
	}
	if _, err := s.Dests(context.Background()); err != nil {
		t.Errorf("destinations: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s = openBench(t, o)
	if n := s.Stats().Ready; n != stored && n != stored+1 { // the one that failed may be there
		t.Errorf("%d messages after starting again, %d were answered", n, stored)
	}
}

func TestAProbeTellsWhetherMailCouldBeTaken(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   crashfs.Op
		err  error
	}{
		{"nothing is wrong", "", nil},
		{"no space for a file", crashfs.Create, unix.ENOSPC},
		{"a sync that fails", crashfs.Sync, unix.EIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, fs := openRecorded(t, fastDir(t))
			fs.Fail(func(op crashfs.Op, _ string) error {
				if op == tt.op {
					return tt.err
				}
				return nil
			})
			if err := s.Probe(t.Context()); !errors.Is(err, tt.err) {
				t.Errorf("%v, want %v", err, tt.err)
			}
			fs.Fail(nil)
			if err := s.Probe(t.Context()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.Probe(t.Context()); !errors.Is(err, queue.ErrClosed) {
				t.Errorf("closed: %v", err)
			}
		})
	}
	t.Run("the folder is gone", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "queue")
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		if err := s.Probe(t.Context()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
}

package boltqueue

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"backbone/queue"
	"backbone/queue/boltqueue/crashfs"
	"backbone/queue/boltqueue/disk"
)

// testLog is a log in memory.
func testLog(t testing.TB, size int64) *segments {
	t.Helper()
	fs := crashfs.New("/log")
	return &segments{fs: fs, dir: "/log", size: size, sizes: map[uint32]int64{}}
}

func (l *segments) must(t testing.TB, text string) {
	t.Helper()
	p := [][]byte{[]byte("payload of "), []byte(text)}
	if err := l.reserve(int64(recordHeader + 11 + 2*len(text))); err != nil {
		t.Fatal(err)
	}
	if err := l.append([]byte(text), p); err != nil {
		t.Fatal(err)
	}
}

// texts scans a segment and answers its descriptions, and what is damaged.
func (l *segments) texts(t testing.TB, n uint32) (got []string, bad []damage) {
	t.Helper()
	f, err := l.fs.Open(l.path(n), true)
	if err != nil {
		t.Fatal(err)
	}
	bad, err = scan(f, n, 0, func(e *entry) error {
		got = append(got, string(e.description))
		p := make([]byte, e.payloadLen)
		if _, err := f.ReadAt(p, int64(e.payload)); err != nil {
			return err
		}
		if want := "payload of " + string(e.description); string(p) != want {
			t.Errorf("payload %q, want %q", p, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, bad
}

func spoil(t testing.TB, l *segments, n uint32, off int64, b []byte) {
	t.Helper()
	f, err := l.fs.Open(l.path(n), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func TestScan(t *testing.T) {
	ten := func() (l *segments, offs []int64, want []string) {
		l = testLog(t, 1<<16)
		for i := range 10 {
			text := fmt.Sprintf("record %d", i)
			l.must(t, text)
			offs = append(offs, l.off)
			want = append(want, text)
		}
		return l, offs, want // offs[i] is where record i ends
	}
	t.Run("a whole segment is read to its end", func(t *testing.T) {
		l, _, want := ten()
		got, bad := l.texts(t, 1)
		if !slices.Equal(got, want) || len(bad) != 0 {
			t.Errorf("got %q, %v", got, bad)
		}
	})
	t.Run("a torn last record is not there", func(t *testing.T) {
		l, offs, want := ten()
		spoil(t, l, 1, offs[9]-10, make([]byte, 10))
		got, bad := l.texts(t, 1)
		if !slices.Equal(got, want[:9]) || len(bad) != 0 {
			t.Errorf("got %q, %v", got, bad)
		}
	})
	t.Run("a description that changed is no record", func(t *testing.T) {
		l, offs, want := ten()
		spoil(t, l, 1, offs[3]+recordHeader, []byte("x"))
		if got, _ := l.texts(t, 1); !slices.Equal(got, want[:4]) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("what follows a gap that was never durable is not there", func(t *testing.T) {
		l, offs, want := ten()
		spoil(t, l, 1, offs[3]+40, []byte("hole"))
		got, bad := l.texts(t, 1)
		if !slices.Equal(got, want[:4]) || len(bad) != 0 {
			t.Errorf("got %q, %v", got, bad)
		}
	})
	t.Run("a gap that had been durable is damage, and reading goes on behind it", func(t *testing.T) {
		l, offs, want := ten()
		l.durable = uint32(offs[9])
		l.must(t, "record 10")
		spoil(t, l, 1, offs[3]+40, []byte("hole"))
		got, bad := l.texts(t, 1)
		// Record 10 is the first that proves anything: what lies between is lost with it.
		if !slices.Equal(got, append(want[:4:4], "record 10")) || len(bad) != 1 || bad[0] != (damage{1, offs[3], offs[9]}) {
			t.Errorf("got %q, %v", got, bad)
		}
	})
	t.Run("a claim of endless length is no record", func(t *testing.T) {
		l, offs, want := ten()
		spoil(t, l, 1, offs[4]+16, []byte{0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f})
		if got, _ := l.texts(t, 1); !slices.Equal(got, want[:5]) {
			t.Errorf("got %q", got)
		}
	})
}

func TestSegmentsFollowEachOther(t *testing.T) {
	l := testLog(t, 512)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprintf("record %d", i))
		l.must(t, want[i])
	}
	l.must(t, string(bytes.Repeat([]byte("large "), 1000)))
	want = append(want, string(bytes.Repeat([]byte("large "), 1000)))
	var got []string
	for n := uint32(1); n <= l.num; n++ {
		g, bad := l.texts(t, n)
		got = append(got, g...)
		if len(bad) > 0 {
			t.Error(bad)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestUsedSegmentHoldsNothingOld uses a segment again for records of the same sizes, so that each old record lies exactly
// where a new one may end.
func TestUsedSegmentHoldsNothingOld(t *testing.T) {
	l := testLog(t, 512)
	for l.num < 3 {
		l.must(t, "old")
	}
	if err := l.retire(1); err != nil {
		t.Fatal(err)
	}
	for l.num < 4 {
		l.must(t, "new")
	}
	if names, err := l.fs.List(l.dir); err != nil || slices.Contains(names, spareName) {
		t.Fatalf("the spare segment was not used: %v, %v", names, err)
	}
	got, _ := l.texts(t, 4)
	if !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %q", got)
	}
}

func TestSegmentNumber(t *testing.T) {
	for name, want := range map[string]uint32{"0000000C.seg": 12, "FFFFFFFF.seg": 1<<32 - 1} {
		if n, ok := segmentNumber(name); !ok || n != want || segmentName(n) != name {
			t.Errorf("%s: %d, %v", name, n, ok)
		}
	}
	for _, name := range []string{"", "spare", "C.seg", "0000000C", "0000000C.seg.bak", "0000000G.seg", "+000000C.seg"} {
		if n, ok := segmentNumber(name); ok {
			t.Errorf("%q was taken for segment %d", name, n)
		}
	}
}

// FuzzScan: whatever is in a segment's file, reading it ends, and what it answers is whole.
func FuzzScan(f *testing.F) {
	l := testLog(f, 1<<12)
	for i := range 5 {
		l.must(f, fmt.Sprint("record ", i))
	}
	whole := make([]byte, l.off)
	file, err := l.fs.Open(l.path(1), false)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := file.ReadAt(whole, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:100])
	f.Add([]byte(recordMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := testLog(t, 1<<12)
		file, err := l.fs.Create(l.path(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		_, err = scan(file, 1, 0, func(e *entry) error {
			if e.off < last || e.end() <= e.off {
				t.Fatalf("record at %d..%d after %d", e.off, e.end(), last)
			}
			last = e.end()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestAllocationFailureWritesNothing: a segment that can't be allocated leaves no file behind, and the next try works.
func TestAllocationFailureWritesNothing(t *testing.T) {
	for _, op := range []crashfs.Op{crashfs.Create, crashfs.Allocate} {
		l := testLog(t, 512)
		l.must(t, "first")
		fs := l.fs.(*crashfs.FS)
		fs.Fail(func(o crashfs.Op, _ string) error {
			if o == op {
				return errFull
			}
			return nil
		})
		before, durable := l.num, l.off
		for l.num == before {
			if err := l.reserve(100); err != nil {
				break
			}
			if err := l.append([]byte("more"), nil); err != nil {
				t.Fatal(err)
			}
			durable = l.off
		}
		if l.num != before || l.off != durable {
			t.Errorf("%s failed: the log moved to segment %d, offset %d", op, l.num, l.off)
		}
		if names, err := fs.List(l.dir); err != nil || !slices.Equal(names, []string{segmentName(1)}) {
			t.Errorf("%s failed: left %v, %v", op, names, err)
		}
		fs.Fail(nil)
		for range 10 {
			l.must(t, "after")
		}
		if l.num == before {
			t.Errorf("%s failed: no new segment afterwards", op)
		}
	}
}

// TestDiskIsTheOperatingSystem checks the real thing against the one in memory.
func TestDiskIsTheOperatingSystem(t *testing.T) {
	root := t.TempDir()
	for name, fs := range map[string]disk.FS{"os": disk.OS{}, "crashfs": crashfs.New(root)} {
		dir := filepath.Join(root, "d")
		p := func(s string) string { return filepath.Join(dir, s) }
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		ok(fs.MkdirAll(dir))
		f, err := fs.Create(p("a"))
		ok(err)
		if _, err := fs.Create(p("a")); err == nil {
			t.Errorf("%s: a file was created twice", name)
		}
		b := make([]byte, 100)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		ok(f.Allocate(5000))
		_, err = f.WriteAt(b, 4950)
		ok(err)
		ok(f.Sync())
		if n, err := f.Size(); err != nil || n != 5050 {
			t.Errorf("%s: size %d, %v", name, n, err)
		}
		ok(f.Truncate(5000))
		ok(f.Close())
		ok(fs.Rename(p("a"), p("b")))
		f, err = fs.Open(p("b"), false)
		ok(err)
		got := make([]byte, 100)
		if n, err := f.ReadAt(got, 4950); n != 50 || err == nil || !bytes.Equal(got[:50], b[:50]) {
			t.Errorf("%s: read %d octets, %v", name, n, err)
		}
		ok(f.Close())
		if names, err := fs.List(dir); err != nil || !slices.Equal(names, []string{"b"}) {
			t.Errorf("%s: lists %v, %v", name, names, err)
		}
		ok(fs.SyncDir(dir))
		ok(fs.Remove(p("b")))
		if _, err := fs.Open(p("b"), false); !gone(err) {
			t.Errorf("%s: open of a removed file: %v", name, err)
		}
		if err := fs.Remove(p("b")); !gone(err) {
			t.Errorf("%s: remove of a removed file: %v", name, err)
		}
		if free, err := fs.Free(dir); err != nil || free <= 0 {
			t.Errorf("%s: free %d, %v", name, free, err)
		}
	}
}

// TestADiskThatFailsIsFatalBeforeTheFirstSegmentToo: found by cutting the power of an idle store.
func TestADiskThatFailsIsFatalBeforeTheFirstSegmentToo(t *testing.T) {
	s, fs := openRecorded(t, fastDir(t))
	for _, c := range []struct{ fault, want error }{{unix.EMFILE, queue.ErrFull}, {unix.EROFS, queue.ErrFull}, {unix.EIO, queue.ErrFatal}} {
		fs.Fail(func(o crashfs.Op, _ string) error {
			if o == crashfs.Create {
				return c.fault
			}
			return nil
		})
		if err := put1(s, []byte("text"), message1(site)); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.fault, err, c.want)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

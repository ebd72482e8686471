package boltqueue

import (
	"context"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"backbone/queue"
	"backbone/queue/boltqueue/disk"
)

// countingFS counts files that are open for reading.
type countingFS struct {
	disk.FS
	opened, open atomic.Int64
}

type countedFile struct {
	disk.File
	fs *countingFS
}

func (c *countingFS) Open(name string, write bool) (disk.File, error) {
	f, err := c.FS.Open(name, write)
	if err != nil || write {
		return f, err
	}
	c.opened.Add(1)
	c.open.Add(1)
	return countedFile{f, c}, nil
}

func (f countedFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

func TestBodiesOfASegmentAreReadThroughOneOpenFile(t *testing.T) {
	fs := &countingFS{FS: disk.OS{}}
	s, err := Open(filepath.Join(fastDir(t), "queue"), Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := put1(s, []byte("text"), message1(site)); err != nil {
			t.Fatal(err)
		}
	}
	before := fs.opened.Load()
	items, _, err := s.List(context.Background(), queue.Filter{}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	read := func(it queue.Item) {
		r, err := s.Body(it.Body).Open()
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || string(got) != "text" {
			t.Errorf("read %q, %v", got, err)
		}
	}
	read(items[0])
	var all sync.WaitGroup
	for _, it := range items[1:] {
		all.Go(func() { read(it) })
	}
	all.Wait()
	if n := fs.opened.Load() - before; n != 1 {
		t.Errorf("the segment was opened %d times for %d bodies, want once", n, len(items))
	}
	if n := fs.open.Load(); n != 1 {
		t.Errorf("%d files stay open for reading, want 1", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := fs.open.Load(); n != 0 {
		t.Errorf("%d files are open after Close", n)
	}
}

func TestADeadSegmentIsNotKeptOpen(t *testing.T) {
	fs := &countingFS{FS: disk.OS{}}
	var r readers
	dir := fastDir(t)
	f, err := fs.Create(filepath.Join(dir, "1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := r.open(fs, 1, filepath.Join(dir, "1"))
	if err != nil {
		t.Fatal(err)
	}
	r.forgetSegment(2)
	if r.last == nil {
		t.Error("another segment's end closed it")
	}
	r.forgetSegment(1)
	if n := fs.open.Load(); n != 1 {
		t.Errorf("%d open while it is being read, want 1", n)
	}
	r.close(a)
	if n := fs.open.Load(); n != 0 {
		t.Errorf("%d open after its last reader, want 0", n)
	}
}

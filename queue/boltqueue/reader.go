package boltqueue

import (
	"sync"

	"backbone/queue/boltqueue/disk"
)

// readers keeps the segment that was read last open: bodies are mostly read soon after they were written, one after
// another out of the same segment, and opening it costs more than reading it. The zero value is ready.
type readers struct {
	mu   sync.Mutex
	last *reader
}

// reader is a segment open for reading, until nobody uses it.
type reader struct {
	disk.File
	segment uint32
	users   int // callers, and readers itself
}

// open gives the segment to read. It must be given back to close.
func (r *readers) open(fs disk.FS, segment uint32, path string) (*reader, error) {
	r.mu.Lock()
	if f := r.last; f != nil && f.segment == segment {
		f.users++
		r.mu.Unlock()
		return f, nil
	}
	r.mu.Unlock()
	file, err := fs.Open(path, false)
	if err != nil {
		return nil, err
	}
	f := &reader{File: file, segment: segment, users: 2}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(r.last)
	r.last = f
	return f, nil
}

// close gives a reader back.
func (r *readers) close(f *reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(f)
}

// forget closes what is kept open, as soon as nobody reads it. forgetSegment does so if it is that segment.
func (r *readers) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(r.last)
	r.last = nil
}

func (r *readers) forgetSegment(n uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != nil && r.last.segment == n {
		r.drop(r.last)
		r.last = nil
	}
}

// drop ends one use. The lock is held.
func (r *readers) drop(f *reader) {
	if f == nil {
		return
	}
	if f.users--; f.users == 0 {
		f.File.Close() //nolint:errcheck // it was read only: nothing can be lost
	}
}

// Package crashfs is a filesystem in memory for tests: it records every step that a store takes, can make any step fail,
// and rebuilds in a real folder what a power cut after any step would have left.
//
// It models what POSIX promises and no more: octets are durable after Sync of their file, names after SyncDir of their
// folder. What is not durable may be there, in part, or not at all.
package crashfs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"backbone/queue/boltqueue/disk"
)

// Op is a step.
type Op string

const (
	Create   Op = "create"
	Write    Op = "write"
	Sync     Op = "sync"
	Allocate Op = "allocate"
	Truncate Op = "truncate"
	Rename   Op = "rename"
	Remove   Op = "remove"
	Mkdir    Op = "mkdir"
	SyncDir  Op = "syncdir"
	Index    Op = "index" // a file that somebody else keeps, as it is durable now
)

// step is one recorded event.
type step struct {
	op   Op
	name string // relative to the root
	to   string // Rename
	node *node  // Create, Write, Sync, Allocate, Truncate
	off  int64
	data []byte
}

// node is a file's content, whatever its name.
type node struct{ data []byte }

// FS is a recording filesystem below one root folder. It is safe for concurrent use.
type FS struct {
	root string

	mu    sync.Mutex
	names map[string]*node // nil: a folder
	steps []step
	fail  func(op Op, name string) error
	free  int64
}

// New makes an empty filesystem for names below root. The folder root is there and durable.
func New(root string) *FS {
	return &FS{root: root, names: map[string]*node{".": nil}, free: 1 << 40}
}

// Fail sets what is asked before each step: an error is the step's outcome, and nothing happens. Nil: all succeed.
func (f *FS) Fail(ask func(op Op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = ask
}

// SetFree sets what Free answers.
func (f *FS) SetFree(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = n
}

// Len is how many steps have been recorded.
func (f *FS) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.steps)
}

// NoteIndex records a file below the root that is not kept through this filesystem, as it is durable at this point.
func (f *FS) NoteIndex(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	size := int64(len(b))
	b = bytes.Clone(bytes.TrimRight(b, "\x00")) // most of a young index is a hole
	f.steps = append(f.steps, step{op: Index, name: f.rel(name), data: b, off: size})
	return nil
}

func (f *FS) rel(name string) string {
	r, err := filepath.Rel(f.root, name)
	if err != nil || strings.HasPrefix(r, "..") {
		return name
	}
	return r
}

// ask is called with the lock held.
func (f *FS) ask(op Op, name string) error {
	if f.fail == nil {
		return nil
	}
	if err := f.fail(op, name); err != nil {
		return &os.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

func notThere(op Op, name string) error {
	return &os.PathError{Op: string(op), Path: name, Err: os.ErrNotExist}
}

// Create implements disk.FS.
func (f *FS) Create(name string) (disk.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = f.rel(name)
	if err := f.ask(Create, name); err != nil {
		return nil, err
	}
	if _, ok := f.names[name]; ok {
		return nil, &os.PathError{Op: "create", Path: name, Err: os.ErrExist}
	}
	if _, ok := f.names[filepath.Dir(name)]; !ok {
		return nil, notThere(Create, name)
	}
	n := &node{}
	f.names[name] = n
	f.steps = append(f.steps, step{op: Create, name: name, node: n})
	return &file{f, n, name}, nil
}

// Open implements disk.FS.
func (f *FS) Open(name string, _ bool) (disk.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = f.rel(name)
	n := f.names[name]
	if n == nil {
		return nil, notThere("open", name)
	}
	return &file{f, n, name}, nil
}

// MkdirAll implements disk.FS.
func (f *FS) MkdirAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = f.rel(name)
	if _, ok := f.names[name]; ok {
		return nil
	}
	if err := f.ask(Mkdir, name); err != nil {
		return err
	}
	if _, ok := f.names[filepath.Dir(name)]; !ok {
		return fmt.Errorf("crashfs makes one folder at a time: %s", name)
	}
	f.names[name] = nil
	f.steps = append(f.steps, step{op: Mkdir, name: name})
	return nil
}

// Rename implements disk.FS, within one folder.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to = f.rel(from), f.rel(to)
	if err := f.ask(Rename, from); err != nil {
		return err
	}
	n, ok := f.names[from]
	if !ok {
		return notThere(Rename, from)
	}
	delete(f.names, from)
	f.names[to] = n
	f.steps = append(f.steps, step{op: Rename, name: from, to: to})
	return nil
}

// Remove implements disk.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = f.rel(name)
	if err := f.ask(Remove, name); err != nil {
		return err
	}
	if _, ok := f.names[name]; !ok {
		return notThere(Remove, name)
	}
	delete(f.names, name)
	f.steps = append(f.steps, step{op: Remove, name: name})
	return nil
}

// List implements disk.FS.
func (f *FS) List(dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir = f.rel(dir)
	if _, ok := f.names[dir]; !ok {
		return nil, notThere("list", dir)
	}
	var names []string
	for n := range f.names {
		if n != "." && filepath.Dir(n) == dir {
			names = append(names, filepath.Base(n))
		}
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements disk.FS.
func (f *FS) SyncDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir = f.rel(dir)
	if err := f.ask(SyncDir, dir); err != nil {
		return err
	}
	f.steps = append(f.steps, step{op: SyncDir, name: dir})
	return nil
}

// Free implements disk.FS.
func (f *FS) Free(string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.free, nil
}

// file implements disk.File.
type file struct {
	f    *FS
	n    *node
	name string
}

// do asks, records and changes the content.
func (h *file) do(s step, change func()) error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if err := h.f.ask(s.op, h.name); err != nil {
		return err
	}
	s.name, s.node = h.name, h.n
	h.f.steps = append(h.f.steps, s)
	change()
	return nil
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	n := copy(p, h.n.data[min(off, int64(len(h.n.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) WriteAt(p []byte, off int64) (int, error) {
	data := slices.Clone(p)
	err := h.do(step{op: Write, off: off, data: data}, func() { h.n.data = write(h.n.data, off, data) })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *file) Sync() error { return h.do(step{op: Sync}, func() {}) }

func (h *file) Allocate(size int64) error {
	return h.do(step{op: Allocate, off: size}, func() { h.n.data = grow(h.n.data, size) })
}

func (h *file) Truncate(size int64) error {
	return h.do(step{op: Truncate, off: size}, func() { h.n.data = resize(h.n.data, size) })
}

func (h *file) Size() (int64, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return int64(len(h.n.data)), nil
}

func (h *file) Close() error { return nil }

func grow(b []byte, size int64) []byte {
	if int64(len(b)) < size {
		b = append(b, make([]byte, size-int64(len(b)))...)
	}
	return b
}

func resize(b []byte, size int64) []byte { return grow(b[:min(int64(len(b)), size)], size) }

func write(b []byte, off int64, p []byte) []byte {
	b = grow(b, off+int64(len(p)))
	copy(b[off:], p)
	return b
}

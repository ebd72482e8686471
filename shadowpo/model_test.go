package shadowpo

import (
	"errors"
	"io"
	"io/fs"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"time"
)

// model is a disk that can lose its process or its power before any step. Names become durable when their folder is
// synced, octets when their file is; until then a power failure keeps none, all or any of them.
type model struct {
	mu sync.Mutex // the committer syncs while others write

	folders map[string]*modelFolder
	pending []nameChange // not durable yet, in order
	locks   map[string]bool

	steps  int // taken so far
	killAt int // the step that is not taken any more; 0: never
	dead   bool
	valid  error                   // what Valid answers
	fail   func(step string) error // makes a step fail that the process survives
	trace  []string
}

var errKilled = errors.New("killed")

type modelFolder struct {
	m       *model
	name    string
	names   map[string]*inode
	durable map[string]*inode
}

type inode struct {
	data   []byte
	synced []byte
	mode   fs.FileMode
	time   time.Time
}

// nameChange is one step on names: from goes, to comes. A rename is one change.
type nameChange struct {
	from, to         *modelFolder
	fromName, toName string
	ino              *inode
}

func newModel() *model {
	m := &model{folders: map[string]*modelFolder{}, locks: map[string]bool{}}
	for _, n := range []string{submitDir, deliverDir, badmailDir, logDir, stateDir} {
		m.folders[n] = &modelFolder{m, n, map[string]*inode{}, map[string]*inode{}}
	}
	return m
}

func (m *model) hold() (release func()) {
	m.mu.Lock()
	return m.mu.Unlock
}

// live takes a step that is not on the disk.
func (m *model) live(what ...string) error {
	defer m.hold()()
	return m.step(what...)
}

// step is a place where the process can die.
func (m *model) step(what ...string) error {
	if m.dead {
		return errKilled
	}
	m.steps++
	m.trace = append(m.trace, strings.Join(what, " "))
	if m.fail != nil {
		if err := m.fail(strings.Join(what, " ")); err != nil {
			return err
		}
	}
	if m.steps == m.killAt {
		m.dead = true
		return errKilled
	}
	return nil
}

// The ways to die.
type death string

const (
	killed     death = "kill -9" // what was written is there
	powerNone  death = "power lost, nothing unsynced kept"
	powerSome  death = "power lost, some unsynced kept"
	powerNames death = "power lost, names kept, contents not"
)

// crash gives the disk that the next process finds.
func (m *model) crash(how death, rng *rand.Rand) *model {
	next := newModel()
	next.trace = append(m.trace, "--- "+string(how))
	inodes := map[*inode]*inode{}
	keep := func(i *inode) *inode {
		if inodes[i] == nil {
			n := &inode{mode: i.mode, time: i.time}
			switch {
			case how == killed, how == powerSome && rng.Intn(2) == 0:
				n.data = slices.Clone(i.data)
			case how == powerSome && len(i.data) > len(i.synced):
				n.data = slices.Clone(i.data[:len(i.synced)+rng.Intn(len(i.data)-len(i.synced)+1)]) // torn
			default:
				n.data = slices.Clone(i.synced)
			}
			n.synced = slices.Clone(n.data)
			inodes[i] = n
		}
		return inodes[i]
	}
	for name, f := range m.folders {
		for n, i := range f.durable {
			next.folders[name].names[n] = keep(i)
		}
	}
	kept := withEarlier(m.pending, func(nameChange) bool { return how != powerNone && (how != powerSome || rng.Intn(2) == 0) })
	for i, c := range m.pending {
		if !kept[i] {
			continue
		}
		if c.from != nil {
			delete(next.folders[c.from.name].names, c.fromName)
		}
		if c.to != nil {
			next.folders[c.to.name].names[c.toName] = keep(c.ino)
		}
	}
	for _, f := range next.folders {
		for n, i := range f.names {
			f.durable[n] = i
		}
	}
	return next
}

// write is what another machine's program does: durable at once.
func (m *model) write(folder, name, text string) {
	defer m.hold()()
	i := &inode{data: []byte(text), synced: []byte(text), time: time.Unix(1e9+int64(len(m.trace)), 0)}
	m.folders[folder].names[name] = i
	m.folders[folder].durable[name] = i
}

// collect is the post office's agent: it takes every file that it may, and that is durable.
func (m *model) collect(took func(name, text string)) {
	defer m.hold()()
	f := m.folders[deliverDir]
	for _, n := range sortedNames(f) {
		if strings.HasSuffix(n, extMessage) {
			took(n, string(f.names[n].data))
			f.change(nameChange{from: f, fromName: n})
			f.settle()
		}
	}
}

func sortedNames(f *modelFolder) []string {
	var out []string
	for n := range f.names {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func (f *modelFolder) change(c nameChange) {
	if c.from != nil {
		delete(c.from.names, c.fromName)
	}
	if c.to != nil {
		c.to.names[c.toName] = c.ino
	}
	f.m.pending = append(f.m.pending, c)
}

// settle makes the folder's changes durable, and those that they build on.
func (f *modelFolder) settle() {
	rest := f.m.pending[:0:0]
	done := withEarlier(f.m.pending, func(c nameChange) bool { return c.from == f || c.to == f })
	for i, c := range f.m.pending {
		if !done[i] {
			rest = append(rest, c)
			continue
		}
		if c.from != nil {
			delete(c.from.durable, c.fromName)
		}
		if c.to != nil {
			c.to.durable[c.toName] = c.ino
		}
	}
	f.m.pending = rest
}

// withEarlier chooses changes, and with each chosen one those before it that speak of the same name: no disk makes a
// change of a name durable and forgets how the name came to be.
func withEarlier(list []nameChange, choose func(nameChange) bool) []bool {
	type place struct {
		f    *modelFolder
		name string
	}
	out, needed := make([]bool, len(list)), map[place]bool{}
	for i := len(list) - 1; i >= 0; i-- {
		from, to := place{list[i].from, list[i].fromName}, place{list[i].to, list[i].toName}
		if choose(list[i]) || from.f != nil && needed[from] || to.f != nil && needed[to] {
			out[i], needed[from], needed[to] = true, true, true
		}
	}
	return out
}

// model as a tree

func (m *model) Folder(name string) folder { return m.folders[name] }
func (m *model) Valid() error {
	defer m.hold()()
	if m.dead {
		return errKilled
	}
	return m.valid
}
func (m *model) Close() error { return nil }

type modelLock struct {
	m    *model
	name string
}

func (l modelLock) Close() error {
	defer l.m.hold()()
	delete(l.m.locks, l.name)
	return nil
}

func (m *model) Lock(name, _ string) (io.Closer, error) {
	defer m.hold()()
	if m.locks[name] {
		return nil, &heldError{"a test"}
	}
	m.locks[name] = true
	return modelLock{m, name}, nil
}

func (f *modelFolder) List() ([]fs.FileInfo, error) {
	defer f.m.hold()()
	if f.m.dead {
		return nil, errKilled
	}
	var out []fs.FileInfo
	for _, n := range sortedNames(f) {
		out = append(out, f.names[n].info(n))
	}
	return out, nil
}

func (f *modelFolder) Lstat(name string) (fs.FileInfo, error) {
	defer f.m.hold()()
	i, err := f.find(name)
	if err != nil {
		return nil, err
	}
	return i.info(name), nil
}

func (f *modelFolder) find(name string) (*inode, error) {
	if f.m.dead {
		return nil, errKilled
	}
	if i, ok := f.names[name]; ok {
		return i, nil
	}
	return nil, &fs.PathError{Op: "find", Path: f.name + "/" + name, Err: fs.ErrNotExist}
}

func (f *modelFolder) Open(name string) (file, error) {
	defer f.m.hold()()
	i, err := f.find(name)
	if err != nil {
		return nil, err
	}
	return &modelFile{f: f, name: name, i: i}, nil
}

func (f *modelFolder) Create(name string) (file, error) {
	defer f.m.hold()()
	return f.create(name)
}

func (f *modelFolder) create(name string) (file, error) {
	if _, ok := f.names[name]; ok {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if err := f.m.step("create", f.name, name); err != nil {
		return nil, err
	}
	i := &inode{}
	f.change(nameChange{to: f, toName: name, ino: i})
	return &modelFile{f: f, name: name, i: i}, nil
}

func (f *modelFolder) Append(name string) (file, error) {
	defer f.m.hold()()
	if i, ok := f.names[name]; ok {
		return &modelFile{f: f, name: name, i: i}, nil
	}
	return f.create(name)
}

func (f *modelFolder) Rename(name string, to folder, newName string) error {
	defer f.m.hold()()
	t := to.(*modelFolder)
	if _, err := f.find(name); err != nil {
		return err
	}
	if _, ok := t.names[newName]; ok {
		return &fs.PathError{Op: "rename", Path: newName, Err: fs.ErrExist}
	}
	if err := f.m.step("rename", f.name, name, t.name, newName); err != nil {
		return err
	}
	f.change(nameChange{from: f, fromName: name, to: t, toName: newName, ino: f.names[name]})
	return nil
}

func (f *modelFolder) Replace(name, newName string) error {
	defer f.m.hold()()
	if _, err := f.find(name); err != nil {
		return err
	}
	if err := f.m.step("replace", f.name, name, newName); err != nil {
		return err
	}
	f.change(nameChange{from: f, fromName: name, to: f, toName: newName, ino: f.names[name]})
	return nil
}

func (f *modelFolder) Remove(name string) error {
	defer f.m.hold()()
	if _, err := f.find(name); err != nil {
		return err
	}
	if err := f.m.step("remove", f.name, name); err != nil {
		return err
	}
	f.change(nameChange{from: f, fromName: name})
	return nil
}

func (f *modelFolder) RemoveAll(name string) error { return ignoreMissing(f.Remove(name)) }

func (f *modelFolder) Sync() error {
	defer f.m.hold()()
	if err := f.m.step("sync", f.name); err != nil {
		return err
	}
	f.settle()
	return nil
}

type modelFile struct {
	f    *modelFolder
	name string
	i    *inode
	at   int64
}

func (h *modelFile) ReadAt(b []byte, off int64) (int, error) {
	defer h.f.m.hold()()
	if h.f.m.dead {
		return 0, errKilled
	}
	if off >= int64(len(h.i.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.i.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *modelFile) Read(b []byte) (int, error) {
	n, err := h.ReadAt(b, h.at)
	h.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (h *modelFile) Write(b []byte) (int, error) {
	defer h.f.m.hold()()
	if err := h.f.m.step("write", h.f.name, h.name); err != nil {
		return 0, err
	}
	h.i.data = append(h.i.data, b...)
	return len(b), nil
}

func (h *modelFile) Truncate(n int64) error {
	defer h.f.m.hold()()
	if int64(len(h.i.data)) == n {
		return nil
	}
	if err := h.f.m.step("truncate", h.f.name, h.name); err != nil {
		return err
	}
	h.i.data = h.i.data[:n]
	return nil
}

func (h *modelFile) Sync() error {
	defer h.f.m.hold()()
	if err := h.f.m.step("fsync", h.f.name, h.name); err != nil {
		return err
	}
	h.i.synced = slices.Clone(h.i.data)
	return nil
}

func (h *modelFile) Close() error { return nil }

func (h *modelFile) Stat() (fs.FileInfo, error) {
	defer h.f.m.hold()()
	if h.f.m.dead {
		return nil, errKilled
	}
	return h.i.info(h.name), nil
}

func (i *inode) info(name string) fs.FileInfo { return modelInfo{name, i, int64(len(i.data))} }

type modelInfo struct {
	name string
	i    *inode
	size int64
}

func (i modelInfo) Name() string       { return i.name }
func (i modelInfo) Size() int64        { return i.size }
func (i modelInfo) Mode() fs.FileMode  { return i.i.mode }
func (i modelInfo) ModTime() time.Time { return i.i.time }
func (i modelInfo) IsDir() bool        { return i.i.mode.IsDir() }
func (i modelInfo) Sys() any           { return i.i }

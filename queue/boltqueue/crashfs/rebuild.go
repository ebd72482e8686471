package crashfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Mode is how much of what was not durable a power cut leaves.
type Mode int

const (
	Nothing    Mode = iota // only what was durable
	Some                   // a random part of the writes, the first few of the names, one write torn
	LastTorn               // everything but a part of the last write
	Everything             // as after kill -9
)

func (m Mode) String() string {
	return [...]string{"nothing", "some", "last write torn", "everything"}[m]
}

// sector is what a disk writes whole.
const sector = 512

// inode is a file as it may be found after the cut.
type inode struct {
	durable []byte
	pending []step
}

// Rebuild writes into dir what is found there when the power fails after the first n steps.
func (f *FS) Rebuild(dir string, n int, mode Mode, r *rand.Rand) error {
	f.mu.Lock()
	steps := slices.Clone(f.steps[:n])
	f.mu.Unlock()

	nodes := map[*node]*inode{}
	names := map[string]*node{".": nil} // durable ones
	var moves []step                    // of names, not yet durable
	index := map[string]step{}
	last := -1
	for i, s := range steps {
		switch s.op {
		case Create:
			nodes[s.node] = &inode{}
			moves = append(moves, s)
		case Mkdir, Rename, Remove:
			moves = append(moves, s)
		case Write, Allocate, Truncate:
			nodes[s.node].pending = append(nodes[s.node].pending, s)
			last = i
		case Sync:
			in := nodes[s.node]
			for _, p := range in.pending {
				in.durable = p.on(in.durable)
			}
			in.pending = nil
		case SyncDir:
			var later []step
			for _, m := range moves {
				if filepath.Dir(m.name) == s.name {
					move(names, m)
				} else {
					later = append(later, m)
				}
			}
			moves = later
		case Index:
			index[s.name] = s
		}
	}
	keep := len(moves)
	switch mode {
	case Nothing:
		keep = 0
	case Some:
		keep = r.IntN(len(moves) + 1)
	}
	for _, m := range moves[:keep] {
		move(names, m)
	}
	for _, in := range nodes {
		in.cut(mode, r, steps, last)
	}
	return lay(dir, names, nodes, index)
}

// on makes a step on content.
func (s *step) on(b []byte) []byte {
	switch s.op {
	case Write:
		return write(b, s.off, s.data)
	case Allocate:
		return grow(b, s.off)
	case Truncate:
		return resize(b, s.off)
	}
	return b
}

// move makes a step on names. One whose folder or file is not there itself has no effect.
func move(names map[string]*node, s step) {
	if _, ok := names[filepath.Dir(s.name)]; !ok {
		return
	}
	switch s.op {
	case Create, Mkdir:
		names[s.name] = s.node
	case Remove:
		delete(names, s.name)
	case Rename:
		if n, ok := names[s.name]; ok {
			delete(names, s.name)
			names[s.to] = n
		}
	}
}

// cut applies to a file what is left of its steps that were not durable.
func (in *inode) cut(mode Mode, r *rand.Rand, steps []step, last int) {
	for _, p := range in.pending {
		switch {
		case mode == Nothing:
			continue
		case mode == Some && r.IntN(2) == 0:
			continue
		case mode == Some && p.op == Write && r.IntN(4) == 0:
			p = p.torn(r)
		case mode == LastTorn && last >= 0 && p.op == Write && p.same(&steps[last]):
			p = p.torn(r)
		}
		in.durable = p.on(in.durable)
	}
	in.pending = nil
}

func (s *step) same(o *step) bool {
	return s.node == o.node && s.off == o.off && len(s.data) == len(o.data) && (len(s.data) == 0 || &s.data[0] == &o.data[0])
}

// torn is a write of which some sectors reached the disk.
func (s step) torn(r *rand.Rand) step {
	whole := s.data
	from := r.IntN(len(whole) + 1)
	if from = from / sector * sector; r.IntN(2) == 0 {
		s.data = whole[:from] // the end is missing
	} else {
		s.data, s.off = whole[from:], s.off+int64(from) // the beginning is
	}
	return s
}

// lay writes files and folders into dir.
func lay(dir string, names map[string]*node, nodes map[*node]*inode, index map[string]step) error {
	var all []string
	for n := range names {
		all = append(all, n)
	}
	slices.Sort(all)
	for _, name := range all {
		path := filepath.Join(dir, name)
		n := names[name]
		if n == nil {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(path, nodes[n].durable, 0o600); err != nil {
			return fmt.Errorf("rebuild: %w", err)
		}
	}
	for name, s := range index {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, s.data, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(path, s.off); err != nil {
			return err
		}
	}
	return nil
}

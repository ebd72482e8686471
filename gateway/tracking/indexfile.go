package tracking

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"
)

// load reads the headers of a segment's index file. An index that speaks of more log than there is belongs to a log that
// lost its end in a power failure: it is thrown away. Callers hold mu.
func (ix *indexes) load(s segment, logSize int64) (*loaded, error) {
	if l := ix.runs[s]; l != nil {
		return l, nil
	}
	l := &loaded{}
	f, err := os.Open(s.index(ix.dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("tracking index: %w", err)
	default:
		defer f.Close()
		l.read(f)
		if slices.ContainsFunc(l.runs, func(r run) bool { return r.to > logSize }) {
			l = &loaded{}
			if err := os.Truncate(s.index(ix.dir), 0); err != nil {
				return nil, fmt.Errorf("tracking index: %w", err)
			}
		}
	}
	if ix.runs == nil {
		ix.runs = map[segment]*loaded{}
	}
	ix.runs[s] = l
	return l, nil
}

// check throws an index away that speaks of more log than there is, before the log grows.
func (ix *indexes) check(s segment, size int64) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	delete(ix.runs, s)
	_, err := ix.load(s, size)
	return err
}

func (l *loaded) read(f io.ReaderAt) {
	var h [headerSize]byte
	for {
		if _, err := f.ReadAt(h[:], l.end); err != nil {
			return
		}
		le := binary.LittleEndian
		if le.Uint32(h[:]) != runMagic || le.Uint32(h[28:]) != crc32.ChecksumIEEE(h[:28]) {
			return
		}
		r := run{from: int64(le.Uint64(h[8:])), to: int64(le.Uint64(h[16:])), n: int(le.Uint32(h[4:])), at: l.end + headerSize}
		l.runs = append(l.runs, r)
		l.end = r.at + int64(r.n)*pairSize
	}
}

// add writes a run.
func (ix *indexes) add(s segment, from, to int64, posts []posting) error {
	if from >= to {
		return nil
	}
	posts = slices.Clone(posts)
	slices.SortFunc(posts, func(a, b posting) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.off, b.off)) })
	le := binary.LittleEndian
	pairs := make([]byte, 0, len(posts)*pairSize)
	for _, p := range posts {
		pairs = le.AppendUint64(pairs, p.hash)
		pairs = le.AppendUint64(pairs, uint64(p.off))
	}
	head := make([]byte, 0, headerSize)
	head = le.AppendUint32(head, runMagic)
	head = le.AppendUint32(head, uint32(len(posts)))
	head = le.AppendUint64(head, uint64(from))
	head = le.AppendUint64(head, uint64(to))
	head = le.AppendUint32(head, 0)
	head = le.AppendUint32(head, crc32.ChecksumIEEE(head))

	ix.mu.Lock()
	defer ix.mu.Unlock()
	l, err := ix.load(s, to)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.index(ix.dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("tracking index: %w", err)
	}
	_, err = f.WriteAt(pairs, l.end+headerSize)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		_, err = f.WriteAt(head, l.end)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("tracking index: %w", err)
	}
	l.runs = append(l.runs, run{from: from, to: to, at: l.end + headerSize, n: len(posts)})
	l.end += headerSize + int64(len(pairs))
	return nil
}

// find appends the offsets under h, by binary search in the file.
func (r run) find(f io.ReaderAt, h uint64, out []int64) ([]int64, error) {
	var failed error
	pair := func(i int) posting {
		var b [pairSize]byte
		if _, err := f.ReadAt(b[:], r.at+int64(i)*pairSize); err != nil && failed == nil {
			failed = err
		}
		return posting{binary.LittleEndian.Uint64(b[:]), int64(binary.LittleEndian.Uint64(b[8:]))}
	}
	for i := sort.Search(r.n, func(i int) bool { return pair(i).hash >= h }); i < r.n && failed == nil; i++ {
		p := pair(i)
		if p.hash != h {
			break
		}
		out = append(out, p.off)
	}
	return out, failed
}

package boltqueue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts its file: opening a damaged one panics, part of the time in a goroutine of its own, where nobody can
// recover. So the pages are read once before bbolt sees them. The layout is that of bbolt's internal/common (format
// version 2), in the order of octets of the machine that wrote it; here little-endian.
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	pageHeaderSize = 16
	branchPage     = 0x01
	leafPage       = 0x02
	metaPage       = 0x04
	elementSize    = 16   // of both kinds
	bucketElement  = 0x01 // flag of a leaf element whose value is a bucket
	bucketHeader   = 16
)

// pages reads a bbolt file.
type pages struct {
	f    io.ReaderAt
	size int64
	page int64
	top  uint64 // above all pages in use
	seen []uint64
	buf  [][]byte // by depth
}

// verifyPages reads every page that is in use and answers what is wrong with the first bad one. A missing or empty
// file is sound: bbolt makes a new one of it.
func verifyPages(path string) (err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	p := &pages{f: f, size: st.Size()}
	root, err := p.meta()
	if err != nil {
		return err
	}
	p.seen = make([]uint64, p.top/64+1)
	return p.tree(root, 0, nil, nil)
}

// meta reads the younger of the two valid meta pages and answers the root bucket's page.
func (p *pages) meta() (root uint64, err error) {
	le := binary.LittleEndian
	found := false
	var tx uint64
	for _, at := range p.metaPlaces() {
		b := make([]byte, pageHeaderSize+64)
		if _, err := p.f.ReadAt(b, at); err != nil {
			continue
		}
		head := b
		b = b[pageHeaderSize:]
		h := fnv.New64a()
		h.Write(b[:56])
		if le.Uint32(b) != boltMagic || le.Uint32(b[4:]) != boltVersion || le.Uint64(b[56:]) != h.Sum64() {
			continue
		}
		if id := le.Uint64(b[48:]); !found || id > tx {
			found, tx = true, id
			p.page, root, p.top = int64(le.Uint32(b[8:])), le.Uint64(b[16:]), le.Uint64(b[40:])
		}
		if id := le.Uint64(head); le.Uint16(head[8:]) != metaPage || id > 1 || id == 0 != (at == 0) {
			return 0, fmt.Errorf("its head at offset %d says that it is page %d", at, id)
		}
	}
	switch {
	case !found:
		return 0, errors.New("neither of its two heads is valid")
	case p.page < 1024 || p.page&(p.page-1) != 0 || p.top > uint64(p.size/p.page):
		return 0, fmt.Errorf("its head speaks of %d pages of %d octets, the file has %d octets", p.top, p.page, p.size)
	}
	return root, nil
}

// metaPlaces is where the meta pages are: at the beginning, and one page further, of whatever size a page is.
func (p *pages) metaPlaces() []int64 {
	at := []int64{0}
	for size := int64(1024); size <= 1<<16; size <<= 1 {
		at = append(at, size)
	}
	return at
}

// read loads a page with its overflow into the buffer of a depth.
func (p *pages) read(id uint64, depth int) ([]byte, error) {
	if id < 2 || id >= p.top {
		return nil, fmt.Errorf("page %d is outside the file", id)
	}
	for len(p.buf) <= depth {
		p.buf = append(p.buf, make([]byte, p.page))
	}
	b := p.buf[depth][:p.page]
	if _, err := p.f.ReadAt(b, int64(id)*p.page); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	le := binary.LittleEndian
	if got := le.Uint64(b); got != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	more := uint64(le.Uint32(b[12:]))
	if id+more >= p.top {
		return nil, fmt.Errorf("page %d runs over the end of the file", id)
	}
	for n := id; n <= id+more; n++ {
		if p.seen[n/64]&(1<<(n%64)) != 0 {
			return nil, fmt.Errorf("page %d is used twice", n)
		}
		p.seen[n/64] |= 1 << (n % 64)
	}
	if more > 0 {
		whole := make([]byte, p.page*int64(more+1))
		if _, err := p.f.ReadAt(whole, int64(id)*p.page); err != nil {
			return nil, fmt.Errorf("page %d: %w", id, err)
		}
		p.buf[depth], b = whole, whole
	}
	return b, nil
}

// tree verifies a page and what is below it. No key in it may be less than least, or reach limit (nil: there is none).
func (p *pages) tree(id uint64, depth int, least, limit []byte) error {
	if depth > 64 {
		return fmt.Errorf("page %d lies %d levels deep", id, depth)
	}
	b, err := p.read(id, depth)
	if err != nil {
		return err
	}
	return p.elements(b, id, depth, least, limit)
}

// element is one of a page: of a branch with a child, of a leaf with a value.
type element struct {
	key, value []byte
	child      uint64
	bucket     bool
}

// element reads the ith of a page.
func (p *pages) element(b []byte, branch bool, i int) (e element, ok bool) {
	le := binary.LittleEndian
	at := pageHeaderSize + i*elementSize
	h := b[at:]
	var pos, ksize, vsize uint64
	if branch {
		pos, ksize, e.child = uint64(le.Uint32(h)), uint64(le.Uint32(h[4:])), le.Uint64(h[8:])
	} else {
		e.bucket = le.Uint32(h)&bucketElement != 0
		pos, ksize, vsize = uint64(le.Uint32(h[4:])), uint64(le.Uint32(h[8:])), uint64(le.Uint32(h[12:]))
	}
	from := uint64(at) + pos
	if from+ksize+vsize > uint64(len(b)) || ksize == 0 {
		return e, false
	}
	e.key, e.value = b[from:from+ksize], b[from+ksize:from+ksize+vsize]
	return e, true
}

func (p *pages) elements(b []byte, id uint64, depth int, last, limit []byte) error {
	le := binary.LittleEndian
	kind, count := le.Uint16(b[8:]), int(le.Uint16(b[10:]))
	if kind != branchPage && kind != leafPage {
		return fmt.Errorf("page %d is of kind %#x", id, kind)
	}
	branch := kind == branchPage
	if pageHeaderSize+count*elementSize > len(b) || branch && count == 0 {
		return fmt.Errorf("page %d counts %d elements", id, count)
	}
	for i := range count {
		e, ok := p.element(b, branch, i)
		if !ok {
			return fmt.Errorf("page %d: element %d runs over its end", id, i)
		}
		if c := bytes.Compare(e.key, last); c < 0 || c == 0 && i > 0 || limit != nil && bytes.Compare(e.key, limit) >= 0 {
			return fmt.Errorf("page %d: element %d is out of order", id, i)
		}
		last = e.key
		var err error
		switch {
		case branch:
			below := limit
			if i+1 < count {
				next, ok := p.element(b, true, i+1)
				if !ok {
					return fmt.Errorf("page %d: element %d runs over its end", id, i+1)
				}
				below = next.key
			}
			err = p.tree(e.child, depth+1, e.key, below)
		case e.bucket:
			err = p.bucket(e.value, id, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket verifies a bucket inside a leaf: a page of its own, or one written into the value.
func (p *pages) bucket(v []byte, id uint64, depth int) error {
	if len(v) < bucketHeader {
		return fmt.Errorf("page %d: a bucket is cut short", id)
	}
	if root := binary.LittleEndian.Uint64(v); root != 0 {
		return p.tree(root, depth+1, nil, nil)
	}
	if v = v[bucketHeader:]; len(v) < pageHeaderSize {
		return fmt.Errorf("page %d: a bucket is cut short", id)
	}
	return p.elements(v, id, depth, nil, nil)
}

package boltqueue

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"strings"

	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/queue/boltqueue/disk"
)

// shard is the folder of a large body: 256 bodies in a row share one, so that they share the sync of its names.
func shard(n uint64) string { return fmt.Sprintf("%02X", byte(n>>8)) }

// where names a body for an operator and, by its last word, for Body.
func where(n uint64, file bool) string {
	if file {
		return "file " + shard(n) + "/" + queue.ID(n).String()
	}
	return "log " + queue.ID(n).String()
}

func bodyNumber(where string) (uint64, error) {
	i := strings.LastIndexAny(where, " /")
	id, err := queue.ParseID(where[i+1:])
	if err != nil || i < 0 {
		return 0, fmt.Errorf("%w: %q names no body", queue.ErrNotFound, where)
	}
	return uint64(id), nil
}

// content is a stored body.
type content struct {
	s   *Store
	ref queue.BodyRef
}

// Body implements queue.Store.
func (s *Store) Body(ref queue.BodyRef) mail.Content { return content{s, ref} }

func (c content) Size() int64 { return c.ref.Size }

// Open reads a small body into memory and verifies it, so that nothing damaged ever begins its way to a peer; of a large
// one the checksum is compared when it has been read to its end, and the last Read fails when it is wrong.
func (c content) Open() (io.ReadSeekCloser, error) {
	n, err := bodyNumber(c.ref.Where)
	if err != nil {
		return nil, err
	}
	var was body
	for try := 0; ; try++ {
		b, segment, err := c.s.locate(n)
		if err != nil {
			return nil, err
		}
		r, err := c.s.openBody(&b, segment)
		// It may have moved between looking it up and reading it. In the same place twice, it is damage.
		if err == nil || try > 0 && b.seg == was.seg && b.off == was.off {
			return r, err
		}
		was = b
	}
}

func (s *Store) locate(n uint64) (b body, segment string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return body{}, "", queue.ErrClosed
	}
	b, ok := s.x.getBody(n)
	if !ok {
		return body{}, "", fmt.Errorf("body %s: %w", queue.ID(n), queue.ErrNotFound)
	}
	return b, s.log.path(b.seg), nil
}

func (s *Store) openBody(b *body, segment string) (io.ReadSeekCloser, error) {
	if b.file {
		f, err := s.fs.Open(s.bodyPath(b.id), false)
		if err != nil {
			return nil, err
		}
		return &fileReader{f: f, SectionReader: io.NewSectionReader(f, 0, b.size), want: b.crc, sum: crc32.New(castagnoli), name: where(b.id, true)}, nil
	}
	p, err := s.readSmall(b, segment)
	if err != nil {
		return nil, err
	}
	return memReader{bytes.NewReader(p)}, nil
}

func (s *Store) readSmall(b *body, segment string) (p []byte, err error) {
	f, err := s.readers.open(s.fs, b.seg, segment)
	if err != nil {
		return nil, err
	}
	defer s.readers.close(f)
	p = make([]byte, b.size)
	if _, err := f.ReadAt(p, int64(b.off)); err != nil && (err != io.EOF || b.size > 0) {
		return nil, fmt.Errorf("body %s: %w", queue.ID(b.id), err)
	}
	if sum(p) != b.crc {
		return nil, fmt.Errorf("body %s at %s@%d is damaged: its checksum is wrong", queue.ID(b.id), segmentName(b.seg), b.off)
	}
	return p, nil
}

type memReader struct{ *bytes.Reader }

func (memReader) Close() error { return nil }

// fileReader reads a large body and keeps its checksum while it is read from front to back.
type fileReader struct {
	*io.SectionReader
	f    disk.File
	name string
	want uint32
	sum  hash.Hash32
	at   int64 // how far sum has come; -1 when the reader has jumped
	pos  int64
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.SectionReader.Read(p)
	if r.at == r.pos {
		r.sum.Write(p[:n])
		r.at += int64(n)
		if r.at == r.Size() && r.sum.Sum32() != r.want {
			return 0, fmt.Errorf("body %s is damaged: its checksum is wrong", r.name)
		}
	}
	r.pos += int64(n)
	if err == io.EOF && r.pos < r.Size() {
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *fileReader) Seek(offset int64, whence int) (int64, error) {
	at, err := r.SectionReader.Seek(offset, whence)
	if err == nil {
		r.pos = at
		if at == 0 {
			r.at = 0
			r.sum.Reset()
		}
	}
	return at, err
}

// WriteTo would go round the checksum.
func (r *fileReader) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{r})
}

func (r *fileReader) Close() error { return r.f.Close() }

// gone tells that a file is not there, which for one to be removed is as good.
func gone(err error) bool { return errors.Is(err, os.ErrNotExist) }

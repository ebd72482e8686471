package x400

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// spool is a transfer on its way in or out. A short one is held in memory; what grows beyond that goes into a file without a
// name, so that nothing is left after a crash, in the connector's folder, and is read as a mapping, of which only what is
// looked at is in memory.
type spool struct {
	dir   string
	short []byte // until there is a file
	f     *os.File
	size  int64
	max   int64 // 0 no limit
	mem   []byte
	fault error // of the disk
}

// shortSpool is how long a spool may be without a file.
const shortSpool = 128 << 10

func newSpool(dir string, limit int64) *spool { return &spool{dir: dir, max: limit} }

func (s *spool) Write(b []byte) (int, error) {
	if s.max > 0 && s.size+int64(len(b)) > s.max {
		return 0, fmt.Errorf("more than %d octets", s.max)
	}
	if s.f == nil && s.size+int64(len(b)) <= shortSpool {
		s.short = append(s.short[:s.size], b...)
		s.size += int64(len(b))
		return len(b), nil
	}
	if s.f == nil {
		if err := s.spill(); err != nil {
			s.fault = err
			return 0, err
		}
	}
	n, err := s.f.Write(b)
	s.size += int64(n)
	if err != nil {
		s.fault = err
	}
	return n, err
}

// spill moves what is held into a file.
func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, "transfer-*")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(err, f.Close())
	}
	if _, err := f.Write(s.short[:s.size]); err != nil {
		return errors.Join(err, f.Close())
	}
	s.f, s.short = f, nil
	return nil
}

// Truncate forgets what follows the first n octets.
func (s *spool) Truncate(n int64) error {
	if s.f == nil {
		s.size = n
		return nil
	}
	if err := s.f.Truncate(n); err != nil {
		return err
	}
	s.size = n
	_, err := s.f.Seek(n, io.SeekStart)
	return err
}

// bytes are the whole, not to be written any more.
func (s *spool) bytes() ([]byte, error) {
	if s.f == nil {
		return s.short[:s.size], nil
	}
	if s.mem != nil || s.size == 0 {
		return s.mem, nil
	}
	var err error
	s.mem, err = syscall.Mmap(int(s.f.Fd()), 0, int(s.size), syscall.PROT_READ, syscall.MAP_SHARED)
	return s.mem, err
}

// reader reads the whole from its beginning.
func (s *spool) reader() io.ReadSeeker {
	if s.f == nil {
		return bytes.NewReader(s.short[:s.size])
	}
	return s.f
}

func (s *spool) close() error {
	var err error
	if s.mem != nil {
		err = syscall.Munmap(s.mem)
		s.mem = nil
	}
	if s.f != nil {
		err = errors.Join(err, s.f.Close())
	}
	return err
}

// joined reads head and then body as one.
type joined struct {
	head []byte
	body io.ReadSeeker
	size int64
	at   int64
	// failed is an error of the body: our own fault, not the peer's.
	failed error
}

func (j *joined) Read(p []byte) (int, error) {
	if j.at < int64(len(j.head)) {
		n := copy(p, j.head[j.at:])
		j.at += int64(n)
		return n, nil
	}
	if j.body == nil {
		return 0, io.EOF
	}
	n, err := j.body.Read(p)
	j.at += int64(n)
	if err != nil && (err != io.EOF || j.at < j.size) {
		j.failed = err
	}
	return n, err
}

func (j *joined) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart || offset < 0 {
		return 0, errors.New("x400: only from the start")
	}
	j.at = offset
	if j.body != nil {
		if _, err := j.body.Seek(max(0, offset-int64(len(j.head))), io.SeekStart); err != nil {
			j.failed = err
			return 0, err
		}
	}
	return offset, nil
}

// tsdu is a spool as the transport keeps a long TSDU in it, of a transfer without checkpoints.
type tsdu struct{ *spool }

func (t tsdu) Bytes() ([]byte, error) { return t.bytes() }
func (t tsdu) Close() error           { return t.close() }

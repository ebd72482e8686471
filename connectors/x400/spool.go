package x400

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// spool is a transfer on its way in or out: a file without a name, so that nothing is left after a crash, in the
// connector's folder. It is read as a mapping, of which only what is looked at is in memory.
type spool struct {
	f    *os.File
	size int64
	max  int64 // 0 no limit
	mem  []byte
}

func newSpool(dir string, limit int64) (*spool, error) {
	f, err := os.CreateTemp(dir, "transfer-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &spool{f: f, max: limit}, nil
}

func (s *spool) Write(b []byte) (int, error) {
	if s.max > 0 && s.size+int64(len(b)) > s.max {
		return 0, fmt.Errorf("more than %d octets", s.max)
	}
	n, err := s.f.Write(b)
	s.size += int64(n)
	return n, err
}

// Truncate forgets what follows the first n octets.
func (s *spool) Truncate(n int64) error {
	if err := s.f.Truncate(n); err != nil {
		return err
	}
	s.size = n
	_, err := s.f.Seek(n, io.SeekStart)
	return err
}

// bytes maps the file; it must not be written afterwards.
func (s *spool) bytes() ([]byte, error) {
	if s.mem != nil || s.size == 0 {
		return s.mem, nil
	}
	var err error
	s.mem, err = syscall.Mmap(int(s.f.Fd()), 0, int(s.size), syscall.PROT_READ, syscall.MAP_SHARED)
	return s.mem, err
}

func (s *spool) close() error {
	var err error
	if s.mem != nil {
		err = syscall.Munmap(s.mem)
		s.mem = nil
	}
	return errors.Join(err, s.f.Close())
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

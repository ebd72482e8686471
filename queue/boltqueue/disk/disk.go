// Package disk is the little of a filesystem that the queue's log and bodies need, as an interface, so that a test can
// record every step, fail any of them and rebuild what a power cut would have left.
//
// It owns no names and no format. OS is the real thing. Errors are those of package os, with the path in them.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// FS is a directory tree on one local filesystem. Names are paths as os takes them.
type FS interface {
	// Create makes a new file, which must not exist, for reading and writing by the owner only.
	Create(name string) (File, error)
	// Open opens a file for reading and, with write, for writing.
	Open(name string, write bool) (File, error)
	MkdirAll(name string) error
	Rename(from, to string) error
	Remove(name string) error
	// List names what is in a directory, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Free is the space in octets that an ordinary user may still take.
	Free(dir string) (int64, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes the content durable, and the size when it changed (fdatasync). An error is final: the kernel may have
	// dropped what it could not write, and a second Sync would answer nil.
	Sync() error
	// Allocate reserves the blocks up to size and makes the file that long, so that writing there needs no space.
	Allocate(size int64) error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// OS is the operating system's filesystem.
type OS struct{}

type file struct{ *os.File }

func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (OS) Open(name string, write bool) (File, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(name, flag, 0)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (OS) MkdirAll(name string) error   { return os.MkdirAll(name, 0o700) }
func (OS) Rename(from, to string) error { return os.Rename(from, to) }
func (OS) Remove(name string) error     { return os.Remove(name) }

func (OS) List(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Name()
	}
	return names, nil
}

func (OS) SyncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

func (OS) Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func (f file) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("fdatasync %s: %w", f.Name(), err)
		}
	}
}

func (f file) Allocate(size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP): // a filesystem without extents: space is taken as we write
			return f.Truncate(size)
		default:
			return fmt.Errorf("fallocate %s: %w", f.Name(), err)
		}
	}
}

func (f file) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

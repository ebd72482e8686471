package shadowpo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is the tree on the operating system's files. Everything goes through os.Root, so that nothing outside the
// drop is ever touched, whatever its files are called or linked to.
type disk struct {
	dir     string
	root    *os.Root
	folders map[string]*diskFolder
	ident   identity
	// writable asks whether an open folder takes writes, without one: an empty read-only share would not be noticed otherwise.
	writable func(folder *os.File) error
}

func writable(folder *os.File) error {
	return os.NewSyscallError("faccessat", unix.Faccessat(int(folder.Fd()), ".", unix.W_OK, unix.AT_EACCESS))
}

// openDisk opens the drop at dir. Missing folders are made again when the sentinel is there (KB Q266442: a missing
// directory stopped the original); without the sentinel nothing is touched.
func openDisk(dir string) (*disk, identity, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, identity{}, &UnavailableError{dir, err}
	}
	d := &disk{dir: dir, root: root, folders: map[string]*diskFolder{}, writable: writable}
	if d.ident, err = readSentinel(root); err != nil {
		return nil, identity{}, errors.Join(&UnavailableError{dir, err}, d.Close())
	}
	for _, name := range []string{submitDir, deliverDir, badmailDir, logDir, stateDir} {
		f, err := d.open(name)
		if err != nil {
			return nil, identity{}, errors.Join(err, d.Close())
		}
		d.folders[name] = f
	}
	return d, d.ident, nil
}

func (d *disk) open(name string) (*diskFolder, error) {
	if err := d.root.Mkdir(name, 0o770); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("drop: folder is missing and cannot be made: %w", err)
	}
	if i, err := d.root.Lstat(name); err != nil || !i.IsDir() {
		return nil, fmt.Errorf("drop: %s is not a folder: %w", filepath.Join(d.dir, name), errors.Join(err))
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &diskFolder{root, self}, nil
}

func (d *disk) Folder(name string) folder { return d.folders[name] }

// Valid compares what the path leads to now with what was opened.
func (d *disk) Valid() error {
	now, err := os.Stat(d.dir)
	if err != nil {
		return &UnavailableError{d.dir, err}
	}
	opened, err := d.root.Stat(".")
	if err != nil {
		return &UnavailableError{d.dir, err}
	}
	if !os.SameFile(now, opened) {
		return &UnavailableError{d.dir, errors.New("the folder was exchanged or unmounted")}
	}
	ident, err := readSentinel(d.root)
	if err != nil {
		return &UnavailableError{d.dir, err}
	}
	if ident != d.ident {
		return &UnavailableError{d.dir, fmt.Errorf("the folder now belongs to %s, instance %s", ident.postOffice, ident.instance)}
	}
	for name, f := range d.folders {
		now, err := d.root.Lstat(name)
		if err != nil {
			return &UnavailableError{d.dir, err}
		}
		if opened, err := f.self.Stat(); err != nil || !os.SameFile(now, opened) {
			return &UnavailableError{d.dir, fmt.Errorf("folder %s was exchanged", name)}
		}
		if err := d.writable(f.self); err != nil {
			return &UnavailableError{d.dir, fmt.Errorf("folder %s can't be written: %w", name, err)}
		}
	}
	return nil
}

func (d *disk) Close() error {
	err := d.root.Close()
	for _, f := range d.folders {
		err = errors.Join(err, f.self.Close(), f.root.Close())
	}
	return err
}

type diskFolder struct {
	root *os.Root
	self *os.File // the directory itself: to sync it, and as renameat2's handle
}

// plain keeps every name a plain one, also should a caller forget to ask.
func plain(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

func (f *diskFolder) List() ([]fs.FileInfo, error) {
	d, err := f.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]fs.FileInfo, 0, len(names))
	for _, n := range names {
		i, err := f.root.Lstat(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

func (f *diskFolder) Lstat(name string) (fs.FileInfo, error) {
	if err := plain(name); err != nil {
		return nil, err
	}
	return f.root.Lstat(name)
}

// Open refuses a link by comparing the name with what was opened: os.Root follows links that stay within it.
func (f *diskFolder) Open(name string) (file, error) {
	before, err := f.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: %s", errOdd, kindOf(before.Mode()))}
	}
	h, err := f.root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	after, err := h.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: it was exchanged while it was opened", errOdd)}
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (f *diskFolder) Create(name string) (file, error) {
	if err := plain(name); err != nil {
		return nil, err
	}
	h, err := f.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o660)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (f *diskFolder) Append(name string) (file, error) {
	if err := plain(name); err != nil {
		return nil, err
	}
	h, err := openOwn(f.root, name, os.O_APPEND)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// openOwn opens a file of our own for writing, or makes it. Others can write into the folder: what stands under its name may
// be a link to somebody else's file, of either kind, or nothing that can be written at all.
func openOwn(root *os.Root, name string, flag int) (*os.File, error) {
	h, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK|flag, 0o660)
	if err != nil {
		return nil, err
	}
	named, err := root.Lstat(name)
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	opened, err := h.Stat()
	switch {
	case err != nil:
	case !os.SameFile(named, opened):
		err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: it is not what its name leads to", errOdd)}
	case oddity(opened, math.MaxInt64) != "":
		err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: it %s", errOdd, oddity(opened, math.MaxInt64))}
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (f *diskFolder) Rename(name string, to folder, newName string) error {
	t, ok := to.(*diskFolder)
	if !ok {
		return fs.ErrInvalid
	}
	if err := errors.Join(plain(name), plain(newName)); err != nil {
		return err
	}
	err := renameNoReplace(int(f.self.Fd()), name, int(t.self.Fd()), newName)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = f.renameByLink(name, t, newName)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: name, New: newName, Err: err}
	}
	return nil
}

// renameByLink is for shares whose server has no rename without replacing (NFS): a second name, then without the
// first. Where there are no second names either, it looks before it renames; our names are then only safe against
// writers that choose other ones, and they do.
func (f *diskFolder) renameByLink(name string, t *diskFolder, newName string) error {
	from, to := int(f.self.Fd()), int(t.self.Fd())
	err := unix.Linkat(from, name, to, newName, 0)
	switch {
	case err == nil:
		return unix.Unlinkat(from, name, 0)
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := t.root.Lstat(newName); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unix.Renameat(from, name, to, newName)
}

func (f *diskFolder) Replace(name, newName string) error {
	if err := errors.Join(plain(name), plain(newName)); err != nil {
		return err
	}
	return f.root.Rename(name, newName)
}

func (f *diskFolder) Remove(name string) error {
	if err := plain(name); err != nil {
		return err
	}
	return f.root.Remove(name)
}

// RemoveAll is for a folder that something hostile made; os.Root keeps it within the drop.
func (f *diskFolder) RemoveAll(name string) error {
	if err := plain(name); err != nil {
		return err
	}
	return f.root.RemoveAll(name)
}

// Sync passes over file systems whose folders cannot be synced: their names are durable at once or never.
func (f *diskFolder) Sync() error {
	err := f.self.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// heldError says who has a lock.
type heldError struct{ holder string }

func (e *heldError) Error() string { return "another gateway serves this drop: " + e.holder }

// Lock is flock(2) on a file whose text names the holder for the operator. There are no stale locks to judge: the
// kernel, or the file server's, drops the lock of a process that died, whatever the text says. A share that cannot
// lock is refused: two gateways on it would each deliver.
func (d *disk) Lock(name, holder string) (io.Closer, error) {
	h, err := openOwn(d.folders[stateDir].root, name, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(h.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		text, rerr := io.ReadAll(io.LimitReader(h, 200))
		err = errors.Join(&heldError{printable(string(text))}, rerr)
	} else if err != nil {
		err = fmt.Errorf("drop: the file system of %s cannot lock files, mount it with locks: %w", d.dir, err)
	}
	if err == nil {
		if err = h.Truncate(0); err == nil {
			_, err = h.WriteAt([]byte(holder+"\n"), 0)
		}
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// links tells how many names a file has; 1 where the system does not say.
func links(i fs.FileInfo) uint64 {
	if s, ok := i.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink) //nolint:unconvert // another size elsewhere
	}
	return 1
}

// allocated is how many octets a file has on disk; its size where the system does not say.
func allocated(i fs.FileInfo) int64 {
	if s, ok := i.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return i.Size()
}

// sameFile tells that two looks saw the same file, unwritten in between.
func sameFile(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && sameIdentity(a, b)
}

func sameIdentity(a, b fs.FileInfo) bool {
	x, ok := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return !ok || !ok2 || x.Dev == y.Dev && x.Ino == y.Ino
}

package shadowpo

import (
	"io"
	"io/fs"
)

// The folders of a drop (msmail.md A.2; the choice of names is ours) and what lies in them.
const (
	submitDir  = "submit"  // mail leaving the post office
	deliverDir = "deliver" // mail for the post office
	badmailDir = "badmail" // what could not be taken
	logDir     = "log"
	stateDir   = ".state" // journals and locks; dotted, since no DOS program can name it

	sentinelFile = ".backbone"
)

// Extensions of the drop's choreography, after the connection store's (KB Q130066) and A.2.
const (
	extMessage  = ".MSG"
	extWriting  = ".WRT" // not whole yet
	extClaimed  = ".BSY"
	extDone     = ".DEL" // handed over, about to be removed
	extSide     = ".X"
	extSideWrit = ".WRX" // side file not published yet
	extSideBusy = ".BSX" // side file of a claimed message
	extReason   = ".ERR"
)

// tree is one opened drop. There are two: the operating system's, and the tests' model of a disk that loses power.
// All names are plain names in one of the folders; none ever comes with a path.
type tree interface {
	Folder(name string) folder
	// Valid tells whether the path still leads to this tree: an error when the share was unmounted or exchanged.
	Valid() error
	// Lock takes the named lock for this process, or fails at once with a *heldError.
	Lock(name, holder string) (io.Closer, error)
	io.Closer
}

// folder is one directory of a tree.
type folder interface {
	List() ([]fs.FileInfo, error)
	Lstat(name string) (fs.FileInfo, error)
	// Open reads a file without following a link or waiting for a FIFO's writer. Whether it is a regular file with
	// one name is for the caller to ask of its Stat.
	Open(name string) (file, error)
	Create(name string) (file, error) // fails with fs.ErrExist
	Append(name string) (file, error) // creates when missing
	// Rename never replaces: fs.ErrExist. Replace does.
	Rename(name string, to folder, newName string) error
	Replace(name, newName string) error
	Remove(name string) error
	RemoveAll(name string) error
	// Sync makes the names of the folder durable.
	Sync() error
}

// file is an open file.
type file interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
}

package directory

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Snapshot writes the whole directory as it is at one moment, while it is in use: entries, tombstones, what replication and
// synchronization know of their partners, reply routes. What comes out is a file that Open opens and Replace takes. A slow w
// makes the directory's file grow meanwhile, nothing else.
func (d *Directory) Snapshot(w io.Writer) error {
	if err := d.db.View(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(w); return err }); err != nil {
		return fmt.Errorf("directory: snapshot: %w", err)
	}
	return nil
}

// Replace puts a snapshot in the place of the file at path, which nobody may have open. A file that is there is kept under
// another name, aside. What can't be opened as a directory replaces nothing. The directory's history goes on from the
// snapshot; partners find out by its stamps.
func Replace(path string, snapshot io.Reader) (aside string, err error) {
	tmp := path + ".part"
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(tmp))
		}
	}()
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("directory: %w", err)
	}
	if _, err := io.Copy(f, snapshot); err != nil {
		return "", errors.Join(fmt.Errorf("directory: %s: %w", tmp, err), f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("directory: %s: %w", tmp, err)
	}
	// Only whether it can be read is asked: it gets some name, and forgets nothing.
	d, err := Open(tmp, Options{Site: Identity{Name: "snapshot"}, KeepTombstones: math.MaxInt64})
	if err != nil {
		return "", fmt.Errorf("the snapshot can't be opened: %w", err)
	}
	if err := d.Close(); err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); err == nil {
		old, err := openFile(path, false)
		if errors.Is(err, errInUse) {
			return "", err
		}
		if err == nil { // a damaged one goes aside, too
			if err := old.Close(); err != nil {
				return "", err
			}
		}
		aside = fmt.Sprintf("%s.before.%s", path, time.Now().UTC().Format("20060102T150405"))
		if err := os.Rename(path, aside); err != nil {
			return "", fmt.Errorf("directory: %w", err)
		}
	}
	if err := os.Rename(tmp, path); err != nil {
		return aside, fmt.Errorf("directory: %w", err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return aside, fmt.Errorf("directory: %w", err)
	}
	return aside, errors.Join(folder.Sync(), folder.Close())
}

func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

package shadowpo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"backbone/gateway/address"
)

// identity is what the sentinel says: whose drop this is, and which one. Two drops never share an instance, as two
// shadow post offices with one serial number could never be joined (KB Q151228).
type identity struct {
	postOffice string // NET/PO
	instance   string
}

const sentinelHead = "backbone drop 1"

// UnavailableError says that a drop is not there: its folder is missing or not reachable, or the folder that the path
// leads to lacks the sentinel, as the mount point of an unmounted share does. It never means "no mail".
type UnavailableError struct {
	Dir string
	Err error
}

func (e *UnavailableError) Error() string {
	return "drop " + e.Dir + " is not available: " + e.Err.Error()
}
func (e *UnavailableError) Unwrap() error { return e.Err }

// Create makes the drop of a post office at dir: folder, sub-folders and, last, the sentinel that tells it from an
// unmounted share. A drop that is already there for the same post office is left as it is. Call it when an operator
// sets a post office up, never because a drop is missing.
func Create(dir string, po address.MSMail) (err error) {
	name := po.PostOffice().String()
	if _, err := address.ParsePostOffice(name); err != nil {
		return fmt.Errorf("drop %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o770); err != nil {
		return fmt.Errorf("drop %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("drop %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	switch ident, err := readSentinel(root); {
	case err == nil && ident.postOffice != name:
		return fmt.Errorf("drop %s belongs to post office %s, not to %s", dir, ident.postOffice, name)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("drop %s: %w", dir, err)
	}
	for _, sub := range []string{submitDir, deliverDir, badmailDir, logDir, stateDir} {
		if err := root.Mkdir(sub, 0o770); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("drop %s: %w", dir, err)
		}
	}
	text := fmt.Sprintf("%s\npostoffice=%s\ninstance=%s\n", sentinelHead, name, rand.Text())
	if err := writeSentinel(root, text); err != nil {
		return fmt.Errorf("drop %s: %w", dir, err)
	}
	return nil
}

func writeSentinel(root *os.Root, text string) error {
	tmp := sentinelFile + ".new"
	if err := root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o660)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(tmp, sentinelFile); err != nil {
		return err
	}
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func readSentinel(root *os.Root) (identity, error) {
	f, err := root.OpenFile(sentinelFile, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, fmt.Errorf("no sentinel file %s: the share is not mounted, or this folder was never made a drop: %w", sentinelFile, err)
	}
	if err != nil {
		return identity{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return identity{}, err
	}
	return parseSentinel(string(b))
}

func parseSentinel(text string) (identity, error) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if lines[0] != sentinelHead {
		return identity{}, fmt.Errorf("sentinel file %s does not begin with %q", sentinelFile, sentinelHead)
	}
	var id identity
	for _, l := range lines[1:] {
		switch key, value, _ := strings.Cut(l, "="); key {
		case "postoffice":
			id.postOffice = value
		case "instance":
			id.instance = value
		}
	}
	if po, err := address.ParsePostOffice(id.postOffice); err != nil || id.instance == "" {
		return identity{}, fmt.Errorf("sentinel file %s names no post office and instance: %w", sentinelFile, errors.Join(err))
	} else {
		id.postOffice = po.String()
	}
	return id, nil
}

package shadowpo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"backbone/shadowpo/mmff"
)

// ErrNoEntry is the answer for a name that badmail does not have.
var ErrNoEntry = errors.New("no such entry in badmail")

// ErrNoOctets is the answer to reading or replaying an entry that is not a file (see Entry.Odd).
var ErrNoOctets = errors.New("this entry is not a file: it can only be discarded")

// Quarantine lists badmail, oldest first. Files that someone else put there are listed too.
func (d *Drop) Quarantine(context.Context) ([]Entry, error) {
	t, err := d.tree()
	if err != nil {
		return nil, fault(err)
	}
	defer t.Close()
	bad := t.Folder(badmailDir)
	list, err := bad.List()
	if err != nil {
		return nil, fault(err)
	}
	var out []Entry
	for _, i := range list {
		if _, ext := splitName(i.Name()); ext == extMessage {
			out = append(out, entry(bad, i))
		}
	}
	slices.SortFunc(out, func(a, b Entry) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, nil
}

func entry(bad folder, i fs.FileInfo) Entry {
	stem, _ := splitName(i.Name())
	e, err := readReason(bad, stem+extReason)
	if err != nil {
		e = Entry{Offset: -1}
	}
	if len(e.Reasons) == 0 {
		e.Reasons = []string{"reason unknown: there is no " + stem + extReason}
	}
	e.Name, e.Size = stem, i.Size()
	if e.At.IsZero() {
		e.At = i.ModTime()
	}
	if !i.Mode().IsRegular() {
		e.Odd = "is " + kindOf(i.Mode())
	}
	return e
}

// Quarantined gives one entry and its octets. Close them.
func (d *Drop) Quarantined(_ context.Context, name string) (Entry, io.ReadCloser, error) {
	t, err := d.tree()
	if err != nil {
		return Entry{}, nil, fault(err)
	}
	bad := t.Folder(badmailDir)
	e, err := find(bad, name)
	if err == nil && e.Odd != "" {
		err = ErrNoOctets
	}
	if err != nil {
		return e, nil, errors.Join(err, t.Close())
	}
	h, err := bad.Open(e.Name + extMessage)
	if err != nil {
		return e, nil, errors.Join(fault(err), t.Close())
	}
	return e, struct {
		io.Reader
		io.Closer
	}{h, closers{h, t}}, nil
}

type closers []io.Closer

func (c closers) Close() error {
	var err error
	for _, x := range c {
		err = errors.Join(err, x.Close())
	}
	return err
}

func find(bad folder, name string) (Entry, error) {
	if name == "" || !mmff.Plain83(strings.ToUpper(name)) || strings.Contains(name, ".") {
		return Entry{}, ErrNoEntry
	}
	i, err := bad.Lstat(strings.ToUpper(name) + extMessage)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, ErrNoEntry
	}
	if err != nil {
		return Entry{}, fault(err)
	}
	return entry(bad, i), nil
}

// Replay puts an entry back into submit, edited when that is not nil, under a name that nothing there has, as the
// administrator of old did by hand (KB Q117581). It returns that name. The entry is then gone from badmail; at no time
// is it in both places or in neither. A message that was taken after all comes a second time: it has a new key.
func (d *Drop) Replay(_ context.Context, name string, edited io.Reader) (string, error) {
	t, err := d.tree()
	if err != nil {
		return "", fault(err)
	}
	defer t.Close()
	d.bad.Lock()
	defer d.bad.Unlock()
	bad, submit := t.Folder(badmailDir), t.Folder(submitDir)
	e, err := find(bad, name)
	if err == nil && e.Odd != "" {
		err = ErrNoOctets
	}
	if err != nil {
		return "", err
	}
	if edited != nil {
		if err := ignoreMissing(bad.Remove(e.Name + extWriting)); err != nil {
			return "", fault(err)
		}
		if err := writeFile(bad, e.Name+extWriting, edited); err != nil {
			return "", fault(err)
		}
		if err := bad.Replace(e.Name+extWriting, e.Name+extMessage); err != nil {
			return "", fault(err)
		}
	}
	file, err := moveToSubmit(bad, submit, e.Name)
	if err == nil {
		err = errors.Join(submit.Sync(), bad.Sync())
	}
	if err == nil {
		err = ignoreMissing(bad.Remove(e.Name + extReason))
	}
	if err != nil {
		return "", fault(err)
	}
	d.log.Info("message replayed from badmail", "id", e.Key, "badmail", e.Name+extMessage, "file", file)
	return file, nil
}

// moveToSubmit renames an entry, its side file first. Names that its own writer may use again at any moment are
// avoided by taking a number.
func moveToSubmit(bad, submit folder, stem string) (string, error) {
	for n := clockNumber(time.Now()); ; n++ {
		to := numberName(n)
		if free, err := unused(submit, to); err != nil {
			return "", err
		} else if !free {
			continue
		}
		if err := ignoreMissing(bad.Rename(stem+extSide, submit, to+extSide)); err != nil {
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			return "", err
		}
		err := bad.Rename(stem+extMessage, submit, to+extMessage)
		if err == nil {
			return to + extMessage, nil
		}
		if back := ignoreMissing(submit.Rename(to+extSide, bad, stem+extSide)); back != nil || !errors.Is(err, fs.ErrExist) {
			return "", errors.Join(err, back)
		}
	}
}

// Discard removes an entry for good.
func (d *Drop) Discard(_ context.Context, name string) error {
	t, err := d.tree()
	if err != nil {
		return fault(err)
	}
	defer t.Close()
	d.bad.Lock()
	defer d.bad.Unlock()
	bad := t.Folder(badmailDir)
	e, err := find(bad, name)
	if err != nil {
		return err
	}
	if err := bad.RemoveAll(e.Name + extMessage); err != nil {
		return fault(fmt.Errorf("discard %s: %w", e.Name, err))
	}
	for _, ext := range []string{extSide, extReason} {
		if err := ignoreMissing(bad.Remove(e.Name + ext)); err != nil {
			return fault(fmt.Errorf("discard %s: %w", e.Name, err))
		}
	}
	d.log.Info("message discarded from badmail", "id", e.Key, "badmail", e.Name+extMessage)
	return fault(bad.Sync())
}

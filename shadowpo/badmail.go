package shadowpo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"backbone/shadowpo/mmff"
)

// Entry is one thing in badmail: NAME.MSG, the octets as they came, and NAME.ERR, why.
type Entry struct {
	Name    string    // in badmail, without extension
	File    string    // what it was called in submit, made printable
	Size    int64     // octets of NAME.MSG
	At      time.Time // when it was put aside
	Reasons []string  // at least one "EEE-MMM-LLL text (octet N)", N counted in the submitted file
	Offset  int64     // of the first mistake in NAME.MSG; -1 when it is not in one place
	Key     string    // the key under which the message would have been handed over; "" when there was none
	Odd     string    // "is a symbolic link": there are no octets to read; else ""
	From    string    // as far as the header could be read
	Subject string
}

// reasonFile is the text of NAME.ERR: reasons in FFAPI's form, then our particulars behind semicolons, the comment
// sign of Microsoft Mail's own text files (KB Q108843). CRLF, since it is for an editor on the other side too.
func (e Entry) reasonFile() string {
	var b strings.Builder
	for _, r := range e.Reasons {
		b.WriteString(r + "\r\n")
	}
	for _, f := range []struct{ key, value string }{
		{"file", e.File}, {"at", e.At.UTC().Format(time.RFC3339)}, {"offset", fmt.Sprint(e.Offset)},
		{"key", e.Key}, {"odd", e.Odd}, {"from", e.From}, {"subject", e.Subject},
	} {
		if f.value != "" {
			b.WriteString("; " + f.key + " " + printable(f.value) + "\r\n")
		}
	}
	return b.String()
}

// maxReason bounds what is read of a reason file, in octets.
const maxReason = 64 << 10

func parseReason(text string) Entry {
	e := Entry{Offset: -1}
	for _, l := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		l = printable(l)
		rest, ours := strings.CutPrefix(l, ";")
		if !ours {
			if l != "" {
				e.Reasons = append(e.Reasons, l)
			}
			continue
		}
		rest = strings.TrimSpace(rest)
		key, value, _ := strings.Cut(rest, " ")
		value = printable(value)
		switch key {
		case "file":
			e.File = value
		case "at":
			if t, err := time.Parse(time.RFC3339, value); err == nil {
				e.At = t
			}
		case "offset":
			if _, err := fmt.Sscan(value, &e.Offset); err != nil {
				e.Offset = -1
			}
		case "key":
			e.Key = value
		case "odd":
			e.Odd = value
		case "from":
			e.From = value
		case "subject":
			e.Subject = value
		}
	}
	return e
}

// bad puts a message of a claimed file into badmail, once: an entry with its key is not made again.
func (w *watch) bad(c *claim, h io.ReaderAt, n int, b *mmff.Bad) error {
	d := w.drop
	e := Entry{File: printable(c.name), Key: fmt.Sprintf("%s/%s/%d", d.name, c.token, n), At: time.Now(), Offset: -1, Size: b.Place.Length}
	for i, r := range b.Errors {
		e.Reasons = append(e.Reasons, r.Error())
		if i == 0 && r.Offset >= b.Place.Offset {
			e.Offset = r.Offset - b.Place.Offset
		}
	}
	if b.Header != nil {
		if !b.Header.From.IsZero() {
			e.From = b.Header.From.Display()
		}
		e.Subject = printable(b.Header.Subject)
	}
	d.bad.Lock()
	defer d.bad.Unlock()
	if c.repeated {
		switch known, err := findKey(w.tree.Folder(badmailDir), e.Key); {
		case err != nil:
			return err
		case known:
			return nil
		}
	}
	if b.Place.Offset == 0 && b.Place.Length == c.info.Size() {
		side := ""
		if c.side {
			side = c.sideBusy()
		}
		return d.moveAside(w.tree, w.tree.Folder(submitDir), c.busy(), c.name, side, e)
	}
	return d.copyAside(w.tree, io.NewSectionReader(h, b.Place.Offset, b.Place.Length), c.name, e)
}

// putAside moves what is no message at all.
func (d *Drop) putAside(t tree, from folder, name, shown, why string) error {
	d.bad.Lock()
	defer d.bad.Unlock()
	e := Entry{File: printable(shown), At: time.Now(), Offset: -1,
		Reasons: []string{fmt.Sprintf("%03d-000-000 %s", mmff.CodeOpen, why)}}
	if i, err := from.Lstat(name); err != nil {
		return err
	} else if e.Size = i.Size(); !i.Mode().IsRegular() {
		e.Odd = why
	}
	return d.moveAside(t, from, name, shown, "", e)
}

// putAside is for an entry that nobody claimed. What cannot be moved is reported once and left.
func (w *watch) putAside(o odd) {
	name := o.info.Name()
	err := w.drop.putAside(w.tree, w.tree.Folder(submitDir), name, name, o.why)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	w.leave[name] = o.info
	w.drop.log.Error("entry in submit is neither taken nor put aside", "file", printable(name), "why", o.why, "err", err)
}

// moveAside renames an entry into badmail as it is. The reason is durable first: an entry never lies there without
// one. A reason without an entry is what a crash leaves; sweepBadmail removes it.
func (d *Drop) moveAside(t tree, from folder, name, shown, side string, e Entry) error {
	bad := t.Folder(badmailDir)
	if err := d.reason(bad, shown, &e); err != nil {
		return err
	}
	err := error(nil)
	if side != "" {
		err = ignoreMissing(from.Rename(side, bad, e.Name+extSide))
	}
	if err == nil {
		err = from.Rename(name, bad, e.Name+extMessage)
		if err != nil && side != "" {
			err = errors.Join(err, ignoreMissing(bad.Rename(e.Name+extSide, from, side)))
		}
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(bad.Remove(e.Name+extReason)))
	}
	if err := errors.Join(bad.Sync(), from.Sync()); err != nil {
		return err
	}
	d.quarantined(e)
	return nil
}

// copyAside writes part of a file into badmail.
func (d *Drop) copyAside(t tree, r io.Reader, shown string, e Entry) error {
	bad := t.Folder(badmailDir)
	if err := d.reason(bad, shown, &e); err != nil {
		return err
	}
	err := writeFile(bad, e.Name+extWriting, r)
	if err == nil {
		if err = bad.Rename(e.Name+extWriting, bad, e.Name+extMessage); err != nil {
			err = errors.Join(err, ignoreMissing(bad.Remove(e.Name+extWriting)))
		}
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(bad.Remove(e.Name+extReason)))
	}
	if err := bad.Sync(); err != nil {
		return err
	}
	d.quarantined(e)
	return nil
}

func (d *Drop) quarantined(e Entry) {
	d.log.Warn("message put into badmail", "id", e.Key, "file", e.File, "badmail", e.Name+extMessage, "reason", e.Reasons[0])
	d.text.system(e)
	if d.opt.Quarantined != nil {
		d.opt.Quarantined(e)
	}
}

// reason chooses the entry's name and writes its reason file.
func (d *Drop) reason(bad folder, shown string, e *Entry) error {
	name, err := freeName(bad, shown)
	if err != nil {
		return err
	}
	e.Name = name
	if err := writeFile(bad, name+extReason, strings.NewReader(e.reasonFile())); err != nil {
		return err
	}
	if err := bad.Sync(); err != nil {
		return errors.Join(err, ignoreMissing(bad.Remove(name+extReason)))
	}
	return nil
}

// writeFile makes a new file and its contents durable, though not yet its name.
func writeFile(f folder, name string, r io.Reader) error {
	h, err := f.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(h, r)
	if err == nil {
		err = h.Sync()
	}
	if err = errors.Join(err, h.Close()); err != nil {
		return errors.Join(err, f.Remove(name))
	}
	return nil
}

// freeName makes a DOS name that nothing in the folder has, under any extension of ours: the submitted one where
// that is possible, else with a number in its tail.
func freeName(f folder, shown string) (string, error) {
	stem, _ := splitName(shown)
	stem = strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, stem)
	stem = stem[:min(len(stem), 8)]
	if !mmff.Plain83(stem) {
		stem = "BADMAIL"
	}
	for n := 0; n < 1000; n++ {
		name := stem
		if n > 0 {
			name = fmt.Sprintf("%s%03d", stem[:min(len(stem), 5)], n)
		}
		if free, err := unused(f, name); err != nil || free {
			return name, err
		}
	}
	for n := clockNumber(time.Now()); ; n++ {
		name := numberName(n)
		if free, err := unused(f, name); err != nil || free {
			return name, err
		}
	}
}

func unused(f folder, stem string) (bool, error) {
	for _, ext := range []string{extMessage, extReason, extWriting, extSide} {
		if _, err := f.Lstat(stem + ext); err == nil {
			return false, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// findKey tells whether badmail has an entry with this key. Only asked about files that an earlier run had in hand.
func findKey(bad folder, key string) (bool, error) {
	list, err := bad.List()
	if err != nil {
		return false, err
	}
	for _, i := range list {
		if stem, ext := splitName(i.Name()); ext == extReason {
			e, err := readReason(bad, i.Name())
			if err != nil {
				return false, err
			}
			if e.Key != key {
				continue
			}
			if _, err := bad.Lstat(stem + extMessage); err == nil {
				return true, nil
			}
		}
	}
	return false, nil
}

func readReason(bad folder, name string) (Entry, error) {
	h, err := bad.Open(name)
	if err != nil {
		return Entry{}, err
	}
	defer h.Close()
	b, err := io.ReadAll(io.LimitReader(h, maxReason))
	return parseReason(string(b)), err
}

// sweepBadmail removes what a crash left half made: reasons, copies and side files without their message.
func sweepBadmail(bad folder) error {
	list, err := bad.List()
	if err != nil {
		return err
	}
	whole := map[string]bool{}
	for _, i := range list {
		if stem, ext := splitName(i.Name()); ext == extMessage {
			whole[stem] = true
		}
	}
	for _, i := range list {
		stem, ext := splitName(i.Name())
		if ext == extWriting || (ext == extReason || ext == extSide) && !whole[stem] {
			if err := ignoreMissing(bad.Remove(i.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

package shadowpo

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"backbone/shadowpo/mmff"
)

// look is what was seen of a file in submit, and since when it looks like that.
type look struct {
	info  fs.FileInfo
	since time.Time
}

// found is what one look at submit tells to do.
type found struct {
	ready []fs.FileInfo     // stable and fit to be opened, oldest first
	side  map[string]string // side files by stem in capitals
	odd   []odd             // to be put aside unread
	next  time.Time         // when a file that is not ready yet should be looked at again; zero: none waits
}

// odd is a directory entry that is not to be opened.
type odd struct {
	info fs.FileInfo
	why  string
}

var errOdd = errors.New("not a file to be opened")

// oddity tells why an entry must not be opened, or "". A file with a second name may be anybody's, linked here to be
// read with our rights.
func oddity(i fs.FileInfo, maxFile int64) string {
	switch {
	case !i.Mode().IsRegular():
		return "is " + kindOf(i.Mode())
	case links(i) > 1:
		return "has a second name (hard link)"
	case i.Size() > maxFile:
		return "is larger than a file here may be"
	case i.Size() > 64<<20 && allocated(i) < i.Size()/64:
		return "is almost all holes (sparse)"
	}
	return ""
}

// scan looks at submit once.
func (w *watch) scan(now time.Time) (found, error) {
	submit := w.tree.Folder(submitDir)
	list, err := submit.List()
	if err != nil {
		return found{}, err
	}
	f := found{side: map[string]string{}}
	busy, names := map[string]bool{}, map[string]bool{}
	for _, i := range list {
		names[i.Name()] = true
		switch stem, ext := splitName(i.Name()); ext {
		case extClaimed:
			busy[stem] = true
		case extDone:
			// Ours are gone before the next look: this one was left by others (KB Q130066) and holds up its name.
			if err := submit.Remove(i.Name()); err != nil {
				busy[stem] = true
			}
		case extSide:
			if !i.IsDir() {
				f.side[stem] = i.Name()
			}
		}
	}
	if err := w.adopt(list, names); err != nil {
		return found{}, err
	}
	seen := make(map[string]look, len(w.looks))
	later := func(t time.Time) {
		if f.next.IsZero() || t.Before(f.next) {
			f.next = t
		}
	}
	for _, i := range list {
		stem, ext := splitName(i.Name())
		if ext != extMessage {
			continue
		}
		if left, ok := w.leave[i.Name()]; ok && sameFile(left, i) {
			continue
		}
		l, ok := w.looks[i.Name()]
		if !ok || !sameFile(l.info, i) || links(l.info) != links(i) {
			l = look{i, now}
		}
		seen[i.Name()] = l
		if i.Mode().IsRegular() {
			if due := l.since.Add(w.drop.opt.Stable); now.Before(due) {
				later(due)
				continue
			}
		}
		if why := oddity(i, w.drop.opt.MaxFile); why != "" {
			f.odd = append(f.odd, odd{i, why})
			continue
		}
		if busy[stem] {
			continue // its namesake goes first
		}
		f.ready = append(f.ready, i)
		busy[stem] = true // NAME.MSG and name.msg, on a file system that tells them apart
	}
	w.looks = seen
	slices.SortFunc(f.ready, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(len(a.Name()), len(b.Name())), strings.Compare(a.Name(), b.Name()))
	})
	return f, nil
}

// whole tells that no message of a file stops short of its declared end. The second answer is when to stop waiting
// for its rest.
func (w *watch) whole(i fs.FileInfo) (bool, time.Time, error) {
	giveUp := w.looks[i.Name()].since.Add(w.drop.opt.Incomplete)
	if w.drop.opt.Stable < 0 || !time.Now().Before(giveUp) {
		return true, giveUp, nil
	}
	h, err := w.tree.Folder(submitDir).Open(i.Name())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOdd) {
		return false, giveUp, nil // changed since the list was made: the next look will tell
	}
	if err != nil {
		return false, giveUp, err
	}
	defer h.Close()
	ok, err := mmff.Whole(h, i.Size(), w.drop.opt.MMFF)
	return ok, giveUp, err
}

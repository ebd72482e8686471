package shadowpo

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// claim is one file of submit in hand.
type claim struct {
	name     string // NAME.MSG as the writer called it
	token    string // unique for ever: the key of its messages
	side     bool   // NAME.BSX is there
	sideHash string // of the side file, as the journal has it; "" for none
	repeated bool   // an earlier run may have handed over some of it
	info     fs.FileInfo

	seen   int          // messages offered so far; all but those left are accepted or in badmail
	left   map[int]bool // messages to be offered again, by ordinal
	tries  int
	panics int
	next   time.Time // not before
	done   bool
}

// settled tells that message n of the file needs no more doing; settle says so.
func (c *claim) settled(n int) bool { return n <= c.seen && !c.left[n] }

func (c *claim) settle(n int, err error) {
	c.seen = max(c.seen, n)
	if err != nil {
		c.left[n] = true
	} else {
		delete(c.left, n)
	}
}

func (c *claim) busy() string     { return withExt(c.name, extClaimed) }
func (c *claim) sideBusy() string { return withExt(c.name, extSideBusy) }

// claim takes files for us: tokens durable first, then the names, then the folder. Only after that is a message of
// them handed over, so that whatever was handed over is found again under the same token. A file that is not whole,
// or that went away, is passed over; again tells when the first of them is worth another look.
func (w *watch) claim(files []fs.FileInfo, sides map[string]string) (list []*claim, again time.Time, err error) {
	for _, i := range files {
		whole, giveUp, err := w.whole(i)
		if err != nil {
			w.drop.log.Warn("file in submit cannot be read", "file", printable(i.Name()), "err", err)
			continue
		}
		if !whole {
			again = earlier(again, giveUp)
			continue
		}
		c := &claim{name: i.Name(), token: rand.Text(), info: i, left: map[int]bool{}}
		if stem, _ := splitName(c.name); sides[stem] != "" {
			if c.sideHash, err = hashSide(w.tree.Folder(submitDir), sides[stem]); err != nil {
				c.sideHash = "unreadable" // it goes with its message all the same, which is told
			}
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, again, nil
	}
	if err := w.claims.add(list); err != nil {
		return nil, again, fmt.Errorf("claims journal: %w", err)
	}
	submit := w.tree.Folder(submitDir)
	claimed := list[:0]
	for _, c := range list {
		if stem, _ := splitName(c.name); c.sideHash != "" {
			// The side file goes first: a message never appears as claimed without it.
			err := submit.Rename(sides[stem], submit, c.sideBusy())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				w.drop.log.Warn("side file cannot be claimed", "file", printable(c.name), "err", err)
				continue
			}
			c.side = err == nil
		}
		if err := submit.Rename(c.name, submit, c.busy()); err != nil {
			w.drop.log.Warn("file cannot be claimed", "file", printable(c.name), "err", err)
			if c.side {
				w.giveSideBack(c.name)
			}
			continue
		}
		delete(w.looks, c.name)
		claimed = append(claimed, c)
	}
	w.open = append(w.open, claimed...)
	if err := submit.Sync(); err != nil {
		return nil, again, err
	}
	w.dirty = false
	return claimed, again, nil
}

// giveSideBack undoes the claim of a side file whose message was not claimed.
func (w *watch) giveSideBack(name string) {
	submit := w.tree.Folder(submitDir)
	busy := withExt(name, extSideBusy)
	err := submit.Rename(busy, submit, withExt(name, extSide))
	if errors.Is(err, fs.ErrExist) { // its writer has made a new one
		err = submit.Remove(busy)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.drop.log.Warn("side file cannot be given back", "file", printable(busy), "err", err)
	}
}

// finish removes files whose every message is taken. Name.DEL says so to a run that comes after a crash here, and
// keeps a writer on a share from reusing a name whose removal the server delays. The next claim or settle syncs it.
func (w *watch) finish(done []*claim) error {
	if len(done) == 0 {
		return nil
	}
	w.dirty = true
	submit := w.tree.Folder(submitDir)
	sides := false
	for _, c := range done {
		if err := ignoreMissing(submit.Rename(c.busy(), submit, withExt(c.name, extDone))); err != nil {
			return err
		}
		if c.side {
			sides = true
			if err := ignoreMissing(submit.Remove(c.sideBusy())); err != nil {
				return err
			}
		}
	}
	if sides {
		// A side file must not outlive its message, or it would be taken for that of the next file of this name.
		if err := submit.Sync(); err != nil {
			return err
		}
	}
	for _, c := range done {
		if err := ignoreMissing(submit.Remove(withExt(c.name, extDone))); err != nil {
			return err
		}
	}
	w.open = slices.DeleteFunc(w.open, func(c *claim) bool { return slices.Contains(done, c) })
	return nil
}

// settle makes the removals durable, before the next look at the folder can find one of the names again and put it
// under another token.
func (w *watch) settle() error {
	if w.dirty {
		if err := w.tree.Folder(submitDir).Sync(); err != nil {
			return err
		}
		w.dirty = false
	}
	if len(w.open) == 0 {
		return w.claims.reset()
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// recover picks up what an earlier run left: finished files are removed, claimed ones are claimed under the token
// that they have.
func (w *watch) recover() error {
	submit := w.tree.Folder(submitDir)
	list, err := submit.List()
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, i := range list {
		names[i.Name()] = true
	}
	if err := w.adopt(list, names); err != nil {
		return err
	}
	for _, i := range list {
		stem := i.Name()
		switch _, ext := splitName(stem); ext {
		case extDone:
			if side := withExt(stem, extSideBusy); names[side] && !names[withExt(stem, extClaimed)] {
				if err := ignoreMissing(submit.Remove(side)); err != nil {
					return err
				}
				delete(names, side)
			}
		case extSideBusy:
			if names[withExt(stem, extClaimed)] || names[withExt(stem, extDone)] || !names[stem] {
				continue
			}
			if names[withExt(stem, extMessage)] {
				w.giveSideBack(withExt(stem, extMessage))
			} else if err := ignoreMissing(submit.Remove(stem)); err != nil {
				return err
			}
		}
	}
	if err := submit.Sync(); err != nil {
		return err
	}
	for _, i := range list {
		if _, ext := splitName(i.Name()); ext == extDone && !i.IsDir() {
			if err := ignoreMissing(submit.Remove(i.Name())); err != nil {
				return err
			}
		}
	}
	if err := submit.Sync(); err != nil {
		return err
	}
	if len(w.open) > 0 {
		w.drop.log.Info("files claimed by an earlier run are taken up again", "files", len(w.open))
	}
	return sweepBadmail(w.tree.Folder(badmailDir))
}

// adopt takes up claimed files that are not in hand: those of an earlier run, or what someone renamed.
func (w *watch) adopt(list []fs.FileInfo, names map[string]bool) error {
	inHand := map[string]bool{}
	for _, c := range w.open {
		inHand[c.busy()] = true
	}
	var fresh []*claim
	for _, i := range list {
		if _, ext := splitName(i.Name()); ext != extClaimed || inHand[i.Name()] {
			continue
		}
		c := &claim{name: withExt(i.Name(), extMessage), repeated: true, info: i, left: map[int]bool{}}
		if known, ok := w.claims.known[c.name]; ok {
			c.token, c.sideHash = known.token, known.sideHash
		} else {
			// Nobody of ours claimed it, or the journal is lost: a new token is all there is.
			c.token, c.repeated = rand.Text(), false
			fresh = append(fresh, c)
		}
		if err := w.adoptSide(c, names); err != nil {
			return err
		}
		w.open = append(w.open, c)
	}
	return w.claims.add(fresh)
}

// adoptSide finds the side file of a claim that an earlier run made. After a power failure it can lie under its first
// name still: the journal knows its contents, so that a new one of that name is not taken for it.
func (w *watch) adoptSide(c *claim, names map[string]bool) error {
	if c.side = names[c.sideBusy()]; c.side || c.sideHash == "" {
		return nil
	}
	submit := w.tree.Folder(submitDir)
	name := withExt(c.name, extSide)
	if !names[name] {
		return nil
	}
	if sum, err := hashSide(submit, name); err != nil || sum != c.sideHash {
		return nil
	}
	err := submit.Rename(name, submit, c.sideBusy())
	c.side = err == nil
	delete(names, name)
	return ignoreMissing(err)
}

// hashSide is the hash of a side file, whatever is in it.
func hashSide(f folder, name string) (string, error) {
	b, err := readBounded(f, name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(b)), nil
}

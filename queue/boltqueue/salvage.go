package boltqueue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"backbone/queue"
)

// Salvaged is what Salvage found.
type Salvaged struct {
	Entries int      // in the new index
	Aside   string   // where the old index is now; "" when there was none
	Damaged []string // what could not be read
}

// Salvage makes a new index for the store in dir from its log and its bodies, for when the old one is lost or can't be
// read. The daemon must not run. The old index is kept beside it. What is lost is what only the old index knew: that
// some messages had ended may have been recorded in parts of the log that were given up since, so that a message can
// come back that was delivered already. Every entry is therefore marked Unknown: better twice than never. Suspensions
// and dedup keys from such parts are lost too: look at the suspensions before starting the daemon.
func Salvage(dir string, o Options) (found Salvaged, err error) {
	o.salvage = true
	path := filepath.Join(dir, "index.db")
	if _, err := os.Stat(path); err == nil {
		found.Aside = asideName(path)
	}
	s, err := Open(dir, o)
	if err != nil {
		return found, err
	}
	st := s.Stats()
	found.Entries, found.Damaged = st.Ready+st.Held+st.Trash, s.damage
	return found, s.Close()
}

// asideName is a name for a file that is kept for whoever wants to look at it.
func asideName(path string) string {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.damaged.%d", path, n)
		if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
			return name
		}
	}
}

// setAside renames the index, unless a process has it open.
func setAside(path string, o *Options) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	db, err := openBolt(path, o) // only to see whether it is locked: that it can't be read is why we are here
	switch {
	case errors.Is(err, errInUse):
		return err
	case err == nil:
		if err := db.Close(); err != nil {
			return err
		}
	}
	return os.Rename(path, asideName(path))
}

// doubtAll goes over what was salvaged: entries whose large body is gone have ended, all others may have.
func (s *Store) doubtAll() error {
	w := walk{f: queue.Filter{}, at: time.Now(), limit: looked}
	for !w.done {
		rs, err := s.step(&w)
		if err != nil {
			return err
		}
		for _, r := range rs {
			if err := s.doubtItem(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) doubtItem(r *record) error {
	if r.file {
		f, err := s.fs.Open(s.bodyPath(r.body), false)
		if gone(err) {
			return s.x.endItem(r.ID)
		}
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if size < r.Body.Size {
			s.damage = append(s.damage, fmt.Sprintf("entry %s: its body %s is cut short", r.ID, r.Body.Where))
		}
	}
	r.Unknown = true
	r.encode()
	return s.x.setItem(r, false)
}

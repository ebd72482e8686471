package shadowpo

import (
	"errors"
	"io"
	"io/fs"
	"time"
)

// session is the deliver folder while it is locked and its journal is loaded.
type session struct {
	drop    *Drop
	tree    tree
	deliver folder
	lock    io.Closer
	journal *journal

	// Guarded by outbound.mu.
	users   int
	err     error
	checked time.Time
	last    uint64 // number of the last name
}

func openSession(d *Drop) (s *session, err error) {
	t, err := d.tree()
	if err != nil {
		return nil, err
	}
	s = &session{drop: d, tree: t, deliver: t.Folder(deliverDir), checked: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	if s.lock, err = t.Lock("DELIVER.0LK", d.holder()); err != nil {
		return s, err
	}
	if s.journal, err = openJournal(t.Folder(stateDir), d.opt.Keep); err != nil {
		return s, err
	}
	return s, s.recover()
}

func (s *session) close() error {
	var err error
	if s.journal != nil {
		err = s.journal.close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return errors.Join(err, s.tree.Close())
}

// recover finishes what an earlier session began: a journalled file that has not appeared appears now; one that was
// not journalled was never acknowledged and goes. A journalled name with no file at all was collected.
func (s *session) recover() error {
	list, err := s.deliver.List()
	if err != nil {
		return err
	}
	names, intended := map[string]bool{}, map[uint64]bool{}
	for _, i := range list {
		names[i.Name()] = true
		stem, _ := splitName(i.Name())
		if n, ok := nameNumber(stem); ok {
			intended[n] = false
		}
	}
	s.journal.mark(intended)
	s.last = s.journal.last
	highest := max(s.last, clockNumber(time.Now())) + 1000 // names can run ahead of the clock
	for _, i := range list {
		stem, ext := splitName(i.Name())
		n, ours := nameNumber(stem)
		if !ours || i.Name() != stem+ext || n < firstNumber || n > highest {
			continue // another writer's
		}
		s.last = max(s.last, n)
		switch {
		case ext == extWriting && intended[n]:
			err = s.publish(stem)
			if errors.Is(err, fs.ErrExist) {
				err = nil // a foreign file of this name: the key's next delivery tries again
			}
		case ext == extSideWrit && intended[n] && names[stem+extWriting]:
			// goes with it
		case ext == extSideWrit && intended[n] && names[stem+extMessage]:
			err = s.deliver.Rename(i.Name(), s.deliver, stem+extSide)
		case ext == extWriting, ext == extSideWrit:
			err = ignoreMissing(s.deliver.Remove(i.Name()))
		case ext == extSide && !names[stem+extMessage] && !names[stem+extWriting] && intended[n]:
			err = ignoreMissing(s.deliver.Remove(i.Name())) // the agent took the message and left what it does not know
		}
		if err != nil {
			return err
		}
	}
	return s.deliver.Sync()
}

// publish makes a written file appear, its side file first. fs.ErrNotExist: it is not there to appear, so it did.
func (s *session) publish(name string) error {
	if err := ignoreMissing(s.deliver.Rename(name+extSideWrit, s.deliver, name+extSide)); err != nil {
		return err
	}
	return s.deliver.Rename(name+extWriting, s.deliver, name+extMessage)
}

// nextName is a number above every earlier one, near the clock.
func (s *session) nextName() string {
	s.drop.out.mu.Lock()
	defer s.drop.out.mu.Unlock()
	s.last = max(s.last+1, clockNumber(time.Now()))
	return numberName(s.last)
}

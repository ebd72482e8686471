package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Compact implements queue.Store: it copies the index into a new file while everything goes on, brings the copy up to
// date from the log, and puts it in the old one's place. Only the last stretch of the log and one commit are done
// with the lock held.
func (s *Store) Compact(ctx context.Context) error {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	s.pinned = max(s.ckpt.seg, 1) // the copy is at this checkpoint or a later one
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.pinned = 0
		s.mu.Unlock()
	}()
	path := filepath.Join(s.o.dir, "index.db.new")
	if err := os.Remove(path); err != nil && !gone(err) {
		return err
	}
	x, err := s.copyIndex(path)
	if err != nil {
		return errors.Join(fmt.Errorf("compact: %w", err), os.Remove(path))
	}
	if err = s.catchUp(ctx, x); err == nil {
		err = s.swap(ctx, x, path)
	}
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("compact: %w", err), x.tx.Rollback(), x.db.Close(), os.Remove(path))
}

func (s *Store) copyIndex(path string) (*index, error) {
	db, err := openBolt(path, &s.o)
	if err != nil {
		return nil, err
	}
	db.NoSync = true // until it takes the old one's place
	s.mu.Lock()
	from := s.x.db
	s.mu.Unlock()
	if err := bolt.Compact(db, from, 16<<20); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	x, err := newIndex(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return x, nil
}

// catchUp applies the log to a copy of the index until little is missing.
func (s *Store) catchUp(ctx context.Context, x *index) error {
	at := x.position()
	for range 10 {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		to := s.log.position()
		s.mu.Unlock()
		if err := s.applyLog(x, at, to); err != nil {
			return err
		}
		if err := x.commit(to); err != nil {
			return err
		}
		if at.seg == to.seg && to.off-at.off < 1<<20 {
			return nil
		}
		at = to
	}
	return nil
}

// applyLog applies the records between two positions.
func (s *Store) applyLog(x *index, from, to position) error {
	for n := from.seg; n <= to.seg; n++ {
		if n == to.seg && to.off == 0 { // it is yet to come
			return nil
		}
		start, end := int64(0), int64(-1)
		if n == from.seg {
			start = from.off
		}
		if n == to.seg {
			end = to.off
		}
		if err := s.applySegment(x, n, start, end); err != nil {
			return fmt.Errorf("log segment %s: %w", segmentName(n), err)
		}
	}
	return nil
}

// errReached ends a scan at a position, which is no error.
var errReached = errors.New("reached")

func (s *Store) applySegment(x *index, n uint32, start, end int64) (err error) {
	f, err := s.fs.Open(s.log.path(n), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if start == end {
		return nil
	}
	_, err = scan(f, n, start, func(e *entry) error {
		if end >= 0 && e.off >= end {
			return errReached
		}
		c, err := decodeChange(e.description, n, e.payload)
		if err != nil {
			return err
		}
		if err := x.apply(c); err != nil {
			return err
		}
		if end >= 0 && e.end() >= end {
			return errReached
		}
		return nil
	})
	if errors.Is(err, errReached) {
		err = nil
	}
	return err
}

// swap puts x in the place of the present index.
func (s *Store) swap(ctx context.Context, x *index, path string) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	p := s.log.position()
	if err := s.applyLog(x, x.position(), p); err != nil {
		return err
	}
	if s.log.cur != nil {
		if err := s.log.cur.Sync(); err != nil {
			return s.fail(err)
		}
	}
	x.freed = nil // the present index has seen to them
	x.db.NoSync = false
	x.next = max(x.next, s.numbers.Load())
	if err := x.commit(p); err != nil {
		return err
	}
	if err := x.db.Sync(); err != nil {
		return s.fail(err)
	}
	if err := os.Rename(path, filepath.Join(s.o.dir, "index.db")); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.o.dir); err != nil {
		return s.fail(err)
	}
	old := s.x
	s.adopt(x)
	s.ckpt, s.since, s.bulk = p, 0, 0
	if err := errors.Join(old.tx.Rollback(), old.db.Close()); err != nil {
		s.slog.Warn("old index not closed", "err", err)
	}
	if s.o.committed != nil {
		s.o.committed()
	}
	return nil
}

// adopt makes x the store's index: leases and agenda point to its destinations from now on.
func (s *Store) adopt(x *index) {
	s.x = x
	for _, l := range s.leases {
		l.d = x.destOf(l.d.name)
		if l.held {
			l.d.leasedHeld++
		} else {
			l.d.leasedReady++
		}
	}
	s.plan = agenda{}
	x.moved = s.plan.doubt
	for _, d := range x.dests {
		s.plan.doubt(d)
	}
}

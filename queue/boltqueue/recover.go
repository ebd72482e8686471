package boltqueue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"

	"backbone/queue"
)

// start opens the index and brings the store to where it was.
func (s *Store) start() error {
	path := filepath.Join(s.o.dir, "index.db")
	if err := s.findSegments(); err != nil {
		return err
	}
	st, err := os.Stat(path)
	switch {
	case err != nil && !gone(err):
		return err
	case s.o.salvage:
		if err := setAside(path, &s.o); err != nil {
			return err
		}
	case (err != nil || st.Size() == 0) && len(s.log.sizes) > 0:
		return fmt.Errorf("the index is gone but there is a log: %s", salvageHint)
	}
	db, err := openBolt(path, &s.o)
	if err != nil {
		return err
	}
	if err := errors.Join(s.clearAway(), s.recover(db)); err != nil {
		if s.x != nil && s.x.tx != nil {
			err = errors.Join(err, s.x.tx.Rollback())
		}
		return errors.Join(err, db.Close())
	}
	return s.fs.SyncDir(s.o.dir)
}

// clearAway removes what a Compact or Check left that did not end. The index is locked: nobody else is at it.
func (s *Store) clearAway() error {
	for _, name := range []string{"index.db.new", "index.db.check"} {
		if err := os.Remove(filepath.Join(s.o.dir, name)); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// recover takes the index as of its latest checkpoint and the log from there.
func (s *Store) recover(db *bolt.DB) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("index damaged (%v): %s", p, salvageHint)
		}
	}()
	fresh, clean, err := inspect(db)
	if err != nil {
		return err
	}
	if s.x, err = newIndex(db); err != nil {
		return err
	}
	if err := s.replay(); err != nil {
		return err
	}
	begun, err := s.unknown()
	if err != nil {
		return err
	}
	if s.o.salvage {
		if err := s.doubtAll(); err != nil {
			return err
		}
	}
	s.numbers.Store(s.x.next)
	opens := s.x.number("opens") + 1
	s.epoch = opens << 40 // a lease of an earlier life has another epoch
	if err := errors.Join(s.x.setNumber("opens", opens), s.x.meta.Put([]byte("clean"), []byte{0})); err != nil {
		return err
	}
	if err := s.checkpoint(); err != nil {
		return err
	}
	if err := s.sweepFiles(); err != nil {
		return err
	}
	s.x.moved = s.plan.doubt
	for _, d := range s.x.dests {
		s.plan.doubt(d)
	}
	if !clean && !fresh {
		s.slog.Warn("queue store was not closed; recovered from its log", "unknown_outcomes", begun, "damaged", len(s.damage))
	}
	return nil
}

// inspect tells a new index from one that was closed and one that was not.
func inspect(db *bolt.DB) (fresh, clean bool, err error) {
	err = db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte("meta"))
		if fresh = meta == nil; !fresh {
			v := meta.Get([]byte("clean"))
			clean = len(v) == 1 && v[0] == 1
		}
		return nil
	})
	return fresh, clean, err
}

// findSegments lists the log.
func (s *Store) findSegments() error {
	names, err := s.fs.List(s.log.dir)
	if err != nil {
		return err
	}
	s.log.sizes = map[uint32]int64{}
	for _, name := range names {
		n, ok := segmentNumber(name)
		if !ok && name != spareName {
			continue
		}
		f, err := s.fs.Open(filepath.Join(s.log.dir, name), false)
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if !ok {
			s.log.spare = size
			continue
		}
		s.log.sizes[n], s.log.num = size, max(s.log.num, n)
	}
	return nil
}

// replay applies the log from the latest checkpoint on, and makes it durable: after kill -9 what is read here may
// be in the kernel's memory only, and it is about to be the index's truth. What is written from now on goes into a
// segment of its own, so that no leftover behind the last record can ever be taken for a new one.
func (s *Store) replay() error {
	from := s.x.position()
	s.log.num = max(s.log.num, from.seg)
	var nums []uint32
	for n := range s.log.sizes {
		if n >= from.seg {
			nums = append(nums, n)
		}
	}
	slices.Sort(nums)
	for _, n := range nums {
		off := int64(0)
		if n == from.seg {
			off = from.off
		}
		if err := s.replaySegment(n, off); err != nil {
			return fmt.Errorf("log segment %s: %w", segmentName(n), err)
		}
	}
	return nil
}

func (s *Store) replaySegment(n uint32, off int64) (err error) {
	f, err := s.fs.Open(s.log.path(n), true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	bad, err := scan(f, n, off, func(e *entry) error {
		c, err := decodeChange(e.description, n, e.payload)
		if err != nil {
			return fmt.Errorf("offset %d: %w", e.off, err)
		}
		s.dropBodiless(c)
		return s.x.apply(c)
	})
	if err != nil {
		return err
	}
	for _, d := range bad {
		s.damage = append(s.damage, d.String())
		s.slog.Error(d.String(), "class", "local")
	}
	return f.Sync()
}

// dropBodiless takes out of a change the items whose body was lost with a damaged record.
func (s *Store) dropBodiless(c *change) {
	has := func(n uint64) bool {
		if _, ok := s.x.getBody(n); ok {
			return true
		}
		return slices.ContainsFunc(c.bodies, func(b body) bool { return b.id == n })
	}
	c.items = slices.DeleteFunc(c.items, func(r *record) bool {
		if has(r.body) {
			return false
		}
		if s.o.salvage { // it ended, and where that was recorded has been given up
			return true
		}
		s.damage = append(s.damage, fmt.Sprintf("entry %s of message %s is lost: its body was in a damaged part of the log", r.ID, r.Envelope.ID))
		s.slog.Error("entry lost with a damaged part of the log", "id", r.Envelope.ID, "item", r.ID.String(), "class", "local")
		return true
	})
}

// unknown frees the leases of the process that died: their attempts had begun, how they ended nobody knows.
func (s *Store) unknown() (n int, err error) {
	var ids []queue.ID
	if err := s.x.mark.ForEach(func(k, _ []byte) error { ids = append(ids, keyID(k)); return nil }); err != nil {
		return 0, err
	}
	for _, id := range ids {
		r, err := s.x.get(id)
		if err != nil {
			return n, err
		}
		if r != nil {
			r.Unknown = true
			r.encode()
			if err := s.x.setItem(r, false); err != nil {
				return n, err
			}
			n++
		}
		if err := s.x.mark.Delete(key(id)); err != nil {
			return n, err
		}
	}
	return n, nil
}

// sweepFiles removes files that no body in the index stands for: staged ones and those of messages that have ended.
func (s *Store) sweepFiles() error {
	s.x.freed = nil
	root := filepath.Join(s.o.dir, "body")
	shards, err := s.fs.List(root)
	if err != nil {
		return err
	}
	for _, sh := range shards {
		dir := filepath.Join(root, sh)
		names, err := s.fs.List(dir)
		if err != nil {
			return err
		}
		s.shards[dir] = true
		for _, name := range names {
			id, err := queue.ParseID(name)
			if err != nil {
				continue
			}
			if b, ok := s.x.getBody(uint64(id)); ok && b.file {
				continue
			}
			if err := s.fs.Remove(filepath.Join(dir, name)); err != nil && !gone(err) {
				return err
			}
		}
	}
	return nil
}

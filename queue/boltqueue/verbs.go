package boltqueue

import (
	"context"
	"fmt"
	"time"

	"backbone/queue"
)

// verbSlice is how many items one record of the log changes: it bounds how long the lock is kept.
const verbSlice = 256

// change makes a verb's mark on an item and tells whether there was any.
func (r *record) change(op queue.Op, at time.Time) bool {
	it := &r.Item
	switch op.Verb {
	case queue.Hold:
		if it.State != queue.Ready {
			return false
		}
		it.State = queue.Held
	case queue.Release:
		if it.State != queue.Held {
			return false
		}
		it.State = queue.Ready
	case queue.RetryNow, queue.ScheduleAt:
		if it.State == queue.Trash {
			return false
		}
		if it.Next = at; op.Verb == queue.ScheduleAt {
			it.Schedule(op.At)
		}
	case queue.Delete:
		if it.State == queue.Trash {
			return false
		}
		r.toTrash(op, at)
	case queue.Restore:
		if it.State != queue.Trash {
			return false
		}
		it.State, r.was = r.was, ""
		if it.State != queue.Held {
			it.State = queue.Ready
		}
	}
	it.Reason, it.By, it.Changed = op.Reason, op.By, at
	return true
}

func (r *record) toTrash(op queue.Op, at time.Time) {
	r.was, r.State = r.State, queue.Trash
	r.Reason, r.By, r.Changed = op.Reason, op.By, at
}

// Change implements queue.Store.
func (s *Store) Change(ctx context.Context, f queue.Filter, op queue.Op) (int, error) {
	switch op.Verb {
	case queue.Hold, queue.Release, queue.RetryNow, queue.ScheduleAt, queue.Delete:
	case queue.Restore, queue.Purge:
		if f.State == "" {
			f.State = queue.Trash
		}
	default:
		return 0, fmt.Errorf("queue: unknown verb %q", op.Verb)
	}
	w, last := walk{f: f, at: time.Now(), limit: verbSlice}, s.lastID()
	touched := 0
	for done := false; !done; {
		if err := s.openWrite(ctx); err != nil {
			return touched, err
		}
		n, b, err := s.changeSlice(&w, op, last)
		s.mu.Unlock()
		if err != nil {
			return touched, err
		}
		if b != nil {
			if err := b.wait(); err != nil {
				return touched, err
			}
		}
		touched += n
		done = w.done
	}
	return touched, nil
}

// lastID is above all IDs given out so far: what arrives while a verb runs is not touched by it.
func (s *Store) lastID() queue.ID { return queue.ID(s.numbers.Load()) }

// changeSlice applies op to the next few items. The lock is held.
func (s *Store) changeSlice(w *walk, op queue.Op, last queue.ID) (n int, b *batch, err error) {
	rs, err := s.step(w)
	if err != nil {
		return 0, nil, err
	}
	c, at := &change{}, time.Now()
	var fenced []queue.ID
	for _, r := range rs {
		if r.ID >= last {
			w.done = true
			break
		}
		l := s.leases[r.ID]
		if op.Verb == queue.Purge {
			if r.State == queue.Trash {
				s.ended(c, r, at)
				n++
			}
			continue
		}
		if !r.change(op, at) {
			continue
		}
		n++
		if l != nil {
			switch op.Verb {
			case queue.Hold, queue.Delete: // the attempt is fenced out, and nobody will know what it did
				r.Unknown = true
				c.over = append(c.over, r.ID)
				fenced = append(fenced, r.ID)
			default:
				l.pending = append(l.pending, op)
			}
		}
		r.encode()
		c.items = append(c.items, r)
	}
	if n == 0 {
		return 0, nil, nil
	}
	if b, err = s.append(c, atOnce); err != nil {
		return 0, nil, err
	}
	for _, id := range fenced {
		s.release(id, s.leases[id])
	}
	for _, r := range c.items { // what was taken of a held item and released counts as ready now
		if l := s.leases[r.ID]; l != nil {
			l.count(r.State == queue.Held)
		}
	}
	s.notify()
	return n, b, nil
}

// count moves a lease between the counters of held and ready items.
func (l *lease) count(held bool) {
	switch {
	case held && !l.held:
		l.d.leasedReady--
		l.d.leasedHeld++
	case !held && l.held:
		l.d.leasedHeld--
		l.d.leasedReady++
	}
	l.held = held
}

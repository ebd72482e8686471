package boltqueue

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"backbone/queue"
)

// sweepEvery is how often the trash and old dedup keys are looked at. A sweep drops one day's keys at most: a clock that
// jumps a year ahead and back must not make the store forget what it has taken.
const sweepEvery = time.Hour

// watch makes the housekeeper look when a lease may run out. The lock is held.
func (s *Store) watch(until time.Time) {
	if s.reapAt.IsZero() || until.Before(s.reapAt) {
		s.reapAt = until
		select {
		case s.alarm <- struct{}{}:
		default:
		}
	}
}

// housekeeping frees leases that ran out, empties the trash, forgets dedup keys and moves what keeps dead segments.
func (s *Store) housekeeping(ctx context.Context) {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.alarm:
		case <-timer.C:
		case <-s.untidy:
			if err := errors.Join(s.tidy(ctx), s.compactIf(ctx)); err != nil {
				s.complain(ctx, err)
			}
		}
		at := time.Now()
		reap := s.reap(at)
		if at.Sub(swept) >= sweepEvery {
			swept = at
			if err := s.sweep(ctx, at); err != nil {
				s.complain(ctx, err)
			}
		}
		next := sweepEvery - at.Sub(swept)
		if !reap.IsZero() {
			next = min(next, reap.Sub(at))
		}
		timer.Reset(max(next, 0))
	}
}

// compactIf gives the index's free pages back when they are most of it.
func (s *Store) compactIf(ctx context.Context) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	most := s.x.wasteful(s.o.compactAt)
	s.mu.Unlock()
	if !most {
		return nil
	}
	return s.Compact(ctx)
}

// complain logs what was not done, unless the store is stopping or has said already that it failed.
func (s *Store) complain(ctx context.Context, err error) {
	if ctx.Err() == nil && !errors.Is(err, queue.ErrFatal) && !errors.Is(err, queue.ErrClosed) {
		s.slog.Warn("queue housekeeping will be tried again", "class", "local", "err", err)
	}
}

// reap ends the leases that ran out and answers when the next one does.
func (s *Store) reap(at time.Time) (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &change{}
	for id, l := range s.leases {
		if at.Before(l.until) {
			if next.IsZero() || l.until.Before(next) {
				next = l.until
			}
			continue
		}
		r, err := s.x.get(id)
		if err != nil || r == nil {
			s.slog.Error("leased entry can't be read", "item", id.String(), "err", err)
			continue
		}
		s.slog.Warn("lease ran out, the attempt's outcome is unknown", "id", r.Envelope.ID, "item", id.String(), "connector", r.Dest.Connector, "dest", r.Dest.Host, "owner", l.owner)
		r.Unknown = true
		r.encode()
		c.items = append(c.items, r)
		c.over = append(c.over, id)
	}
	s.reapAt = next
	if len(c.items) == 0 || s.fatal != nil {
		return next
	}
	if _, err := s.append(c, soon); err != nil {
		s.slog.Error("expired leases not freed", "class", "local", "err", err)
		return next
	}
	for _, id := range c.over {
		s.release(id, s.leases[id])
	}
	s.notify()
	return next
}

// sweep is the hourly work.
func (s *Store) sweep(ctx context.Context, at time.Time) error {
	return errors.Join(s.emptyTrash(ctx, at), s.forget(ctx, at), s.dropSuspensions(ctx, at), s.tidy(ctx))
}

// emptyTrash purges what was deleted longer than Options.TrashFor ago.
func (s *Store) emptyTrash(ctx context.Context, at time.Time) error {
	for {
		if err := s.openWrite(ctx); err != nil {
			return err
		}
		c := &change{}
		cur := s.x.trash.Cursor()
		for k, _ := cur.First(); k != nil && len(c.ended) < verbSlice && at.Sub(unordered(k)) > s.o.TrashFor; k, _ = cur.Next() {
			r, err := s.x.get(keyID(k))
			if err != nil {
				s.mu.Unlock()
				return err
			}
			if r != nil {
				s.ended(c, r, at)
			}
		}
		if len(c.ended) == 0 {
			s.mu.Unlock()
			return nil
		}
		b, err := s.append(c, soon)
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if err := b.wait(); err != nil {
			return err
		}
	}
}

// forget drops the oldest day of dedup keys once it is past queue.DedupFor. Keys of items that still wait move to today.
func (s *Store) forget(ctx context.Context, at time.Time) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	k, _ := s.x.dedup.Cursor().First()
	day, keep := uint32(0), uint32(queue.DedupFor/(24*time.Hour))+1
	if k != nil {
		day = binary.BigEndian.Uint32(k)
	}
	s.mu.Unlock()
	if k == nil || day+keep >= dayOf(at) {
		return nil
	}
	w := walk{f: queue.Filter{}, at: at, limit: looked}
	for !w.done {
		if err := s.openWrite(ctx); err != nil {
			return err
		}
		err := s.renew(&w, day, at)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return s.change(ctx, func() (*change, error) { return &change{forget: []uint32{day}}, nil })
}

// renew moves the dedup keys of the next few items from an old day to today. The lock is held.
func (s *Store) renew(w *walk, day uint32, at time.Time) error {
	rs, err := s.step(w)
	if err != nil {
		return err
	}
	c := &change{}
	for _, r := range rs {
		if r.dedup == nil {
			continue
		}
		if d, ids, ok := s.x.known(r.dedup); ok && d <= day {
			c.dedup = append(c.dedup, dedupKey{append([]byte(nil), r.dedup...), dayOf(at), ids})
		}
	}
	if len(c.dedup) == 0 {
		return nil
	}
	_, err = s.append(c, later)
	return err
}

// dropSuspensions removes those that have ended by themselves.
func (s *Store) dropSuspensions(ctx context.Context, at time.Time) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	c := &change{}
	for d, su := range s.x.held {
		if !su.Until.IsZero() && !at.Before(su.Until) {
			c.resume = append(c.resume, d)
		}
	}
	if len(c.resume) == 0 {
		return nil
	}
	_, err := s.append(c, later)
	return err
}

package boltqueue

import (
	"context"
	"fmt"
	"time"

	"backbone/queue"
)

// lease is the memory of a running attempt. until keeps its monotonic reading: a jump of the clock ends no lease.
type lease struct {
	epoch   uint64
	owner   string
	until   time.Time
	held    bool // it was taken of a held item
	fills   bool // it was taken with a room, and fills others'
	d       *dest
	pending []queue.Op // verbs that take effect when it settles
}

// busy tells an item that can't be leased now: it is leased, or not durable yet.
func (s *Store) busy(id queue.ID) bool { return s.leases[id] != nil || s.fresh[id] > 0 }

// Due implements queue.Store.
func (s *Store) Due(at time.Time, limit int) ([]queue.Dest, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.fatal != nil {
		return nil, time.Time{}
	}
	s.plan.settle(func(d *dest) (time.Time, bool) { return s.x.firstDue(d, s.busy) })
	var resumed time.Time // the first suspension that ends by itself
	ds, next := s.plan.due(at, func(d *dest) bool {
		until, ok := s.suspended(d.name, at)
		if ok && !until.IsZero() && (resumed.IsZero() || until.Before(resumed)) {
			resumed = until
		}
		return !ok
	})
	if !resumed.IsZero() && (next.IsZero() || resumed.Before(next)) {
		next = resumed
	}
	names := make([]queue.Dest, 0, min(len(ds), limit))
	for _, d := range ds[:min(len(ds), limit)] {
		names = append(names, d.name)
	}
	return names, next
}

// Lease implements queue.Store.
func (s *Store) Lease(ctx context.Context, name queue.Dest, owner string, n, room int, ttl time.Duration) ([]queue.Lease, error) {
	if err := s.openWrite(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	d, at := s.x.dests[name], time.Now()
	if d == nil {
		return nil, nil
	}
	if _, ok := s.suspended(name, at); ok {
		return nil, nil
	}
	n, err := s.within(d, owner, n, room)
	if err != nil {
		return nil, err
	}
	var ids []queue.ID
	for rank := byte(0); rank < ranks && len(ids) < n; rank++ {
		s.x.walkDue(d, rank, func(next time.Time, id queue.ID) bool {
			if next.After(at) {
				return false
			}
			if !s.busy(id) {
				ids = append(ids, id)
			}
			return len(ids) < n
		})
	}
	return s.take(d, ids, owner, room != queue.NoWindow, at, ttl)
}

// LeaseWaiting implements queue.Store.
func (s *Store) LeaseWaiting(ctx context.Context, name queue.Dest, owner string, after queue.ID, n, room int, ttl time.Duration) ([]queue.Lease, error) {
	if err := s.openWrite(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	d := s.x.dests[name]
	if d == nil || n <= 0 {
		return nil, nil
	}
	if _, ok := s.suspended(name, time.Now()); ok && room != queue.NoWindow {
		return nil, nil
	}
	n, err := s.within(d, owner, n, room)
	if err != nil {
		return nil, err
	}
	var ids []queue.ID
	s.x.walkWaiting(d, after, func(id queue.ID) bool {
		if s.busy(id) {
			return true
		}
		var r *record
		if r, err = s.x.get(id); err != nil {
			return false
		}
		if r != nil && r.State == queue.Ready {
			ids = append(ids, id)
		}
		return len(ids) < n
	})
	if err != nil {
		return nil, err
	}
	return s.take(d, ids, owner, room != queue.NoWindow, time.Now(), ttl)
}

// within is how many of n leases a room leaves beside those of other owners. The lock is held.
func (s *Store) within(d *dest, owner string, n, room int) (int, error) {
	if room-d.leasedReady-d.leasedHeld >= n { // whoever has them
		return n, nil
	}
	for _, l := range s.leases {
		if l.d == d && l.fills && l.owner != owner {
			room--
		}
	}
	if room <= 0 {
		return 0, fmt.Errorf("%s: %w", d.name, queue.ErrNoRoom)
	}
	return min(n, room), nil
}

// LeaseID implements queue.Store.
func (s *Store) LeaseID(ctx context.Context, id queue.ID, owner string, ttl time.Duration) (queue.Lease, error) {
	for {
		if err := s.openWrite(ctx); err != nil {
			return queue.Lease{}, err
		}
		if s.fresh[id] == 0 {
			break
		}
		b := s.join(true)
		s.mu.Unlock()
		if err := b.wait(); err != nil {
			return queue.Lease{}, err
		}
	}
	defer s.mu.Unlock()
	r, err := s.x.get(id)
	switch {
	case err != nil:
		return queue.Lease{}, err
	case r == nil || r.State == queue.Trash:
		return queue.Lease{}, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	case s.leases[id] != nil:
		return queue.Lease{}, fmt.Errorf("%s: %w (%s has it)", id, queue.ErrLeaseLost, s.leases[id].owner)
	}
	ls, err := s.take(s.x.destOf(r.Dest), []queue.ID{id}, owner, false, time.Now(), ttl)
	if err != nil {
		return queue.Lease{}, err
	}
	return ls[0], nil
}

// take leases items. Their marks are in the log before anybody acts on them, though not yet durable. The lock is held.
func (s *Store) take(d *dest, ids []queue.ID, owner string, fills bool, at time.Time, ttl time.Duration) ([]queue.Lease, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	c := &change{}
	out := make([]queue.Lease, 0, len(ids))
	for _, id := range ids {
		r, err := s.x.get(id)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, s.fail(fmt.Errorf("index damaged: entry %s is listed but not there", id))
		}
		c.begun = append(c.begun, mark{id, owner})
		out = append(out, queue.Lease{Item: r.Item})
	}
	if _, err := s.append(c, later); err != nil {
		return nil, err
	}
	for i := range out {
		s.epoch++
		l := &lease{epoch: s.epoch, owner: owner, until: at.Add(ttl), held: out[i].State == queue.Held, fills: fills, d: d}
		s.leases[out[i].ID] = l
		if l.held {
			d.leasedHeld++
		} else {
			d.leasedReady++
		}
		out[i].Epoch = l.epoch
		l.show(&out[i].Item)
	}
	s.plan.doubt(d)
	s.watch(at.Add(ttl))
	return out, nil
}

// show puts a lease into an item as others see it.
func (l *lease) show(it *queue.Item) {
	it.State, it.LeaseOwner, it.LeaseUntil = queue.Leased, l.owner, l.until.Round(0).UTC()
}

// holds finds the lease that l is. The lock is held.
func (s *Store) holds(l *queue.Lease) (*lease, error) {
	m := s.leases[l.ID]
	if m == nil || m.epoch != l.Epoch || !time.Now().Before(m.until) {
		return nil, fmt.Errorf("%s: %w", l.ID, queue.ErrLeaseLost)
	}
	return m, nil
}

// release forgets a lease. The lock is held.
func (s *Store) release(id queue.ID, l *lease) {
	delete(s.leases, id)
	if l.held {
		l.d.leasedHeld--
	} else {
		l.d.leasedReady--
	}
	s.plan.doubt(l.d)
}

// Extend implements queue.Store.
func (s *Store) Extend(ctx context.Context, l queue.Lease, ttl time.Duration) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	m, err := s.holds(&l)
	if err != nil {
		return err
	}
	m.until = time.Now().Add(ttl)
	s.watch(m.until)
	return nil
}

// Return implements queue.Store. Leases that are lost already are no error: they need no return.
func (s *Store) Return(ctx context.Context, ls []queue.Lease) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	c := &change{}
	for i := range ls {
		if _, err := s.holds(&ls[i]); err == nil {
			c.over = append(c.over, ls[i].ID)
		}
	}
	if len(c.over) == 0 {
		return nil
	}
	if _, err := s.append(c, later); err != nil {
		return err
	}
	for _, id := range c.over {
		if l := s.leases[id]; l != nil {
			s.release(id, l)
		}
	}
	s.notify()
	return nil
}

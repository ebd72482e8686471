package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"backbone/queue"
)

// Settle implements queue.Store.
func (s *Store) Settle(ctx context.Context, l queue.Lease, st queue.Settlement) error {
	var ms []*message
	defer func() { s.end(ms) }()
	for _, n := range st.Spawn {
		var err error
		if ms, err = s.flatten(ms, n); err != nil {
			return err
		}
	}
	for _, k := range st.Keep {
		if k.State != queue.Ready && k.State != queue.Held && k.State != queue.Leased {
			return fmt.Errorf("queue: what is kept of entry %s can't be %q", l.ID, k.State)
		}
	}
	if st.Trash && len(st.Keep) > 0 {
		return errors.New("queue: a settlement that keeps something can't move it to the trash")
	}
	if err := prepare(ms); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.fail(err)
	}
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	b, err := s.settle(&l, &st, ms)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return b.wait()
}

// settle is Settle with the lock held.
func (s *Store) settle(l *queue.Lease, st *queue.Settlement, ms []*message) (*batch, error) {
	held, err := s.holds(l)
	if err != nil {
		return nil, err
	}
	old, err := s.x.get(l.ID)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return nil, fmt.Errorf("%s: %w", l.ID, queue.ErrLeaseLost)
	}
	at := time.Now()
	c := &change{over: []queue.ID{l.ID}}
	for i := range st.Keep {
		r := old.kept(&st.Keep[i], held)
		if i > 0 {
			r.ID = queue.ID(s.number())
		}
		if i > 0 || st.Rekey {
			r.Key = newKey()
		}
		for _, op := range held.pending {
			r.change(op, at)
		}
		r.Changed = at
		r.encode()
		c.items = append(c.items, r)
	}
	switch {
	case len(st.Keep) > 0:
	case st.Trash:
		r := *old
		r.toTrash(queue.Op{}, at)
		r.encode()
		c.items = append(c.items, &r)
	default:
		s.ended(c, old, at)
	}
	s.compose(c, ms, at)
	hurry := soon
	if len(ms) > 0 {
		hurry = atOnce
	}
	b, err := s.append(c, hurry)
	if err != nil {
		return nil, err
	}
	s.release(l.ID, held)
	return b, nil
}

// ended ends an item and renews its dedup key, which is remembered from now.
func (s *Store) ended(c *change, r *record, at time.Time) {
	c.ended = append(c.ended, r.ID)
	if r.dedup == nil {
		return
	}
	if day, ids, ok := s.x.known(r.dedup); !ok || day < dayOf(at) {
		c.dedup = append(c.dedup, dedupKey{append([]byte(nil), r.dedup...), dayOf(at), ids})
	}
}

// kept is what a settlement makes of an item.
func (r *record) kept(k *queue.Item, l *lease) *record {
	n := *r
	n.Envelope.Recipients = k.Envelope.Recipients
	n.Dest, n.State, n.Next, n.Expires = k.Dest, k.State, k.Next, k.Expires
	n.Attempts, n.Tries, n.Last = k.Attempts, k.Tries, k.Last
	n.Delayed, n.Unknown, n.Reason, n.By = k.Delayed, k.Unknown, k.Reason, k.By
	if n.State == queue.Leased { // as the lease showed it: what it was
		n.State = queue.Ready
		if l.held {
			n.State = queue.Held
		}
	}
	return &n
}

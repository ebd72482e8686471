package boltqueue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"backbone/queue"
)

// looked is how many items a reader looks at before it lets others have the lock.
const looked = 256

// walk is a reader's way through the items in ID order. It keeps no transaction: after each step it goes on behind the
// last ID, whatever has changed meanwhile.
type walk struct {
	f     queue.Filter
	at    time.Time
	after queue.ID
	limit int // of items that a step answers
	ids   []queue.ID
	done  bool
}

// step looks at the next items and answers those that match, with leases shown. The lock is held.
func (s *Store) step(w *walk) ([]*record, error) {
	if len(w.f.IDs) > 0 {
		return s.stepIDs(w)
	}
	if w.f.Connector != "" && w.f.Host != "" && !strings.ContainsAny(w.f.Host, "*%") && w.f.State != queue.Trash {
		if d := s.x.dests[queue.Dest{Connector: w.f.Connector, Host: w.f.Host}]; d != nil {
			return s.stepDest(w, d)
		}
	}
	var out []*record
	c := s.x.item.Cursor()
	k, v := c.Seek(key(w.after + 1))
	for n := 0; k != nil; k, v = c.Next() {
		if n++; n > looked || len(out) == w.limit {
			return out, nil
		}
		r, err := decodeItem(v)
		if err != nil {
			return nil, err
		}
		w.after = r.ID
		out = s.match(w, out, r)
	}
	w.done = true
	return out, nil
}

func (s *Store) match(w *walk, out []*record, r *record) []*record {
	seen := r.Item
	if l := s.leases[r.ID]; l != nil {
		l.show(&seen)
	}
	if !w.f.Match(&seen, w.at) {
		return out
	}
	return append(out, r)
}

func (s *Store) stepIDs(w *walk) ([]*record, error) {
	if w.ids == nil {
		w.ids = slices.Compact(slices.Sorted(slices.Values(w.f.IDs)))
		i, _ := slices.BinarySearch(w.ids, w.after+1)
		w.ids = w.ids[i:]
	}
	var out []*record
	for n := 0; len(w.ids) > 0 && n < looked && len(out) < w.limit; n++ {
		id := w.ids[0]
		w.ids, w.after = w.ids[1:], id
		r, err := s.x.get(id)
		if err != nil {
			return nil, err
		}
		if r != nil {
			out = s.match(w, out, r)
		}
	}
	w.done = len(w.ids) == 0
	return out, nil
}

func (s *Store) stepDest(w *walk, d *dest) (out []*record, err error) {
	w.done = true
	n := 0
	s.x.walkWaiting(d, w.after, func(id queue.ID) bool {
		if n++; n > looked || len(out) == w.limit {
			w.done = false
			return false
		}
		var r *record
		if r, err = s.x.get(id); err != nil {
			return false
		}
		w.after = id
		if r != nil {
			out = s.match(w, out, r)
		}
		return true
	})
	return out, err
}

// shown is the item as others see it. The lock is held.
func (s *Store) shown(r *record) queue.Item {
	it := r.Item
	if l := s.leases[it.ID]; l != nil {
		l.show(&it)
	}
	return it
}

// List implements queue.Store.
func (s *Store) List(ctx context.Context, f queue.Filter, after queue.Cursor, n int) ([]queue.Item, queue.Cursor, error) {
	if n <= 0 {
		return nil, "", fmt.Errorf("queue: a page of %d entries", n)
	}
	w := walk{f: f, at: time.Now()}
	if after != "" {
		id, err := queue.ParseID(string(after))
		if err != nil {
			return nil, "", fmt.Errorf("queue: %q is no position in the list", after)
		}
		w.after = id
	}
	var out []queue.Item
	for !w.done && len(out) <= n { // one more than asked for tells whether there is another page
		if err := s.open(ctx); err != nil {
			return nil, "", err
		}
		w.limit = n + 1 - len(out)
		rs, err := s.step(&w)
		for _, r := range rs {
			out = append(out, s.shown(r))
		}
		s.mu.Unlock()
		if err != nil {
			return nil, "", err
		}
	}
	if len(out) <= n {
		return out, "", nil
	}
	out = out[:n]
	return out, queue.Cursor(out[n-1].ID.String()), nil
}

// Get implements queue.Store.
func (s *Store) Get(ctx context.Context, id queue.ID) (queue.Item, error) {
	if err := s.open(ctx); err != nil {
		return queue.Item{}, err
	}
	defer s.mu.Unlock()
	r, err := s.x.get(id)
	if err != nil {
		return queue.Item{}, err
	}
	if r == nil {
		return queue.Item{}, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	}
	return s.shown(r), nil
}

// Dests implements queue.Store.
func (s *Store) Dests(ctx context.Context) ([]queue.DestStat, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	at := time.Now()
	out := make([]queue.DestStat, 0, len(s.x.dests))
	for _, d := range s.x.dests {
		if d.ready+d.held == 0 {
			continue
		}
		st := queue.DestStat{
			Dest: d.name, Ready: d.ready - d.leasedReady, Held: d.held - d.leasedHeld, Leased: d.leasedReady + d.leasedHeld, Bytes: d.bytes,
		}
		var err error
		s.x.walkWaiting(d, 0, func(id queue.ID) bool {
			var r *record
			if r, err = s.x.get(id); r != nil {
				st.Oldest = r.Created
			}
			return false
		})
		if err != nil {
			return nil, err
		}
		if next, ok := s.x.firstDue(d, s.busy); ok {
			st.NextDue = next
		}
		if su, ok := s.suspension(d.name, at); ok {
			st.Suspension = &su
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b queue.DestStat) int { return strings.Compare(a.Dest.String(), b.Dest.String()) })
	return out, nil
}

// Stats implements queue.Store.
func (s *Store) Stats() queue.Stats {
	st := queue.Stats{Puts: s.puts.Load(), Syncs: s.syncs.Load(), Commit: s.commits.Load()}
	if free, err := s.fs.Free(s.o.dir); err == nil {
		st.FreeBytes = free
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return st
	}
	for _, d := range s.x.dests {
		if d.ready+d.held > 0 {
			st.Dests++
		}
		st.Ready += d.ready - d.leasedReady
		st.Held += d.held - d.leasedHeld
		st.Leased += d.leasedReady + d.leasedHeld
		st.Bytes += d.bytes
	}
	st.Trash = s.x.trashed
	st.IndexBytes = s.x.tx.Size()
	st.BodyBytes = s.log.octets() + s.x.fileSize
	return st
}

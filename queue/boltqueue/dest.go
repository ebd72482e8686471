package boltqueue

import (
	"container/heap"
	"slices"
	"time"

	"backbone/queue"
)

// dest is a destination: the only thing besides leases that takes memory while mail waits.
type dest struct {
	num  uint32
	name queue.Dest

	ready, held int // as stored: leased ones included
	bytes       int64

	leasedReady, leasedHeld int
	gone                    bool // nothing waits: it is no longer in the index

	// In the agenda: when the first item that is free to lease is due. stale: to be looked up again.
	next  time.Time
	place int // in the heap, -1 when nothing is free to lease
	stale bool
}

func (d *dest) encode() []byte {
	var e enc
	e.str(1, d.name.Connector)
	e.str(2, d.name.Host)
	e.int(3, int64(d.ready))
	e.int(4, int64(d.held))
	e.int(5, d.bytes)
	return e
}

func decodeDest(b []byte) (*dest, error) {
	d := &dest{place: -1}
	err := fields(b, func(f field) error {
		switch f.N {
		case 1:
			d.name.Connector = f.str()
		case 2:
			d.name.Host = f.str()
		case 3:
			d.ready = int(f.int())
		case 4:
			d.held = int(f.int())
		case 5:
			d.bytes = f.int()
		}
		return nil
	})
	return d, err
}

// destOf finds or makes a destination.
func (x *index) destOf(name queue.Dest) *dest {
	d := x.dests[name]
	if d == nil {
		x.lastDest++
		d = &dest{num: x.lastDest, name: name, place: -1}
		x.dests[name], x.numbered[d.num] = d, d
	}
	return d
}

// walkDue calls f with the IDs of a destination's ready items of one rank, in the order in which they fall due, until f
// answers false.
func (x *index) walkDue(d *dest, rank byte, f func(next time.Time, id queue.ID) bool) {
	prefix := duePrefix(d, rank)
	c := x.due.Cursor()
	k := firstWith(c, prefix, prefix)
	for ; len(k) == 21 && string(k[:5]) == string(prefix); k, _ = c.Next() {
		if !f(unordered(k[5:13]), keyID(k)) {
			return
		}
	}
}

// firstDue is when the first item falls due that skip does not pass over; ok is false when there is none.
func (x *index) firstDue(d *dest, skip func(queue.ID) bool) (at time.Time, ok bool) {
	for rank := byte(0); rank < ranks; rank++ {
		x.walkDue(d, rank, func(next time.Time, id queue.ID) bool {
			if skip(id) {
				return true
			}
			if !ok || next.Before(at) {
				at, ok = next, true
			}
			return false
		})
	}
	return at, ok
}

// walkWaiting calls f with the IDs of all of a destination's items outside the trash that are greater than after, in
// ID order, until f answers false.
func (x *index) walkWaiting(d *dest, after queue.ID, f func(queue.ID) bool) {
	c := x.wait.Cursor()
	prefix := waitKey(d, 0)[:4]
	k := firstWith(c, waitKey(d, after+1), prefix)
	for ; k != nil && string(k[:4]) == string(prefix); k, _ = c.Next() {
		if !f(keyID(k)) {
			return
		}
	}
}

// agenda keeps destinations in the order in which something of theirs falls due.
type agenda struct {
	heap  []*dest
	stale []*dest
}

func (a *agenda) Len() int           { return len(a.heap) }
func (a *agenda) Less(i, j int) bool { return a.heap[i].next.Before(a.heap[j].next) }
func (a *agenda) Swap(i, j int) {
	a.heap[i], a.heap[j] = a.heap[j], a.heap[i]
	a.heap[i].place, a.heap[j].place = i, j
}
func (a *agenda) Push(v any) {
	d := v.(*dest)
	d.place = len(a.heap)
	a.heap = append(a.heap, d)
}
func (a *agenda) Pop() any {
	d := a.heap[len(a.heap)-1]
	a.heap = a.heap[:len(a.heap)-1]
	d.place = -1
	return d
}

// doubt says that a destination's first due item may be another than it was.
func (a *agenda) doubt(d *dest) {
	if !d.stale {
		d.stale = true
		a.stale = append(a.stale, d)
	}
}

// settle looks up what was doubted.
func (a *agenda) settle(first func(*dest) (time.Time, bool)) {
	for _, d := range a.stale {
		d.stale = false
		at, ok := time.Time{}, false
		if !d.gone {
			at, ok = first(d)
		}
		switch {
		case ok:
			d.next = at
			if d.place >= 0 {
				heap.Fix(a, d.place)
			} else {
				heap.Push(a, d)
			}
		case d.place >= 0:
			heap.Remove(a, d.place)
		}
	}
	a.stale = a.stale[:0]
}

// due is the destinations with something due at now that use accepts, longest due first, and the earliest time after
// now at which there will be another (zero: none). It visits what is due and the heap's next layer, not more.
func (a *agenda) due(now time.Time, use func(*dest) bool) (ds []*dest, next time.Time) {
	var visit func(i int)
	visit = func(i int) {
		if i >= len(a.heap) {
			return
		}
		d := a.heap[i]
		ok := use(d)
		if d.next.After(now) {
			if ok {
				if next.IsZero() || d.next.Before(next) {
					next = d.next
				}
				return // what is below is later
			}
		} else if ok {
			ds = append(ds, d)
		}
		visit(2*i + 1)
		visit(2*i + 2)
	}
	visit(0)
	slices.SortFunc(ds, func(a, b *dest) int { return a.next.Compare(b.next) })
	return ds, next
}

package gateway

import (
	"time"

	"backbone/queue"
)

// lookAgain is how soon a window that other gateways fill is looked at again: they say nothing when they are done. While it stays
// full the looks become rarer, down to one each rarestLook.
const (
	lookAgain  = time.Second
	rarestLook = 8 * time.Second
)

// filled is a window that other gateways fill.
type filled struct {
	until time.Time // not looked at before
	wait  time.Duration
}

// slots is how many more transfers to dest may start in a pass that began now: room by our own count, which the store compares with what the other
// gateways have under way there, and n of them at most, as there are workers. A transfer that is over takes no place, also while its
// outcome is not durable; to the other gateways it counts until then.
func (d *dispatcher) slots(dest queue.Dest, now time.Time) (n, room int) {
	window := DefaultParallel
	if m, ok := d.g.members()[dest.Connector]; ok {
		window = m.Parallel
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.filled[dest].until.After(now) {
		return 0, 0
	}
	room = window - d.busy[dest]
	return max(min(room, d.g.o.Workers-d.n), 0), room
}

// noRoom notes that others fill the window of dest.
func (d *dispatcher) noRoom(dest queue.Dest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait := max(lookAgain, min(2*d.filled[dest].wait, rarestLook))
	d.filled[dest] = filled{time.Now().Add(wait), wait}
}

// room forgets the windows that had room when they were looked at again, and returns when the next one is to be; zero: none.
func (d *dispatcher) room(now time.Time) (next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for dest, f := range d.filled {
		if !f.until.Add(f.wait).After(now) {
			delete(d.filled, dest)
		} else if f.until.After(now) && (next.IsZero() || f.until.Before(next)) {
			next = f.until
		}
	}
	return next
}

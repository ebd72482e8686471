package pgqueue

import (
	"context"
	"slices"
	"sync"

	"backbone/queue"
)

const (
	// maxGroup is how many calls one transaction takes along at most, and maxGroupOctets how much of bodies, unless one call alone
	// has more: they bound the time for which a call waits for its company. *Ours*.
	maxGroup       = 64
	maxGroupOctets = 1 << 20
)

// group lets calls that wait at the same time share a transaction. A call that finds none under way leaves at once and alone;
// those that come meanwhile wait for its end, and the first of them takes the others along. There is no goroutine but the
// callers' own.
//
// A group makes one try. What became of each call is in the call itself: whoever was not served does what there is to do by
// itself, so that nobody is harmed by another's fault, a row that is locked or a database that went away.
type group[C any] struct {
	octets func(C) int64 // of body that a call sends; nil when none does
	// carry makes the transaction; more tells whether those who wait shall try it together, too.
	carry func([]C) (more bool)

	mu      sync.Mutex
	busy    bool
	waiting []*rider[C]
}

// rider is a call in a group.
type rider[C any] struct {
	call C
	lead chan struct{} // closed: it is this one's turn to take the others along
	done chan struct{} // closed: it has been taken along, or is to go by itself
}

// ride returns when c has been carried or is not to be, and with an error when it has not been and the store or ctx has ended.
func (g *group[C]) ride(ctx, store context.Context, c C) error {
	r := &rider[C]{call: c, lead: make(chan struct{}), done: make(chan struct{})}
	g.mu.Lock()
	if g.busy {
		g.waiting = append(g.waiting, r)
	} else {
		g.busy = true
		close(r.lead)
	}
	g.mu.Unlock()
	var err error
	select {
	case <-r.lead:
	case <-r.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-store.Done():
		err = queue.ErrClosed
	}
	if err != nil && g.leave(r) {
		return err
	}
	select { // who has been taken along waits for what becomes of it, and who leads does
	case <-r.lead:
		g.depart(r)
	case <-r.done:
	}
	return nil
}

// leave takes one who waits out, unless it is too late.
func (g *group[C]) leave(r *rider[C]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, r)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

// depart carries the first and those who wait, and hands over to the next.
func (g *group[C]) depart(first *rider[C]) {
	g.mu.Lock()
	n, octets := 0, g.size(first)
	for n < len(g.waiting) && n < maxGroup-1 {
		if octets += g.size(g.waiting[n]); octets > maxGroupOctets {
			break
		}
		n++
	}
	taken := append([]*rider[C]{first}, g.waiting[:n]...)
	g.waiting = slices.Delete(g.waiting, 0, n)
	g.mu.Unlock()
	calls := make([]C, len(taken))
	for i, r := range taken {
		calls[i] = r.call
	}
	more := g.carry(calls)
	for _, r := range taken[1:] {
		close(r.done)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !more { // each waits for the database by itself
		for _, r := range g.waiting {
			close(r.done)
		}
		g.waiting = nil
	}
	if g.busy = len(g.waiting) > 0; g.busy {
		close(g.waiting[0].lead)
		g.waiting = slices.Delete(g.waiting, 0, 1)
	}
}

func (g *group[C]) size(r *rider[C]) int64 {
	if g.octets == nil {
		return 0
	}
	return g.octets(r.call)
}

// outcome is what a group's one try made of a call.
type outcome int

const (
	alone  outcome = iota // nothing: the call goes by itself
	doubt                 // the commit may have taken place: the call asks, and then goes by itself
	served                // done, and durable
)

// try makes one try of a transaction that several calls share, and says what became of them, and whether others shall try.
func (s *Store) try(f func(context.Context) error) (o outcome, more bool) {
	err := s.limited(context.WithoutCancel(s.ctx), f)
	if err == nil {
		s.commits.Add(1)
		return served, true
	}
	again, unknown := passing(err)
	s.slog.Debug("each call of a group goes by itself", "err", err)
	if unknown {
		o = doubt
	}
	return o, !again
}

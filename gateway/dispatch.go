package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"backbone/gateway/routing"
	"backbone/queue"
)

// dispatcher hands due transfers to a fixed number of workers. It is the one owner of all goroutines that deliver.
type dispatcher struct {
	g    *Gateway
	jobs chan job
	mu   sync.Mutex
	busy map[queue.Dest]int
	n    int // running over all destinations
	turn int // where the round over the destinations begins
	// filled are the destinations whose windows were full by others, with when to look again.
	filled map[queue.Dest]filled
	// suspended is what was suspended at the last pass.
	suspended map[queue.Dest]bool
}

// job is one leased item. Probe is set when it finds out whether a link that was down is up again. Tried, when set, is
// called as soon as the connector is done with it: the next transfer to that destination need not wait until this one's
// outcome is durable.
type job struct {
	lease queue.Lease
	probe bool
	tried func()
}

// Run delivers until ctx ends, then waits for the attempts under way, Options.Drain at most: what lasts longer is broken
// off and stays queued. It returns nil after a clean stop, or the store's error when that takes no more writes
// (queue.ErrFatal) or is closed: the daemon ends then, to be started again.
func (g *Gateway) Run(ctx context.Context) error {
	// What was parked for a link that was down when the last process ended is fetched: this one has not tried the link.
	stats, err := g.o.Store.Dests(ctx)
	if ctx.Err() != nil {
		return nil
	} else if err != nil {
		return err
	}
	for _, st := range stats {
		g.links.resume(st.Dest)
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	d := &dispatcher{g: g, jobs: make(chan job, g.o.Workers), busy: map[queue.Dest]int{}, filled: map[queue.Dest]filled{}}
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(g.o.Drain, cut) })()
	var wg sync.WaitGroup
	for range g.o.Workers {
		wg.Go(func() {
			for j := range d.jobs {
				d.work(work, j, ctx.Err() != nil)
			}
		})
	}
	sweep := make(chan struct{})
	go func() {
		defer close(sweep)
		g.sweep(ctx)
	}()
	err = d.loop(ctx)
	end() // also when it was not asked to
	close(d.jobs)
	wg.Wait()
	<-sweep
	return err
}

// giveBack leaves what was leased, but not begun when the gateway stopped, to the next process.
func (g *Gateway) giveBack(j job) {
	if j.probe {
		g.links.aborted(j.lease.Dest)
	}
	if err := g.o.Store.Return(context.Background(), []queue.Lease{j.lease}); err != nil {
		g.log.Error("lease not returned; it will run out", "item", j.lease.ID.String(), "err", err)
	}
}

func (d *dispatcher) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wake := d.g.o.Store.Wake()
		next, more, err := d.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrFatal):
			return err // only a new process can tell what is durable: end, and be started again
		case err != nil:
			d.g.log.Error("queue can't be read, trying again", "err", err)
			next = time.Now().Add(10 * time.Second)
		case more:
			continue
		}
		if !timer.Stop() {
			select {
			case <-timer.C:
			default:
			}
		}
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-d.g.kick:
		case <-timer.C:
		}
	}
}

// pass leases what can be tried now. more tells that another pass at once would find work; next is when the next one is due.
func (d *dispatcher) pass(ctx context.Context) (next time.Time, more bool, err error) {
	g, now := d.g, time.Now()
	if err := g.o.Store.Return(ctx, nil); err != nil { // changes nothing: asks whether the store still takes writes
		return time.Time{}, false, err
	}
	ends, err := d.resumed(ctx, now)
	if err != nil {
		return ends, false, err
	}
	probes, next := g.links.probe(now)
	if next.IsZero() || !ends.IsZero() && ends.Before(next) {
		next = ends
	}
	for _, dest := range probes {
		if err := d.probe(ctx, dest, now); err != nil {
			g.links.aborted(dest)
			return next, false, err
		}
	}
	for dest, at := range g.links.draining() {
		got, err := d.drain(ctx, dest, at, now)
		if err != nil {
			return next, false, err
		}
		more = more || got
	}
	dests, due := g.o.Store.Due(now, 1000)
	if !due.IsZero() && (next.IsZero() || due.Before(next)) {
		next = due
	}
	for i := range dests {
		dest := dests[(i+d.turn)%len(dests)]
		n, room := d.slots(dest, now)
		if n == 0 {
			continue
		}
		ls, err := g.o.Store.Lease(ctx, dest, g.owner, n, room, g.o.LeaseFor)
		if errors.Is(err, queue.ErrNoRoom) {
			d.noRoom(dest)
			continue
		} else if err != nil {
			return next, false, err
		}
		for _, l := range ls {
			d.start(job{lease: l})
		}
		more = more || len(ls) > 0
	}
	d.turn++
	if at := d.room(now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return next, more && d.free() > 0, nil
}

// probeLooks is how many messages in a row that wait for something else a probe passes over.
const probeLooks = 100

// probe tries a link that is due with one of the messages that wait for it. Not while it is suspended, and not with one
// that waits for a reason of its own. While its window is full the attempts under way will tell.
func (d *dispatcher) probe(ctx context.Context, dest queue.Dest, now time.Time) error {
	g := d.g
	n, room := d.slots(dest, now)
	if n == 0 || g.linkState(dest.Connector, dest.Host, now).State == routing.Suspended {
		g.links.aborted(dest)
		return nil
	}
	var after queue.ID
	for range probeLooks {
		ls, err := g.o.Store.LeaseWaiting(ctx, dest, g.owner, after, 1, room, g.o.LeaseFor)
		if errors.Is(err, queue.ErrNoRoom) {
			d.noRoom(dest)
			g.links.aborted(dest)
			return nil
		} else if err != nil {
			return err
		}
		if len(ls) == 0 {
			break
		}
		if l := ls[0]; !l.Next.After(now) || waitsForLink(&l.Item, now) {
			d.start(job{lease: l, probe: true})
			return nil
		}
		after = ls[0].ID
		if err := g.o.Store.Return(ctx, ls); err != nil {
			return err
		}
	}
	g.links.idle(dest, now)
	g.look(look{one: true})
	return nil
}

// resumed has the mail fetched that waited behind suspensions which have ended since the last pass, by an operator or by
// themselves. It returns when the next one will.
func (d *dispatcher) resumed(ctx context.Context, now time.Time) (next time.Time, err error) {
	is := map[queue.Dest]bool{}
	for _, s := range d.g.o.Store.Suspensions() {
		if !s.Until.IsZero() && !s.Until.After(now) {
			continue
		}
		is[s.Dest] = true
		if !s.Until.IsZero() && (next.IsZero() || s.Until.Before(next)) {
			next = s.Until
		}
	}
	for dest := range d.suspended {
		if is[dest] {
			continue
		}
		if err := d.g.fetchWaiting(ctx, dest); err != nil {
			return next, err
		}
	}
	d.suspended = is
	return next, nil
}

// drain fetches what waited for a link that has recovered, whether its time has come or not: it was only waiting for
// this. What waits for a reason of its own (a refusal by the peer, a deferred delivery time) is left alone.
func (d *dispatcher) drain(ctx context.Context, dest queue.Dest, at drain, now time.Time) (bool, error) {
	n, room := d.slots(dest, now)
	if n == 0 {
		return false, nil
	}
	ls, err := d.g.o.Store.LeaseWaiting(ctx, dest, d.g.owner, at.after, n, room, d.g.o.LeaseFor)
	if errors.Is(err, queue.ErrNoRoom) {
		d.noRoom(dest)
		return false, nil
	} else if err != nil {
		return false, err
	}
	if len(ls) == 0 {
		d.g.links.drained(dest, at, true)
		return false, nil
	}
	var back []queue.Lease
	for _, l := range ls {
		if waitsForLink(&l.Item, now) {
			d.start(job{lease: l})
		} else {
			back = append(back, l)
		}
	}
	if len(back) > 0 {
		if err := d.g.o.Store.Return(ctx, back); err != nil {
			return false, err
		}
	}
	at.after = ls[len(ls)-1].ID
	d.g.links.drained(dest, at, false)
	return true, nil
}

// waitsForLink tells an item whose next attempt is late only because its link was down: not because of its peer's word, its
// originator's (deferred delivery) or an operator's.
func waitsForLink(it *queue.Item, now time.Time) bool {
	if it.Envelope.NotBefore.After(now) {
		return false
	}
	return it.Last == nil || it.Last.Scope == scopeLink || !it.Next.After(now)
}

func (d *dispatcher) free() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.g.o.Workers - d.n
}

func (d *dispatcher) start(j job) {
	d.mu.Lock()
	d.busy[j.lease.Dest]++
	d.n++
	d.mu.Unlock()
	d.jobs <- j
}

// work makes one attempt, or gives it back when the gateway is stopping. Its place in the destination's window is free again
// when the transfer is over, its worker when the outcome is durable.
func (d *dispatcher) work(ctx context.Context, j job, stopping bool) {
	tried := false
	j.tried = func() {
		tried = true
		d.mu.Lock()
		if d.busy[j.lease.Dest]--; d.busy[j.lease.Dest] == 0 {
			delete(d.busy, j.lease.Dest)
		}
		delete(d.filled, j.lease.Dest) // a place of ours is one that others have not
		d.mu.Unlock()
		d.g.wake()
	}
	if stopping {
		d.g.giveBack(j)
	} else {
		d.g.attempt(ctx, j)
	}
	if !tried {
		j.tried()
	}
	d.mu.Lock()
	all := d.n == d.g.o.Workers
	d.n--
	d.mu.Unlock()
	if all { // others waited for a worker
		d.g.wake()
	}
}

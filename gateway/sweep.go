package gateway

import (
	"context"
	"errors"
	"time"

	"backbone/queue"
)

// sweepEvery is how often mail behind a suspension is looked at for expiry and delay notices, which no attempt does, and mail
// that waits for a link although it is up.
const sweepEvery = 10 * time.Minute

// look is a request to look at waiting mail for better ways.
type look struct {
	// dest is whose mail; zero: that of every destination which can't be served now, because another came up.
	dest queue.Dest
	// one moves at most one message of a destination: it finds out whether the other way is really open.
	one bool
}

// barren is after how many messages in a row without a better way the rest of a destination's is left alone, when
// nothing is known of a new way for it in particular. Their own times come in any case.
const barren = 1000

// look asks for waiting mail to be looked at soon.
func (g *Gateway) look(l look) {
	select {
	case g.sweeps <- l:
	default: // the sweeper is behind; the mail's own times come in any case
	}
}

// sweep moves waiting mail to the next best way when a link goes down or is suspended (KB Q263714: Exchange could not),
// and keeps time for mail behind suspensions (KB Q277831: absolute expiry, whatever the link does).
func (g *Gateway) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	parked := parkedLook{g: g}
	if now := time.Now(); g.o.Tracking.Newest().After(now) {
		g.log.Warn("the tracking log has a day that is still to come: the clock was ahead", "day", g.o.Tracking.Newest().Format(time.DateOnly))
		if err := g.BringForward(ctx, now); err != nil && ctx.Err() == nil {
			g.log.Error("mail of a clock that was ahead not looked at", "err", err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-g.sweeps:
			if err := g.lookAt(ctx, l); err != nil && ctx.Err() == nil {
				g.log.Error("waiting mail not rerouted", "dest", l.dest.String(), "err", err)
			}
		case <-tick.C:
			if err := g.lookAtClock(ctx); err != nil && ctx.Err() == nil {
				g.log.Error("mail of a clock that was ahead not looked at", "err", err)
			}
			if err := g.sweepSuspended(ctx, time.Now()); err != nil && ctx.Err() == nil {
				g.log.Error("suspended mail not looked at", "err", err)
			}
			if err := parked.round(ctx, time.Now()); err != nil && ctx.Err() == nil {
				g.log.Error("mail that waits for links not looked at", "err", err)
			}
		}
	}
}

func (g *Gateway) lookAt(ctx context.Context, l look) error {
	dests := []queue.Dest{l.dest}
	if l.dest == (queue.Dest{}) {
		stats, err := g.o.Store.Dests(ctx)
		if err != nil {
			return err
		}
		dests = dests[:0]
		for _, st := range stats {
			if st.Ready > 0 && !g.memberState(st.Dest.Connector, st.Dest.Host, time.Now()).CanSend() {
				dests = append(dests, st.Dest)
			}
		}
	}
	for _, d := range dests {
		n, err := g.rerouteWaiting(ctx, d, l)
		if n > 0 {
			g.log.Info("waiting mail takes another way", "dest", d.String(), "moved", n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rerouteWaiting routes what waits for d anew and moves what has a better way. It returns how many moved.
func (g *Gateway) rerouteWaiting(ctx context.Context, d queue.Dest, look look) (moved int, err error) {
	var after queue.ID
	for vain := 0; ctx.Err() == nil && (look.dest == d || vain < barren) && (!look.one || moved == 0); {
		ls, err := g.o.Store.LeaseWaiting(ctx, d, g.owner, after, 100, queue.NoWindow, g.o.LeaseFor)
		if err != nil || len(ls) == 0 {
			return moved, err
		}
		after = ls[len(ls)-1].ID
		var back []queue.Lease
		for _, l := range ls {
			now := time.Now()
			p := g.planItem(ctx, &l.Item, l.Envelope.Recipients, nil, now)
			if !anyUp(p, d) || look.one && moved > 0 {
				back = append(back, l)
				vain++
				continue
			}
			vain = 0
			s := &settling{g: g, lease: l, now: now}
			for _, gr := range p.groups {
				if gr.dest == d {
					s.stay(gr)
				} else {
					s.move(gr)
				}
			}
			for _, f := range p.failed {
				s.unroutable(f)
			}
			s.settle(ctx)
			moved++
		}
		if len(back) > 0 {
			if err := g.o.Store.Return(ctx, back); err != nil {
				return moved, err
			}
			// While they were looked at here, what fetches the mail of a link that came up could not see them.
			items := make([]queue.Item, len(back))
			for i, l := range back {
				items[i] = l.Item
			}
			g.fetchParked(items)
		}
	}
	return moved, ctx.Err()
}

// anyUp tells a plan that gains something by moving: a group elsewhere that can be tried now.
func anyUp(p plan, d queue.Dest) bool {
	for _, gr := range p.groups {
		if gr.dest != d && gr.waiting == nil {
			return true
		}
	}
	return false
}

// sweepSuspended gives expired mail behind a suspension back to its originator and tells of delays.
func (g *Gateway) sweepSuspended(ctx context.Context, now time.Time) error {
	for _, sus := range g.o.Store.Suspensions() {
		f := queue.Filter{Connector: sus.Dest.Connector, Host: sus.Dest.Host, State: queue.Ready}
		var cur queue.Cursor
		for {
			items, next, err := g.o.Store.List(ctx, f, cur, 200)
			if err != nil {
				return err
			}
			for _, it := range items {
				if it.Expires.After(now) && !g.o.Policy.DelayDue(&it, now) {
					continue
				}
				l, err := g.o.Store.LeaseID(ctx, it.ID, g.owner, g.o.LeaseFor)
				if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrLeaseLost) {
					continue
				} else if err != nil {
					return err
				}
				g.attempt(ctx, job{lease: l})
			}
			if next == "" {
				break
			}
			cur = next
		}
	}
	return nil
}

// stay leaves a group where it is: until its link opens, or when that is up again by now, until its own time.
func (s *settling) stay(gr group) {
	if gr.waiting != nil {
		s.park(gr)
		return
	}
	keep := s.lease.Item
	keep.Envelope.Recipients = gr.rcpt
	s.noteDelay(&keep)
	s.keep = append(s.keep, keep)
}

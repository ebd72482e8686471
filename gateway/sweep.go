package gateway

import (
	"context"
	"errors"
	"time"

	"backbone/gateway/routing"
	"backbone/queue"
)

// sweepEvery is how often mail behind a suspension is looked at for expiry and delay notices, which no attempt does.
const sweepEvery = 10 * time.Minute

// sweepSoon asks for the mail of a destination to be looked at for better ways.
func (g *Gateway) sweepSoon(d queue.Dest) {
	select {
	case g.sweeps <- d:
	default: // the sweeper is behind; the periodic round will come by
	}
}

// sweep moves waiting mail to the next best way when a link goes down or is suspended (KB Q263714: Exchange could not),
// and keeps time for mail behind suspensions (KB Q277831: absolute expiry, whatever the link does).
func (g *Gateway) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-g.sweeps:
			if n, err := g.rerouteWaiting(ctx, d); err != nil && ctx.Err() == nil {
				g.log.Error("waiting mail not rerouted", "dest", d.String(), "err", err)
			} else if n > 0 {
				g.log.Info("waiting mail takes another way", "dest", d.String(), "moved", n)
			}
		case <-tick.C:
			if err := g.sweepSuspended(ctx, time.Now()); err != nil && ctx.Err() == nil {
				g.log.Error("suspended mail not looked at", "err", err)
			}
		}
	}
}

// rerouteWaiting routes everything that waits for d anew and moves what has a better way. It returns how many moved.
func (g *Gateway) rerouteWaiting(ctx context.Context, d queue.Dest) (moved int, err error) {
	var after queue.ID
	for ctx.Err() == nil {
		ls, err := g.o.Store.LeaseWaiting(ctx, d, g.owner, after, 100, g.o.LeaseFor)
		if err != nil || len(ls) == 0 {
			return moved, err
		}
		after = ls[len(ls)-1].ID
		var back []queue.Lease
		for _, l := range ls {
			now := time.Now()
			p := g.planItem(ctx, &l.Item, l.Envelope.Recipients, nil, now)
			if len(p.groups) == 0 || (len(p.groups) == 1 && p.groups[0].dest == d) || !anyUp(p, d) {
				back = append(back, l)
				continue
			}
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
				g.attempt(ctx, job{l, false})
			}
			if next == "" {
				break
			}
			cur = next
		}
	}
	return nil
}

// stay parks a group where it is, also when its link is up again: then only expiry bounds the wait.
func (s *settling) stay(gr group) {
	if gr.waiting == nil {
		gr.waiting = &routing.LinkState{State: routing.Up}
	}
	s.park(gr)
}

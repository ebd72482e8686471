package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/routing"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// NoConnector is the error of a verb on a connector that the configuration does not have.
type NoConnector string

func (n NoConnector) Error() string { return fmt.Sprintf("no connector is named %q", string(n)) }

// Change applies an operator's verb to what f selects and records it on each message's timeline. With dryRun it only
// counts. It returns how many entries it touched, or would.
func (g *Gateway) Change(ctx context.Context, f queue.Filter, op queue.Op, dryRun bool) (int, error) {
	dests := map[queue.Dest]bool{}
	n, err := g.each(ctx, f, func(it queue.Item) error {
		if dryRun {
			return nil
		}
		dests[it.Dest] = true
		e := event(operatorEvent(op.Verb), &it.Envelope)
		e.Item, e.Dest, e.Text = it.ID.String(), it.Dest.String(), strings.TrimSuffix(fmt.Sprintf("%s by %s: %s", op.Verb, op.By, op.Reason), ": ")
		g.track(ctx, e)
		return nil
	})
	if err != nil || dryRun || n == 0 {
		return n, err
	}
	if n, err = g.o.Store.Change(ctx, f, op); err != nil {
		return n, err
	}
	switch op.Verb {
	case queue.RetryNow:
		g.links.retryNow(func(d queue.Dest) bool { return dests[d] }, time.Now())
	case queue.Release, queue.Restore: // what they waited for may have come meanwhile
		for d := range dests {
			g.links.resume(d)
		}
	}
	g.wake()
	return n, nil
}

func operatorEvent(v queue.Verb) tracking.Type {
	switch v {
	case queue.Hold:
		return tracking.Held
	case queue.Delete, queue.Purge:
		return tracking.Deleted
	case queue.Restore:
		return tracking.Restored
	}
	return tracking.Released
}

// each pages through what f selects.
func (g *Gateway) each(ctx context.Context, f queue.Filter, do func(queue.Item) error) (n int, err error) {
	var cur queue.Cursor
	for {
		items, next, err := g.o.Store.List(ctx, f, cur, 500)
		if err != nil {
			return n, err
		}
		for _, it := range items {
			if err := do(it); err != nil {
				return n, err
			}
			n++
		}
		if next == "" {
			return n, nil
		}
		cur = next
	}
}

// Bounce gives what f selects back to its originators as non-delivered, with the operator's reason (X.411 reason 0).
func (g *Gateway) Bounce(ctx context.Context, f queue.Filter, by, reason string, dryRun bool) (int, error) {
	return g.seize(ctx, f, dryRun, func(s *settling) {
		why := &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeRecipient, Code: 554, Enhanced: "5.0.0", Reason: 0, Diagnostic: -1, MSMail: 1,
			Text: fmt.Sprintf("returned by the operator: %s", reason)}
		for _, r := range s.lease.Envelope.Recipients {
			s.fail(r, why)
		}
		e := s.event(tracking.Failed, s.lease.Envelope.Recipients...)
		e.Text = fmt.Sprintf("bounce by %s: %s", by, reason)
		s.events = append(s.events, e)
	})
}

// Reroute computes the way of what f selects anew, now, whatever it waits for. With connector set it goes that way and no
// other, whatever the address spaces and the link's state, until it is rerouted again; a recipient whom the connector
// can't serve at all stays where it is.
func (g *Gateway) Reroute(ctx context.Context, f queue.Filter, connector, by, reason string, dryRun bool) (int, error) {
	if connector != "" {
		if _, ok := g.members()[connector]; !ok {
			return 0, NoConnector(connector)
		}
	}
	return g.seize(ctx, f, dryRun, func(s *settling) {
		var p plan
		it := &s.lease.Item
		before := it.Tries
		it.Tries = maps.Clone(it.Tries)
		maps.DeleteFunc(it.Tries, func(k string, _ int) bool { return strings.HasPrefix(k, viaTries) })
		if connector == "" {
			p = g.planItem(ctx, &s.lease.Item, s.lease.Envelope.Recipients, nil, s.now)
		} else {
			p = g.forced(connector, s.lease.Envelope.Recipients, s.now)
		}
		plain := it.Tries
		if connector != "" {
			it.Tries = maps.Clone(plain)
			if it.Tries == nil {
				it.Tries = map[string]int{}
			}
			it.Tries[viaTries+connector] = 1
		}
		for _, gr := range p.groups {
			s.move(gr)
		}
		it.Tries = before
		e := s.event(tracking.Rerouted, s.lease.Envelope.Recipients...)
		e.Text = fmt.Sprintf("reroute by %s: %s", by, reason)
		if len(p.failed) > 0 { // they wait on as they did, in one entry
			keep := s.lease.Item
			keep.Envelope.Recipients = nil
			for _, bad := range p.failed {
				keep.Envelope.Recipients = append(keep.Envelope.Recipients, bad.rcpt)
				e.Text += fmt.Sprintf("; %s stays: %s", bad.rcpt.Address, bad.why.Error())
			}
			s.keep = append(s.keep, keep)
		}
		s.events = append(s.events, e)
	})
}

// forced is a plan that an operator made.
func (g *Gateway) forced(connector string, rs []mail.Recipient, now time.Time) plan {
	var p plan
	index := map[string]int{}
	for _, r := range rs {
		hop, err := g.members()[connector].NextHop(r.Address)
		if err != nil {
			p.failed = append(p.failed, failed{r, mail.AsFailure(err)})
			continue
		}
		i, ok := index[hop]
		if !ok {
			i = len(p.groups)
			index[hop] = i
			gr := group{dest: queue.Dest{Connector: connector, Host: hop}}
			if st := g.memberState(connector, hop, now); st.State != routing.Up {
				gr.waiting = &st
			}
			p.groups = append(p.groups, gr)
		}
		p.groups[i].rcpt = append(p.groups[i].rcpt, r)
	}
	return p
}

// seize leases what f selects, one by one, and settles what do makes of it. Entries under delivery are passed over.
func (g *Gateway) seize(ctx context.Context, f queue.Filter, dryRun bool, do func(*settling)) (n int, err error) {
	_, err = g.each(ctx, f, func(it queue.Item) error {
		if dryRun {
			n++
			return nil
		}
		l, err := g.o.Store.LeaseID(ctx, it.ID, g.owner, g.o.LeaseFor)
		if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrLeaseLost) {
			return nil
		}
		if err != nil {
			return err
		}
		s := &settling{g: g, lease: l, now: time.Now()}
		do(s)
		s.settle(ctx)
		n++
		return nil
	})
	g.wake()
	return n, err
}

// Suspend stops a destination (Host set) or a whole connector. What waits there takes another way if there is one.
func (g *Gateway) Suspend(ctx context.Context, s queue.Suspension) error {
	if _, ok := g.members()[s.Dest.Connector]; !ok {
		return NoConnector(s.Dest.Connector)
	}
	if s.Since.IsZero() {
		s.Since = time.Now()
	}
	if err := g.o.Store.Suspend(ctx, s); err != nil {
		return err
	}
	g.log.Warn("suspended", "connector", s.Dest.Connector, "dest", s.Dest.Host, "by", s.By, "reason", s.Reason)
	return g.sweepMatching(ctx, s.Dest)
}

// Resume ends a suspension; what waited is tried at once.
func (g *Gateway) Resume(ctx context.Context, d queue.Dest, by string) error {
	if err := g.o.Store.Resume(ctx, d); err != nil {
		return err
	}
	g.log.Info("resumed", "connector", d.Connector, "dest", d.Host, "by", by)
	return g.fetchWaiting(ctx, d)
}

// fetchWaiting has what waits behind d (all destinations of a connector when it names no host) looked at now.
func (g *Gateway) fetchWaiting(ctx context.Context, d queue.Dest) error {
	stats, err := g.o.Store.Dests(ctx)
	if err != nil {
		return err
	}
	for _, s := range stats {
		if s.Dest.Connector == d.Connector && (d.Host == "" || d.Host == s.Dest.Host) {
			g.links.resume(s.Dest)
		}
	}
	g.look(look{})
	g.wake()
	return nil
}

func (g *Gateway) sweepMatching(ctx context.Context, d queue.Dest) error {
	stats, err := g.o.Store.Dests(ctx)
	if err != nil {
		return err
	}
	for _, s := range stats {
		if s.Dest.Connector == d.Connector && (d.Host == "" || d.Host == s.Dest.Host) {
			g.look(look{dest: s.Dest})
		}
	}
	return nil
}

// Explanation is what `route explain` shows.
type Explanation struct {
	Asked    address.Address  `json:"asked"`
	Resolved address.Address  `json:"resolved"`
	Name     string           `json:"name,omitempty"`
	Why      string           `json:"why,omitempty"` // why it can't be resolved
	Dest     string           `json:"dest,omitempty"`
	Decision routing.Decision `json:"decision"`
}

// Explain answers where mail for a would go now, and why not elsewhere.
func (g *Gateway) Explain(a address.Address) Explanation {
	x := Explanation{Asked: a, Resolved: a}
	ok, bad := g.resolve([]mail.Recipient{{Address: a}})
	if len(bad) > 0 {
		x.Why = bad[0].why.Error()
		x.Decision.Failure = bad[0].why
		return x
	}
	x.Resolved, x.Name = ok[0].Address, ok[0].Name
	dest, dec := g.route(x.Resolved, &mail.Envelope{}, nil, time.Now())
	x.Decision = dec
	if dec.Failure == nil {
		x.Dest = dest.String()
	}
	return x
}

// Called implements connectors.Waker: a next hop that could not be reached is there.
func (g *Gateway) Called(connector, nextHop string) {
	g.links.retryNow(func(d queue.Dest) bool { return d == queue.Dest{Connector: connector, Host: nextHop} }, time.Now())
	g.wake()
}

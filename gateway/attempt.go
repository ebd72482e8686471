package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"
	"backbone/gateway/routing"
	"backbone/gateway/tracking"
	"backbone/queue"
)

const scopeLink = mail.ScopeLink

// poisonTries is the key under which an item counts attempts that ended in a way nobody foresaw.
const poisonTries = "!poison"

// viaTries, before a connector's name, marks an item whose way an operator has fixed to it.
const viaTries = "!via:"

// attempt takes one leased item one step on: route it as things are now, try what can be tried, and settle what came
// of it. It never leaves the lease open unless the process is stopping.
func (g *Gateway) attempt(ctx context.Context, j job) {
	l, now := j.lease, time.Now()
	s := &settling{g: g, lease: l, probe: j.probe, now: now}
	env := &s.lease.Envelope
	if g.mayExpire(&s.lease.Item, now) {
		for _, r := range env.Recipients {
			s.fail(r, expired(&l.Item))
		}
		s.settle(ctx)
		if j.probe {
			g.links.aborted(l.Dest)
		}
		return
	}
	var assume *queue.Dest
	if j.probe || l.By != "" && g.links.failedBefore(l.Dest, l.Changed) { // an operator said now, here or at another gateway
		assume = &l.Dest
	}
	p := g.planItem(ctx, &s.lease.Item, env.Recipients, assume, now)
	var here []mail.Recipient
	for _, gr := range p.groups {
		switch {
		case gr.dest != l.Dest:
			s.move(gr)
		case gr.waiting != nil:
			s.park(gr)
		default:
			here = gr.rcpt
		}
	}
	for _, f := range p.failed {
		s.unroutable(f)
	}
	if len(here) > 0 {
		s.deliver(ctx, here)
		if j.tried != nil {
			j.tried()
		}
	} else if j.probe {
		g.links.aborted(l.Dest)
	}
	s.settle(ctx)
}

// planItem routes what is left of an item. assume names a link that is to be taken as up, because this attempt is what
// finds out.
func (g *Gateway) planItem(ctx context.Context, it *queue.Item, rs []mail.Recipient, assume *queue.Dest, now time.Time) plan {
	tries := make(map[string]int, len(it.Tries)+1)
	for c, n := range it.Tries {
		if g.members()[c].Type == "smtp" { // its schedule has no end but the message's own
			n = min(n, max(g.settings().OpenRetries-1, 0))
		}
		tries[c] = n
	}
	if since, _, _, _, down := g.links.down(it.Dest, now); down && assume == nil {
		if at := g.exhaustedAt(it, since); !at.IsZero() && !at.After(now) {
			tries[it.Dest.Connector] = g.settings().OpenRetries
		}
	}
	var p plan
	if it.Tries[viaTries+it.Dest.Connector] > 0 {
		p = g.forced(it.Dest.Connector, rs, now)
	} else {
		p = g.plan(ctx, &it.Envelope, rs, tries, it.Body.Size, now)
	}
	if assume == nil {
		return p
	}
	for i := range p.groups { // only the failure is doubted: a suspension or a schedule is not for an attempt to find out
		if w := p.groups[i].waiting; p.groups[i].dest == *assume && w != nil && w.State == routing.OpenRetry {
			p.groups[i].waiting = nil
		}
	}
	return p
}

// exhaustedAt is when an item has waited through all open retries of a link that failed since the given time; zero
// when the connector never gives up before the message expires (SMTP: the schedule has no end, KB Q146669), and while the
// clock is doubted.
func (g *Gateway) exhaustedAt(it *queue.Item, since time.Time) time.Time {
	if g.settings().OpenRetries <= 0 || g.members()[it.Dest.Connector].Type == "smtp" {
		return time.Time{}
	}
	if ahead, _ := g.clock.doubted(); ahead != 0 {
		return time.Time{}
	}
	from := since
	if it.Created.After(from) {
		from = it.Created
	}
	return from.Add(time.Duration(g.settings().OpenRetries) * g.settings().Policy.OpenInterval)
}

func expired(it *queue.Item) *mail.Failure {
	f := mail.Expired(fmt.Sprintf("not delivered within %s", it.Expires.Sub(it.Envelope.Arrived).Round(time.Minute)))
	if it.Last != nil {
		f.Peer = it.Last.Peer
		f.Text += "; last: " + it.Last.Error()
	}
	return f
}

// transferKey is the same for the same message and recipients at every attempt and over every path, so that whoever
// remembers it can tell a repeated hand-over. It changes when recipients have been dealt with.
func transferKey(env *mail.Envelope, rs []mail.Recipient) string {
	keys := make([]string, len(rs))
	for i, r := range rs {
		keys[i] = r.Address.Key()
	}
	sort.Strings(keys)
	sum := sha256.Sum256([]byte(strings.Join(keys, "\n")))
	return fmt.Sprintf("%s-%x", env.ID, sum[:6])
}

// deliver makes the attempt and files each recipient's outcome.
func (s *settling) deliver(ctx context.Context, rs []mail.Recipient) {
	g, it := s.g, &s.lease.Item
	m := g.members()[it.Dest.Connector]
	env := it.Envelope
	env.Recipients = rs
	t := &connectors.Transfer{
		Key: transferKey(&env, rs), NextHop: it.Dest.Host, Envelope: env, Content: g.o.Store.Body(it.Body),
		Attempt: it.Attempts + 1, Repeated: it.Unknown,
	}
	t.Note = func(n mail.Note) { s.notes = append(s.notes, n) }
	began := time.Now()
	dctx, cancel := context.WithTimeout(ctx, g.o.LeaseFor-g.o.LeaseFor/10)
	out, poison := g.call(dctx, m, t)
	cancel()
	if len(out) != len(rs) {
		out, poison = repeat(mail.LocalFault(fmt.Sprintf("connector %s answered for %d of %d recipients", it.Dest.Connector, len(out), len(rs)), nil), len(rs)), true
	}
	s.attempted, s.poison, s.took = true, poison, time.Since(began)
	s.now = time.Now() // waits count from the failure, not from the attempt's beginning
	var down *mail.Failure
	for i, o := range out {
		r := rs[i]
		if o.State == mail.Failed && (o.Failure == nil || !o.Failure.Final()) {
			o.State = mail.Deferred // whatever it was, it is not for a report
		}
		s.trackOutcome(r, o)
		switch o.State {
		case mail.Delivered:
			s.delivered(r, o, o.PeerReports)
		case mail.Relayed:
			s.delivered(r, o, false)
		case mail.Failed:
			s.fail(r, o.Failure)
		default:
			if o.Failure == nil {
				o.Failure = mail.LocalFault("deferred without a reason", nil)
			}
			if o.Failure.Scope == mail.ScopeLink {
				down = o.Failure
			}
			s.deferred = append(s.deferred, deferral{r, o.Failure})
		}
	}
	switch {
	case ctx.Err() != nil && down != nil: // we are stopping: that says nothing about the link
		g.links.aborted(it.Dest)
	case down != nil:
		s.linkDown(down)
	default:
		if g.links.opened(it.Dest) {
			g.log.Info("link is up again", "connector", it.Dest.Connector, "dest", it.Dest.Host)
			g.look(look{})
			g.wake()
		}
	}
	s.reschedule(ctx, down != nil && ctx.Err() == nil)
}

// call runs the connector with a net below it: a panic is the connector's or our own mistake, costs one attempt, and
// after a few holds the message for an operator instead of stopping the line.
func (g *Gateway) call(ctx context.Context, m Member, t *connectors.Transfer) (out []mail.Outcome, poison bool) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("connector panicked", "id", t.Envelope.ID, "connector", m.Common.Name, "panic", p, "stack", string(debug.Stack()))
			out, poison = repeat(mail.LocalFault(fmt.Sprintf("unexpected failure in connector: %v", p), nil), len(t.Envelope.Recipients)), true
		}
	}()
	return m.Deliver(ctx, t), false
}

func repeat(f *mail.Failure, n int) []mail.Outcome {
	out := make([]mail.Outcome, n)
	for i := range out {
		out[i] = mail.Outcome{State: mail.Deferred, Failure: f}
	}
	return out
}

// linkDown counts a failed open and starts moving what has a better way.
func (s *settling) linkDown(f *mail.Failure) {
	g, d := s.g, s.lease.Dest
	_, _, failures, _, _ := g.links.down(d, s.now)
	wait := g.settings().Policy.OpenWait(g.members()[d.Connector].Type, failures+1, g.jitter)
	if f.RetryAfter > wait {
		wait = f.RetryAfter
	}
	if g.links.failed(d, f, s.probe, s.now.Add(-s.took), s.now, s.now.Add(wait)) {
		g.log.Warn("link is down", "connector", d.Connector, "dest", d.Host, "class", f.Class, "err", f.Error(), "retry_in", wait.Round(time.Second))
		g.look(look{dest: d})
	}
}

func (g *Gateway) jitter() float64 {
	g.randMu.Lock()
	defer g.randMu.Unlock()
	return g.rand.Float64()
}

// settle makes the step durable. A lost lease means that an operator or another owner was first: then nothing of this
// step happened, and the tracking log says so.
func (s *settling) settle(ctx context.Context) {
	g, it := s.g, &s.lease.Item
	ctx = context.WithoutCancel(ctx)
	if err := s.addReports(ctx); err != nil {
		g.log.Error("report not made, the entry stays as it was", "id", it.Envelope.ID, "item", it.ID.String(), "err", err)
		if rerr := g.o.Store.Return(ctx, []queue.Lease{s.lease}); rerr != nil {
			g.log.Error("lease not returned; it will run out", "item", it.ID.String(), "err", rerr)
		}
		return
	}
	err := g.o.Store.Settle(ctx, s.lease, queue.Settlement{Keep: s.keep, Spawn: s.spawn})
	switch {
	case err == nil:
		g.track(ctx, append(s.events, reported(s.spawn)...)...)
		g.fetchParked(s.keep)
	case errors.Is(err, queue.ErrLeaseLost):
		e := event(tracking.Deferred, &it.Envelope)
		e.Item, e.Text = it.ID.String(), "attempt's outcome not recorded: the entry was changed or removed meanwhile"
		g.track(ctx, e)
	default:
		g.log.Error("outcome not recorded; the attempt counts as unknown", "id", it.Envelope.ID, "item", it.ID.String(), "err", err)
	}
}

// unroutable files a recipient whom no connector can take now. An address space that was there at Accept and is gone
// now may be a mistake in the routing table that is being mended (KB Q145976): that mail waits until it expires. When
// every connector is at its maximum of retries, it is over.
func (s *settling) unroutable(f failed) {
	if f.why.Class == mail.Policy || f.why.MSMail == 5 && f.why.Final() {
		why := *f.why
		if last := s.lease.Last; last != nil {
			why.Text, why.Peer = why.Text+"; last: "+last.Error(), last.Peer
		}
		s.fail(f.rcpt, &why)
		return
	}
	keep := s.lease.Item
	keep.Envelope.Recipients = []mail.Recipient{f.rcpt}
	why := *f.why
	why.Scope = mail.ScopeRecipient // it waits for its own time: no link that opens mends this
	keep.Last = &why
	if keep.Next = s.now.Add(s.g.settings().Policy.OpenInterval); keep.Next.After(keep.Expires) {
		keep.Next = keep.Expires
	}
	s.noteDelay(&keep)
	s.keep = append(s.keep, keep)
	e := event(tracking.Deferred, &keep.Envelope)
	e.Item, e.Recipients, e.Class, e.Text = keep.ID.String(), []string{f.rcpt.Address.String()}, mail.Transient, "no route at present: "+f.why.Error()
	s.events = append(s.events, e)
}

// fetchParked looks after items that were parked for a link which came up before they were stored: the fetching that
// followed its recovery may have passed them by.
func (g *Gateway) fetchParked(items []queue.Item) {
	for _, it := range items {
		if it.Last == nil && !it.Next.After(time.Now()) || it.Last != nil && it.Last.Scope != scopeLink {
			continue
		}
		if g.memberState(it.Dest.Connector, it.Dest.Host, time.Now()).CanSend() {
			g.links.resume(it.Dest)
			g.wake()
		}
	}
}

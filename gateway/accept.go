package gateway

import (
	"context"
	"fmt"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/routing"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// Screen tells whether a recipient would be taken: it can be resolved and some address space leads to it. The way back to
// the originator is learned as from a message: the answer to a probe needs it.
func (g *Gateway) Screen(_ context.Context, src mail.Source, originator, recipient address.Address) error {
	ok, bad := g.resolve([]mail.Recipient{{Address: recipient}})
	if len(bad) > 0 {
		return bad[0].why
	}
	g.learn(originator, src, time.Now())
	if _, dec := g.route(ok[0].Address, &mail.Envelope{Source: src}, nil, time.Now()); dec.Failure != nil {
		return dec.Failure
	}
	return nil
}

// Known tells whether a hand-over with this dedup key was accepted before.
func (g *Gateway) Known(ctx context.Context, dedup string) (bool, error) {
	known, err := g.o.Store.Known(ctx, dedup)
	if err != nil {
		return false, storeFailure(err)
	}
	return known, nil
}

// Accept implements connectors.Acceptor.
//
// It refuses, with an error, only what the source can tell its peer itself: too large, too many recipients, a loop, no
// recipient at all, and faults of our own. A recipient that can't be served is reported to the originator instead,
// in a report that is durable before Accept returns.
func (g *Gateway) Accept(ctx context.Context, s connectors.Submission) (connectors.Receipt, error) {
	now := time.Now()
	env := s.Envelope
	if err := g.complete(&env, now); err != nil {
		return connectors.Receipt{}, err
	}
	events := []tracking.Event{received(&env, s.Notes)}
	defer func() { g.track(ctx, events...) }() // at once: each call waits for the log's writer
	limit := g.settings().MaxSize
	if env.Extra["system"] != "" {
		limit = 0 // directory synchronization is exempt from size limits (KB Q133719)
	}
	body, err := g.o.Store.Stage(ctx, s.Content, limit)
	if err != nil {
		return connectors.Receipt{}, storeFailure(err)
	}
	if g.absorb(ctx, &env, body) {
		return connectors.Receipt{ID: env.ID}, body.Discard()
	}
	size := body.Size()
	rs, bad := g.resolve(env.Recipients)
	p := g.plan(ctx, &env, rs, nil, size, now)
	p.failed = append(bad, p.failed...)
	for _, f := range p.failed {
		if !f.why.Final() { // trouble that passes is not for a report: the source keeps the message
			return connectors.Receipt{}, firstError(f.why, body.Discard())
		}
	}

	n := queue.New{Body: body, Items: g.items(env, p, now), Dedup: s.Dedup}
	if len(p.failed) > 0 {
		report, err := g.report(ctx, &env, body, failedReport(p.failed), now)
		if err != nil {
			return connectors.Receipt{}, firstError(err, body.Discard())
		}
		n.Spawn = report
	}
	receipt := connectors.Receipt{ID: env.ID}
	ids, duplicate, err := g.o.Store.Put(ctx, n)
	if err != nil {
		return connectors.Receipt{}, storeFailure(err)
	}
	if receipt.Duplicate = duplicate; duplicate {
		e := event(tracking.Duplicate, &env)
		e.Text = "offered again by its source; already here, nothing stored"
		events = append(events, e)
		return receipt, nil
	}
	events = append(events, queued(&env, p.groups, n.Items, ids, size)...)
	g.fetchParked(n.Items)
	for _, f := range p.failed {
		e := event(tracking.Failed, &env)
		e.Recipients, e.Class, e.Text = []string{f.rcpt.Address.String()}, f.why.Class, f.why.Error()
		events = append(events, e)
	}
	events = append(events, reported(n.Spawn)...)
	return receipt, nil
}

// complete fills in what Accept owes the envelope and checks what would make it unacceptable as a whole.
func (g *Gateway) complete(env *mail.Envelope, now time.Time) error {
	if len(env.Recipients) == 0 {
		return &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeMessage, Code: 554, Enhanced: "5.5.1", Reason: 1, Diagnostic: 11, MSMail: 1, Text: "no recipients"}
	}
	if n := len(env.Recipients); n > g.settings().MaxRecipients {
		return &mail.Failure{Class: mail.Policy, Scope: mail.ScopeMessage, Code: 554, Enhanced: "5.5.3", Reason: 1, Diagnostic: 16, MSMail: 1,
			Text: fmt.Sprintf("%d recipients, at most %d are taken", n, g.settings().MaxRecipients)}
	}
	if f := routing.CheckTrace(env.Trace, g.o.Site.Name, g.settings().MaxHops); f != nil {
		return f
	}
	if env.ID == "" || len(env.ID) > 32 {
		env.ID = g.newID(now)
	}
	if env.Kind == "" {
		env.Kind = mail.KindMessage
	}
	env.Arrived = now
	if env.Sent.IsZero() {
		env.Sent = now
	}
	env.Originator = g.nativeOriginator(env.Originator, now)
	if env.Name == "" {
		env.Name = g.o.Directory.Name(env.Originator)
	}
	env.Trace = append(append([]mail.Hop(nil), env.Trace...), mail.Hop{Site: g.o.Site.Name, Via: env.Source.Connector, At: now})
	g.learn(env.Originator, env.Source, now)
	return nil
}

// learn remembers the way back to an originator whose peer has shown who it is.
func (g *Gateway) learn(originator address.Address, src mail.Source, now time.Time) {
	if m, ok := g.members()[src.Connector]; ok && m.Type != "msmail" && g.settings().ReplyRoutes > 0 && src.Authenticated && !originator.IsZero() {
		g.o.Directory.Learn(originator, src.Connector, src.Peer, now)
	}
}

// nativeOriginator undoes an encapsulated originator, unless nobody here could then find the way back to him: an
// IMCEA form of a joined site stays as it is when no address space leads to what it holds, since as an SMTP address it
// can be answered from everywhere. This closes the seed's own hole: replies across sites without replication.
func (g *Gateway) nativeOriginator(a address.Address, now time.Time) address.Address {
	native := g.o.Directory.Native(a)
	if native == a || a.Type != address.SMTP {
		return native
	}
	if _, domain, ok := cutLast(a.Value, '@'); ok && g.isOurDomain(domain) {
		return native
	}
	if dec := routing.Route(g.Table(), g.request(native, &mail.Envelope{}, nil, now)); dec.Failure != nil {
		return a
	}
	return native
}

func received(env *mail.Envelope, notes []mail.Note) tracking.Event {
	e := event(tracking.Received, env)
	e.Time = time.Now()
	e.Connector, e.Peer, e.Source = env.Source.Connector, env.Source.Peer, env.Source.Detail
	e.Kind, e.About, e.Recipients = env.Kind, env.About, addresses(env.Recipients)
	e.Notes = notes
	return e
}

func queued(env *mail.Envelope, groups []group, items []queue.Item, ids []queue.ID, size int64) (es []tracking.Event) {
	for i, it := range items {
		e := event(tracking.Queued, env)
		e.Item, e.Connector, e.Dest, e.Size = ids[i].String(), it.Dest.Connector, it.Dest.String(), size
		e.Recipients, e.Route = addresses(it.Envelope.Recipients), groups[i].route
		if it.Next.After(it.Created) {
			e.Text = "waits until " + it.Next.UTC().Format(time.RFC3339)
		}
		es = append(es, e)
	}
	return es
}

// storeFailure classifies what the store says: its faults are ours, never permanent to a peer.
func storeFailure(err error) error {
	if err == nil {
		return nil
	}
	f := mail.AsFailure(err)
	if f.Class == mail.Local && f.Code == 0 {
		f.Code, f.Enhanced = 451, "4.3.0"
	}
	return f
}

func firstError(errs ...error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

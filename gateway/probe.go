package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/gateway/routing"
	"backbone/gateway/tracking"
)

// Verdict is what a probe found out.
type Verdict string

const (
	ProbeUnroutable    Verdict = "unroutable"    // no connector takes such an address
	ProbeWaits         Verdict = "waits"         // mail would wait here: the way is suspended, closed or down
	ProbeRouted        Verdict = "routed"        // the way is open; this connector's next hop can't be asked more
	ProbeTaken         Verdict = "taken"         // the next hop says that it would take mail for this recipient
	ProbeRefused       Verdict = "refused"       // the next hop says that it would not
	ProbeSent          Verdict = "sent"          // the next hop took an X.411 probe, and no report on it has come in time
	ProbeDelivered     Verdict = "delivered"     // the report says that a message would be delivered
	ProbeUndeliverable Verdict = "undeliverable" // the report says that it would not
)

// ProbeRequest asks whether mail would get somewhere.
type ProbeRequest struct {
	To address.Address
	// From is the probe's originator, to whom a report goes that comes too late for an answer; zero: our postmaster.
	From address.Address
	// Size is the length of the message in question, in octets; 0 leaves it open.
	Size int64
	// Wait is how long to wait for the report on an X.411 probe. It does not count the time that asking the next hop takes.
	Wait time.Duration
	By   string // operator
}

// ProbeAnswer is what came of it.
type ProbeAnswer struct {
	Verdict Verdict     `json:"verdict"`
	Route   Explanation `json:"route"`
	// ID is the probe's MTS identifier's local part, under which it is traced; "" when nothing was sent.
	ID      string        `json:"id,omitempty"`
	Peer    string        `json:"peer,omitempty"` // the next hop's own words, or what is known of it
	Failure *mail.Failure `json:"failure,omitempty"`
	Report  *ProbeReport  `json:"report,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// ProbeReport is the report's word on the recipient.
type ProbeReport struct {
	By         string `json:"by"` // the MTA that reports
	Recipient  string `json:"recipient"`
	Status     string `json:"status"` // RFC 3463
	Diagnostic string `json:"diagnostic,omitempty"`
	Text       string `json:"text,omitempty"`
}

// probes are those that wait for their report, by identifier. They are memory only: a report that comes when nobody waits
// goes to the probe's originator like any other.
type probes struct {
	mu sync.Mutex
	m  map[string]chan *dsn.Report
}

func (p *probes) wait(id string) <-chan *dsn.Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = map[string]chan *dsn.Report{}
	}
	p.m[id] = make(chan *dsn.Report, 1)
	return p.m[id]
}

func (p *probes) end(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, id)
}

func (p *probes) waiting(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.m[id]
	return ok
}

// answer hands a report to who waits for it; false when nobody does, or no longer.
func (p *probes) answer(id string, r *dsn.Report) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.m[id]
	if !ok {
		return false
	}
	c <- r
	delete(p.m, id)
	return true
}

// absorb takes a report on a probe that an operator waits for: it is his answer, and nobody's mail. Only a peer that has
// shown who it is may answer so.
func (g *Gateway) absorb(ctx context.Context, env *mail.Envelope, body mail.Content) bool {
	if env.Kind != mail.KindReport || !env.Source.Authenticated || !g.probes.waiting(env.About) {
		return false
	}
	f, err := body.Open()
	if err != nil {
		return false
	}
	defer f.Close() // read only
	report, err := dsn.Parse(f)
	if err != nil || !g.probes.answer(env.About, report) {
		return false
	}
	e := event(tracking.ReportAbsorbed, env)
	e.Kind, e.About, e.Text = env.Kind, env.About, "answers a probe"
	g.track(ctx, e)
	return true
}

// lengthOnly is the content of a probe: how long the message would be (X.411 8.2.1.2).
type lengthOnly int64

func (l lengthOnly) Size() int64 { return int64(l) }
func (l lengthOnly) Open() (io.ReadSeekCloser, error) {
	return nil, errors.New("gateway: a probe has no content")
}

// Probe answers whether mail would get to a recipient: by routing it, and by asking the next hop when its connector can.
// An X.411 probe is answered by a report, for which it waits. It changes nothing but the tracking log.
func (g *Gateway) Probe(ctx context.Context, r ProbeRequest) (a ProbeAnswer) {
	began := time.Now()
	a.Route = g.Explain(r.To)
	defer func() { a.Took = time.Since(began) }()
	dec := a.Route.Decision
	if dec.Failure != nil {
		a.Verdict, a.Failure = ProbeUnroutable, dec.Failure
		return a
	}
	m := g.members()[dec.Chosen.Connector]
	if limit := min(positive(g.settings().MaxSize), positive(m.MaxSize)); r.Size > limit {
		a.Verdict, a.Failure = ProbeRefused, mail.TooLarge(fmt.Sprintf("%d octets, at most %d go this way", r.Size, limit))
		return a
	}
	switch l := dec.Chosen.Link; l.State {
	case routing.Up, routing.OpenRetry, "": // one that failed to open may open now
	default:
		a.Verdict, a.Peer = ProbeWaits, l.String()
		return a
	}
	prober, can := m.Connector.(connectors.Prober)
	if !can {
		g.inspect(ctx, m, &a)
		return a
	}
	g.ask(ctx, prober, r, &a)
	return a
}

// inspect is what can be known without asking: whether the connector finds its next hop in order, or how the link is.
func (g *Gateway) inspect(ctx context.Context, m Member, a *ProbeAnswer) {
	a.Verdict = ProbeRouted
	if c, ok := m.Connector.(interface{ Check(context.Context) error }); ok {
		if err := c.Check(ctx); err != nil {
			a.Verdict, a.Failure = ProbeWaits, mail.AsFailure(err)
			return
		}
		a.Peer = "in order"
	} else {
		a.Peer = "up"
	}
	if l := a.Route.Decision.Chosen.Link; !l.CanSend() {
		a.Verdict, a.Peer = ProbeWaits, l.String()
	}
}

// ask sends the probe and waits for the report, when the peer answers with one.
func (g *Gateway) ask(ctx context.Context, prober connectors.Prober, r ProbeRequest, a *ProbeAnswer) {
	now, chosen := time.Now(), a.Route.Decision.Chosen
	a.ID = g.newID(now)
	env := mail.Envelope{
		ID: a.ID, Kind: mail.KindProbe, Originator: r.From, Arrived: now, Sent: now, ContentType: "message/rfc822",
		Recipients: []mail.Recipient{{Address: a.Route.Resolved, Name: a.Route.Name, Notify: mail.NotifySuccess | mail.NotifyFailure}},
		Source:     mail.Source{Connector: "control", Peer: r.By, Authenticated: true},
		Trace:      []mail.Hop{{Site: g.o.Site.Name, Via: "control", At: now}},
	}
	g.trackProbe(ctx, tracking.Received, &env, func(e *tracking.Event) { e.Connector, e.By = "control", r.By })
	var reported <-chan *dsn.Report // nil, when nobody waits: the report goes to the probe's originator
	if r.Wait > 0 {
		reported = g.probes.wait(a.ID)
		defer g.probes.end(a.ID)
	}
	out := prober.Probe(ctx, &connectors.Transfer{
		Key: transferKey(&env, env.Recipients), NextHop: chosen.NextHop, Envelope: env, Content: lengthOnly(r.Size), Attempt: 1, Note: func(mail.Note) {},
	})[0]
	a.Peer, a.Failure = out.Peer, out.Failure
	typ := tracking.Relayed
	switch {
	case out.State == mail.Delivered && out.PeerReports:
		a.Verdict = ProbeSent
	case out.State == mail.Delivered || out.State == mail.Relayed:
		a.Verdict = ProbeTaken
	case out.State == mail.Failed:
		a.Verdict, typ = ProbeRefused, tracking.Failed
	default:
		a.Verdict, typ = ProbeWaits, tracking.Deferred
	}
	g.trackProbe(ctx, typ, &env, func(e *tracking.Event) {
		e.Connector, e.Dest, e.Peer, e.Took = chosen.Connector, a.Route.Dest, out.Peer, time.Since(now)
		if out.Failure != nil {
			e.Class, e.Text = out.Failure.Class, out.Failure.Error()
		}
	})
	if a.Verdict != ProbeSent {
		return
	}
	patience := time.NewTimer(r.Wait)
	defer patience.Stop()
	select {
	case report := <-reported:
		a.judge(report)
		return
	case <-patience.C:
	case <-ctx.Done():
	}
	g.probes.end(a.ID)
	select {
	case report := <-reported: // it came just then
		a.judge(report)
	default:
	}
}

// judge takes the report's word on the one recipient.
func (a *ProbeAnswer) judge(r *dsn.Report) {
	x := r.Recipients[0]
	a.Verdict = ProbeUndeliverable
	if x.Action == dsn.Delivered || x.Action == dsn.Relayed || x.Action == dsn.Expanded {
		a.Verdict = ProbeDelivered
	}
	a.Report = &ProbeReport{By: r.ReportingMTA.Name, Recipient: x.Final.String(), Status: x.Status, Diagnostic: x.Diagnostic, Text: x.Text}
}

func (g *Gateway) trackProbe(ctx context.Context, typ tracking.Type, env *mail.Envelope, fill func(*tracking.Event)) {
	e := event(typ, env)
	e.Kind, e.Recipients = env.Kind, addresses(env.Recipients)
	fill(&e)
	g.track(ctx, e)
}

// positive is n, or no limit at all.
func positive(n int64) int64 {
	if n <= 0 {
		return 1<<63 - 1
	}
	return n
}

package gateway

import (
	"context"
	"fmt"
	"maps"
	"time"

	"backbone/gateway/mail"
	"backbone/gateway/routing"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// settling gathers what one step makes of an item, until it is settled in one commit.
type settling struct {
	g     *Gateway
	lease queue.Lease
	probe bool // it finds out whether a link is up again
	now   time.Time

	keep     []queue.Item
	spawn    []queue.New
	events   []tracking.Event
	entries  []entry    // what the originator must hear of
	deferred []deferral // this attempt's temporary failures
	notes    []mail.Note

	attempted bool
	poison    bool
	took      time.Duration
}

type deferral struct {
	rcpt mail.Recipient
	why  *mail.Failure
}

// entry is one recipient's line in a report.
type entry struct {
	rcpt   mail.Recipient
	action mail.Notify // NotifyFailure, NotifyDelay or NotifySuccess
	relay  bool        // success, but no word from beyond
	why    *mail.Failure
	until  time.Time // delay: tried until then
}

func failedReport(fs []failed) []entry {
	out := make([]entry, len(fs))
	for i, f := range fs {
		out[i] = entry{rcpt: f.rcpt, action: mail.NotifyFailure, why: f.why}
	}
	return out
}

func (s *settling) event(typ tracking.Type, rs ...mail.Recipient) tracking.Event {
	it := &s.lease.Item
	e := event(typ, &it.Envelope)
	e.Item, e.Connector, e.Dest, e.Recipients = it.ID.String(), it.Dest.Connector, it.Dest.String(), addresses(rs)
	if s.attempted {
		e.Attempt = it.Attempts + 1
	}
	return e
}

// fail ends a recipient with a non-delivery report.
func (s *settling) fail(r mail.Recipient, f *mail.Failure) {
	s.entries = append(s.entries, entry{rcpt: r, action: mail.NotifyFailure, why: f})
	if !s.attempted {
		e := s.event(tracking.Failed, r)
		e.Class, e.Text, e.Peer, e.Waited = f.Class, f.Error(), f.Peer, s.now.Sub(s.lease.Envelope.Arrived)
		s.events = append(s.events, e)
	}
}

// delivered ends a recipient well.
func (s *settling) delivered(r mail.Recipient, o mail.Outcome, peerReports bool) {
	if !peerReports && r.Notify.Wants(mail.NotifySuccess) {
		s.entries = append(s.entries, entry{rcpt: r, action: mail.NotifySuccess, relay: o.State == mail.Relayed})
	}
}

// move sends a group to another destination at once: what was chosen before is history.
func (s *settling) move(gr group) {
	keep := s.lease.Item
	keep.Envelope.Recipients = gr.rcpt
	from := keep.Dest
	keep.Dest, keep.Next, keep.Last = gr.dest, s.now, nil
	switch {
	case keep.Envelope.NotBefore.After(s.now) && s.lease.Next.After(s.now): // unless an operator has said now
		keep.Next = keep.Envelope.NotBefore
	case gr.waiting != nil:
		keep.Next = s.g.parkUntil(&keep, gr.waiting, s.now)
		s.noteDelay(&keep)
	}
	s.keep = append(s.keep, keep)
	e := s.event(tracking.Rerouted, gr.rcpt...)
	e.Dest, e.Connector = gr.dest.String(), gr.dest.Connector
	e.Text, e.Route = "from "+from.String(), gr.route
	s.events = append(s.events, e)
}

// park leaves a group where it is until its link opens, or until something else is due.
func (s *settling) park(gr group) {
	keep := s.lease.Item
	keep.Envelope.Recipients = gr.rcpt
	if last := keep.Last; last == nil || last.Scope != scopeLink {
		keep.Last = linkFailure(gr.waiting)
		if last != nil {
			keep.Last.Text, keep.Last.Peer = keep.Last.Text+"; before that: "+last.Error(), last.Peer
		}
	}
	s.noteDelay(&keep)
	keep.Next = s.g.parkUntil(&keep, gr.waiting, s.now)
	s.keep = append(s.keep, keep)
}

func linkFailure(st *routing.LinkState) *mail.Failure {
	why := st.Why
	if st.State == routing.Suspended {
		why = "suspended: " + why
	}
	return mail.LinkDown("waiting for the link: "+why, nil)
}

// noteDelay tells the originator once that his mail is late.
func (s *settling) noteDelay(keep *queue.Item) {
	if !s.g.settings().Policy.DelayDue(keep, s.now) {
		return
	}
	keep.Delayed = true
	for _, r := range keep.Envelope.Recipients {
		s.entries = append(s.entries, entry{rcpt: r, action: mail.NotifyDelay, why: keep.Last, until: keep.Expires})
	}
}

// reschedule files what this attempt could not do now. After a failed open every other way is looked at once more.
func (s *settling) reschedule(ctx context.Context, linkDown bool) {
	if len(s.deferred) == 0 {
		return
	}
	g := s.g
	keep := s.lease.Item
	keep.Attempts++ // Unknown stays: what became of that earlier attempt is not known by this one either
	keep.Tries = maps.Clone(keep.Tries)
	if keep.Tries == nil {
		keep.Tries = map[string]int{}
	}
	keep.Tries[keep.Dest.Connector]++
	rs := make([]mail.Recipient, len(s.deferred))
	for i, d := range s.deferred {
		rs[i] = d.rcpt
		keep.Last = d.why
		if next := g.settings().Policy.Next(&keep, g.members()[keep.Dest.Connector].Type, d.why, s.now, g.jitter); i == 0 || next.After(keep.Next) {
			keep.Next = next
		}
	}
	keep.Envelope.Recipients = rs
	if s.poison {
		if keep.Tries[poisonTries]++; keep.Tries[poisonTries] >= g.settings().Poison {
			keep.State, keep.By = queue.Held, "gateway"
			keep.Reason = fmt.Sprintf("poison: failed unexpectedly %d times: %s", keep.Tries[poisonTries], keep.Last.Text)
			e := s.event(tracking.Held, rs...)
			e.Text = keep.Reason
			s.events = append(s.events, e)
			g.log.Error("message held", "id", keep.Envelope.ID, "item", keep.ID.String(), "reason", keep.Reason)
		}
	}
	if !linkDown || keep.State == queue.Held {
		s.noteDelay(&keep)
		s.keep = append(s.keep, keep)
		return
	}
	s.lease.Item = keep
	p := g.planItem(ctx, &keep, rs, nil, time.Now())
	for _, gr := range p.groups {
		if gr.dest != keep.Dest {
			s.move(gr)
			continue
		}
		s.stay(gr)
	}
	for _, f := range p.failed {
		s.unroutable(f)
	}
}

// trackOutcome records what the attempt did for one recipient.
func (s *settling) trackOutcome(r mail.Recipient, o mail.Outcome) {
	typ := map[mail.State]tracking.Type{
		mail.Delivered: tracking.Delivered, mail.Relayed: tracking.Relayed, mail.Failed: tracking.Failed,
	}[o.State]
	if typ == "" {
		typ = tracking.Deferred
	}
	e := s.event(typ, r)
	e.Peer = o.Peer
	if o.Failure != nil {
		e.Class, e.Text = o.Failure.Class, o.Failure.Error()
		if e.Peer == "" {
			e.Peer = o.Failure.Peer
		}
	}
	e.Took, e.Waited = s.took, s.now.Add(s.took).Sub(s.lease.Envelope.Arrived)
	e.Notes, s.notes = s.notes, nil
	s.events = append(s.events, e)
}

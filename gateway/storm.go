package gateway

import (
	"context"
	"fmt"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/pace"
	"backbone/queue"
)

// Kinds of counts of reports. They bound the reports that we make, so that a storm of failures does not become one of reports: to
// somebody whose name was forged (backscatter), or over a link that has better things to carry. No report is dropped: what is
// over the limit waits in the queue for its turn, where an operator sees why, and can send it now or delete it.
const (
	perOriginator  = "reports_per_originator"
	perDestination = "reports_per_destination"
)

// pace gives a new report its turn. Its expiry counts from then: waiting for a turn is no failure to deliver.
func (g *Gateway) pace(ctx context.Context, it *queue.Item, originator address.Address, now time.Time) {
	s := g.settings()
	dest := it.Dest.String()
	wait, over := g.turns.Book(ctx, pace.Limit{Kind: perOriginator, Key: originator.Key(), PerHour: s.ReportsPerOriginator},
		// What is late by its originator is counted apart: a storm about one takes no turn of the others'.
		pace.Limit{Kind: perDestination, Key: dest, Later: dest + " later", PerHour: s.ReportsPerDestination})
	limit := fmt.Sprintf("%d reports an hour for one originator", s.ReportsPerOriginator)
	if over == perDestination {
		limit = fmt.Sprintf("%d reports an hour over one destination", s.ReportsPerDestination)
	}
	at := now.Add(wait)
	if !at.After(now) {
		return
	}
	if it.Next.Before(at) {
		it.Next = at
	}
	it.Expires = it.Expires.Add(at.Sub(now))
	it.Last = &mail.Failure{Class: mail.Policy, Scope: mail.ScopeMessage, Enhanced: turnStatus, Text: "waits for its turn: at most " + limit}
	g.log.Debug("report waits for its turn", "id", it.Envelope.ID, "about", it.Envelope.About, "originator", originator.String(), "dest", it.Dest.String(), "until", at)
}

// turnStatus marks the reports that wait for their turn (RFC 3463 3.5: mail system congestion).
const turnStatus = "4.4.5"

// waitsForTurn tells a new report that was given a turn later than now.
func waitsForTurn(it *queue.Item) bool {
	return it.Last != nil && it.Last.Class == mail.Policy && it.Last.Enhanced == turnStatus
}

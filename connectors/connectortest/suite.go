package connectortest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"

	"go.uber.org/goleak"
)

// Run checks a connector kind against the Connector contract, one subtest for each promise.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if len(h.Recipients) < 4 {
		t.Fatal("connectortest: a harness needs at least four recipients")
	}
	for _, c := range checks {
		if c.needs != nil && !c.needs(h) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			c.run(t, h)
		})
	}
}

func (c check) run(t testing.TB, h Harness) {
	before := goleak.IgnoreCurrent()
	l := c.open(h, t)
	shut := sync.OnceFunc(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(shut)
	c.check(t, h, l)
	shut()
	if err := goleak.Find(before); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

type check struct {
	name  string
	needs func(Harness) bool
	open  func(Harness, testing.TB) Link
	check func(testing.TB, Harness, Link)
}

func working(h Harness, t testing.TB) Link { return h.Working(t) }

var checks = []check{
	{name: "name, spaces and next hop never change", open: working, check: checkPure},
	{name: "each recipient has its outcome in order", open: working, check: checkOutcomes},
	{name: "contents arrive octet for octet", open: working, check: checkContents},
	{name: "a report has no originator", open: working, check: checkReport},
	{name: "many transfers at once arrive once each", open: working, check: checkConcurrent},
	{name: "hostile content gets outcomes like any other", open: working, check: checkHostile},
	{name: "a body that can't be read is our own fault and never arrives", open: working, check: checkUnreadable},
	{name: "a cancelled attempt is deferred", open: working, check: checkCancelled},
	{name: "a repeated hand-over arrives once", open: working, check: checkRepeated,
		needs: func(h Harness) bool { return h.ExactlyOnce }},
	{name: "a dead peer defers at link scope", open: func(h Harness, t testing.TB) Link { return h.Dead(t) }, check: checkDead},
	{name: "a permanent refusal fails the recipient refused",
		needs: func(h Harness) bool { return h.Refusing != nil },
		open:  func(h Harness, t testing.TB) Link { return h.Refusing(t, 2, Permanent()) }, check: checkRefused(2, mail.Failed)},
	{name: "a refusal of the first recipient leaves the order right",
		needs: func(h Harness) bool { return h.Refusing != nil },
		open:  func(h Harness, t testing.TB) Link { return h.Refusing(t, 0, Permanent()) }, check: checkRefused(0, mail.Failed)},
	{name: "a transient refusal defers the recipient refused",
		needs: func(h Harness) bool { return h.Refusing != nil },
		open:  func(h Harness, t testing.TB) Link { return h.Refusing(t, 1, Transient()) }, check: checkRefused(1, mail.Deferred)},
	{name: "a silent peer holds nobody up after cancel",
		needs: func(h Harness) bool { return h.Silent != nil },
		open:  func(h Harness, t testing.TB) Link { return h.Silent(t) }, check: checkSilent},
	{name: "a lost answer defers and the next attempt succeeds",
		needs: func(h Harness) bool { return h.LosingAnswer != nil },
		open:  func(h Harness, t testing.TB) Link { return h.LosingAnswer(t) }, check: checkLostAnswer},
}

// Permanent is the refusal that the suite makes peers answer for good: an unknown recipient.
func Permanent() *mail.Failure { return mail.UnknownRecipient("no such mailbox") }

// Transient is the refusal that the suite makes peers answer for now.
func Transient() *mail.Failure {
	return &mail.Failure{Class: mail.Transient, Scope: mail.ScopeRecipient, Code: 450, Enhanced: "4.2.1", Reason: 1, Diagnostic: 4,
		MSMail: 5, Text: "mailbox busy, try again later"}
}

// transfer is an attempt's input for the first n recipients.
func (h Harness) transfer(t testing.TB, l Link, key string, n int, content mail.Content) *connectors.Transfer {
	t.Helper()
	hop, err := l.Connector.NextHop(h.Recipients[0])
	if err != nil {
		t.Fatalf("NextHop(%s): %v", h.Recipients[0], err)
	}
	now := time.Now()
	env := mail.Envelope{ID: "SITEA-" + key, MessageID: key + "@sitea.example", Kind: mail.KindMessage, Originator: h.originator(),
		Subject: "test " + key, Sent: now.Add(-time.Minute), Arrived: now, Trace: []mail.Hop{{Site: "SITEA", At: now}},
		Source: mail.Source{Connector: "test"}, ContentType: "message/rfc822"}
	for _, r := range h.Recipients[:n] {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r})
	}
	return &connectors.Transfer{Key: key, NextHop: hop, Envelope: env, Content: content, Attempt: 1, Note: func(mail.Note) {}}
}

// deliver makes one attempt and checks what must be true of any: one outcome for each recipient, each well formed.
func deliver(t testing.TB, l Link, tr *connectors.Transfer) []mail.Outcome {
	t.Helper()
	return deliverCtx(context.Background(), t, l, tr)
}

func deliverCtx(ctx context.Context, t testing.TB, l Link, tr *connectors.Transfer) []mail.Outcome {
	t.Helper()
	out := l.Connector.Deliver(ctx, tr)
	if got, want := len(out), len(tr.Envelope.Recipients); got != want {
		t.Fatalf("Deliver returned %d outcomes for %d recipients", got, want)
	}
	for i, o := range out {
		if err := wellFormed(o); err != nil {
			t.Errorf("outcome of recipient %d: %v", i, err)
		}
	}
	return out
}

// wellFormed is what the gateway relies on in each outcome.
func wellFormed(o mail.Outcome) error {
	f := o.Failure
	switch o.State {
	case mail.Delivered, mail.Relayed:
		if f != nil {
			return fmt.Errorf("%s, yet with a failure: %v", o.State, f)
		}
		return nil
	case mail.Deferred, mail.Failed:
	default:
		return fmt.Errorf("state %q is unknown", o.State)
	}
	if f == nil {
		return fmt.Errorf("%s without a failure", o.State)
	}
	if f.Final() != (o.State == mail.Failed) {
		return fmt.Errorf("%s with class %s: only permanent and policy are final", o.State, f.Class)
	}
	switch f.Class {
	case mail.Transient, mail.Permanent, mail.Policy, mail.Local:
	default:
		return fmt.Errorf("class %q is unknown", f.Class)
	}
	switch f.Scope {
	case mail.ScopeRecipient, mail.ScopeMessage, mail.ScopeLink:
	default:
		return fmt.Errorf("scope %q is unknown", f.Scope)
	}
	if f.Text == "" && f.Cause == nil {
		return fmt.Errorf("failure without a word of explanation")
	}
	if f.Code != 0 && (f.Code/100 == 5) != f.Final() {
		return fmt.Errorf("class %s with reply code %d", f.Class, f.Code)
	}
	return nil
}

// taken tells an outcome that ends the transfer's responsibility.
func taken(o mail.Outcome) bool { return o.State == mail.Delivered || o.State == mail.Relayed }

func wantTaken(t testing.TB, out []mail.Outcome) {
	t.Helper()
	for i, o := range out {
		if !taken(o) {
			t.Fatalf("recipient %d: got %s (%v), want delivered", i, o.State, o.Failure)
		}
	}
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/directory/dirsync"
	"backbone/gateway/directory/replication"
	"backbone/gateway/mail"
)

// Deliver takes a message for the system mailbox. Whatever it says, it is taken: an agent is never reported on. Only a
// fault of our own leaves it in the queue.
func (a *Agent) Deliver(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	words, err := a.receive(ctx, t)
	o := mail.Outcome{State: mail.Delivered, Peer: words}
	if err != nil {
		o = mail.Outcome{State: mail.Deferred, Failure: mail.LocalFault("the directory agent could not take the message", err)}
	}
	return slices.Repeat([]mail.Outcome{o}, len(t.Envelope.Recipients))
}

func (a *Agent) receive(ctx context.Context, t *connectors.Transfer) (string, error) {
	l, err := read(t.Content, a.codePage(t.Envelope.Originator))
	if err != nil {
		return a.ignored(t, err.Error()), nil
	}
	if replication.Sealed(l.body) {
		return a.receiveReplication(ctx, t, l.body)
	}
	m, err := dirsync.Parse(l.body, l.lists...)
	switch {
	case errors.Is(err, dirsync.ErrNotDirSync):
		return a.ignored(t, err.Error()), nil
	case err != nil:
		return a.refuse(ctx, t, m, &dirsync.Refusal{Code: dirsync.CodeFormat, Text: err.Error()})
	}
	return a.receiveDirSync(ctx, t, m)
}

// ignored notes a message that says nothing to us.
func (a *Agent) ignored(t *connectors.Transfer, why string) string {
	a.log.Warn("message for the directory agent ignored", "id", t.Envelope.ID, "originator", t.Envelope.Originator.String(), "err", why)
	return "ignored: " + why
}

// genuine tells whether a message can be from the post office that its originator names: it came from where mail for
// that post office would go. A password, checked elsewhere, is as good.
func (a *Agent) genuine(env *mail.Envelope) error {
	if !env.Source.Authenticated {
		return fmt.Errorf("it came from %s over %s, where nobody's name is checked", env.Source.Peer, env.Source.Connector)
	}
	for _, c := range a.joined {
		if c.Name() != env.Source.Connector {
			continue
		}
		hop, err := c.NextHop(env.Originator)
		if err != nil || hop != env.Source.Peer {
			return fmt.Errorf("it came from %s over %s, which does not lead to %s", env.Source.Peer, env.Source.Connector, env.Originator)
		}
		return nil
	}
	return fmt.Errorf("it came over %s, which is not known", env.Source.Connector)
}

// receiveReplication takes a partner's question or answer that came by mail.
func (a *Agent) receiveReplication(ctx context.Context, t *connectors.Transfer, text string) (string, error) {
	from, err := replication.Peek(text)
	if err != nil {
		return a.ignored(t, err.Error()), nil
	}
	a.mu.Lock()
	p := a.peers[from]
	a.mu.Unlock()
	if p == nil || p.Address.IsZero() {
		return a.ignored(t, fmt.Sprintf("site %q is no partner with whom directories are replicated by mail", from)), nil
	}
	m, err := replication.Read(text, p.Key)
	if err != nil {
		a.note(from, err, false)
		return a.ignored(t, err.Error()), nil
	}
	if m.Question != nil {
		ans, err := a.reply(*m.Question)
		if err != nil {
			return a.ignored(t, err.Error()), nil
		}
		err = a.send(ctx, outgoing{to: p.Address, subject: fmt.Sprintf("Directory of %s for %s: changes after %d", a.o.Site.Name, from, m.Question.Since.USN),
			body: replication.Seal(ans.Encode(), p.Key), dedup: "replication-answer/" + t.Key})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("answered with %d changes", len(ans.Batch.Changes)), nil
	}
	more, err := a.take(from, *m.Answer)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	more = more || p.again
	p.asked, p.again = time.Time{}, false
	p.status.LastDone = time.Now()
	partner := p.Partner
	a.mu.Unlock()
	if more {
		if err := a.ask(ctx, partner); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d changes", len(m.Answer.Batch.Changes)), nil
}

// patience is how many intervals a question by mail may stay without an answer before another one is asked.
const patience = 2

// ask sends a question by mail, one at a time: what comes up meanwhile waits for the answer.
func (a *Agent) ask(ctx context.Context, p Partner) error {
	now := time.Now()
	a.mu.Lock()
	s := a.peers[p.Site]
	if waits := !s.asked.IsZero() && now.Sub(s.asked) < patience*p.Interval; waits {
		s.again = true
		a.mu.Unlock()
		return nil
	}
	s.asked, s.again = now, false
	a.mu.Unlock()
	q, err := a.question(p.Site)
	if err != nil {
		return err
	}
	return a.send(ctx, outgoing{to: p.Address, subject: fmt.Sprintf("Directory of %s: what has changed after %d?", p.Site, q.Since.USN), body: replication.Seal(q.Encode(), p.Key)})
}

func samePostOffice(x address.Address, po string) bool {
	m, err := x.MSMail()
	return err == nil && m.PostOffice().String() == po
}

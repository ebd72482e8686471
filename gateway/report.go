package gateway

import (
	"context"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/gateway/tracking"
	"backbone/queue"

	"io"
)

// report makes the report on some recipients of a message, for its originator, ready for the store. It returns nothing
// when none is due: nobody to tell, nothing asked for, or the message is itself a report (RFC 3464 2: never a report
// about a report; KB Q175447: never one to POSTMASTER).
func (g *Gateway) report(ctx context.Context, env *mail.Envelope, body mail.Content, entries []entry, now time.Time) ([]queue.New, error) {
	var due []entry
	for _, e := range entries {
		if e.rcpt.Notify.Wants(e.action) {
			due = append(due, e)
		}
	}
	if len(due) == 0 {
		return nil, nil
	}
	if why := noReport(env); why != "" {
		e := event(tracking.ReportAbsorbed, env)
		e.Text = why
		g.track(ctx, e)
		return nil, nil
	}
	r := g.describe(env, due)
	to := mail.Recipient{Address: env.Originator, Name: env.Name, Notify: mail.NotifyNever}
	renv := mail.Envelope{
		ID: g.newID(now), Kind: mail.KindReport, Recipients: []mail.Recipient{to}, Priority: env.Priority, Arrived: now, Sent: now,
		About: env.ID, Subject: r.Subject(), Source: mail.Source{Connector: "gateway"},
		Trace: []mail.Hop{{Site: g.o.Site.Name, At: now}},
	}
	renv.MessageID = renv.ID + "@" + g.domain()
	staged, eightBit, err := g.stageReport(ctx, r, body, env, renv, now)
	if err != nil {
		return nil, err
	}
	renv.EightBit = eightBit
	rs, bad := g.resolve(renv.Recipients)
	p := g.plan(ctx, &renv, rs, nil, staged.Size(), now)
	p.failed = append(bad, p.failed...)
	if len(p.failed) > 0 {
		e := event(tracking.ReportDiscarded, &renv)
		e.Recipients, e.Text = []string{env.Originator.String()}, "the originator can't be reached: "+p.failed[0].why.Error()
		g.track(ctx, e)
		g.log.Warn("report can't be delivered", "id", renv.ID, "about", env.ID, "rcpt", env.Originator.String(), "err", p.failed[0].why.Error())
		return nil, staged.Discard()
	}
	items := g.items(renv, p, now)
	for i := range items {
		g.pace(ctx, &items[i], env.Originator, now)
	}
	return []queue.New{{Body: staged, Items: items}}, nil
}

// noReport says why a message must not cause a report; "" when it may.
func noReport(env *mail.Envelope) string {
	switch {
	case env.Kind == mail.KindReport || env.Kind == mail.KindReceipt:
		return "a report never causes a report"
	case env.Originator.IsZero():
		return "null originator"
	case env.Extra["system"] != "":
		return "system mail is never reported on to a mailbox"
	}
	if ms, err := env.Originator.MSMail(); err == nil && (ms.System() || ms.Postmaster()) {
		return "never to " + ms.Mailbox
	}
	if env.Originator.Type == address.SMTP {
		local, _, _ := cutLast(env.Originator.Value, '@')
		if strings.EqualFold(local, "mailer-daemon") {
			return "never to " + local
		}
	}
	return ""
}

// describe puts the facts of a report together.
func (g *Gateway) describe(env *mail.Envelope, entries []entry) *dsn.Report {
	r := &dsn.Report{
		ReportingMTA: dsn.MTA{Type: "dns", Name: g.domain()}, EnvID: env.EnvID, About: env.ID, Arrival: env.Arrived,
		Original: dsn.Original{MessageID: env.MessageID, Subject: env.Subject, From: env.Name, Sent: env.Sent},
	}
	if r.Original.From == "" {
		r.Original.From = env.Originator.Display()
	}
	for _, e := range entries {
		action := dsn.Failed
		switch {
		case e.action == mail.NotifyDelay:
			action = dsn.Delayed
		case e.action == mail.NotifySuccess && e.relay:
			action = dsn.Relayed
		case e.action == mail.NotifySuccess:
			action = dsn.Delivered
		}
		rcpt := dsn.ForRecipient(e.rcpt, action, e.why)
		rcpt.WillRetryUntil = e.until
		if action == dsn.Failed && strings.HasPrefix(rcpt.Status, "4.") {
			rcpt.Status = "5." + rcpt.Status[2:] // it is over now: a final report has a final status
		}
		r.Recipients = append(r.Recipients, rcpt)
	}
	return r
}

func (g *Gateway) stageReport(ctx context.Context, r *dsn.Report, body mail.Content, env *mail.Envelope, renv mail.Envelope, now time.Time) (queue.Staged, bool, error) {
	to := g.o.Directory.As(env.Originator, address.SMTP)
	o := dsn.Options{
		From: netmail.Address{Name: "Postmaster of " + g.o.Site.Name, Address: "postmaster@" + g.domain()},
		To:   netmail.Address{Name: env.Name, Address: to.Value}, MessageID: renv.MessageID, Date: now, Full: env.RetFull,
	}
	pr, pw := io.Pipe()
	var eightBit bool
	done := make(chan error, 1)
	go func() {
		var err error
		eightBit, err = dsn.Build(pw, r, body, o)
		pw.CloseWithError(err)
		done <- err
	}()
	staged, err := g.o.Store.Stage(ctx, pr, 0)
	pr.CloseWithError(io.ErrClosedPipe)
	if berr := <-done; err == nil && berr != nil {
		err = firstError(berr, staged.Discard())
	}
	if err != nil {
		return nil, false, storeFailure(fmt.Errorf("report about %s: %w", env.ID, err))
	}
	return staged, eightBit, nil
}

func (g *Gateway) domain() string {
	if len(g.o.Site.Domains) > 0 {
		return g.o.Site.Domains[0]
	}
	return "localhost"
}

// addReports turns a step's entries into reports: one for failures, one for delays, one for successes, as they differ
// in what they ask of the reader.
func (s *settling) addReports(ctx context.Context) error {
	by := map[mail.Notify][]entry{}
	for _, e := range s.entries {
		by[e.action] = append(by[e.action], e)
	}
	for _, kind := range []mail.Notify{mail.NotifyFailure, mail.NotifyDelay, mail.NotifySuccess} {
		if len(by[kind]) == 0 {
			continue
		}
		news, err := s.g.report(ctx, &s.lease.Envelope, s.g.o.Store.Body(s.lease.Body), by[kind], s.now)
		if err != nil {
			return err
		}
		s.spawn = append(s.spawn, news...)
	}
	return nil
}

func reported(news []queue.New) (es []tracking.Event) {
	for _, n := range news {
		for _, it := range n.Items {
			e := event(tracking.Report, &it.Envelope)
			e.ID, e.About = it.Envelope.About, it.Envelope.ID
			e.Connector, e.Dest, e.Recipients = it.Dest.Connector, it.Dest.String(), addresses(it.Envelope.Recipients)
			e.Text = it.Envelope.Subject
			if waitsForTurn(&it) {
				e.Next, e.Text = it.Next, it.Last.Text
			}
			es = append(es, e)
		}
	}
	return es
}

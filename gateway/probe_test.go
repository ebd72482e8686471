package gateway_test

import (
	"bytes"
	"context"
	netmail "net/mail"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
)

// prober is a wire whose far end takes probes; what came is sent on to the test.
type prober struct {
	*wire
	outcome mail.Outcome
	then    func(*connectors.Transfer) // after the probe was taken
}

func (p *prober) Probe(_ context.Context, t *connectors.Transfer) []mail.Outcome {
	if p.then != nil {
		go p.then(t)
	}
	return []mail.Outcome{p.outcome}
}

// withProber runs f on a site whose way to NET/PO2 can be probed.
func withProber(t *testing.T, f func(r *rig, p *prober)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: dir}
		r.po1, r.site, r.imc = ways(t)
		p := &prober{wire: r.site, outcome: mail.Outcome{State: mail.Delivered, Peer: "taken by MTA SITEB", PeerReports: true}}
		r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) { o.Members[1].Connector = p })
		defer r.close()
		f(r, p)
	})
}

// reportOn is what comes back about a probe.
func reportOn(r *rig, id string, action dsn.Action, change func(*mail.Envelope)) {
	d := &dsn.Report{ReportingMTA: dsn.MTA{Type: "x400", Name: "SITEB"}, About: id, Recipients: []dsn.Recipient{{Final: addr(r.t, "MS:NET/PO2/MKUMAR"), Action: action, Status: "5.1.1"}}}
	var b bytes.Buffer
	if _, err := dsn.Build(&b, d, nil, dsn.Options{MessageID: "report@siteb.example", Date: time.Now(), From: netmail.Address{Address: "postmaster@siteb.example"}, To: netmail.Address{Address: "asmith@sitea.example"}}); err != nil {
		r.t.Error(err)
	}
	env := mail.Envelope{Kind: mail.KindReport, About: id, Recipients: []mail.Recipient{{Address: addr(r.t, "MS:NET/PO1/ASMITH"), Notify: mail.NotifyNever}},
		Source: mail.Source{Connector: "site", Peer: "SITEB", Authenticated: true}}
	if change != nil {
		change(&env)
	}
	if _, err := r.g.Accept(r.t.Context(), connectors.Submission{Envelope: env, Content: &b}); err != nil {
		r.t.Error(err)
	}
}

func TestAReportAnswersTheProbeThatWaitsForIt(t *testing.T) {
	for action, want := range map[dsn.Action]gateway.Verdict{dsn.Delivered: gateway.ProbeDelivered, dsn.Failed: gateway.ProbeUndeliverable} {
		withProber(t, func(r *rig, p *prober) {
			p.then = func(tr *connectors.Transfer) {
				if tr.Envelope.Kind != mail.KindProbe || tr.Content.Size() != 70 || !tr.Envelope.Recipients[0].Notify.Wants(mail.NotifySuccess) {
					t.Errorf("the probe is %+v", tr)
				}
				time.Sleep(10 * time.Second)
				reportOn(r, "SOMETHING-ELSE", action, nil)
				forged := map[dsn.Action]dsn.Action{dsn.Delivered: dsn.Failed, dsn.Failed: dsn.Delivered}[action]
				reportOn(r, tr.Envelope.ID, forged, func(e *mail.Envelope) { e.Source.Authenticated = false }) // anybody could
				reportOn(r, tr.Envelope.ID, action, nil)
			}
			a := r.g.Probe(r.t.Context(), gateway.ProbeRequest{To: addr(t, "MS:NET/PO2/MKUMAR"), From: addr(t, "MS:NET/PO1/ASMITH"), Size: 70, Wait: time.Minute})
			if a.Verdict != want || a.Report == nil || a.Report.By != "SITEB" || a.Took < 10*time.Second || a.Took > 15*time.Second {
				t.Errorf("%s: %+v, %+v", want, a, a.Report)
			}
			r.settle()
			r.expect("reports to the originator", len(r.reports()), 2)
		})
	}
}

func TestAProbeThatNobodyReportsOnEndsWithItsWait(t *testing.T) {
	withProber(t, func(r *rig, p *prober) {
		ask := func(ctx context.Context) gateway.ProbeAnswer {
			return r.g.Probe(ctx, gateway.ProbeRequest{To: addr(t, "MS:NET/PO2/MKUMAR"), From: addr(t, "MS:NET/PO1/ASMITH"), Wait: time.Minute})
		}
		if a := ask(r.t.Context()); a.Verdict != gateway.ProbeSent || a.Took != time.Minute {
			t.Errorf("%+v", a)
		} else {
			reportOn(r, a.ID, dsn.Failed, nil)
			r.settle()
			r.expect("late reports to the originator", len(r.reports()), 1)
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
		defer cancel()
		if a := ask(ctx); a.Verdict != gateway.ProbeSent || a.Took != time.Second {
			t.Errorf("the caller went away: %+v", a)
		}
		p.outcome = mail.Outcome{State: mail.Delivered, Peer: "250 ok"}
		if a := ask(r.t.Context()); a.Verdict != gateway.ProbeTaken || a.Took != 0 {
			t.Errorf("the peer's own word: %+v", a)
		}
		p.outcome = mail.Outcome{State: mail.Failed, Failure: mail.UnknownRecipient("who?")}
		if a := ask(r.t.Context()); a.Verdict != gateway.ProbeRefused || a.Failure == nil {
			t.Errorf("refused: %+v", a)
		}
		p.outcome = mail.Outcome{State: mail.Deferred, Failure: mail.LinkDown("SITEB does not answer", nil)}
		if a := ask(r.t.Context()); a.Verdict != gateway.ProbeWaits || a.Failure == nil {
			t.Errorf("down: %+v", a)
		}
	})
}

package gateway_test

import (
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/queue"
)

var unplugged = mail.LinkDown("SITEB does not answer", nil)

func TestASiteThatIsDownForTheWholeScheduleCausesADelayNoticeThenAnNDR(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(4*time.Hour - time.Minute)
		r.expect("reports before the notice is due", len(r.reports()), 0)
		r.after(2 * time.Minute)
		got := r.reports()
		if len(got) != 1 || got[0].Recipients[0].Action != dsn.Delayed {
			t.Fatalf("after 4 hours: %+v, want one delay notice", got)
		}
		if until := got[0].Recipients[0].WillRetryUntil; until.IsZero() {
			t.Error("the notice does not say until when it is tried")
		}
		r.after(30 * time.Hour)
		got = r.reports()
		if len(got) != 2 {
			t.Fatalf("%d reports, want a delay notice and an NDR", len(got))
		}
		rc := got[1].Recipients[0]
		r.expect("action", rc.Action, dsn.Failed)
		r.expect("recipient", rc.Final, "MS:NET/PO2/JLEE")
		r.expect("MS Mail code", rc.MSMail, 5)
		if !strings.HasPrefix(rc.Status, "5.") || !strings.Contains(rc.Text, "NET/PO2/JLEE") {
			t.Errorf("status %s, text %q: want a final status and a reason that names the recipient", rc.Status, rc.Text)
		}
		r.expect("left in the queue", len(r.waiting()), 0)
		r.after(20 * 24 * time.Hour)
		r.expect("reports at the end", len(r.reports()), 2)
		// 144 opens, ten minutes (and up to a tenth more) apart.
		if n := len(r.site.attempts()); n < 125 || n > 145 {
			t.Errorf("%d attempts to open, want about 144", n)
		}
	})
}

func TestNoLinkIsTriedEarlierThanItsScheduleAllows(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		for range 5 {
			r.must("MS:NET/PO2/JLEE", nil)
			r.after(3 * time.Minute)
		}
		r.after(6 * time.Hour)
		at := r.site.attempts()
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < 10*time.Minute {
				t.Fatalf("attempt %d came %s after the one before", i, d)
			}
		}
	})
}

func TestMailThatWaitedForALinkGoesAtOnceWhenItOpens(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		for range 50 {
			r.must("MS:NET/PO2/JLEE", nil)
		}
		r.after(2 * time.Hour)
		r.site.says(nil)
		r.after(11 * time.Minute)
		r.expect("delivered", len(r.site.received()), 50)
		r.expect("left", len(r.waiting()), 0)
		r.expect("links down", len(r.g.Links()), 0)
	})
}

func TestALinkThatFailsAgainWhileItsMailIsFetchedKeepsTheRest(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		for range 30 {
			r.must("MS:NET/PO2/JLEE", nil)
		}
		n := 0
		r.site.does(func(tr *connectors.Transfer) []mail.Outcome {
			if n++; n%7 == 0 {
				return repeated(unplugged, len(tr.Envelope.Recipients))
			}
			return []mail.Outcome{{State: mail.Delivered}}
		})
		r.after(3 * time.Hour)
		r.expect("delivered", len(r.site.received()), 30)
		keys := map[string]bool{}
		for _, m := range r.site.received() {
			keys[m.key] = true
		}
		r.expect("different ones", len(keys), 30)
	})
}

func TestMailThatWaitedForItsOwnReasonIsFetchedWhenItsLinkGoesDownAndComesBack(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(&mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.4.2", Text: "no answer to the whole message"})
		r.must("MS:NET/PO2/FIRST", nil)
		r.site.says(unplugged)
		r.must("MS:NET/PO2/SECOND", nil)
		r.after(5 * time.Minute) // FIRST is due and finds the link down
		r.expect("waiting", len(r.waiting()), 2)
		for _, it := range r.waiting() {
			if it.Envelope.Recipients[0].Address.Value == "NET/PO2/FIRST" && !strings.Contains(it.Last.Text, "no answer to the whole message") {
				t.Errorf("what the peer said before is forgotten: %s", it.Last.Text)
			}
		}
		r.site.says(nil)
		r.after(12 * time.Minute)
		r.expect("delivered", len(r.site.received()), 2)
	})
}

func TestQueuedMailGoesTheDearerWayWithoutAnOperator(t *testing.T) {
	second := &wire{name: "x400", typ: "x400", hop: "SITEB", spaces: []address.Space{dearer(t, "MS:NET/PO2")}}
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		r.expect("over the dearer way at once", len(second.received()), 1)
		r.site.says(nil)
		r.after(11 * time.Minute) // the cheap way has come back: nobody asked it, so it is found by the next message
		r.must("MS:NET/PO2/JLEE", nil)
		r.expect("over the cheap way again", len(r.site.received()), 1)
	}, second)
}

func TestMailThatQueuesForADeadLinkIsMovedWhenItGoesDown(t *testing.T) {
	second := &wire{name: "x400", typ: "x400", hop: "SITEB", spaces: []address.Space{dearer(t, "MS:NET/PO2")}}
	inBubble(t, func(r *rig) {
		second.says(mail.LinkDown("x400 is down, too", nil))
		r.site.says(unplugged)
		for range 20 {
			r.must("MS:NET/PO2/JLEE", nil)
		}
		r.after(time.Hour)
		r.expect("waiting", len(r.waiting()), 20)
		second.says(nil)
		r.after(12 * time.Minute)
		r.expect("over the second way", len(second.received()), 20)
		r.expect("over the first", len(r.site.received()), 0)
	}, second)
}

func TestAPeerThatIsOpenButBusyLosesItsMailToTheOtherWay(t *testing.T) {
	second := &wire{name: "x400", typ: "x400", hop: "SITEB", spaces: []address.Space{dearer(t, "MS:NET/PO2")}}
	inBubble(t, func(r *rig) {
		busy := &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.2", Text: "busy"}
		r.site.says(busy)
		r.must("MS:NET/PO2/JLEE", nil)
		r.expect("after one refusal it stays with the cheap way", len(second.received()), 0)
		r.after(3 * time.Minute)
		r.expect("then the way with fewer tries is taken (KB Q193322)", len(second.received()), 1)
	}, second)
}

func TestWithoutAnotherWayATransferIsTriedUntilItExpires(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.imc.says(&mail.Failure{Class: mail.Transient, Scope: mail.ScopeRecipient, Code: 450, Enhanced: "4.2.0", Peer: "450 4.2.0 greylisted", Text: "greylisted"})
		r.must("SMTP:kim@elsewhere.example", nil)
		r.after(7*24*time.Hour - time.Hour)
		r.expect("still waiting", len(r.waiting()), 1)
		r.after(2 * time.Hour)
		r.expect("given up", len(r.waiting()), 0)
		reps := r.reports()
		last := reps[len(reps)-1].Recipients[0]
		if last.Action != dsn.Failed || !strings.Contains(last.Diagnostic, "greylisted") {
			t.Errorf("%+v, want a failure with the peer's own words", last)
		}
		r.expect("reports", len(reps), 2)
	})
}

func TestExpiryGoesByPriorityAndLocalArrival(t *testing.T) {
	for _, c := range []struct {
		name string
		p    mail.Priority
		end  time.Duration
	}{{"urgent", mail.Urgent, 48 * time.Hour}, {"normal", mail.Normal, 7 * 24 * time.Hour}, {"non-urgent", mail.NonUrgent, 10 * 24 * time.Hour}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.imc.says(&mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.0", Text: "later"})
				r.must("SMTP:kim@elsewhere.example", func(s *connectors.Submission) {
					s.Envelope.Priority = c.p
					s.Envelope.Sent = time.Now().Add(-1000 * time.Hour) // a clock that is wrong says nothing
				})
				r.after(c.end - time.Minute)
				r.expect("just before", len(r.waiting()), 1)
				r.after(2 * time.Minute)
				r.expect("just after", len(r.waiting()), 0)
			})
		})
	}
}

func TestADeferredDeliveryTimeIsKept(t *testing.T) {
	inBubble(t, func(r *rig) {
		at := time.Now().Add(36 * time.Hour)
		r.must("MS:NET/PO2/JLEE", func(s *connectors.Submission) { s.Envelope.NotBefore = at })
		r.after(36*time.Hour - time.Minute)
		r.expect("before its time", len(r.site.received()), 0)
		r.after(2 * time.Minute)
		r.expect("after it", len(r.site.received()), 1)
	})
}

func TestALatestDeliveryTimeEndsIt(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", func(s *connectors.Submission) { s.Envelope.NotAfter = time.Now().Add(time.Hour) })
		r.after(2 * time.Hour)
		r.expect("waiting", len(r.waiting()), 0)
		r.expect("reports", len(r.reports()), 1)
	})
}

func TestASuspensionHoldsMailBackOrSendsItAnotherWay(t *testing.T) {
	inBubble(t, func(r *rig) {
		dest := queue.Dest{Connector: "site"}
		if err := r.g.Suspend(t.Context(), queue.Suspension{Dest: dest, By: "kim", Reason: "line works"}); err != nil {
			t.Fatal(err)
		}
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(5 * time.Hour)
		r.expect("attempts while suspended", len(r.site.attempts()), 0)
		reps := r.reports()
		if len(reps) != 1 || reps[0].Recipients[0].Action != dsn.Delayed {
			t.Fatalf("%+v, want a delay notice from behind the suspension", reps)
		}
		if x := r.g.Explain(addr(t, "MS:NET/PO2/JLEE")); !strings.Contains(x.Decision.Chosen.Link.String(), "line works") {
			t.Errorf("explain says %q, want the suspension's reason", x.Decision.Chosen.Link)
		}
		if err := r.g.Resume(t.Context(), dest, "kim"); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.expect("delivered at once after it", len(r.site.received()), 1)
	})
}

func TestSuspendedMailExpires(t *testing.T) {
	inBubble(t, func(r *rig) {
		if err := r.g.Suspend(t.Context(), queue.Suspension{Dest: queue.Dest{Connector: "site", Host: "SITEB"}, By: "kim", Reason: "closed"}); err != nil {
			t.Fatal(err)
		}
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(7*24*time.Hour + time.Hour)
		r.expect("waiting", len(r.waiting()), 0)
		reps := r.reports()
		r.expect("reports", len(reps), 2)
		r.expect("the last", reps[len(reps)-1].Recipients[0].Action, dsn.Failed)
	})
}

func TestASuspensionEndsByItself(t *testing.T) {
	inBubble(t, func(r *rig) {
		if err := r.g.Suspend(t.Context(), queue.Suspension{Dest: queue.Dest{Connector: "site", Host: "SITEB"}, By: "kim", Reason: "till noon", Until: time.Now().Add(2 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(time.Hour)
		r.expect("during", len(r.site.received()), 0)
		r.after(time.Hour + time.Minute)
		r.expect("after", len(r.site.received()), 1)
	})
}

func TestSuspendingMovesWaitingMailToTheOtherWay(t *testing.T) {
	second := &wire{name: "x400", typ: "x400", hop: "SITEB", spaces: []address.Space{dearer(t, "MS:NET/PO2")}}
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		second.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		if err := r.g.Suspend(t.Context(), queue.Suspension{Dest: queue.Dest{Connector: "site"}, By: "kim", Reason: "gone"}); err != nil {
			t.Fatal(err)
		}
		second.says(nil)
		r.after(12 * time.Minute)
		r.expect("over the other", len(second.received()), 1)
	}, second)
}

func TestAfterARestartParkedMailIsTriedAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(time.Hour)
		r.close()
		wires := []*wire{r.po1, r.site, r.imc}
		r.site.says(nil)
		r.open(wires, nil)
		r.settle()
		r.expect("delivered", len(r.site.received()), 1)
	})
}

func TestTransferOnlyWhenThePeerCallsIsHeldBack(t *testing.T) {
	branch := &wire{name: "branch", typ: "x400", hop: "BRANCH", schedule: "never", spaces: []address.Space{space(t, "MS:NET/PO7")}}
	inBubble(t, func(r *rig) {
		r.must("MS:NET/PO7/JLEE", nil)
		r.after(time.Hour)
		r.expect("attempts", len(branch.attempts()), 0)
		r.expect("waiting", len(r.waiting()), 1)
	}, branch)
}

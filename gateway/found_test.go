package gateway_test

import (
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

// What the simulator found, each as a story of its own.

func TestAWaitCountsFromTheFailureNotFromTheAttemptsBeginning(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.does(func(tr *connectors.Transfer) []mail.Outcome {
			r.site.idle(9 * time.Minute) // what a dead peer's time-outs add up to
			return repeated(unplugged, 1)
		})
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(28 * time.Minute)
		r.expect("attempts", len(r.site.attempts()), 2)
	})
}

func TestAProbeOfALinkLeavesDeferredDeliveryTimesAlone(t *testing.T) {
	inBubble(t, func(r *rig) {
		at := time.Now().Add(12 * time.Hour)
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", func(s *connectors.Submission) { s.Envelope.NotBefore = at })
		r.must("MS:NET/PO2/MKUMAR", func(s *connectors.Submission) { s.Envelope.NotAfter = time.Now().Add(time.Hour) })
		r.after(90 * time.Minute) // the second has expired, the link is still to be tried
		n := len(r.site.attempts())
		r.after(10 * time.Hour)
		r.expect("attempts with nothing but the deferred one", len(r.site.attempts()), n)
		r.site.says(nil)
		r.after(40 * time.Minute)
		r.expect("delivered", len(r.site.received()), 1)
	})
}

func TestReroutingLeavesDeferredDeliveryTimesAlone(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.must("MS:NET/PO2/JLEE", func(s *connectors.Submission) { s.Envelope.NotBefore = time.Now().Add(12 * time.Hour) })
		if _, err := r.g.Reroute(t.Context(), queue.Filter{}, "site", "kim", "", false); err != nil {
			t.Fatal(err)
		}
		r.after(11 * time.Hour)
		r.expect("before its time", len(r.site.attempts()), 0)
		r.after(61 * time.Minute)
		r.expect("then", len(r.site.received()), 1)
	})
}

func TestALinkThatIsDownAndSuspendedIsNotProbed(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		if err := r.g.Suspend(t.Context(), queue.Suspension{Dest: queue.Dest{Connector: "site"}, By: "kim", Reason: "works"}); err != nil {
			t.Fatal(err)
		}
		r.site.says(nil)
		r.after(3 * time.Hour)
		r.expect("attempts since", len(r.site.attempts()), 1)
		if err := r.g.Resume(t.Context(), queue.Dest{Connector: "site"}, "kim"); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.expect("delivered", len(r.site.received()), 1)
	})
}

func TestMailThatAnOperatorCannotRerouteThereWaitsAsBefore(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		if _, err := r.g.Reroute(t.Context(), queue.Filter{}, "imc", "kim", "", false); err != nil {
			t.Fatal(err)
		}
		r.site.says(nil)
		r.after(12 * time.Minute)
		r.expect("delivered when its link came up", len(r.site.received()), 1)
	})
}

func TestHeldMailWhoseLinkCameUpMeanwhileGoesWhenReleased(t *testing.T) {
	for _, c := range []struct{ take, give queue.Verb }{{queue.Hold, queue.Release}, {queue.Delete, queue.Restore}} {
		t.Run(string(c.take), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.site.says(unplugged)
				r.must("MS:NET/PO2/JLEE", nil)
				id := []queue.ID{r.waiting()[0].ID}
				r.must("MS:NET/PO2/MKUMAR", nil)
				for _, v := range []queue.Verb{c.take, c.give} {
					if n, err := r.g.Change(t.Context(), queue.Filter{IDs: id}, queue.Op{Verb: v, By: "kim"}, false); err != nil || n != 1 {
						t.Fatal(n, err)
					}
					r.site.says(nil)
					r.after(30 * time.Minute)
				}
				r.expect("delivered", len(r.site.received()), 2)
			})
		})
	}
}

func TestRetryingOneMessageOpensNoLinkButItsOwn(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.imc.says(unplugged)
		r.must("MS:NET/PO2/JLEE,SMTP:kim@elsewhere.example", nil)
		var id queue.ID
		for _, it := range r.waiting() {
			if it.Dest.Connector == "imc" {
				id = it.ID
			}
		}
		if _, err := r.g.Change(t.Context(), queue.Filter{IDs: []queue.ID{id}}, queue.Op{Verb: queue.RetryNow, By: "kim"}, false); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.expect("its own", len(r.imc.attempts()), 2)
		r.expect("another", len(r.site.attempts()), 1)
	})
}

func TestASlowFailureFromBeforeAProbeDoesNotEndIt(t *testing.T) {
	other := &wire{name: "x400", typ: "x400", hop: "MTAB", spaces: []address.Space{space(t, "MS:NET/PO7")}}
	inBubble(t, func(r *rig) {
		hang := []time.Duration{time.Minute, 13 * time.Minute, 8 * time.Minute}
		other.does(func(tr *connectors.Transfer) []mail.Outcome {
			d := time.Minute
			if len(hang) > 0 {
				d, hang = hang[0], hang[1:]
			}
			other.idle(d)
			return repeated(unplugged, 1)
		})
		for range 2 {
			if _, err := r.send("MS:NET/PO7/JLEE", nil); err != nil {
				t.Fatal(err)
			}
		}
		// The first fails after 1 minute, the probe at 11 to 12 minutes takes until 19 or 20; the second fails at 13.
		r.after(28 * time.Minute)
		r.expect("attempts", len(other.attempts()), 3)
	}, other)
}

// idle passes time within an attempt. The wire is not locked meanwhile: a bubble's clock stands still while anybody
// waits for a lock.
func (w *wire) idle(d time.Duration) {
	w.mu.Unlock()
	defer w.mu.Lock()
	time.Sleep(d)
}

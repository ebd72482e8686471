package gateway_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"
	"backbone/queue"
)

// sharedStore is a store that two gateways have in common: it outlives either.
type sharedStore struct{ queue.Store }

func (sharedStore) Close() error { return nil }

// second starts another gateway of the site on the same queue.
func (r *rig) second(name string) *rig {
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	b := &rig{t: r.t, dir: dir, make: func() (queue.Store, error) { return sharedStore{r.store}, nil }}
	b.po1, b.site, b.imc = ways(r.t)
	b.open([]*wire{b.po1, b.site, b.imc}, nil)
	return b
}

func TestMailParkedByAGatewayThatIsGoneIsFetchedByAnother(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil) // now its link is down
		b := r.second("b")
		defer b.close()
		r.must("MS:NET/PO2/MKUMAR", func(s *connectors.Submission) { s.Envelope.ID = "parked" })
		r.expect("at the other gateway, which does not know of it", len(b.site.received()), 1)
		r.stop()
		r.after(11 * time.Minute)
		r.expect("in the end", len(b.site.received()), 2)
		r.expect("waiting", len(b.waiting()), 0)
		r.run() // for close
	})
}

func TestMailThatWaitsForItselfIsNotTakenForParked(t *testing.T) {
	inBubble(t, func(r *rig) {
		later := time.Now().Add(5 * time.Hour)
		asked := *simBusy
		asked.RetryAfter = 5 * time.Hour
		r.site.says(&asked)
		r.must("MS:NET/PO2/JLEE", nil)
		r.must("MS:NET/PO2/PWONG", func(s *connectors.Submission) { s.Envelope.NotBefore = later })
		r.site.says(nil)
		r.after(4 * time.Hour)
		r.expect("attempts before their times", len(r.site.attempts()), 1)
		r.after(2 * time.Hour)
		r.expect("attempts then", len(r.site.attempts()), 3)
	})
}

func TestAnOperatorsTimeIsNotTakenForParked(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		id := r.must("MS:NET/PO2/JLEE", nil)
		if _, err := r.g.Change(t.Context(), queue.Filter{Message: id}, queue.Op{Verb: queue.ScheduleAt, At: time.Now().Add(5 * time.Hour), By: "kim"}, false); err != nil {
			t.Fatal(err)
		}
		b := r.second("b") // up, as far as it knows
		defer b.close()
		n := len(b.site.attempts())
		r.after(4 * time.Hour)
		r.expect("attempts of a gateway that takes the link for up", len(b.site.attempts()), n)
	})
}

func TestAProbeLeavesMailToWhichThePeerGaveATime(t *testing.T) {
	inBubble(t, func(r *rig) {
		asked := *simBusy
		asked.RetryAfter = 5 * time.Hour
		r.site.says(&asked)
		r.must("MS:NET/PO2/JLEE", nil)
		r.site.says(unplugged)
		r.must("MS:NET/PO2/MKUMAR", func(s *connectors.Submission) {
			s.Envelope.ID, s.Envelope.NotAfter = "short", time.Now().Add(time.Hour)
		})
		r.after(90 * time.Minute) // the second has expired, the link is still to be tried
		n := len(r.site.attempts())
		r.after(3 * time.Hour)
		r.expect("attempts with nothing but the one that was given a time", len(r.site.attempts()), n)
		r.site.says((*mail.Failure)(nil))
		r.after(time.Hour)
		r.expect("delivered", len(r.site.received()), 1)
	})
}

func TestAnOperatorsRetryAtAnotherGatewayIsAnAttempt(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		r.must("MS:NET/PO2/MKUMAR", func(s *connectors.Submission) { s.Envelope.ID = "parked" })
		r.after(time.Minute)
		retry := func() {
			t.Helper()
			if _, err := r.store.Change(t.Context(), queue.Filter{}, queue.Op{Verb: queue.RetryNow, By: "kim"}); err != nil { // not by this gateway
				t.Fatal(err)
			}
			r.after(time.Second)
		}
		retry()
		if n := len(r.site.attempts()); n < 2 || n > 3 {
			t.Errorf("%d attempts with the one that failed before; want one more, or two at once", n)
		}
		n := len(r.site.attempts())
		r.after(time.Minute)
		r.expect("attempts after that", len(r.site.attempts()), n)
		r.site.says(nil)
		retry()
		r.expect("delivered when the trouble is over", len(r.site.received()), 2)
	})
}

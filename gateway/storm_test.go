package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/mail/pace"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// TestAStormOfFailuresIsNoStormOfReports: a forged originator gets no more than the limit allows, nothing is dropped, and
// an operator sees what waits and why.
func TestAStormOfFailuresIsNoStormOfReports(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.limitReports(10, 0)
		r.site.says(unknownThere)
		const storm = 40
		for range storm {
			r.must("MS:NET/PO2/NOBODY", func(s *connectors.Submission) {
				fromKim(t, 0)(s)
			})
		}
		r.after(time.Second)
		r.expect("reports at once", len(r.imc.received()), 10)
		waiting := r.waiting()
		r.expect("reports that wait", len(waiting), storm-10)
		for _, it := range waiting {
			if it.Last == nil || !strings.Contains(it.Last.Text, "10 reports an hour for one originator") || !it.Next.After(time.Now()) {
				t.Fatalf("%s waits until %s for %+v, want the limit named", it.ID, it.Next, it.Last)
			}
		}
		r.after(time.Hour)
		if n := len(r.imc.received()); n < 19 || n > 21 {
			t.Errorf("%d reports after an hour, want 20", n)
		}
		// An operator can send one before its turn.
		left := r.waiting()
		if _, err := r.g.Change(t.Context(), queue.Filter{IDs: []queue.ID{left[len(left)-1].ID}}, queue.Op{Verb: queue.RetryNow, By: "kim"}, false); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		r.expect("left after one was sent", len(r.waiting()), len(left)-1)
		r.after(3 * time.Hour)
		r.expect("reports in the end", len(r.imc.received()), storm)
		r.expect("left", len(r.waiting()), 0)
	})
}

// TestReportsOverOneDestinationAreBounded: each originator is another one, as with forged names; one host behind them all.
func TestReportsOverOneDestinationAreBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.limitReports(10, 20)
		r.site.says(unknownThere)
		for i := range 50 {
			r.must("MS:NET/PO2/NOBODY", func(s *connectors.Submission) {
				fromKim(t, 0)(s)
				s.Envelope.Originator = addr(t, fmt.Sprintf("SMTP:victim%d@elsewhere.example", i))
			})
		}
		r.after(time.Second)
		r.expect("reports at once", len(r.imc.received()), 20)
		r.after(2 * time.Hour)
		r.expect("in the end", len(r.imc.received()), 50)
	})
}

// TestAStormAboutOneDelaysNoReportToOthers: what is over one originator's bound takes no turn of theirs at the destination.
func TestAStormAboutOneDelaysNoReportToOthers(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.limitReports(10, 20)
		r.site.says(unknownThere)
		for range 100 {
			r.must("MS:NET/PO2/NOBODY", fromKim(t, 0))
		}
		r.after(time.Second)
		r.expect("reports about the storm", len(r.imc.received()), 10)
		r.must("MS:NET/PO2/NOBODY", func(s *connectors.Submission) {
			fromKim(t, 0)(s)
			s.Envelope.Originator = addr(t, "SMTP:honest@elsewhere.example")
		})
		r.after(time.Second)
		r.expect("with the honest one's", len(r.imc.received()), 11)
	})
}

// TestAReportThatWaitsForItsTurnIsInTheTimeline and does not go earlier because its link opened, or the gateway was
// started again.
func TestAReportThatWaitsForItsTurnIsInTheTimeline(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.limitReports(1, 0)
		r.site.says(unknownThere)
		r.must("MS:NET/PO2/NOBODY", fromKim(t, 0))
		second := r.must("MS:NET/PO2/NOBODY", fromKim(t, 0))
		r.after(time.Second)
		var found bool
		timeline, err := r.log.Trace(t.Context(), second)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range timeline {
			if e.Type == tracking.Report {
				found = true
				if !e.Next.After(e.Time) || !strings.Contains(e.Text, "waits for its turn") {
					t.Errorf("%+v, want the turn's time and why", e)
				}
			}
		}
		r.expect("in the timeline", found, true)
		r.limitReports(1, 0)
		r.after(30 * time.Minute)
		r.expect("before its turn, after a restart", len(r.imc.received()), 1)
		r.after(31 * time.Minute)
		r.expect("at its turn", len(r.imc.received()), 2)
	})
}

// limitReports starts the site again with bounds on reports.
func (r *rig) limitReports(perOriginator, perDestination int) {
	r.close()
	r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) {
		o.ReportsPerOriginator, o.ReportsPerDestination = perOriginator, perDestination
	})
}

// allReports is a cluster's count of reports, of which this gateway's are a part.
type allReports struct {
	asked [][]pace.Limit
	waits []time.Duration
}

func (c *allReports) Book(_ context.Context, limits []pace.Limit) ([]time.Duration, error) {
	c.asked = append(c.asked, limits)
	return c.waits, nil
}

func (c *allReports) Take(context.Context, []pace.Limit) (int, time.Duration, error) {
	return 0, 0, errors.New("reports are never refused")
}

// TestReportsOfTheWholeClusterAreCounted: others have used the destination's turns up for an hour.
func TestReportsOfTheWholeClusterAreCounted(t *testing.T) {
	inBubble(t, func(r *rig) {
		all := &allReports{waits: []time.Duration{0, time.Hour}}
		r.close()
		r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) {
			o.ReportsPerOriginator, o.ReportsPerDestination, o.Limits = 10, 20, all
		})
		r.site.says(unknownThere)
		r.must("MS:NET/PO2/NOBODY", fromKim(t, 0))
		r.after(59 * time.Minute)
		r.expect("reports before its turn", len(r.imc.received()), 0)
		r.expect("why it waits", strings.Contains(r.waiting()[0].Last.Text, "20 reports an hour over one destination"), true)
		r.after(2 * time.Minute)
		r.expect("reports at its turn", len(r.imc.received()), 1)
		if len(all.asked) != 1 || len(all.asked[0]) != 2 || all.asked[0][1].Later != all.asked[0][1].Key+" later" {
			t.Errorf("asked %v, want one question", all.asked)
		}
	})
}

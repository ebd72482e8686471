package control

import (
	"testing"
	"testing/synctest"
	"time"

	"backbone/gateway/tracking"
	"backbone/queue"
)

func count(f *Flow, typ tracking.Type, waited time.Duration) {
	e := tracking.Event{Time: time.Now(), Type: typ, Connector: "x400", Dest: "x400:SITEB", Recipients: []string{"a"}, Waited: waited}
	if typ != tracking.Received {
		e.Attempt, e.Took = 1, time.Second
	}
	f.Count(e)
}

// TestFlowCountsADay and forgets the day before it.
func TestFlowCountsADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFlow(func() queue.Stats { return queue.Stats{Ready: 7, Held: 2} })
		count(f, tracking.Received, 0)
		for range 3 {
			count(f, tracking.Delivered, 2*time.Second)
		}
		count(f, tracking.Failed, 0)
		count(f, tracking.Deferred, 0)
		count(f, tracking.Queued, 0)
		h := f.History(time.Now(), 60, 1)
		if m := h[len(h)-1]; m.Received != 1 || m.Delivered != 3 || m.Failed != 1 || m.Deferred != 1 || m.Waiting != 7 || m.Held != 2 {
			t.Errorf("this minute: %+v", m)
		}
		if n := f.Recent("x400:SITEB"); n != 3 {
			t.Errorf("%d delivered in ten minutes, want 3", n)
		}
		c := f.Connectors()["x400"]
		if c.Delivered != 3 || c.Attempts.Count != 5 || c.Latency.Count != 3 {
			t.Errorf("since the start: %+v", c)
		}
		time.Sleep(11 * time.Minute)
		if n := f.Recent("x400:SITEB"); n != 0 {
			t.Errorf("%d delivered in ten minutes, eleven minutes later", n)
		}
		var sum Minute
		for _, m := range f.History(time.Now(), 360, 5) {
			sum.Add(m)
		}
		if sum.Delivered != 3 {
			t.Errorf("in six hours: %+v", sum)
		}
		time.Sleep(24 * time.Hour)
		sum = Minute{}
		for _, m := range f.History(time.Now(), FlowMinutes, 20) {
			sum.Add(m)
		}
		if sum.Delivered != 0 || sum.Latency.Count != 0 {
			t.Errorf("a day later: %+v", sum)
		}
		if f.Connectors()["x400"].Delivered != 3 {
			t.Error("the totals since the start have changed")
		}
	})
}

func TestQuantilesLieInTheirBuckets(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("of nothing")
	}
	for range 90 {
		h.add(200 * time.Millisecond)
	}
	for range 10 {
		h.add(40 * time.Second)
	}
	for q, want := range map[float64][2]time.Duration{0.5: {100 * time.Millisecond, 250 * time.Millisecond}, 0.95: {30 * time.Second, time.Minute}, 1: {30 * time.Second, time.Minute}} {
		if got := h.Quantile(q); got < want[0] || got > want[1] {
			t.Errorf("%v: %s, want between %s and %s", q, got, want[0], want[1])
		}
	}
	h = Histogram{}
	h.add(30 * 24 * time.Hour)
	if got := h.Quantile(0.5); got != 24*time.Hour {
		t.Errorf("beyond the last bound: %s", got)
	}
}

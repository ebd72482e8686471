package control

import (
	"context"
	"math"
	"sort"
	"sync"
	"time"

	"backbone/gateway/tracking"
	"backbone/queue"
)

// FlowMinutes is how far back the minute figures reach.
const FlowMinutes = 24 * 60

// recentMinutes is the time over which a destination's present flow is counted.
const recentMinutes = 10

// Flow counts what moves: per minute for the charts, per connector for Prometheus, per destination for the map. It is
// fed by the tracking log, so it sees what the timeline shows and costs the message's way nothing. It is memory only:
// it begins with the daemon.
type Flow struct {
	mu      sync.Mutex
	began   time.Time
	minutes [FlowMinutes]Minute
	totals  map[string]*ConnectorFlow
	dests   map[string]*[recentMinutes]destMinute
	stats   func() queue.Stats
}

// Minute is what happened in one minute. Received counts messages, the other counts are of recipients.
type Minute struct {
	At        time.Time `json:"at"`
	Received  int       `json:"received"`
	Delivered int       `json:"delivered"` // relayed ones, too
	Deferred  int       `json:"deferred"`
	Failed    int       `json:"failed"`
	Latency   Histogram `json:"latency"` // from local arrival to delivery
	// Waiting and Held are the queue's length when the minute was last looked at.
	Waiting int `json:"waiting"`
	Held    int `json:"held"`
}

// Add adds a later minute to m.
func (m *Minute) Add(o Minute) {
	m.Received, m.Delivered = m.Received+o.Received, m.Delivered+o.Delivered
	m.Deferred, m.Failed = m.Deferred+o.Deferred, m.Failed+o.Failed
	m.Waiting, m.Held = o.Waiting, o.Held
	m.Latency.merge(&o.Latency)
}

// ConnectorFlow is one connector's share since the daemon's start.
type ConnectorFlow struct {
	Received  int64
	Delivered int64
	Relayed   int64
	Deferred  int64
	Failed    int64
	Reports   int64     // that we made, to go over it
	Paced     int64     // of these: wait for their turn (limits.reports_per_...)
	Attempts  Histogram // how long each recipient's attempt lasted
	Latency   Histogram // from local arrival to delivery
}

type destMinute struct {
	at int64 // minute of the epoch
	n  int
}

// LatencyBounds are the histograms' upper bounds, in seconds.
var LatencyBounds = []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}

// Histogram counts durations by LatencyBounds; the last bucket is open.
type Histogram struct {
	Buckets [17]int64
	Sum     float64 // seconds
	Count   int64
}

func (h *Histogram) add(d time.Duration) {
	s := d.Seconds()
	h.Buckets[sort.SearchFloat64s(LatencyBounds, s)]++
	h.Sum += s
	h.Count++
}

func (h *Histogram) merge(o *Histogram) {
	for i, n := range o.Buckets {
		h.Buckets[i] += n
	}
	h.Sum += o.Sum
	h.Count += o.Count
}

// Quantile is the duration below which the share q (0..1) of what was counted lies, interpolated inside its bucket as
// Prometheus' histogram_quantile does; 0 when nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	rank, seen := q*float64(h.Count), 0.0
	for i, n := range h.Buckets {
		if n == 0 || seen+float64(n) < rank {
			seen += float64(n)
			continue
		}
		low := 0.0
		if i > 0 {
			low = LatencyBounds[i-1]
		}
		if i == len(LatencyBounds) {
			return seconds(low)
		}
		return seconds(low + (LatencyBounds[i]-low)*math.Max(0, rank-seen)/float64(n))
	}
	return seconds(LatencyBounds[len(LatencyBounds)-1])
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// NewFlow returns an empty one; stats samples the queue's length.
func NewFlow(stats func() queue.Stats) *Flow {
	return &Flow{began: time.Now(), totals: map[string]*ConnectorFlow{}, dests: map[string]*[recentMinutes]destMinute{}, stats: stats}
}

// Run counts the tracking log's new events until ctx ends.
func (f *Flow) Run(ctx context.Context, log *tracking.Log) {
	stop := log.Listen(f.Count)
	defer stop()
	f.sample(ctx)
}

// sample notes the queue's length, often enough for each minute to have one.
func (f *Flow) sample(ctx context.Context) {
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		st := f.stats()
		f.mu.Lock()
		m := f.minute(time.Now())
		m.Waiting, m.Held = st.Ready+st.Leased, st.Held
		f.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// minute is the slot of a moment, emptied when it held another day's. f.mu is held.
func (f *Flow) minute(t time.Time) *Minute {
	at := t.Truncate(time.Minute)
	m := &f.minutes[at.Unix()/60%FlowMinutes]
	if !m.At.Equal(at) {
		*m = Minute{At: at}
	}
	return m
}

// Count takes one event of the tracking log.
func (f *Flow) Count(e tracking.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(e.Time) > FlowMinutes*time.Minute {
		return
	}
	n := max(1, len(e.Recipients))
	m, c := f.minute(e.Time), f.connector(e.Connector)
	switch e.Type {
	case tracking.Received:
		m.Received++
		c.Received++
	case tracking.Delivered, tracking.Relayed:
		m.Delivered += n
		m.Latency.add(e.Waited)
		c.Latency.add(e.Waited)
		if c.Delivered += int64(n); e.Type == tracking.Relayed {
			c.Delivered, c.Relayed = c.Delivered-int64(n), c.Relayed+int64(n)
		}
		f.flowed(e.Dest, e.Time, n)
	case tracking.Deferred:
		m.Deferred += n
		c.Deferred += int64(n)
	case tracking.Failed:
		m.Failed += n
		c.Failed += int64(n)
	case tracking.Report:
		if c.Reports++; !e.Next.IsZero() {
			c.Paced++
		}
	default:
		return
	}
	if e.Attempt > 0 {
		c.Attempts.add(e.Took)
	}
}

func (f *Flow) connector(name string) *ConnectorFlow {
	c := f.totals[name]
	if c == nil {
		c = &ConnectorFlow{}
		f.totals[name] = c
	}
	return c
}

// maxFlowDests bounds how many destinations' flows are kept apart: a site that mails all the world has no use for more.
const maxFlowDests = 10_000

func (f *Flow) flowed(dest string, t time.Time, n int) {
	d := f.dests[dest]
	if d == nil {
		if len(f.dests) >= maxFlowDests {
			clear(f.dests)
		}
		d = &[recentMinutes]destMinute{}
		f.dests[dest] = d
	}
	at := t.Unix() / 60
	if slot := &d[at%recentMinutes]; slot.at != at {
		*slot = destMinute{at, n}
	} else {
		slot.n += n
	}
}

// Recent is how many recipients a destination ("connector:host") took in the last ten minutes.
func (f *Flow) Recent(dest string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.dests[dest]; d != nil {
		for _, slot := range d {
			if slot.at > time.Now().Unix()/60-recentMinutes {
				n += slot.n
			}
		}
	}
	return n
}

// Connectors are the totals since the daemon's start, by connector's name; "" stands for what no connector had a part in.
func (f *Flow) Connectors() map[string]ConnectorFlow {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]ConnectorFlow, len(f.totals))
	for k, v := range f.totals {
		out[k] = *v
	}
	return out
}

// History is the last n minutes in steps of so many minutes, oldest first, the present one last. Steps before the
// daemon's start are left out.
func (f *Flow) History(now time.Time, n, step int) []Minute {
	st := f.stats()
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.minute(now)
	m.Waiting, m.Held = st.Ready+st.Leased, st.Held
	var out []Minute
	end := now.Truncate(time.Minute)
	for from := end.Add(-time.Duration(n-1) * time.Minute); !from.After(end); from = from.Add(time.Duration(step) * time.Minute) {
		if from.Add(time.Duration(step) * time.Minute).Before(f.began) {
			continue
		}
		sum := Minute{At: from}
		for i := range step {
			at := from.Add(time.Duration(i) * time.Minute)
			m := &f.minutes[at.Unix()/60%FlowMinutes]
			if !m.At.Equal(at) {
				continue
			}
			sum.Add(*m)
		}
		out = append(out, sum)
	}
	return out
}

package control

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sort"
	"time"

	"backbone/gateway/monitor"
	"backbone/gateway/tracking"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics serves the site's figures for Prometheus, by its naming conventions: base units, _total for counters. Each is
// read when it is asked for; nothing is counted twice.
func (s *Service) Metrics() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 30 * time.Second})
}

// maxDestSeries bounds the destinations with series of their own: those with the most mail waiting. A site that mails
// all the world must not drown its Prometheus.
const maxDestSeries = 200

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("backbone_"+name, help, labels, nil)
}

var (
	dBuild      = desc("build_info", "Always 1; the version is a label.", "version", "site")
	dStarted    = desc("start_time_seconds", "When the daemon started, since the epoch.")
	dClock      = desc("clock_jump_seconds", "By how much the system's clock has jumped, back when negative; 0 when it is believed. While it is not, no mail expires.")
	dQueue      = desc("queue_messages", "Transfers in the queue; ready ones wait, leased ones are under delivery.", "state")
	dBytes      = desc("queue_content_bytes", "Octets of content that waits.")
	dDisk       = desc("queue_disk_bytes", "Octets of disk that the queue uses.", "part")
	dFree       = desc("queue_disk_free_bytes", "Octets free on the queue's filesystem; not given for a queue in PostgreSQL.")
	dStored     = desc("queue_stored_total", "Messages stored since the daemon's start.")
	dCommits    = desc("queue_commits_total", "Group commits since the daemon's start.")
	dSyncs      = desc("queue_syncs_total", "Sync calls since the daemon's start.")
	dDests      = desc("queue_destinations", "Destinations with mail in the queue.")
	dDest       = desc("destination_messages", "Transfers for a destination.", "connector", "destination", "state")
	dOldest     = desc("destination_oldest_age_seconds", "Age of the oldest transfer for a destination.", "connector", "destination")
	dUp         = desc("link_up", "1 when the last attempt opened the link, 0 when it is down.", "connector", "destination")
	dFailures   = desc("link_failures", "Opens that failed in a row.", "connector", "destination")
	dSuspended  = desc("suspended", "1 for each suspended destination, or connector when the destination is empty.", "connector", "destination")
	dReceived   = desc("messages_received_total", "Messages taken in, since the daemon's start.", "connector")
	dRecipients = desc("recipients_total", "What attempts did for recipients since the daemon's start.", "connector", "outcome")
	dLatency    = desc("delivery_duration_seconds", "From local arrival to delivery.", "connector")
	dAttempt    = desc("attempt_duration_seconds", "How long attempts lasted.", "connector")
	dReports    = desc("reports_total", "Reports made since the daemon's start: to go now, or when their turn comes (limits.reports_per_originator, _per_destination).", "connector", "turn")
	dQuarantine = desc("quarantine_files", "Files in quarantine.")
	dTracking   = desc("tracking_events_total", "Events of the tracking log since the daemon's start.", "result")
	dDirectory  = desc("directory_entries", "Custom recipients in the directory.")
	dMonState   = desc("link_monitor_state", "1 for the state that a watched way is in: unknown, normal, warning or alert.", "link", "state")
	dMonTrip    = desc("link_monitor_round_trip_seconds", "Round trip of the latest ping that came back.", "link")
	dMonOut     = desc("link_monitor_outstanding_seconds", "For how long the oldest ping has been out.", "link")
	dMonSent    = desc("link_monitor_pings_total", "Pings since the daemon's start: sent, and returned.", "link", "event")
	dFailed     = desc("scrape_failed", "1 when some figures could not be read; the others are there.")
)

var allDescs = []*prometheus.Desc{
	dBuild, dStarted, dClock, dQueue, dBytes, dDisk, dFree, dStored, dCommits, dSyncs, dDests, dDest, dOldest, dUp, dFailures, dSuspended, dReceived, dRecipients,
	dLatency, dAttempt, dReports, dQuarantine, dTracking, dDirectory, dMonState, dMonTrip, dMonOut, dMonSent, dFailed,
}

// collector reads the service's figures.
type collector struct{ s *Service }

// Describe lists every metric there is.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range slices.Concat(allDescs, agentDescs) {
		ch <- d
	}
}

// Collect reads them all.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.s
	// Hosts are named by strangers' mail. (A label that is not UTF-8 would be a panic, too.)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		for i, l := range labels {
			labels[i] = tracking.Plain(l)
		}
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	failed := 0.0
	st := s.Store.Stats()
	gauge(dBuild, 1, s.Version, s.Gateway.Site().Name)
	gauge(dStarted, float64(s.Started.Unix()))
	gauge(dClock, s.Gateway.ClockAhead().Seconds())
	for state, n := range map[string]int{"ready": st.Ready, "leased": st.Leased, "held": st.Held, "trash": st.Trash} {
		gauge(dQueue, float64(n), state)
	}
	gauge(dBytes, float64(st.Bytes))
	gauge(dDisk, float64(st.IndexBytes), "index")
	gauge(dDisk, float64(st.BodyBytes), "bodies")
	if st.FreeBytes >= 0 { // else the disk is the database's: its own monitoring tells
		gauge(dFree, float64(st.FreeBytes))
	}
	count(dStored, st.Puts)
	count(dCommits, st.Commit)
	count(dSyncs, st.Syncs)
	gauge(dDests, float64(st.Dests))
	if err := c.dests(ctx, gauge); err != nil {
		failed = 1
	}
	for _, sus := range s.Store.Suspensions() {
		gauge(dSuspended, 1, sus.Dest.Connector, sus.Dest.Host)
	}
	if list, err := s.Quarantined(ctx); err != nil {
		failed = 1
	} else {
		gauge(dQuarantine, float64(len(list)))
	}
	tr := s.Tracking.Stats()
	count(dTracking, tr.Written, "written")
	count(dTracking, tr.Dropped, "dropped")
	count(dTracking, tr.Failed, "failed")
	if s.Tracking.Shared() {
		count(dTracking, tr.Shipped, "shipped")
	}
	gauge(dDirectory, float64(s.Directory.Size()))
	c.flow(ch, count)
	c.monitor(gauge, count)
	if err := c.agent(gauge); err != nil {
		failed = 1
	}
	gauge(dFailed, failed)
}

func (c *collector) dests(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) error {
	dests, err := c.s.Dests(ctx)
	if err != nil {
		return err
	}
	// Links that are down first, then by what waits.
	sort.Slice(dests, func(i, j int) bool {
		a, b := dests[i], dests[j]
		if (a.Link != nil) != (b.Link != nil) {
			return a.Link != nil
		}
		return a.Ready+a.Held > b.Ready+b.Held
	})
	for _, d := range dests[:min(len(dests), maxDestSeries)] {
		l := []string{d.Dest.Connector, d.Dest.Host}
		for state, n := range map[string]int{"ready": d.Ready, "leased": d.Leased, "held": d.Held} {
			gauge(dDest, float64(n), append(l, state)...)
		}
		up, failures := 1.0, 0.0
		if d.Link != nil {
			up, failures = 0, float64(d.Link.Failures)
		}
		gauge(dUp, up, l...)
		gauge(dFailures, failures, l...)
		if !d.Oldest.IsZero() {
			gauge(dOldest, time.Since(d.Oldest).Seconds(), l...)
		}
	}
	return nil
}

func (c *collector) flow(ch chan<- prometheus.Metric, count func(*prometheus.Desc, int64, ...string)) {
	if c.s.Flow == nil {
		return
	}
	flows := c.s.Flow.Connectors()
	for _, m := range c.s.Members { // a connector that has not moved anything yet has its series, at nothing
		if _, ok := flows[m.Connector.Name()]; !ok {
			flows[m.Connector.Name()] = ConnectorFlow{}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(flows)) {
		f := flows[name]
		count(dReceived, f.Received, name)
		for outcome, n := range map[string]int64{"delivered": f.Delivered, "relayed": f.Relayed, "deferred": f.Deferred, "failed": f.Failed} {
			count(dRecipients, n, name, outcome)
		}
		count(dReports, f.Reports-f.Paced, name, "now")
		count(dReports, f.Paced, name, "later")
		for d, h := range map[*prometheus.Desc]*Histogram{dLatency: &f.Latency, dAttempt: &f.Attempts} {
			buckets, sum := map[float64]uint64{}, uint64(0)
			for i, b := range LatencyBounds {
				sum += uint64(h.Buckets[i])
				buckets[b] = sum
			}
			ch <- prometheus.MustNewConstHistogram(d, uint64(h.Count), h.Sum, buckets, name)
		}
	}
}

func (c *collector) monitor(gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, int64, ...string)) {
	if c.s.Monitor == nil {
		return
	}
	for _, m := range c.s.Monitor.Status() {
		for _, st := range []monitor.State{monitor.Unknown, monitor.Normal, monitor.Warning, monitor.Alert} {
			v := 0.0
			if m.State == st {
				v = 1
			}
			gauge(dMonState, v, m.Name, string(st))
		}
		if !m.Back.IsZero() {
			gauge(dMonTrip, m.RoundTrip.Seconds(), m.Name)
		}
		out := 0.0
		if !m.Oldest.IsZero() {
			out = time.Since(m.Oldest).Seconds()
		}
		gauge(dMonOut, out, m.Name)
		count(dMonSent, m.Sent, m.Name, "sent")
		count(dMonSent, m.Returned, m.Name, "returned")
	}
}

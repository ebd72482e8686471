// Package control speaks for the gateway to the CLI, to scripts and to the dashboard: one API, served on the daemon's
// unix socket; health and metrics also on a TCP address, where gateway/control/dashboard serves the pages.
//
// It owns the requests' and answers' shapes and the audit log, and nothing else: each call is a few lines over gateway,
// queue, directory, tracking. Errors carry an HTTP status and one sentence. Whoever may open the socket (mode 0600) may
// operate. Every change is on the audit log before it is made; one that can't be recorded is not made.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/address"
	"backbone/gateway/agent"
	"backbone/gateway/directory"
	"backbone/gateway/monitor"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// Service is the running site as the API sees it.
type Service struct {
	Gateway   *gateway.Gateway
	Store     queue.Store
	Directory *directory.Directory
	Agent     *agent.Agent
	Tracking  *tracking.Log
	Members   []gateway.Member
	Drops     []connectors.Quarantine
	Audit     *Audit           // nil: changes are not recorded
	Flow      *Flow            // nil: nothing is counted
	Monitor   *monitor.Monitor // nil: no way is watched
	// DeleteGuard is the directory import's, in percent.
	DeleteGuard int
	// Incomplete says which connectors could not be opened, for a service without a daemon: nothing is routed then. nil: all are there.
	Incomplete error
	// Stopping ends what would otherwise go on for ever, such as a stream of events; nil: nothing does.
	Stopping context.Context
	// Reload reads the configuration again, or with dryRun only compares it; nil where there is no daemon.
	Reload  func(dryRun bool) (Reloaded, error)
	Version string
	Started time.Time
	Log     *slog.Logger

	probe    sync.Mutex
	probed   time.Time // when the store was last asked whether it takes mail...
	probeErr error     // ...and what it said
}

// Error is an answer that is not the one asked for.
type Error struct {
	Status int    `json:"status"`
	Text   string `json:"error"`
}

func (e *Error) Error() string { return e.Text }

// asError gives any error its HTTP status.
func asError(err error) *Error {
	var e *Error
	var unknown gateway.NoConnector
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &unknown):
		return bad(err)
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, directory.ErrNotFound), errors.Is(err, tracking.ErrNotFound), errors.Is(err, connectors.ErrNoQuarantine):
		return &Error{http.StatusNotFound, err.Error()}
	case errors.Is(err, queue.ErrLeaseLost):
		return &Error{http.StatusConflict, err.Error()}
	case errors.Is(err, directory.ErrUnavailable):
		return &Error{http.StatusServiceUnavailable, err.Error()}
	case errors.Is(err, context.Canceled):
		return &Error{499, "the caller went away"}
	}
	return &Error{http.StatusInternalServerError, err.Error()}
}

// AsError gives any error its HTTP status.
func AsError(err error) *Error { return asError(err) }

func bad(err error) *Error { return &Error{http.StatusBadRequest, err.Error()} }

// Page is one page of a listing; Next is "" on the last. Missing says what the listing lacks.
type Page[T any] struct {
	Items   []T      `json:"items"`
	Next    string   `json:"next,omitempty"`
	Missing []string `json:"missing,omitempty"`
}

// Changed is the answer of every changing verb.
type Changed struct {
	Changed int  `json:"changed"` // or would be, with DryRun
	DryRun  bool `json:"dry_run,omitempty"`
}

// ChangeRequest asks for a verb on the entries that Filter selects, at most Limit of them (0: all), the oldest first.
type ChangeRequest struct {
	Filter    queue.Filter `json:"filter"`
	Limit     int          `json:"limit,omitempty"`
	At        time.Time    `json:"at,omitzero"`         // schedule
	Connector string       `json:"connector,omitempty"` // reroute: this way; "" the best one
	Reason    string       `json:"reason,omitempty"`
	By        string       `json:"by,omitempty"`
	DryRun    bool         `json:"dry_run,omitempty"`
}

// Change does one of hold, release, retry, schedule, delete, restore, purge, reroute, bounce.
func (s *Service) Change(ctx context.Context, verb string, r ChangeRequest) (Changed, error) {
	if r.DryRun {
		return s.change(ctx, verb, r)
	}
	what := filterText(r.Filter)
	if r.Limit > 0 {
		what += fmt.Sprintf(" limit=%d", r.Limit)
	}
	if r.Connector != "" {
		what += " via " + r.Connector
	}
	if !r.At.IsZero() {
		what += " at " + r.At.UTC().Format(time.RFC3339)
	}
	return s.audited(ctx, Record{By: r.By, Verb: "queue " + verb, What: what, Reason: r.Reason}, func() (Changed, error) {
		return s.change(ctx, verb, r)
	})
}

func (s *Service) change(ctx context.Context, verb string, r ChangeRequest) (Changed, error) {
	if verb == "restore" || verb == "purge" {
		r.Filter.State = queue.Trash
	}
	if r.Limit > 0 {
		var err error
		if r.Filter.IDs, err = s.first(ctx, r.Filter, r.Limit); err != nil || len(r.Filter.IDs) == 0 {
			return Changed{0, r.DryRun}, err
		}
	}
	var n int
	var err error
	switch verb {
	case "reroute":
		if err := s.complete(); err != nil {
			return Changed{}, err
		}
		n, err = s.Gateway.Reroute(ctx, r.Filter, r.Connector, r.By, r.Reason, r.DryRun)
	case "bounce":
		if err := s.complete(); err != nil {
			return Changed{}, err
		}
		n, err = s.Gateway.Bounce(ctx, r.Filter, r.By, r.Reason, r.DryRun)
	case "restore", "purge":
		n, err = s.Gateway.Change(ctx, r.Filter, queue.Op{Verb: queue.Verb(verb), Reason: r.Reason, By: r.By}, r.DryRun)
	case "hold", "release", "retry", "schedule", "delete":
		if verb == "schedule" && r.At.IsZero() {
			return Changed{}, bad(errors.New("schedule needs a time"))
		}
		n, err = s.Gateway.Change(ctx, r.Filter, queue.Op{Verb: queue.Verb(verb), At: r.At, Reason: r.Reason, By: r.By}, r.DryRun)
	default:
		return Changed{}, &Error{http.StatusNotFound, "no such verb: " + verb}
	}
	return Changed{n, r.DryRun}, err
}

// complete tells that mail can be routed: without a connector it would go another way, or back.
func (s *Service) complete() error {
	if s.Incomplete != nil {
		return fmt.Errorf("not done, since mail can't be routed now: %w", s.Incomplete)
	}
	return nil
}

// first names the first n entries that a filter selects.
func (s *Service) first(ctx context.Context, f queue.Filter, n int) (ids []queue.ID, err error) {
	for cur := queue.Cursor(""); len(ids) < n; {
		items, next, err := s.Store.List(ctx, f, cur, min(1000, n-len(ids)))
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			ids = append(ids, it.ID)
		}
		if next == "" {
			break
		}
		cur = next
	}
	return ids, nil
}

// Raw writes an entry's content as it is stored.
func (s *Service) Raw(ctx context.Context, id queue.ID, w io.Writer) error {
	it, err := s.Store.Get(ctx, id)
	if err != nil {
		return err
	}
	f, err := s.Store.Body(it.Body).Open()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// SuspendRequest stops or resumes a destination (Host set) or a connector.
type SuspendRequest struct {
	Dest   queue.Dest `json:"dest"`
	Until  time.Time  `json:"until,omitzero"`
	Reason string     `json:"reason,omitempty"`
	By     string     `json:"by,omitempty"`
	DryRun bool       `json:"dry_run,omitempty"`
}

// Suspend implements `dest suspend` and `connector suspend`.
func (s *Service) Suspend(ctx context.Context, r SuspendRequest) (Changed, error) {
	if r.DryRun {
		if !slices.ContainsFunc(s.Members, func(m gateway.Member) bool { return m.Connector.Name() == r.Dest.Connector }) {
			return Changed{}, gateway.NoConnector(r.Dest.Connector)
		}
		return Changed{1, true}, nil
	}
	what := suspendText(r.Dest)
	if !r.Until.IsZero() {
		what += " until " + r.Until.UTC().Format(time.RFC3339)
	}
	return s.audited(ctx, Record{By: r.By, Verb: "suspend", What: what, Reason: r.Reason}, func() (Changed, error) {
		return Changed{1, false}, s.Gateway.Suspend(ctx, queue.Suspension{Dest: r.Dest, Reason: r.Reason, By: r.By, Until: r.Until})
	})
}

// Resume implements `dest resume` and `connector resume`.
func (s *Service) Resume(ctx context.Context, r SuspendRequest) (Changed, error) {
	if r.DryRun {
		if !slices.ContainsFunc(s.Store.Suspensions(), func(sus queue.Suspension) bool { return sus.Dest == r.Dest }) {
			return Changed{}, &Error{http.StatusNotFound, suspendText(r.Dest) + " is not suspended"}
		}
		return Changed{1, true}, nil
	}
	return s.audited(ctx, Record{By: r.By, Verb: "resume", What: suspendText(r.Dest), Reason: r.Reason}, func() (Changed, error) {
		return Changed{1, false}, s.Gateway.Resume(ctx, r.Dest, r.By)
	})
}

// ConnectorStatus is one connector's line.
type ConnectorStatus struct {
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	State      string            `json:"state"` // up, down, partly down, suspended
	Spaces     []address.Space   `json:"spaces"`
	Ready      int               `json:"ready"`
	Leased     int               `json:"leased"`
	Held       int               `json:"held"`
	Down       int               `json:"down"` // next hops that can't be opened
	Suspension *queue.Suspension `json:"suspension,omitempty"`
}

// Connectors lists the configured connectors with what waits for each.
func (s *Service) Connectors(ctx context.Context) ([]ConnectorStatus, error) {
	dests, err := s.Store.Dests(ctx)
	if err != nil {
		return nil, err
	}
	down := map[string]int{}
	for _, l := range s.Gateway.Links() {
		down[l.Dest.Connector]++
	}
	var out []ConnectorStatus
	for _, m := range s.Members {
		c := ConnectorStatus{Name: m.Connector.Name(), Type: m.Type, Spaces: s.Gateway.Spaces(m.Connector.Name()), State: "up", Down: down[m.Connector.Name()]}
		hops := 0
		for _, d := range dests {
			if d.Dest.Connector == c.Name {
				c.Ready, c.Leased, c.Held = c.Ready+d.Ready, c.Leased+d.Leased, c.Held+d.Held
				hops++
			}
		}
		if c.Down > 0 {
			c.State = "partly down"
			if c.Down >= hops {
				c.State = "down"
			}
		}
		for _, sus := range s.Store.Suspensions() {
			if sus.Dest.Connector == c.Name && sus.Dest.Host == "" {
				c.State, c.Suspension = "suspended", &sus
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// DestStatus is a destination's line with its link.
type DestStatus struct {
	queue.DestStat
	Link *gateway.LinkStatus `json:"link,omitempty"`
}

// Dests lists the destinations that have mail waiting or that are down.
func (s *Service) Dests(ctx context.Context) ([]DestStatus, error) {
	stats, err := s.Store.Dests(ctx)
	if err != nil {
		return nil, err
	}
	links := map[queue.Dest]gateway.LinkStatus{}
	for _, l := range s.Gateway.Links() {
		links[l.Dest] = l
	}
	out := make([]DestStatus, 0, len(stats))
	for _, st := range stats {
		d := DestStatus{DestStat: st}
		if l, ok := links[st.Dest]; ok {
			d.Link = &l
			delete(links, st.Dest)
		}
		out = append(out, d)
	}
	for _, l := range links {
		out = append(out, DestStatus{DestStat: queue.DestStat{Dest: l.Dest}, Link: &l})
	}
	return out, nil
}

// Status is the whole site at a glance.
type Status struct {
	Site        string               `json:"site"`
	Version     string               `json:"version"`
	Started     time.Time            `json:"started"`
	Time        time.Time            `json:"time"`
	Queue       queue.Stats          `json:"queue"`
	Connectors  []ConnectorStatus    `json:"connectors"`
	Links       []gateway.LinkStatus `json:"links_down"`
	Suspensions []queue.Suspension   `json:"suspensions"`
	Gateways    []queue.Node         `json:"gateways,omitempty"` // where several share the queue
	Monitor     []monitor.Status     `json:"monitor,omitempty"`
	Ages        []AgeRow             `json:"ages"`
}

// AgeRow is one destination's waiting mail by age, as qshape shows it, with the latest failure among it.
type AgeRow struct {
	Dest    string `json:"dest"`
	Total   int    `json:"total"`
	Buckets []int  `json:"buckets"` // upper bounds: AgeBounds, the last open
	Last    string `json:"last,omitempty"`
	lastAt  time.Time
}

// AgeBounds are the buckets' upper bounds.
var AgeBounds = []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 80 * time.Minute, 160 * time.Minute, 320 * time.Minute, 640 * time.Minute, 1280 * time.Minute}

// ageLimit bounds how many entries the age table looks at: a million waiting messages do not make status slow.
const ageLimit = 20000

// Status gathers it.
func (s *Service) Status(ctx context.Context) (Status, error) {
	now := time.Now()
	st := Status{Site: s.Gateway.Site().Name, Version: s.Version, Started: s.Started, Time: now, Queue: s.Store.Stats(), Links: s.Gateway.Links(), Suspensions: s.Store.Suspensions()}
	var err error
	if st.Connectors, err = s.Connectors(ctx); err != nil {
		return st, err
	}
	if s.Monitor != nil {
		st.Monitor = s.Monitor.Status()
	}
	if st.Gateways, err = s.Gateways(ctx); err != nil {
		return st, err
	}
	rows := map[string]*AgeRow{}
	var order []string
	var cur queue.Cursor
	for seen := 0; seen < ageLimit; {
		items, next, err := s.Store.List(ctx, queue.Filter{}, cur, 1000)
		if err != nil {
			return st, err
		}
		for _, it := range items {
			name := it.Dest.String()
			r := rows[name]
			if r == nil {
				r = &AgeRow{Dest: name, Buckets: make([]int, len(AgeBounds)+1)}
				rows[name] = r
				order = append(order, name)
			}
			if it.Last != nil && !it.Changed.Before(r.lastAt) {
				r.Last, r.lastAt = it.Last.Error(), it.Changed
			}
			r.Total++
			r.Buckets[bucket(now.Sub(it.Envelope.Arrived))]++
		}
		seen += len(items)
		if next == "" {
			break
		}
		cur = next
	}
	for _, name := range order {
		st.Ages = append(st.Ages, *rows[name])
	}
	return st, nil
}

func bucket(age time.Duration) int {
	for i, b := range AgeBounds {
		if age < b {
			return i
		}
	}
	return len(AgeBounds)
}

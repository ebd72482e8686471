// Package gateway is the message's way through a site: accept, resolve, route, enqueue; then dispatch, outcome, report.
//
// It owns every decision about a message between a source's Accept and the last recipient's final outcome, and the
// state of each link. It never names a concrete connector or store: it is handed them through the contracts in
// packages connectors and queue. It never loses a message that Accept answered with nil: what fails for good is
// reported to its originator, what fails for now waits, and what nobody foresaw is held for an operator.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/mail"
	"backbone/gateway/mail/pace"
	"backbone/gateway/routing"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// Member is a connector with what its configuration says about it as a link.
type Member struct {
	connectors.Connector
	connectors.Common
	claims []address.Space // in force instead of the connector's own; nil until Apply
}

// DefaultParallel is how many transfers go to one destination at once where the configuration does not say.
const DefaultParallel = 10

// Options are what a gateway is made of. All fields but Limits, Routes, Drain, Log, Rand and Clock must be set.
type Options struct {
	Settings
	Site      connectors.Site
	Node      string // whose leases these are, where several gateways share the store; "": the site's name
	Store     queue.Store
	Directory *directory.Directory
	Tracking  *tracking.Log
	Members   []Member
	Limits    pace.Shared // the count that the gateways on a shared store have in common; nil: this one counts for itself
	// Routes are entries of the routing table that no connector claims itself: those that follow from replicated
	// directories. Nil: there are none.
	Routes   func() []routing.Entry
	Workers  int           // transfers at once
	LeaseFor time.Duration // longest attempt
	Drain    time.Duration // for which attempts under way may go on once Run's context has ended
	Log      *slog.Logger
	Rand     *rand.Rand // jitter and identifiers' salt; nil: seeded at random
	// Clock reads the system's clock, and one that only counts, from where does not matter; nil: those of time.Now.
	Clock func() (wall time.Time, counted time.Duration)
}

// Gateway is one site's message transfer agent. It implements connectors.Acceptor.
type Gateway struct {
	o      Options
	force  atomic.Pointer[inForce]
	table  atomic.Pointer[routing.Table]
	links  *links
	clock  *clock
	owner  string
	log    *slog.Logger
	kick   chan struct{}
	sweeps chan look
	probes probes
	turns  pace.Pace // of reports

	randMu sync.Mutex
	rand   *rand.Rand
}

// New puts a gateway together. Nothing moves before Run.
func New(o Options) (*Gateway, error) {
	if o.Store == nil || o.Directory == nil || o.Tracking == nil {
		return nil, errors.New("gateway: store, directory and tracking log are all needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	g := &Gateway{
		o: o, links: newLinks(), clock: newClock(o.Clock), log: o.Log,
		owner: fmt.Sprintf("%s/%08x", cmp.Or(o.Node, o.Site.Name), o.Rand.Uint32()), kick: make(chan struct{}, 1),
		sweeps: make(chan look, 1024), turns: pace.Pace{Shared: o.Limits}, rand: o.Rand,
	}
	members := map[string]Member{}
	for _, m := range o.Members {
		if m.Connector == nil {
			return nil, errors.New("gateway: a member without a connector")
		}
		name := m.Connector.Name()
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("gateway: two connectors are named %q", name)
		}
		if m.Parallel <= 0 {
			m.Parallel = DefaultParallel
		}
		members[name] = m
	}
	g.force.Store(&inForce{o.Settings, members})
	g.Recalculate()
	return g, nil
}

// Site is this site's identity.
func (g *Gateway) Site() connectors.Site { return g.o.Site }

// Recalculate rebuilds the routing table from the connectors' address spaces, as Exchange's routing calculation did
// (KB Q149121). Call it after spaces that the directory holds have changed.
func (g *Gateway) Recalculate() {
	var entries []routing.Entry
	for _, m := range g.o.Members {
		for _, s := range g.Spaces(m.Connector.Name()) {
			entries = append(entries, routing.Entry{Connector: m.Connector.Name(), Space: s, Local: true})
		}
	}
	if g.o.Routes != nil {
		entries = append(entries, g.o.Routes()...)
	}
	g.table.Store(routing.NewTable(entries))
	g.wake()
}

// Table is the routing table in force.
func (g *Gateway) Table() *routing.Table { return g.table.Load() }

// wake makes the dispatcher look at the queue again.
func (g *Gateway) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newID is a message identifier: the site's name (cut to 11), the time in milliseconds and 50 random bits, at most 32
// printable characters so that it fits an MTSIdentifier's local part (X.411 8.2.1.1.1.1).
func (g *Gateway) newID(now time.Time) string {
	site := g.o.Site.Name
	if len(site) > 11 {
		site = site[:11]
	}
	g.randMu.Lock()
	r := g.rand.Uint64()
	g.randMu.Unlock()
	ms := uint64(now.UnixMilli())
	var b [20]byte
	for i := 9; i >= 0; i-- {
		b[i] = crockford[ms&31]
		ms >>= 5
	}
	for i := 19; i >= 10; i-- {
		b[i] = crockford[r&31]
		r >>= 5
	}
	return site + "-" + string(b[:])
}

// track appends to the tracking log, one step's events at once: each call waits for the log's writer. The log is
// evidence, not the message: when it can't be written the message goes on and the fault is logged.
func (g *Gateway) track(ctx context.Context, es ...tracking.Event) {
	for i := range es {
		es[i].Site = g.o.Site.Name
		if es[i].Time.IsZero() {
			es[i].Time = time.Now()
		}
	}
	if err := g.o.Tracking.Append(ctx, es...); err != nil {
		for _, e := range es {
			g.log.Error("tracking log not written", "id", e.ID, "event", e.Type, "err", err)
		}
	}
}

func event(typ tracking.Type, env *mail.Envelope) tracking.Event {
	return tracking.Event{Type: typ, ID: env.ID, MessageID: env.MessageID, Originator: env.Originator.String(), Subject: env.Subject}
}

func addresses(rs []mail.Recipient) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = r.Address.String()
	}
	return out
}

func (g *Gateway) isOurDomain(d string) bool {
	return slices.ContainsFunc(g.o.Site.Domains, func(own string) bool { return strings.EqualFold(own, d) })
}

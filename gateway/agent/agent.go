// Package agent is the site's directory agent: it keeps the directory like those of the joined sites (replication) and
// like the address lists of the post offices (directory synchronisation), as Exchange's directory service and DXA did.
//
// To the gateway it is a connector and a source like any other: mail for the system mailbox of our shadow post office
// (NET/PO/$SYSTEM) goes through the queue to Deliver, so it is durable before anybody acknowledges it and is tried again
// after a crash; what the agent sends goes through Accept. It owns who the partners are, what each has and was sent, and
// when they are talked to; the numbers live beside the entries, in one transaction with them, so that a message that comes
// twice, late or not at all changes nothing but the time. It never decides about routes: it tells package routing what
// other sites' connectors claim.
//
// How it fails: a message that can't be read, or may not be served, is answered or noted and never retried; a fault of our
// disk leaves it in the queue. Trouble with one partner never stops the others.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/directory/dirsync"
)

// Name is the agent's as a connector.
const Name = "directory"

// SystemKind is what mail.Envelope.Extra["system"] says of mail between agents: it is exempt from size limits and never
// reported on.
const SystemKind = "directory"

// Partner is a joined site whose directory is taken over, and that takes ours over.
type Partner struct {
	Site string
	// Connectors lead to it, best first; each further one costs one more than the last. Over the first that can, the
	// directories are compared directly.
	Connectors []string
	Cost       int
	// Address is where the partner's agent gets mail, when no connector can ask it directly. Key is shared with it: by mail,
	// anyone could claim to be it.
	Address  address.Address
	Key      []byte
	Interval time.Duration
}

// PostOffice is one that we synchronise with: a requestor of ours, or our server.
type PostOffice struct {
	Address  string // NET/PO
	Password string
	// Types are the address types that its users can write to, beside MS.
	Types []address.Type
	// Behind are further post offices, NET/PO, of whose users it may speak as our requestor.
	Behind    []string
	Templates bool
	// Attach is the number of transactions from which on they travel as an attachment, written in CodePage.
	Attach   int
	CodePage int
}

// Options make an agent. Directory, Site and Log must be set.
type Options struct {
	Site       connectors.Site
	Directory  *directory.Directory
	Partners   []Partner
	Requestors []PostOffice
	Servers    []PostOffice
	// T1 is when we send changes to our servers, T2 when we answer our requestors, T3 when our servers' answers are due.
	T1, T2, T3 []dirsync.Moment
	// Guard is how many percent of a post office's list a whole list may take away before an operator is asked.
	Guard int
	// Keep is how long changes are kept for a requestor that is silent.
	Keep time.Duration
	Log  *slog.Logger
}

// Agent implements connectors.Connector and connectors.Source.
type Agent struct {
	o       Options
	d       *directory.Directory
	log     *slog.Logger
	self    address.Address // our system mailbox; zero without a shadow post office
	joined  []connectors.Connector
	routes  func() // called when Routes has changed
	gw      atomic.Pointer[connectors.Acceptor]
	kick    chan struct{}
	turn    sync.Mutex // one synchronisation at a time
	mu      sync.Mutex // guards partners' states
	peers   map[string]*peer
	heads   map[string]directory.Cursor // what partners said of their heads
	started time.Time
}

// New makes an agent. It does nothing before Serve.
func New(o Options) (*Agent, error) {
	if o.Directory == nil || o.Log == nil {
		return nil, errors.New("agent: a directory and a log are needed")
	}
	a := &Agent{o: o, d: o.Directory, log: o.Log.With("connector", Name), kick: make(chan struct{}, 1), peers: map[string]*peer{},
		heads: map[string]directory.Cursor{}, routes: func() {}}
	if o.Site.MS != "" {
		var err error
		if a.self, err = systemBox(o.Site.MS); err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
	} else if len(o.Requestors)+len(o.Servers) > 0 {
		return nil, errors.New("agent: directory synchronisation needs site.ms, the post office to which it is addressed")
	}
	for _, p := range o.Partners {
		a.peers[p.Site] = &peer{Partner: p}
	}
	return a, nil
}

// systemBox is a post office's mailbox for directory synchronisation.
func systemBox(po string) (address.Address, error) {
	m, err := address.ParsePostOffice(po)
	if err != nil {
		return address.Address{}, err
	}
	m.Mailbox = "$SYSTEM"
	return m.Address()
}

// Join tells the agent the site's connectors, before Serve. routes is called when what Routes says has changed.
func (a *Agent) Join(cs []connectors.Connector, routes func()) { a.joined, a.routes = cs, routes }

// Name is "directory".
func (a *Agent) Name() string { return Name }

// Spaces is the system mailbox of our shadow post office.
func (a *Agent) Spaces() []address.Space {
	if a.self.IsZero() {
		return nil
	}
	return []address.Space{{Type: address.MS, Pattern: a.self.Value, Cost: 1, Scope: "organization", Origin: "directory agent"}}
}

// agentHop is the one place where the agent's mail goes.
const agentHop = "agent"

// NextHop is the agent itself.
func (a *Agent) NextHop(to address.Address) (string, error) {
	if a.self.IsZero() || !to.Equal(a.self) {
		return "", errNotOurs
	}
	return agentHop, nil
}

// Serve runs the schedule and the replication until ctx ends.
func (a *Agent) Serve(ctx context.Context, gw connectors.Acceptor) error {
	a.gw.Store(&gw)
	a.started = time.Now()
	if err := a.publish(); err != nil {
		return err
	}
	a.routes()
	var wg sync.WaitGroup
	wg.Go(func() { a.watch(ctx) })
	wg.Go(func() { a.replicate(ctx) })
	a.keepTime(ctx)
	wg.Wait()
	return nil
}

// settle is how long a change may wait for others before the partners are told.
const settle = 500 * time.Millisecond

// watch follows the directory: routes are made anew when a connector has changed, and partners are told of everything.
func (a *Agent) watch(ctx context.Context) {
	usn := a.d.USN()
	for {
		changed := a.d.Changed()
		if a.d.USN() == usn {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			if !pause(ctx, settle) {
				return
			}
		}
		connector := false
		for {
			es, next, err := a.d.ChangesSince(usn, 1000)
			if err != nil {
				a.log.Error("directory can't be read", "err", err)
				pause(ctx, time.Minute)
				break
			}
			for i := range es {
				connector = connector || es[i].Class == directory.Connector
			}
			if usn = next; len(es) == 0 {
				usn = a.d.USN()
				break
			}
		}
		if connector {
			a.routes()
		}
		a.tell()
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// keepTime runs T1, T2 and T3.
func (a *Agent) keepTime(ctx context.Context) {
	for {
		now := time.Now()
		next := dirsync.Next(append(append(append([]dirsync.Moment(nil), a.o.T1...), a.o.T2...), a.o.T3...), now)
		if next.IsZero() {
			<-ctx.Done()
			return
		}
		if !pause(ctx, next.Sub(now)) {
			return
		}
		for _, event := range []struct {
			name string
			at   []dirsync.Moment
			run  func(context.Context, string) error
		}{{"T1", a.o.T1, a.exportOnce(next)}, {"T2", a.o.T2, a.answer}, {"T3", a.o.T3, a.review}} {
			if dirsync.Next(event.at, now).Equal(next) {
				if err := event.run(ctx, ""); err != nil {
					a.log.Error("directory synchronisation failed; the next cycle makes up for it", "event", event.name, "err", err)
				}
			}
		}
	}
}

// Run makes a cycle now with one post office, or with all when po is empty: T1 with servers, T2 with requestors.
func (a *Agent) Run(ctx context.Context, po string, full, accept bool) error {
	if a.gw.Load() == nil {
		return errors.New("the directory agent is not running")
	}
	found := po == ""
	for _, list := range [][]PostOffice{a.o.Requestors, a.o.Servers} {
		for _, p := range list {
			found = found || p.Address == po
		}
	}
	if !found {
		return fmt.Errorf("no [[dirsync.requestor]] or [[dirsync.server]] has the address %s: %w", po, directory.ErrNotFound)
	}
	if err := a.prepare(po, full, accept); err != nil {
		return err
	}
	return errors.Join(a.export(ctx, po), a.answer(ctx, po))
}

package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway"
	"backbone/gateway/mail"
	"backbone/queue"
)

// The simulator lives a site's life in virtual time: random traffic over links that fail in every way a connector can
// report, an operator who uses every verb, restarts and crashes, on the real store. After each step, and at each
// attempt, the invariants of simledger_test.go are checked. One number makes a whole life; what goroutines run first
// within one virtual instant is the only thing that it does not decide.
var (
	simSeed  = flag.Uint64("sim.seed", 0, "run only the life of this seed")
	simHours = flag.Int("sim.hours", 72, "virtual hours of each life")
	simRuns  = flag.Int("sim.runs", 0, "new seeds to try, besides those kept")
)

// simKept are the seeds that every run of the tests lives again, each with what it is kept for. What earlier lives found
// stands in found_test.go, each fault with a test of its own; new seeds are for make sim.
var simKept = []struct {
	seed uint64
	why  string
}{
	{1, "an ordinary life"},
}

func TestSimulatedLives(t *testing.T) {
	lives(t, *simHours, func(string) simKind { return simKind{nodes: 1} })
}

// lives lives the kept lives, or those that the flags ask for.
func lives(t *testing.T, hours int, kind func(name string) simKind) {
	if *simSeed != 0 {
		simulate(t, *simSeed, hours, kind("one"))
		return
	}
	for i, k := range simKept {
		t.Run(k.why, func(t *testing.T) { simulate(t, k.seed, hours, kind(fmt.Sprint("kept", i))) })
	}
	for i := range *simRuns {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { simulate(t, seed, hours, kind(fmt.Sprint("new", i))) })
	}
}

// simKind is what kind of site it is that lives.
type simKind struct {
	nodes int                                                      // gateways
	store func(node string, log *slog.Logger) (queue.Store, error) // opens a gateway's store; nil: the embedded one
	// late is how late one gateway sees at most what another did, or left when it died.
	late time.Duration
}

func simulate(t *testing.T, seed uint64, hours int, kind simKind) {
	dir, err := os.MkdirTemp(memoryDir(), "simulated")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, kind: kind, rnd: rand.New(rand.NewPCG(seed, 1)), ledger: newLedger(), seed: seed}
		s.ledger.say = s.note
		for i := range kind.nodes {
			n := &simNode{name: fmt.Sprintf("gw%d", i+1)}
			n.r, n.wires = &rig{t: t, dir: filepath.Join(dir, n.name)}, simWires(t, s.ledger, seed, n.name)
			if err := os.Mkdir(n.r.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			s.nodes = append(s.nodes, n)
			s.open(n)
		}
		s.live(time.Duration(hours) * time.Hour)
		for _, n := range s.up() {
			n.r.close()
		}
		if t.Failed() {
			t.Logf("to live it again: go test ./gateway -run %s -sim.seed %d -sim.hours %d", strings.Split(t.Name(), "/")[0], seed, hours)
			t.Logf("the last of what happened:\n%s", s.diary.String())
		}
	})
}

func memoryDir() string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		return "/dev/shm"
	}
	return ""
}

type sim struct {
	t      *testing.T
	kind   simKind
	rnd    *rand.Rand
	seed   uint64
	ledger *ledger
	nodes  []*simNode
	n      int // messages sent

	diaryMu sync.Mutex
	diary   bytes.Buffer
}

// simNode is one of the site's gateways.
type simNode struct {
	name  string
	r     *rig
	wires []*simWire
	dead  *deadly // its process
	down  bool
}

// up are the gateways that run at present: always one at least.
func (s *sim) up() (ns []*simNode) {
	for _, n := range s.nodes {
		if !n.down {
			ns = append(ns, n)
		}
	}
	return ns
}

// one is any of the gateways that run.
func (s *sim) one() *simNode {
	ns := s.up()
	if len(ns) == 1 {
		return ns[0]
	}
	return ns[s.rnd.IntN(len(ns))]
}

// wait lets time pass, until nothing moves any more.
func (s *sim) wait(d time.Duration) { s.nodes[0].r.after(d) }

// note writes the diary that is printed when a life goes wrong: its last part only.
func (s *sim) note(format string, args ...any) {
	s.diaryMu.Lock()
	defer s.diaryMu.Unlock()
	if s.diary.Len() > 1<<18 {
		rest := bytes.Clone(s.diary.Bytes()[1<<17:])
		s.diary.Reset()
		s.diary.Write(rest)
	}
	fmt.Fprintf(&s.diary, "%s "+format+"\n", append([]any{time.Now().Format("02 15:04:05.000")}, args...)...)
}

func (s *sim) Write(p []byte) (int, error) {
	s.note("  %s", bytes.TrimSpace(p))
	return len(p), nil
}

func (s *sim) open(n *simNode) {
	n.down = false
	log := slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	if s.kind.nodes > 1 {
		log = log.With("node", n.name)
	}
	if s.kind.store != nil {
		n.r.make = func() (queue.Store, error) { return s.kind.store(n.name, log) }
	}
	n.r.open(nil, func(o *gateway.Options) {
		n.dead = &deadly{Store: o.Store}
		s.ledger.opened(n.name, o.Store)
		o.Store, o.Node, o.Log = n.dead, n.name, log
		o.Rand = rand.New(rand.NewPCG(s.seed, s.rnd.Uint64()))
		o.Workers, o.LeaseFor = simWorkers, time.Hour
		for _, w := range n.wires {
			o.Members = append(o.Members, gateway.Member{Connector: w, Common: connectors.Common{Name: w.name, Type: w.typ, Parallel: w.parallel}})
		}
	})
}

var errDied = errors.New("the process has died")

// deadly is a store whose process can die: from then on nothing is written any more.
type deadly struct {
	queue.Store
	mu   sync.RWMutex
	died bool
}

func (d *deadly) die() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.died = true
}

func (d *deadly) alive(write func() error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.died {
		return errDied
	}
	return write()
}

func (d *deadly) Put(ctx context.Context, n queue.New) (ids []queue.ID, dup bool, err error) {
	if err := d.alive(func() error { return nil }); err != nil {
		return nil, false, errors.Join(err, n.Body.Discard())
	}
	return d.Store.Put(ctx, n)
}

func (d *deadly) Settle(ctx context.Context, l queue.Lease, s queue.Settlement) error {
	return d.alive(func() error { return d.Store.Settle(ctx, l, s) })
}

func (d *deadly) Return(ctx context.Context, ls []queue.Lease) error {
	return d.alive(func() error { return d.Store.Return(ctx, ls) })
}

// live is the life: a random step, then the checks; at its end everything is mended, and everything must arrive.
func (s *sim) live(span time.Duration) {
	end := time.Now().Add(span)
	for time.Now().Before(end) && !s.t.Failed() {
		s.wait(time.Duration(s.rnd.ExpFloat64() * float64(12*time.Minute)))
		s.step()
		s.wait(0)
		s.check()
	}
	if s.t.Failed() {
		return
	}
	for _, n := range s.nodes {
		if n.down {
			s.open(n)
		}
	}
	s.note("everything is mended")
	s.ledger.mend()
	ctx, r := s.t.Context(), s.one().r
	for _, sus := range r.store.Suspensions() {
		s.ledger.suspended(sus, false)
		s.try("resume", r.g.Resume(ctx, sus.Dest, "sim"))
	}
	if _, err := r.g.Change(ctx, queue.Filter{State: queue.Held}, queue.Op{Verb: queue.Release, By: "sim"}, false); err != nil {
		s.t.Error(err)
	}
	// The longest wait of any schedule is SMTP's 4 hours and a tenth, after a deferred delivery time of at most 12.
	for range 17 * 4 {
		s.wait(15 * time.Minute)
		s.check()
	}
	for _, it := range r.waiting() {
		s.t.Errorf("still waiting though every way has long been open: %s", itemLine(&it))
	}
	s.note("%s", s.ledger.summary())
	s.t.Logf("seed %d: %d messages; %s", s.seed, s.n, s.ledger.summary())
}

func (s *sim) try(what string, err error) {
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		s.t.Errorf("%s: %v", what, err)
	}
}

func (s *sim) step() {
	switch n := s.rnd.IntN(100); {
	case n < 50:
		for range 1 + s.rnd.IntN(4) {
			s.send()
		}
	case n < 75:
		s.ledger.change(s.rnd, s.nodes[0].wires)
	case n < 90:
		s.operate()
	case n < 95:
		s.suspend()
	case n < 98:
		s.restart(false)
	default:
		s.restart(true)
	}
}

// restart ends a process, or, where there are others, lets one that is down come back. One that crashes says no word: attempts
// under way are cut off, what they did is not recorded.
func (s *sim) restart(crash bool) {
	for _, n := range s.nodes {
		if n.down {
			s.note("%s comes back", n.name)
			s.open(n)
			return
		}
	}
	n := s.one()
	if s.note("%s ends, by a crash: %t", n.name, crash); crash {
		n.dead.die()
	}
	n.r.close()
	if n.down = len(s.nodes) > 1 && s.rnd.IntN(2) == 0; !n.down {
		s.open(n)
	}
}

var simRecipients = []string{
	"MS:NET/PO1/BJONES", "MS:NET/PO2/MKUMAR", "MS:NET/PO2/JLEE", "MS:NET/PO2/PWONG",
	"SMTP:kim@one.example", "SMTP:lea@one.example", "SMTP:max@two.example", "SMTP:ned@three.example", "MS:NET/PO9/NOBODY",
}

func (s *sim) send() {
	s.n++
	to := map[string]bool{}
	for range 1 + s.rnd.IntN(4) {
		to[simRecipients[s.rnd.IntN(len(simRecipients))]] = true
	}
	sub := connectors.Submission{
		Envelope: mail.Envelope{
			ID: fmt.Sprintf("SIM-%06d", s.n), Originator: addr(s.t, "MS:NET/PO1/ASMITH"), Subject: fmt.Sprint("Message ", s.n),
			Priority: mail.Priority(s.rnd.IntN(3) - 1), Source: mail.Source{Connector: "msmail", Peer: "NET/PO1"},
		},
		Content: bytes.NewReader(connectortest.Message(200+s.rnd.IntN(3000), uint64(s.n))),
	}
	if s.rnd.IntN(4) == 0 {
		sub.Envelope.Originator = addr(s.t, "SMTP:kim@one.example")
		sub.Envelope.Source = mail.Source{Connector: "imc", Peer: "192.0.2.1"}
	}
	switch s.rnd.IntN(12) {
	case 0:
		sub.Envelope.NotBefore = time.Now().Add(time.Duration(s.rnd.IntN(12*60)) * time.Minute)
	case 1:
		sub.Envelope.NotAfter = time.Now().Add(time.Duration(1+s.rnd.IntN(10)) * time.Hour)
	}
	for _, one := range simRecipients {
		if to[one] {
			sub.Envelope.Recipients = append(sub.Envelope.Recipients, mail.Recipient{Address: addr(s.t, one)})
		}
	}
	s.ledger.offered(&sub.Envelope)
	s.note("send %s to %v", sub.Envelope.ID, to)
	if _, err := s.one().r.g.Accept(s.t.Context(), sub); err != nil {
		s.t.Errorf("%s refused: %v", sub.Envelope.ID, err)
	}
}

// some is a filter as an operator writes it: one entry, one destination, one message.
func (s *sim) some() queue.Filter {
	items := s.up()[0].r.waiting()
	if len(items) == 0 || s.rnd.IntN(8) == 0 {
		ws := s.nodes[0].wires
		w := ws[s.rnd.IntN(len(ws))]
		return queue.Filter{Connector: w.name}
	}
	it := items[s.rnd.IntN(len(items))]
	switch s.rnd.IntN(4) {
	case 0:
		return queue.Filter{Connector: it.Dest.Connector, Host: it.Dest.Host}
	case 1:
		return queue.Filter{Message: it.Envelope.ID}
	}
	return queue.Filter{IDs: []queue.ID{it.ID}}
}

func (s *sim) operate() {
	ctx, f, r := s.t.Context(), s.some(), s.one().r
	var n int
	var err error
	verb := []string{"hold", "release", "release", "retry", "retry", "schedule", "delete", "restore", "restore", "purge", "bounce", "reroute", "reroute via"}[s.rnd.IntN(13)]
	s.ledger.operated(time.Now())
	switch verb {
	case "bounce":
		n, err = r.g.Bounce(ctx, f, "sim", "tired of it", false)
	case "reroute":
		n, err = r.g.Reroute(ctx, f, "", "sim", "better so", false)
	case "reroute via":
		ws := s.nodes[0].wires
		via := ws[s.rnd.IntN(len(ws))].name
		verb += " " + via
		n, err = r.g.Reroute(ctx, f, via, "sim", "better so", false)
	case "purge", "restore":
		var trash []queue.Item
		if trash, _, err = r.store.List(ctx, queue.Filter{State: queue.Trash}, "", 1000); err != nil || len(trash) == 0 {
			break
		}
		f = queue.Filter{IDs: []queue.ID{trash[s.rnd.IntN(len(trash))].ID}}
		if verb == "purge" {
			s.ledger.purging(f.IDs[0], trash)
		}
		n, err = r.g.Change(ctx, f, queue.Op{Verb: queue.Verb(verb), By: "sim"}, false)
	default:
		op := queue.Op{Verb: queue.Verb(verb), By: "sim", Reason: "because"}
		if verb == "schedule" {
			op.At = time.Now().Add(time.Duration(s.rnd.IntN(600)) * time.Minute)
		}
		n, err = r.g.Change(ctx, f, op, false)
	}
	s.ledger.operated(time.Now())
	s.note("%s %s: %d", verb, strings.TrimSpace(fmt.Sprintf("%v %s %s %s", f.IDs, f.Connector, f.Host, f.Message)), n)
	s.try(verb, err)
}

func (s *sim) suspend() {
	ctx, r := s.t.Context(), s.one().r
	if all := r.store.Suspensions(); len(all) > 0 && s.rnd.IntN(3) > 0 {
		d := all[s.rnd.IntN(len(all))].Dest
		s.note("resume %s", d)
		s.ledger.operated(time.Now())
		s.ledger.suspended(queue.Suspension{Dest: d}, false)
		s.try("resume", r.g.Resume(ctx, d, "sim"))
		return
	}
	w := s.nodes[0].wires[s.rnd.IntN(len(s.nodes[0].wires))]
	sus := queue.Suspension{Dest: queue.Dest{Connector: w.name}, Reason: "works", By: "sim"}
	if s.rnd.IntN(2) == 0 {
		sus.Dest.Host = w.hops[s.rnd.IntN(len(w.hops))]
	}
	if s.rnd.IntN(2) == 0 {
		sus.Until = time.Now().Add(time.Duration(1+s.rnd.IntN(600)) * time.Minute)
	}
	s.note("suspend %s until %s", sus.Dest, sus.Until.Format("02 15:04"))
	s.ledger.operated(time.Now())
	s.try("suspend", r.g.Suspend(ctx, sus))
	sus.Since = time.Now()
	s.ledger.suspended(sus, true)
}

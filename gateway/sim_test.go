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
	if *simSeed != 0 {
		simulate(t, *simSeed)
		return
	}
	for _, k := range simKept {
		t.Run(k.why, func(t *testing.T) { simulate(t, k.seed) })
	}
	for range *simRuns {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { simulate(t, seed) })
	}
}

func simulate(t *testing.T, seed uint64) {
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
		s := &sim{r: &rig{t: t, dir: dir}, rnd: rand.New(rand.NewPCG(seed, 1)), ledger: newLedger(), seed: seed}
		s.ledger.say = s.note
		s.wires = simWires(t, s.ledger, seed)
		s.open()
		s.live(time.Duration(*simHours) * time.Hour)
		s.r.close()
		if t.Failed() {
			t.Logf("to live it again: go test ./gateway -run TestSimulatedLives -sim.seed %d -sim.hours %d", seed, *simHours)
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
	r      *rig
	rnd    *rand.Rand
	seed   uint64
	ledger *ledger
	wires  []*simWire
	dead   *deadly
	n      int // messages sent

	diaryMu sync.Mutex
	diary   bytes.Buffer
}

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

func (s *sim) open() {
	s.r.open(nil, func(o *gateway.Options) {
		s.dead = &deadly{Store: o.Store}
		s.ledger.opened(o.Store)
		o.Store = s.dead
		o.Rand = rand.New(rand.NewPCG(s.seed, s.rnd.Uint64()))
		o.Workers, o.LeaseFor = 6, time.Hour
		o.Log = slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		for _, w := range s.wires {
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
	for time.Now().Before(end) && !s.r.t.Failed() {
		s.r.after(time.Duration(s.rnd.ExpFloat64() * float64(12*time.Minute)))
		s.step()
		s.r.settle()
		s.check()
	}
	if s.r.t.Failed() {
		return
	}
	s.note("everything is mended")
	s.ledger.mend()
	ctx := s.r.t.Context()
	for _, sus := range s.r.store.Suspensions() {
		s.try("resume", s.r.g.Resume(ctx, sus.Dest, "sim"))
	}
	if _, err := s.r.g.Change(ctx, queue.Filter{State: queue.Held}, queue.Op{Verb: queue.Release, By: "sim"}, false); err != nil {
		s.r.t.Error(err)
	}
	// The longest wait of any schedule is SMTP's 4 hours and a tenth, after a deferred delivery time of at most 12.
	for range 17 * 4 {
		s.r.after(15 * time.Minute)
		s.check()
	}
	for _, it := range s.r.waiting() {
		s.r.t.Errorf("still waiting though every way has long been open: %s", itemLine(&it))
	}
	s.note("%s", s.ledger.summary())
	s.r.t.Logf("seed %d: %d messages; %s", s.seed, s.n, s.ledger.summary())
}

func (s *sim) try(what string, err error) {
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		s.r.t.Errorf("%s: %v", what, err)
	}
}

func (s *sim) step() {
	switch n := s.rnd.IntN(100); {
	case n < 50:
		for range 1 + s.rnd.IntN(4) {
			s.send()
		}
	case n < 75:
		s.ledger.change(s.rnd, s.wires)
	case n < 90:
		s.operate()
	case n < 95:
		s.suspend()
	case n < 98:
		s.note("restart")
		s.r.close()
		s.open()
	default:
		s.crash()
	}
}

// crash ends the process without a word: attempts under way are cut off, what they did is not recorded.
func (s *sim) crash() {
	s.note("crash")
	s.dead.die()
	s.r.close()
	s.open()
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
			ID: fmt.Sprintf("SIM-%06d", s.n), Originator: addr(s.r.t, "MS:NET/PO1/ASMITH"), Subject: fmt.Sprint("Message ", s.n),
			Priority: mail.Priority(s.rnd.IntN(3) - 1), Source: mail.Source{Connector: "msmail", Peer: "NET/PO1"},
		},
		Content: bytes.NewReader(connectortest.Message(200+s.rnd.IntN(3000), uint64(s.n))),
	}
	if s.rnd.IntN(4) == 0 {
		sub.Envelope.Originator = addr(s.r.t, "SMTP:kim@one.example")
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
			sub.Envelope.Recipients = append(sub.Envelope.Recipients, mail.Recipient{Address: addr(s.r.t, one)})
		}
	}
	s.ledger.offered(&sub.Envelope)
	s.note("send %s to %v", sub.Envelope.ID, to)
	if _, err := s.r.g.Accept(s.r.t.Context(), sub); err != nil {
		s.r.t.Errorf("%s refused: %v", sub.Envelope.ID, err)
	}
}

// some is a filter as an operator writes it: one entry, one destination, one message.
func (s *sim) some() queue.Filter {
	items := s.r.waiting()
	if len(items) == 0 || s.rnd.IntN(8) == 0 {
		w := s.wires[s.rnd.IntN(len(s.wires))]
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
	ctx, f := s.r.t.Context(), s.some()
	var n int
	var err error
	verb := []string{"hold", "release", "release", "retry", "retry", "schedule", "delete", "restore", "restore", "purge", "bounce", "reroute", "reroute via"}[s.rnd.IntN(13)]
	s.ledger.operated(time.Now())
	switch verb {
	case "bounce":
		n, err = s.r.g.Bounce(ctx, f, "sim", "tired of it", false)
	case "reroute":
		n, err = s.r.g.Reroute(ctx, f, "", "sim", "better so", false)
	case "reroute via":
		via := s.wires[s.rnd.IntN(len(s.wires))].name
		verb += " " + via
		n, err = s.r.g.Reroute(ctx, f, via, "sim", "better so", false)
	case "purge", "restore":
		var trash []queue.Item
		if trash, _, err = s.r.store.List(ctx, queue.Filter{State: queue.Trash}, "", 1000); err != nil || len(trash) == 0 {
			break
		}
		f = queue.Filter{IDs: []queue.ID{trash[s.rnd.IntN(len(trash))].ID}}
		if verb == "purge" {
			s.ledger.purging(f.IDs[0], trash)
		}
		n, err = s.r.g.Change(ctx, f, queue.Op{Verb: queue.Verb(verb), By: "sim"}, false)
	default:
		op := queue.Op{Verb: queue.Verb(verb), By: "sim", Reason: "because"}
		if verb == "schedule" {
			op.At = time.Now().Add(time.Duration(s.rnd.IntN(600)) * time.Minute)
		}
		n, err = s.r.g.Change(ctx, f, op, false)
	}
	s.ledger.operated(time.Now())
	s.note("%s %s: %d", verb, strings.TrimSpace(fmt.Sprintf("%v %s %s %s", f.IDs, f.Connector, f.Host, f.Message)), n)
	s.try(verb, err)
}

func (s *sim) suspend() {
	ctx := s.r.t.Context()
	if all := s.r.store.Suspensions(); len(all) > 0 && s.rnd.IntN(3) > 0 {
		d := all[s.rnd.IntN(len(all))].Dest
		s.note("resume %s", d)
		s.ledger.operated(time.Now())
		s.try("resume", s.r.g.Resume(ctx, d, "sim"))
		return
	}
	w := s.wires[s.rnd.IntN(len(s.wires))]
	sus := queue.Suspension{Dest: queue.Dest{Connector: w.name}, Reason: "works", By: "sim"}
	if s.rnd.IntN(2) == 0 {
		sus.Dest.Host = w.hops[s.rnd.IntN(len(w.hops))]
	}
	if s.rnd.IntN(2) == 0 {
		sus.Until = time.Now().Add(time.Duration(1+s.rnd.IntN(600)) * time.Minute)
	}
	s.note("suspend %s until %s", sus.Dest, sus.Until.Format("02 15:04"))
	s.ledger.operated(time.Now())
	s.try("suspend", s.r.g.Suspend(ctx, sus))
}

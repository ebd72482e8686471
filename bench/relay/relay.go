package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"backbone/bench/load"
	"backbone/bench/mta"
	"backbone/bench/report"
)

// patience is how long one measurement may take at most.
const patience = 20 * time.Minute

// figures are what one agent did in one round.
type figures struct {
	rate      float64 // messages a second, from the first octet sent to the last message in the sink
	cpu       float64 // seconds a message, of the agent's whole process tree
	anonymous int64   // largest seen
	intake    float64 // messages a second until smtp-source had its last 250
}

// relay has an agent carry mail from smtp-source to smtp-sink.
func (b *bench) relay(ctx context.Context, k mta.Kind, m load.Mail) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sink, err := load.StartSink(ctx, "")
	if err != nil {
		return f, err
	}
	defer func() {
		_, serr := sink.Stop()
		err = errors.Join(err, serr)
	}()
	dir, err := b.folder()
	if err != nil {
		return f, err
	}
	a, err := k.Start(mta.Options{Dir: dir, Next: sink.Addr})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, b.end(a, dir, err != nil)) }()
	// Processes are up and connections open before the clock starts.
	warm := load.Mail{Sessions: m.Sessions, Messages: max(2*m.Sessions, 20), Size: m.Size}
	if _, _, err := load.Send(ctx, a.Addr, warm); err != nil {
		return f, err
	}
	if err := sink.Wait(ctx, warm.Messages); err != nil {
		return f, fmt.Errorf("%w\n%s", err, a.Log())
	}
	before, err := a.Use()
	if err != nil {
		return f, err
	}
	peak := watchMemory(ctx, a)
	began := time.Now()
	took, _, err := load.Send(ctx, a.Addr, m)
	if err != nil {
		return f, fmt.Errorf("%w\n%s", err, a.Log())
	}
	if err := sink.Wait(ctx, warm.Messages+m.Messages); err != nil {
		return f, fmt.Errorf("%w\n%s", err, a.Log())
	}
	all := time.Since(began)
	after, err := a.Use()
	if err != nil {
		return f, err
	}
	n := float64(m.Messages)
	f = figures{rate: n / all.Seconds(), cpu: (after.CPU - before.CPU).Seconds() / n, anonymous: max(peak(), after.Anonymous), intake: n / took.Seconds()}
	b.say("  %-9s %3d sessions %6d messages of %7d: %8.1f/s, %.3f ms CPU a message, %d MB", k.Name, m.Sessions, m.Messages, m.Size, f.rate, f.cpu*1e3, f.anonymous>>20)
	return f, nil
}

// end stops an agent and removes what it had. After an error it does not wait for good order.
func (b *bench) end(a *mta.Agent, dir string, failed bool) error {
	stop := a.Stop
	if failed {
		stop = a.Kill
	}
	return errors.Join(stop(), os.RemoveAll(dir))
}

// watchMemory samples an agent's anonymous memory until the returned function is called.
func watchMemory(ctx context.Context, a *mta.Agent) (peak func() int64) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan int64, 1)
	go func() {
		var most int64
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- most
				return
			case <-tick.C:
				if u, err := a.Use(); err == nil {
					most = max(most, u.Anonymous)
				}
			}
		}
	}()
	return func() int64 { stop(); return <-done }
}

// pair measures the gateway and each peer once a round, in turn: who goes first changes, so that a machine which gets busier
// or idler within a round favours nobody. Peers are given fewer messages: they are to run for as long.
func (b *bench) pair(ctx context.Context, m load.Mail, faster int, each func(peer string, ours, theirs figures)) error {
	for round := range b.rounds {
		kinds := append([]mta.Kind{mta.Gateway(b.binary)}, b.peers...)
		got := make([]figures, len(kinds))
		for i := range kinds {
			i = (i + round) % len(kinds)
			mine := m
			if i == 0 {
				mine.Messages *= faster
			}
			var err error
			if got[i], err = b.relay(ctx, kinds[i], mine); err != nil {
				return fmt.Errorf("%s: %w", kinds[i].Name, err)
			}
		}
		for i, p := range b.peers {
			each(p.Name, got[0], got[i+1])
		}
	}
	return nil
}

// wish is a wanted ratio, which is wanted against Postfix only.
func wish(peer string, v float64) float64 {
	if peer == mta.Postfix.Name {
		return v
	}
	return 0
}

// small measures 4 KB messages.
func (b *bench) small(ctx context.Context) error {
	for _, s := range []struct {
		sessions, messages, faster int
		rate                       float64
	}{{10, 3000, 5, 5}, {50, 3000, 6, 8}, {1, 1000, 2, 2}} {
		m := load.Mail{Sessions: s.sessions, Messages: b.n(s.messages), Size: 4096}
		what := fmt.Sprintf("4 KB, %d sessions", s.sessions)
		if s.sessions == 1 {
			what = "4 KB, 1 session"
		}
		err := b.pair(ctx, m, s.faster, func(peer string, ours, theirs figures) {
			b.row(report.Row{ID: fmt.Sprintf("4k-%d", s.sessions), Work: what + ": rate", Against: peer, Wanted: wish(peer, s.rate)}, ours.rate/theirs.rate)
			want := 0.0
			if s.sessions > 1 {
				want = 0.15
			}
			b.row(report.Row{ID: fmt.Sprintf("4k-%d-cpu", s.sessions), Work: what + ": CPU a message", Against: peer, Wanted: wish(peer, want), Less: true}, ours.cpu/theirs.cpu)
			if peer == mta.Postfix.Name {
				b.distance(s.sessions, ours)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// large measures 1 MB messages.
func (b *bench) large(ctx context.Context) error {
	m := load.Mail{Sessions: 10, Messages: b.n(400), Size: 1 << 20}
	return b.pair(ctx, m, 2, func(peer string, ours, theirs figures) {
		b.row(report.Row{ID: "1m", Work: "1 MB, 10 sessions: rate", Against: peer, Wanted: wish(peer, 1.8)}, ours.rate/theirs.rate)
		b.row(report.Row{ID: "1m-cpu", Work: "1 MB, 10 sessions: CPU a message", Against: peer, Less: true}, ours.cpu/theirs.cpu)
		if peer == mta.Postfix.Name {
			b.row(report.Row{ID: "1m-memory", Work: "1 MB, 10 sessions: anonymous memory", Against: "bound of 64 MB", Wanted: 1, Less: true}, float64(ours.anonymous)/(64<<20))
		}
	})
}

// syncs counts sync calls under strace: rates mean nothing here.
func (b *bench) syncs(ctx context.Context) error {
	for _, s := range []struct {
		sessions int
		want     float64
	}{{10, 1}, {1, 2}} {
		for range b.rounds {
			for i, k := range append([]mta.Kind{mta.Gateway(b.binary)}, b.peers...) {
				n, bare, err := b.countSyncs(ctx, k, load.Mail{Sessions: s.sessions, Messages: b.n(500), Size: 4096})
				if err != nil {
					return fmt.Errorf("%s: %w", k.Name, err)
				}
				b.say("  %-9s %2d sessions: %.2f sync calls a message, %d replies without one", k.Name, s.sessions, n, bare)
				if i > 0 {
					b.row(report.Row{ID: fmt.Sprintf("sync-%d-%s", s.sessions, k.Name), Work: fmt.Sprintf("sync calls a message of %s, %d session(s)", k.Name, s.sessions), Against: "1"}, n)
					continue
				}
				b.row(report.Row{ID: fmt.Sprintf("sync-%d", s.sessions), Work: fmt.Sprintf("sync calls a message, %d session(s)", s.sessions), Against: "1", Wanted: s.want, Less: true}, n)
				if s.sessions == 1 && bare > 0 {
					return fmt.Errorf("%d messages were answered 250 without a sync call before", bare)
				}
			}
		}
	}
	return nil
}

func (b *bench) countSyncs(ctx context.Context, k mta.Kind, m load.Mail) (perMessage float64, bare int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sink, err := load.StartSink(ctx, "")
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		_, serr := sink.Stop()
		err = errors.Join(err, serr)
	}()
	dir, err := b.folder()
	if err != nil {
		return 0, 0, err
	}
	defer b.remove(dir)
	trace := filepath.Join(dir, "trace")
	a, err := k.Start(mta.Options{Dir: dir, Next: sink.Addr, Trace: trace})
	if err != nil {
		return 0, 0, err
	}
	_, _, err = load.Send(ctx, a.Addr, m)
	if err == nil {
		err = sink.Wait(ctx, m.Messages)
	}
	if err != nil {
		return 0, 0, errors.Join(err, a.Kill())
	}
	if err := a.Stop(); err != nil {
		return 0, 0, err
	}
	f, err := os.Open(trace)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	s, err := mta.ReadTrace(f)
	if err == nil && s.Replies < m.Messages {
		err = fmt.Errorf("the trace shows %d replies to %d messages", s.Replies, m.Messages)
	}
	return float64(s.Calls) / float64(m.Messages), s.Bare, err
}

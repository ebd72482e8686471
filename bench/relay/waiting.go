package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"backbone/bench/load"
	"backbone/bench/mta"
	"backbone/bench/report"
)

// outage measures taking in mail while the next hop is down, and draining it after.
func (b *bench) outage(ctx context.Context) error {
	n := b.n(5000)
	if b.long {
		n = b.n(50000)
	}
	for round := range b.rounds {
		kinds := append([]mta.Kind{mta.Gateway(b.binary)}, b.peers...)
		in, out := make([]float64, len(kinds)), make([]float64, len(kinds))
		for i := range kinds {
			i = (i + round) % len(kinds)
			var err error
			if in[i], out[i], err = b.downAndUp(ctx, kinds[i], n); err != nil {
				return fmt.Errorf("%s: %w", kinds[i].Name, err)
			}
		}
		for i, p := range b.peers {
			b.row(report.Row{ID: "intake", Work: "taking in with the next hop down: rate", Against: p.Name, Wanted: wish(p.Name, 6), Note: fmt.Sprint(n)}, in[0]/in[i+1])
			b.row(report.Row{ID: "drain", Work: "draining that: rate", Against: p.Name, Wanted: wish(p.Name, 10), Note: fmt.Sprint(n)}, out[0]/out[i+1])
		}
	}
	return nil
}

func (b *bench) downAndUp(ctx context.Context, k mta.Kind, n int) (in, out float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	next, err := mta.FreePort()
	if err != nil {
		return 0, 0, err
	}
	dir, err := b.folder()
	if err != nil {
		return 0, 0, err
	}
	a, err := k.Start(mta.Options{Dir: dir, Next: next})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, b.end(a, dir, err != nil)) }()
	took, _, err := load.Send(ctx, a.Addr, load.Mail{Sessions: 10, Messages: n, Size: 4096})
	if err != nil {
		return 0, 0, err
	}
	sink, err := load.StartSink(ctx, next)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		_, serr := sink.Stop()
		err = errors.Join(err, serr)
	}()
	began := time.Now()
	if err := a.Flush(); err != nil {
		return 0, 0, err
	}
	if err := sink.Wait(ctx, n); err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, a.Log())
	}
	in, out = float64(n)/took.Seconds(), float64(n)/time.Since(began).Seconds()
	b.say("  %-9s %d taken in at %.0f/s, drained at %.0f/s", k.Name, n, in, out)
	return in, out, nil
}

// idle measures the memory of a gateway that has just started and carried a few messages.
func (b *bench) idle(ctx context.Context) error {
	for range b.rounds {
		err := b.withGateway(ctx, "", func(a *mta.Agent, sink *load.Sink) error {
			if _, _, err := load.Send(ctx, a.Addr, load.Mail{Sessions: 1, Messages: 10, Size: 4096}); err != nil {
				return err
			}
			if err := sink.Wait(ctx, 10); err != nil {
				return err
			}
			u, err := a.Use()
			if err != nil {
				return err
			}
			b.say("  idle: %d MB anonymous, %d MB mapped", u.Anonymous>>20, u.Mapped>>20)
			b.row(report.Row{ID: "idle", Work: "anonymous memory, idle", Against: "bound of 25 MB", Wanted: 1, Less: true}, float64(u.Anonymous)/(25<<20))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withGateway runs the gateway with mail for dead.example going nowhere.
func (b *bench) withGateway(ctx context.Context, more string, do func(*mta.Agent, *load.Sink) error) (err error) {
	sink, err := load.StartSink(ctx, "")
	if err != nil {
		return err
	}
	defer func() {
		_, serr := sink.Stop()
		err = errors.Join(err, serr)
	}()
	dead, err := mta.FreePort()
	if err != nil {
		return err
	}
	dir, err := b.folder()
	if err != nil {
		return err
	}
	a, err := mta.GatewayWith(b.binary, mta.Options{Dir: dir, Next: sink.Addr, Dead: dead}, more)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.end(a, dir, err != nil)) }()
	if err = do(a, sink); err != nil {
		err = fmt.Errorf("%w\n%s", err, a.Log())
	}
	return err
}

// list measures `queue list`: its first page, and all of it as JSON, the start of the command included.
func (b *bench) list(ctx context.Context) error {
	n := b.n(10000)
	if b.long {
		n = b.n(100000)
	}
	return b.withGateway(ctx, "", func(a *mta.Agent, _ *load.Sink) error {
		if err := b.fill(ctx, a, n); err != nil {
			return err
		}
		for range b.rounds {
			began := time.Now()
			if _, err := a.Command(ctx, b.binary, "queue", "list", "--limit", "100"); err != nil {
				return err
			}
			page := time.Since(began)
			began = time.Now()
			out, err := a.Command(ctx, b.binary, "queue", "list", "--json")
			if err != nil {
				return err
			}
			whole := time.Since(began)
			if got := bytes.Count(out, []byte("\n")); got != n {
				return fmt.Errorf("queue list --json shows %d of %d", got, n)
			}
			b.say("  %d listed: first page %s, whole %s", n, page, whole)
			b.row(report.Row{ID: "list-page", Work: "queue list, first page", Against: "bound of 50 ms", Wanted: 1, Less: true, Note: fmt.Sprint(n)}, page.Seconds()/0.05)
			b.row(report.Row{ID: "list-json", Work: "queue list --json, all", Against: "bound of 1 s for 100,000", Wanted: 1, Less: true, Note: fmt.Sprint(n)}, whole.Seconds()*100000/float64(n))
		}
		return nil
	})
}

// fill queues n small messages for the destination that is down.
func (b *bench) fill(ctx context.Context, a *mta.Agent, n int) error {
	took, _, err := load.Send(ctx, a.Addr, load.Mail{Sessions: 50, Messages: n, Size: 1024, To: "bulk@dead.example"})
	if err == nil {
		b.say("  %d queued at %.0f/s", n, float64(n)/took.Seconds())
	}
	return err
}

// million measures what a million messages for a dead destination do to memory, to a start and to other mail.
func (b *bench) million(ctx context.Context) error {
	n := b.n(1000000)
	sink, err := load.StartSink(ctx, "")
	if err != nil {
		return err
	}
	defer sink.Stop() //nolint:errcheck // nothing of it is measured
	dead, err := mta.FreePort()
	if err != nil {
		return err
	}
	dir, err := b.folder()
	if err != nil {
		return err
	}
	defer b.remove(dir)
	o := mta.Options{Dir: dir, Next: sink.Addr, Dead: dead}
	a, err := mta.GatewayWith(b.binary, o, "")
	if err != nil {
		return err
	}
	empty, full := make([]figures, b.rounds), make([]figures, b.rounds)
	sunk := 0
	live := func() (figures, error) {
		m := load.Mail{Sessions: 10, Messages: b.n(10000), Size: 4096}
		before, err := a.Use()
		if err != nil {
			return figures{}, err
		}
		began := time.Now()
		if _, _, err := load.Send(ctx, a.Addr, m); err != nil {
			return figures{}, err
		}
		sunk += m.Messages
		if err := sink.Wait(ctx, sunk); err != nil {
			return figures{}, err
		}
		took := time.Since(began)
		after, err := a.Use()
		f := figures{rate: float64(m.Messages) / took.Seconds(), cpu: (after.CPU - before.CPU).Seconds() / float64(m.Messages)}
		b.say("  other mail: %.0f/s, %.3f ms CPU a message", f.rate, f.cpu*1e3)
		return f, err
	}
	err = func() error {
		for i := range empty {
			if empty[i], err = live(); err != nil {
				return err
			}
		}
		if err := b.fill(ctx, a, n); err != nil {
			return err
		}
		for i := range full {
			if full[i], err = live(); err != nil {
				return err
			}
			u, err := a.Use()
			if err != nil {
				return err
			}
			b.say("  %d queued: %d MB anonymous, %d MB mapped", n, u.Anonymous>>20, u.Mapped>>20)
			b.row(report.Row{ID: "million-memory", Work: "anonymous memory, 1,000,000 queued", Against: "bound of 100 MB", Wanted: 1, Less: true, Note: fmt.Sprint(n)}, float64(u.Anonymous)/(100<<20))
			b.row(report.Row{ID: "million-cpu", Work: "other mail beside 1,000,000 for a dead host: CPU a message", Against: "an empty queue", Wanted: 1.1, Less: true, Note: fmt.Sprint(n)}, full[i].cpu/empty[i].cpu)
			b.row(report.Row{ID: "million-rate", Work: "other mail beside 1,000,000 for a dead host: rate", Against: "an empty queue", Wanted: 0.9, Note: fmt.Sprint(n)}, full[i].rate/empty[i].rate)
		}
		return nil
	}()
	if err != nil {
		return errors.Join(err, a.Kill())
	}
	for range b.rounds {
		if err := a.Stop(); err != nil {
			return err
		}
		if a, err = mta.GatewayWith(b.binary, o, ""); err != nil {
			return err
		}
		b.say("  start with %d queued: %s", n, a.Up.Sub(a.Began))
		b.row(report.Row{ID: "million-start", Work: "start with 1,000,000 queued, until it accepts", Against: "bound of 2 s", Wanted: 1, Less: true, Note: fmt.Sprint(n)}, a.Up.Sub(a.Began).Seconds()/2)
		u, err := a.Use()
		if err != nil {
			return errors.Join(err, a.Kill())
		}
		b.say("  after the start: %d MB anonymous, %d MB mapped", u.Anonymous>>20, u.Mapped>>20)
	}
	return a.Stop()
}

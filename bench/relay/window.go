package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"backbone/bench/load"
	"backbone/bench/mta"
	"backbone/bench/report"

	"github.com/emersion/go-smtp"
)

// parallel is the gateway's default window: transfers at once to one destination.
const parallel = 10

// window has a destination recover with much mail waiting, while a message a tenth of a second goes elsewhere: the drain
// may not open more connections than its window, nor delay the others.
func (b *bench) window(ctx context.Context) error {
	n := b.n(10000)
	if b.long {
		n = b.n(100000)
	}
	for range b.rounds {
		if err := b.drainBeside(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) drainBeside(ctx context.Context, n int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	other, err := startWatch("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.close()) }()
	back, err := mta.FreePort()
	if err != nil {
		return err
	}
	dir, err := b.folder()
	if err != nil {
		return err
	}
	a, err := mta.GatewayWith(b.binary, mta.Options{Dir: dir, Next: other.addr, Dead: back}, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.end(a, dir, err != nil)) }()
	if err := b.fill(ctx, a, n); err != nil {
		return err
	}
	recovered, err := startWatch(back)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recovered.close()) }()
	if err := a.Flush(); err != nil {
		return err
	}
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var slowest []time.Duration
	for recovered.messages.Load() < int64(n) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d drained: %w", recovered.messages.Load(), n, ctx.Err())
		case <-tick.C:
		}
		sent := time.Now()
		seen := other.messages.Load()
		if _, _, err := load.Send(ctx, a.Addr, load.Mail{Sessions: 1, Messages: 1, Size: 1024}); err != nil {
			return err
		}
		for other.messages.Load() == seen {
			select {
			case <-ctx.Done():
				return fmt.Errorf("a message for elsewhere is not delivered: %w", ctx.Err())
			case <-other.arrived:
			}
		}
		slowest = append(slowest, time.Since(sent))
	}
	if len(slowest) == 0 {
		return errors.New("the drain was over before anything else was sent: more messages are needed")
	}
	worst := slices.Max(slowest)
	b.say("  %d drained at %.0f/s over at most %d connections; %d other messages, slowest %s", n, float64(n)/time.Since(began).Seconds(), recovered.most.Load(), len(slowest), worst)
	b.row(report.Row{ID: "window", Work: "drain: connections at once", Against: fmt.Sprintf("window of %d", parallel), Wanted: 1, Less: true, Note: fmt.Sprint(n)}, float64(recovered.most.Load())/parallel)
	b.row(report.Row{ID: "window-others", Work: "drain: slowest message to another destination", Against: "bound of 1 s", Wanted: 1, Less: true, Note: fmt.Sprint(n)}, worst.Seconds())
	return nil
}

// watch is a server that takes all mail, and counts messages and connections.
type watch struct {
	addr       string
	srv        *smtp.Server
	done       sync.WaitGroup
	messages   atomic.Int64
	open, most atomic.Int64
	arrived    chan struct{} // of capacity 1
}

func startWatch(addr string) (*watch, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &watch{addr: l.Addr().String(), arrived: make(chan struct{}, 1)}
	w.srv = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		n := w.open.Add(1)
		for m := w.most.Load(); n > m && !w.most.CompareAndSwap(m, n); m = w.most.Load() {
		}
		return &watched{w}, nil
	}))
	w.srv.Domain = "sink.example"
	w.done.Go(func() { w.srv.Serve(l) }) //nolint:errcheck // it ends when it is closed
	return w, nil
}

func (w *watch) close() error {
	err := w.srv.Close()
	w.done.Wait()
	if err != nil && !strings.Contains(err.Error(), "closed") {
		return err
	}
	return nil
}

type watched struct{ w *watch }

func (s *watched) Mail(string, *smtp.MailOptions) error { return nil }
func (s *watched) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *watched) Reset()                               {}

func (s *watched) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	s.w.messages.Add(1)
	select {
	case s.w.arrived <- struct{}{}:
	default:
	}
	return nil
}

func (s *watched) Logout() error {
	s.w.open.Add(-1)
	return nil
}

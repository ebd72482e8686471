package shadowpo

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"backbone/gateway/mail"
)

// Handler takes one message of a drop.
//
// Nil means that the message is durable elsewhere and need not stay in the drop. A final *mail.Failure puts it into
// badmail; any other error leaves it where it is, to be offered again under the same key. A key that was taken
// before must be answered with nil without taking it again: after a crash the same message comes twice. It is called
// from several goroutines unless Options.Parallel is 1, never twice at a time for one file. A panic is recovered and
// counts as an error; the third for one file is final.
type Handler func(ctx context.Context, in *Inbound) error

// watch is one run of Watch. Only its own goroutine touches it, but for take.
type watch struct {
	drop   *Drop
	handle Handler

	tree   tree
	lock   io.Closer
	claims *claims
	looks  map[string]look
	leave  map[string]fs.FileInfo // odd entries that could not even be put aside, reported once
	open   []*claim               // claimed and not finished
	dirty  bool                   // removals in submit are not synced
	looked time.Duration          // how long the last look at submit took
	state  string                 // last reported trouble
}

// Watch takes what the post office submits until ctx ends, and returns nil then, after the handlers in hand have
// returned. Only one Watch of all gateways serves a drop; another one waits for the lock. Trouble with the drop is
// logged when it begins and when it ends, and is no reason to return.
func (d *Drop) Watch(ctx context.Context, h Handler) error {
	w := &watch{drop: d, handle: h, leave: map[string]fs.FileInfo{}}
	n := newNotifier(d.log)
	defer n.close()
	defer w.close()
	for ctx.Err() == nil {
		next, err := w.cycle(ctx)
		w.report(err)
		if err != nil {
			w.close() // what is claimed is found again by its token
		}
		if w.tree == nil {
			n.unwatch()
		} else if t, ok := w.tree.(*disk); ok {
			n.watch(t.dir + "/" + submitDir)
		}
		// A busy folder must not be read without end: rest for as long as the look took.
		rest := max(20*time.Millisecond, w.looked)
		poll := time.Until(next)
		if limit := d.opt.Poll; poll > limit || next.IsZero() {
			poll = limit
		}
		if !sleep(ctx, min(rest, poll), nil) || !sleep(ctx, poll-rest, n.hint) {
			break
		}
	}
	return nil
}

// sleep waits for d, a hint, or the end of ctx; false says it was the last.
func sleep(ctx context.Context, d time.Duration, hint <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-hint:
	case <-ctx.Done():
		return false
	}
	return true
}

// report logs trouble when it is new and when it is over.
func (w *watch) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == w.state:
	case err != nil:
		w.drop.log.Warn("submit folder cannot be served", "err", err, "class", string(mail.AsFailure(fault(err)).Class))
	default:
		w.drop.log.Info("submit folder is served")
	}
	w.state = text
}

func (w *watch) close() {
	var err error
	if w.claims != nil {
		err = errors.Join(err, w.claims.close())
	}
	if w.lock != nil {
		err = errors.Join(err, w.lock.Close())
	}
	if w.tree != nil {
		err = errors.Join(err, w.tree.Close())
	}
	if err != nil {
		w.drop.log.Warn("closing submit folder", "err", err)
	}
	w.tree, w.lock, w.claims, w.open, w.looks, w.dirty = nil, nil, nil, nil, nil, false
}

// cycle serves the folder once and tells when there is something to do again; zero leaves it to the poll.
func (w *watch) cycle(ctx context.Context) (next time.Time, err error) {
	if w.tree != nil {
		if err := w.tree.Valid(); err != nil {
			return time.Time{}, err
		}
	} else if err := w.start(); err != nil {
		return time.Time{}, err
	}
	defer func() {
		for _, c := range w.open {
			next = earlier(next, c.next)
		}
	}()
	began := time.Now()
	f, err := w.scan(began)
	w.looked = time.Since(began)
	if err != nil {
		return next, err
	}
	for _, o := range f.odd {
		w.putAside(o)
	}
	again, err := w.serve(ctx, f)
	return earlier(f.next, again), err
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// start opens the drop, takes the lock and picks up what an earlier run left claimed.
func (w *watch) start() error {
	t, err := w.drop.tree()
	if err != nil {
		return err
	}
	w.tree, w.looks = t, map[string]look{}
	if w.lock, err = t.Lock("SUBMIT.0LK", w.drop.holder()); err != nil {
		return err
	}
	if w.claims, err = openClaims(t.Folder(stateDir)); err != nil {
		return err
	}
	return w.recover()
}

// due are the claims whose turn has come again.
func (w *watch) due() []*claim {
	var out []*claim
	now := time.Now()
	for _, c := range w.open {
		if !now.Before(c.next) {
			out = append(out, c)
		}
	}
	return out
}

// serve hands over what is due and what the look found, several files at a time, and removes the files that are done.
// Files are claimed and removed batch by batch, while others are being handed over: both cost a sync.
func (w *watch) serve(ctx context.Context, f found) (again time.Time, err error) {
	work, results := make(chan *claim), make(chan *claim, 2*w.drop.opt.Batch)
	var wg sync.WaitGroup
	for range min(w.drop.opt.Parallel, len(f.ready)+len(w.open)) {
		wg.Go(func() {
			for c := range work {
				w.take(ctx, c)
				results <- c
			}
		})
	}
	defer wg.Wait()
	defer close(work)

	var done []*claim
	queue, busy, stuck := w.due(), 0, 0
	stuck = len(w.open) - len(queue)
	for {
		batch := min(w.drop.opt.Batch, len(f.ready))
		if batch > 0 && err == nil && ctx.Err() == nil && stuck < w.drop.opt.Batch && len(queue)+busy <= w.drop.opt.Batch {
			var claimed []*claim
			var later time.Time
			if err = w.tree.Valid(); err == nil {
				claimed, later, err = w.claim(f.ready[:batch], f.side)
			}
			f.ready = f.ready[batch:]
			queue, again = append(queue, claimed...), earlier(again, later)
			continue
		}
		if err != nil || ctx.Err() != nil {
			queue = nil // found again by its token
		}
		if len(queue)+busy == 0 {
			break
		}
		var next *claim
		out := work
		if len(queue) > 0 {
			next = queue[0]
		} else {
			out = nil
		}
		select {
		case out <- next:
			queue, busy = queue[1:], busy+1
		case c := <-results:
			busy--
			if !c.done {
				stuck++
			} else if done = append(done, c); len(done) >= w.drop.opt.Batch && err == nil {
				err = w.finish(done)
				done = nil
			}
		}
	}
	if err == nil {
		err = w.finish(done)
	}
	if err == nil {
		err = w.settle()
	}
	return again, err
}

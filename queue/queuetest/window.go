package queuetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"backbone/queue"
)

var windowCases = []testcase{
	{"a room leaves what other owners have not taken, whatever oneself has", func(w *world) {
		w.fill(alpha, 9)
		a := w.leaseIn(alpha, "a", 5, 3)
		w.equal("taken of a window of three", len(a), 3)
		w.fills(alpha, "b", 3)
		w.equal("a fourth, when one's own say that one is over", len(w.leaseIn(alpha, "a", 5, 1)), 1)
		w.finish(a[0])
		w.fills(alpha, "b", 3)
		w.finish(a[1])
		w.equal("taken by another when two are left", len(w.leaseIn(alpha, "b", 5, 3)), 1)
		w.fills(alpha, "c", 3)
	}},
	{"a place is free again when its lease was returned, fenced out or ran out", func(w *world) {
		w.fill(alpha, 9)
		end := map[string]func(queue.Lease){
			"returned": func(l queue.Lease) { w.ok(w.Return(w.ctx, []queue.Lease{l})) },
			"fenced":   func(l queue.Lease) { w.change(only(l.ID), queue.Op{Verb: queue.Hold}, 1) },
			"kept":     func(l queue.Lease) { w.later(l, time.Hour) },
			"run out":  func(queue.Lease) { elapse(ttl + time.Second) },
		}
		for _, how := range []string{"returned", "fenced", "kept", "run out"} {
			l := w.leaseIn(alpha, "a", 1, 1)
			w.fills(alpha, "b", 1)
			end[how](l[0])
			b := w.leaseIn(alpha, "b", 1, 1)
			w.equal("taken when the other's was "+how, len(b), 1)
			w.finish(b[0])
		}
	}},
	{"a window is one destination's", func(w *world) {
		w.fill(alpha, 2)
		w.fill(beta, 2)
		w.leaseIn(alpha, "a", 1, 1)
		w.equal("taken of another", len(w.leaseIn(beta, "b", 1, 1)), 1)
		w.fills(alpha, "b", 1)
		w.fills(beta, "a", 1)
	}},
	{"a window bounds what is leased before its time, too", func(w *world) {
		w.fill(alpha, 9, in(time.Hour))
		waiting := func(owner string, room int) ([]queue.Lease, error) {
			return w.LeaseWaiting(w.ctx, alpha, owner, 0, 5, room, ttl)
		}
		w.equal("taken of a window of two", len(must(waiting("a", 2))(w)), 2)
		_, err := waiting("b", 2)
		w.fails(err, queue.ErrNoRoom)
		w.equal("taken when another leaves one", leased(must(waiting("b", 3))(w)), w.listIDs(queue.Filter{})[2:3])
	}},
	{"leases without a window, and of one item by its ID, fill none and are bound by none", func(w *world) {
		ids := w.fill(alpha, 9)
		w.leaseIn(alpha, "a", 1, 1)
		w.equal("without a window", len(w.lease(alpha, 2)), 2)
		w.equal("waiting ones without a window", len(must(w.LeaseWaiting(w.ctx, alpha, "b", 0, 2, queue.NoWindow, ttl))(w)), 2)
		must(w.LeaseID(w.ctx, ids[8], "operator", ttl))(w)
		w.equal("in a window of two, of which one is taken", len(w.leaseIn(alpha, "c", 9, 2)), 1)
	}},
	{"a crash leaves the window empty", func(w *world) {
		w.fill(alpha, 2)
		w.leaseIn(alpha, "a", 1, 1)
		w.crash()
		w.equal("taken", len(w.leaseIn(alpha, "b", 1, 1)), 1)
	}},
	{"many owners at once never exceed a window that they have in common", func(w *world) {
		const window, items, owners = 4, 80, 8
		w.fill(alpha, items)
		var under, most, done atomic.Int64
		var wg sync.WaitGroup
		for o := range owners {
			wg.Go(func() {
				for done.Load() < items {
					ls, err := w.Lease(w.ctx, alpha, fmt.Sprint(o), 3, window, ttl)
					if errors.Is(err, queue.ErrNoRoom) {
						elapse(time.Second)
						continue
					} else if err != nil {
						w.Error(err)
						return
					} else if len(ls) == 0 && done.Load()+under.Load() >= items {
						return
					}
					n := under.Add(int64(len(ls)))
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					elapse(time.Second)
					for _, l := range ls {
						under.Add(-1)
						if err := w.Settle(w.ctx, l, queue.Settlement{}); err != nil {
							w.Error(err)
						}
						done.Add(1)
					}
				}
			})
		}
		wg.Wait()
		w.equal("the most at once", most.Load(), int64(window))
		w.equal("done", done.Load(), int64(items))
	}},
}

// fill puts n items for d.
func (w *world) fill(d queue.Dest, n int, with ...func(*queue.Item)) (ids []queue.ID) {
	w.Helper()
	for range n {
		ids = append(ids, w.put1(to(d, with...)))
	}
	return ids
}

// leaseIn leases up to n items of d for owner, who has room.
func (w *world) leaseIn(d queue.Dest, owner string, n, room int) []queue.Lease {
	w.Helper()
	return must(w.Lease(w.ctx, d, owner, n, room, ttl))(w)
}

// fills expects that others leave owner nothing of room.
func (w *world) fills(d queue.Dest, owner string, room int) {
	w.Helper()
	ls, err := w.Lease(w.ctx, d, owner, 1, room, ttl)
	if !errors.Is(err, queue.ErrNoRoom) {
		w.Errorf("%s was given %d of a full window, %v", owner, len(ls), err)
	}
}

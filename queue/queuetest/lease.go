package queuetest

import (
	"fmt"
	"sync"
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
)

var leaseCases = []testcase{
	{"urgent first, then normal, then non-urgent, each by due time, then by ID", func(w *world) {
		soon, now, before := in(time.Minute), in(0), in(-time.Minute)
		ids := w.put("x",
			to(alpha, priority(mail.NonUrgent), before), // 0
			to(alpha, now),                           // 1
			to(alpha, before),                        // 2
			to(alpha, now),                           // 3
			to(alpha, priority(mail.Urgent), now),    // 4
			to(alpha, priority(mail.Urgent), before), // 5
			to(alpha, priority(mail.Urgent), soon),   // 6: not due
		)
		want := []queue.ID{ids[5], ids[4], ids[2], ids[1], ids[3], ids[0]}
		w.equal("order", leased(w.lease(alpha, 100)), want)
	}},
	{"no more than asked for", func(w *world) {
		w.put("x", to(alpha), to(alpha), to(alpha))
		w.equal("leased", []int{len(w.lease(alpha, 2)), len(w.lease(alpha, 2)), len(w.lease(alpha, 2))}, []int{2, 1, 0})
	}},
	{"destinations are apart", func(w *world) {
		w.put("x", to(alpha), to(beta), to(gamma))
		w.equal("due", w.due(), []queue.Dest{alpha, beta, gamma})
		w.lease1(alpha)
		w.equal("due without the leased one", w.due(), []queue.Dest{beta, gamma})
		w.equal("an unknown destination", len(w.lease(queue.Dest{Connector: "internet"}, 1)), 0)
	}},
	{"an item is leased when it is due and not before", func(w *world) {
		w.put1(to(alpha, in(time.Hour)))
		_, next := w.Due(time.Now(), 10)
		w.equal("next", time.Until(next), time.Hour)
		w.equal("leased early", len(w.lease(alpha, 1)), 0)
		elapse(time.Hour - 1)
		w.equal("leased a nanosecond early", len(w.lease(alpha, 1)), 0)
		elapse(1)
		w.equal("due", w.due(), []queue.Dest{alpha})
		w.lease1(alpha)
	}},
	{"due lists no more than the limit, the longest due first", func(w *world) {
		for i := range 5 {
			w.put1(to(queue.Dest{Connector: "internet", Host: fmt.Sprint(i)}, in(-time.Duration(i)*time.Minute)))
		}
		ds, next := w.Due(time.Now(), 2)
		w.equal("due", ds, []queue.Dest{{Connector: "internet", Host: "4"}, {Connector: "internet", Host: "3"}})
		w.equal("next", next.IsZero(), true)
	}},
	{"a lease shows in every view", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		it := w.state(id, queue.Leased)
		w.equal("as listed", it, l.Item)
		w.equal("owner", it.LeaseOwner, "tester")
		w.equal("until", time.Until(it.LeaseUntil), ttl)
		w.equal("listed as leased", w.listIDs(queue.Filter{State: queue.Leased}), []queue.ID{id})
		w.equal("listed as ready", len(w.list(queue.Filter{State: queue.Ready})), 0)
	}},
	{"a lease that runs out leaves the item due with its outcome unknown", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		wake := w.Wake()
		elapse(ttl - time.Second)
		w.state(id, queue.Leased)
		elapse(2 * time.Second)
		<-wake
		it := w.state(id, queue.Ready)
		w.equal("unknown, attempts", []any{it.Unknown, it.Attempts}, []any{true, 0})
		w.fails(w.Settle(w.ctx, l, queue.Settlement{}), queue.ErrLeaseLost)
		w.fails(w.Extend(w.ctx, l, ttl), queue.ErrLeaseLost)
		elapse(time.Second)
		again := w.lease1(alpha)
		w.equal("unknown as leased again", again.Unknown, true)
		if again.Epoch == l.Epoch {
			w.Error("both leases have the same epoch")
		}
		w.fails(w.Settle(w.ctx, l, queue.Settlement{}), queue.ErrLeaseLost)
		w.finish(again)
		w.gone(id)
	}},
	{"a lease that is extended lasts", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		for range 10 {
			elapse(ttl - time.Second)
			w.ok(w.Extend(w.ctx, l, ttl))
		}
		w.state(id, queue.Leased)
		w.finish(l)
		w.gone(id)
	}},
	{"what is returned is as it was", func(w *world) {
		id := w.put1(to(alpha))
		before := w.get(id)
		l := w.lease1(alpha)
		w.ok(w.Return(w.ctx, []queue.Lease{l}))
		w.equal("item", w.get(id), before)
		w.fails(w.Settle(w.ctx, l, queue.Settlement{}), queue.ErrLeaseLost)
		w.ok(w.Return(w.ctx, []queue.Lease{l})) // a lost lease needs no return
		w.finish(w.lease1(alpha))
	}},
	{"of many owners at once each item has one", func(w *world) {
		const items, owners = 100, 10
		for range items / 10 {
			its := make([]queue.Item, 10)
			for i := range its {
				its[i] = to(alpha)
			}
			w.put("x", its...)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[queue.ID]string{}
		for o := range owners {
			wg.Go(func() {
				me := fmt.Sprint(o)
				for {
					ls, err := w.Lease(w.ctx, alpha, me, 3, queue.NoWindow, ttl)
					if err != nil {
						w.Error(err)
					}
					if len(ls) == 0 {
						return
					}
					for _, l := range ls {
						mu.Lock()
						if other, twice := seen[l.ID]; twice {
							w.Errorf("%s leased to %s and to %s", l.ID, other, me)
						}
						seen[l.ID] = me
						mu.Unlock()
						if err := w.Settle(w.ctx, l, queue.Settlement{}); err != nil {
							w.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		w.equal("leased", len(seen), items)
	}},
	{"LeaseWaiting takes what waits, due or not, suspended or not, in ID order", func(w *world) {
		ids := w.put("x", to(alpha, in(time.Hour)), to(alpha, priority(mail.NonUrgent)), to(alpha, held), to(alpha, priority(mail.Urgent), in(-time.Hour)), to(beta))
		w.ok(w.Suspend(w.ctx, queue.Suspension{Dest: alpha}))
		ls := must(w.LeaseWaiting(w.ctx, alpha, "tester", 0, 2, queue.NoWindow, ttl))(w)
		w.equal("first two", leased(ls), ids[:2])
		w.ok(w.Return(w.ctx, ls))
		w.equal("behind the first", leased(must(w.LeaseWaiting(w.ctx, alpha, "tester", ids[0], 9, queue.NoWindow, ttl))(w)), []queue.ID{ids[1], ids[3]})
		w.equal("what is left", leased(must(w.LeaseWaiting(w.ctx, alpha, "tester", 0, 9, queue.NoWindow, ttl))(w)), ids[:1])
	}},
	{"LeaseWaiting for attempts takes nothing behind a suspension", func(w *world) {
		ids := w.put("x", to(alpha, in(time.Hour)), to(beta, in(time.Hour)))
		w.ok(w.Suspend(w.ctx, queue.Suspension{Dest: alpha}))
		w.equal("suspended", len(must(w.LeaseWaiting(w.ctx, alpha, "tester", 0, 9, 9, ttl))(w)), 0)
		w.equal("another", leased(must(w.LeaseWaiting(w.ctx, beta, "tester", 0, 9, 9, ttl))(w)), ids[1:])
		w.ok(w.Resume(w.ctx, alpha))
		w.equal("resumed", leased(must(w.LeaseWaiting(w.ctx, alpha, "tester", 0, 9, 9, ttl))(w)), ids[:1])
	}},
	{"LeaseID takes one item, also a held one, which it is again when returned", func(w *world) {
		ids := w.put("x", to(alpha, in(time.Hour)), to(alpha, held))
		for i, want := range []queue.State{queue.Ready, queue.Held} {
			l := must(w.LeaseID(w.ctx, ids[i], "operator", ttl))(w)
			w.state(ids[i], queue.Leased)
			_, err := w.LeaseID(w.ctx, ids[i], "another", ttl)
			w.fails(err, queue.ErrLeaseLost)
			w.sound()
			w.ok(w.Return(w.ctx, []queue.Lease{l}))
			w.state(ids[i], want)
		}
		_, err := w.LeaseID(w.ctx, ids[1]+1000, "operator", ttl)
		w.fails(err, queue.ErrNotFound)
		w.change(only(ids[0]), queue.Op{Verb: queue.Delete}, 1)
		_, err = w.LeaseID(w.ctx, ids[0], "operator", ttl)
		w.fails(err, queue.ErrNotFound)
	}},
	{"a held item whose lease ran out is held again", func(w *world) {
		id := w.put1(to(alpha, held))
		must(w.LeaseID(w.ctx, id, "operator", ttl))(w)
		elapse(ttl + time.Second)
		w.equal("unknown", w.state(id, queue.Held).Unknown, true)
	}},
	{"wake tells of new, returned, changed and resumed items", func(w *world) {
		woken := func(what string, f func()) {
			w.Helper()
			wake := w.Wake()
			f()
			select {
			case <-wake:
			case <-time.After(time.Minute):
				w.Errorf("nobody was woken for %s", what)
			}
		}
		var l queue.Lease
		woken("a new item", func() { w.put1(to(alpha)) })
		l = w.lease1(alpha)
		woken("a returned one", func() { w.ok(w.Return(w.ctx, []queue.Lease{l})) })
		l = w.lease1(alpha)
		woken("a settled one that is due again", func() { w.later(l, 0) })
		l = w.lease1(alpha)
		w.later(l, time.Hour)
		woken("a retry", func() { w.change(queue.Filter{}, queue.Op{Verb: queue.RetryNow}, 1) })
		w.ok(w.Suspend(w.ctx, queue.Suspension{Dest: alpha}))
		woken("a resumed destination", func() { w.ok(w.Resume(w.ctx, alpha)) })
		w.equal("due", w.due(), []queue.Dest{alpha})
	}},
}

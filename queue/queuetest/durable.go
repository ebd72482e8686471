package queuetest

import (
	"context"
	"strings"
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
)

// suspendCases: destinations and connectors that an operator stopped.
var suspendCases = []testcase{
	{"a suspended destination gives nothing out until it is resumed", func(w *world) {
		w.put("x", to(alpha), to(beta))
		since := time.Now()
		w.ok(w.Suspend(w.ctx, queue.Suspension{Dest: alpha, Reason: "moving", By: "anna"}))
		w.equal("due", w.due(), []queue.Dest{beta})
		w.equal("leased", len(w.lease(alpha, 1)), 0)
		want := queue.Suspension{Dest: alpha, Reason: "moving", By: "anna", Since: since}
		w.equal("suspensions", w.Suspensions(), []queue.Suspension{want})
		for _, d := range must(w.Dests(w.ctx))(w) {
			if d.Dest == alpha {
				w.equal("suspension in the listing", d.Suspension, &want)
			} else if d.Suspension != nil {
				w.Errorf("%s shows a suspension", d.Dest)
			}
		}
		w.ok(w.Resume(w.ctx, alpha))
		w.equal("due", w.due(), []queue.Dest{alpha, beta})
		w.fails(w.Resume(w.ctx, alpha), queue.ErrNotFound)
	}},
	{"a suspended connector stops its destinations", func(w *world) {
		w.put("x", to(alpha), to(beta), to(gamma))
		w.ok(w.Suspend(w.ctx, queue.Suspension{Dest: queue.Dest{Connector: "internet"}}))
		w.equal("due", w.due(), []queue.Dest{gamma})
		w.equal("leased", len(w.lease(alpha, 1)), 0)
		w.put1(to(alpha))
		w.equal("due after more has come", w.due(), []queue.Dest{gamma})
		w.fails(w.Resume(w.ctx, alpha), queue.ErrNotFound)
		w.ok(w.Resume(w.ctx, queue.Dest{Connector: "internet"}))
		w.equal("due", w.due(), []queue.Dest{alpha, beta, gamma})
	}},
	{"a suspension with an end ends", func(w *world) {
		w.put1(to(alpha))
		w.ok(w.Suspend(w.ctx, queue.Suspension{Dest: alpha, Until: time.Now().Add(time.Hour)}))
		ds, next := w.Due(time.Now(), 10)
		w.equal("due", len(ds), 0)
		w.equal("next", time.Until(next), time.Hour)
		elapse(time.Hour)
		w.equal("suspensions", len(w.Suspensions()), 0)
		w.fails(w.Resume(w.ctx, alpha), queue.ErrNotFound)
		w.lease1(alpha)
	}},
	{"an attempt that runs when its destination is suspended settles", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		w.ok(w.Suspend(w.ctx, queue.Suspension{Dest: alpha}))
		w.finish(l)
		w.gone(id)
	}},
	{"a suspension survives", func(w *world) {
		w.put1(to(alpha))
		w.ok(w.Suspend(w.ctx, queue.Suspension{Dest: alpha, Reason: "r"}))
		want := w.Suspensions()
		w.crash()
		w.equal("after a crash", w.Suspensions(), want)
		w.reopen()
		w.equal("after a restart", w.Suspensions(), want)
		w.equal("due", len(w.due()), 0)
		w.ok(w.Resume(w.ctx, alpha))
		w.crash()
		w.equal("due after resume and crash", w.due(), []queue.Dest{alpha})
	}},
}

// durableCases: what a nil error promised is there after a crash.
var durableCases = []testcase{
	{"what was put is there", func(w *world) {
		id := w.put1(to(alpha))
		big, _, err := w.Put(w.ctx, queue.New{Body: must(w.Stage(w.ctx, &endless{n: 1 << 20}, 0))(w), Items: []queue.Item{to(beta)}})
		w.ok(err)
		before := w.list(queue.Filter{})
		for _, again := range []func(){w.crash, w.reopen, w.crash} {
			again()
			w.equal("items", w.list(queue.Filter{}), before)
			w.equal("text", w.text(w.get(id)), "text of a message")
			w.equal("large text", len(w.text(w.get(big[0]))), 1<<20)
			w.sound()
		}
		w.equal("due", w.due(), []queue.Dest{alpha, beta})
	}},
	{"what was settled stays settled", func(w *world) {
		done, later := w.put1(to(alpha)), w.put1(to(beta))
		w.ok(w.Settle(w.ctx, w.lease1(alpha), queue.Settlement{Spawn: []queue.New{{Body: w.stage("report"), Items: []queue.Item{to(gamma)}}}}))
		w.later(w.lease1(beta), time.Hour)
		before := w.list(queue.Filter{})
		w.crash()
		w.equal("items", w.list(queue.Filter{}), before)
		w.gone(done)
		w.equal("attempts, unknown", []any{w.get(later).Attempts, w.get(later).Unknown}, []any{1, false})
		w.equal("report", w.text(w.lease1(gamma).Item), "report")
	}},
	{"an attempt that ran when the process died is free at once and unknown", func(w *world) {
		ids := w.put("x", to(alpha), to(alpha), to(alpha), to(beta))
		l := w.lease1(alpha)
		back := w.lease1(alpha)
		w.ok(w.Return(w.ctx, []queue.Lease{back}))
		w.crash()
		var unknown []queue.ID
		for _, it := range w.list(queue.Filter{State: queue.Ready}) {
			if it.Unknown {
				unknown = append(unknown, it.ID)
			}
		}
		w.equal("unknown", unknown, []queue.ID{l.ID})
		w.fails(w.Settle(w.ctx, l, queue.Settlement{}), queue.ErrLeaseLost)
		w.equal("leased again at once", len(w.lease(alpha, 10)), 3)
		w.state(ids[3], queue.Ready)
	}},
	{"an attempt that ran long before the crash is unknown", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		for range 20 {
			elapse(ttl - time.Second)
			w.ok(w.Extend(w.ctx, l, ttl))
		}
		w.crash()
		w.equal("unknown", w.state(id, queue.Ready).Unknown, true)
	}},
	{"a lease from before a restart is lost, and its epoch does not come back", func(w *world) {
		w.put1(to(alpha))
		l := w.lease1(alpha)
		w.reopen()
		again := w.lease1(alpha)
		w.equal("unknown", again.Unknown, true)
		w.fails(w.Settle(w.ctx, l, queue.Settlement{}), queue.ErrLeaseLost)
		w.finish(again)
	}},
	{"a dedup key is known after a crash", func(w *world) {
		put := func() bool {
			_, dup, err := w.Put(w.ctx, queue.New{Body: w.stage("x"), Items: []queue.Item{to(alpha)}, Dedup: "k"})
			w.ok(err)
			return dup
		}
		w.equal("first", put(), false)
		w.crash()
		w.equal("second", put(), true)
		w.finish(w.lease1(alpha))
		w.crash()
		w.equal("third", put(), true)
		w.reopen()
		w.equal("fourth", put(), true)
	}},
	{"what was staged and not put is gone", func(w *world) {
		g := must(w.Stage(w.ctx, &endless{n: 2 << 20}, 0))(w)
		before := w.Stats().BodyBytes
		w.crash()
		_, _, err := w.Put(w.ctx, queue.New{Body: g, Items: []queue.Item{to(alpha)}})
		if err == nil {
			w.Error("a body of before the crash was put")
		}
		if got := w.Stats().BodyBytes; got > before {
			w.Errorf("bodies take %d octets, %d before the crash", got, before)
		}
	}},
	{"operators' changes are there", func(w *world) {
		ids := w.put("x", to(alpha), to(alpha), to(alpha), to(alpha, in(time.Hour)))
		w.change(only(ids[0]), queue.Op{Verb: queue.Hold, Reason: "r", By: "b"}, 1)
		w.change(only(ids[1]), queue.Op{Verb: queue.Delete}, 1)
		w.change(only(ids[3]), queue.Op{Verb: queue.RetryNow}, 1)
		before := append(w.list(queue.Filter{}), w.list(queue.Filter{State: queue.Trash})...)
		w.crash()
		w.equal("items", append(w.list(queue.Filter{}), w.list(queue.Filter{State: queue.Trash})...), before)
		w.change(only(ids[1]), queue.Op{Verb: queue.Restore}, 1)
		w.equal("free to lease", len(w.lease(alpha, 9)), 3)
	}},
	{"IDs and keys are never used again", func(w *world) {
		ids, keys := map[queue.ID]bool{}, map[string]bool{}
		for n := range 12 {
			it := w.get(w.put1(to(alpha, priority(mail.Priority(n%3-1)))))
			if ids[it.ID] || keys[it.Key] {
				w.Errorf("round %d: ID %s or key %s was used before", n, it.ID, it.Key)
			}
			ids[it.ID], keys[it.Key] = true, true
			w.finish(w.lease1(alpha))
			switch n % 3 {
			case 0:
				w.crash()
			case 1:
				w.reopen()
			}
		}
	}},
	{"a closed store says so", func(w *world) {
		w.put1(to(alpha))
		w.ok(w.Store.Close())
		for name, f := range map[string]func() error{
			"Stage": func() error { _, err := w.Stage(w.ctx, strings.NewReader("x"), 0); return err },
			"Lease": func() error { _, err := w.Lease(w.ctx, alpha, "x", 1, queue.NoWindow, ttl); return err },
			"List":  func() error { _, _, err := w.List(w.ctx, queue.Filter{}, "", 1); return err },
			"Change": func() error {
				_, err := w.Change(context.Background(), queue.Filter{}, queue.Op{Verb: queue.Hold})
				return err
			},
			"Close": w.Store.Close,
		} {
			if err := f(); err != queue.ErrClosed {
				w.Errorf("%s: got %v", name, err)
			}
		}
		w.open()
	}},
}

// upkeepCases: what an operator runs beside the mail.
var upkeepCases = []testcase{
	{"compaction changes nothing", func(w *world) {
		for range 50 {
			w.put("x", to(alpha), to(beta, in(time.Hour)), to(gamma, held))
		}
		for range 5 {
			for _, l := range w.lease(alpha, 9) {
				w.finish(l)
			}
		}
		l := w.lease1(alpha)
		w.change(queue.Filter{Connector: "x400", Host: "GAMMA"}, queue.Op{Verb: queue.Delete}, 50)
		before := w.list(queue.Filter{})
		w.ok(w.Compact(w.ctx))
		w.equal("items", w.list(queue.Filter{}), before)
		w.equal("due", w.due(), []queue.Dest{alpha})
		w.sound()
		w.finish(l)
		w.put1(to(alpha))
		w.crash()
		w.gone(l.ID)
		w.equal("items after a crash", len(w.list(queue.Filter{})), len(before))
		w.equal("due", w.due(), []queue.Dest{alpha})
	}},
	{"compaction runs beside the mail", func(w *world) {
		stop, done := make(chan struct{}), make(chan int)
		go func() {
			n := 0
			for ; ; n++ {
				select {
				case <-stop:
					done <- n
					return
				default:
				}
				w.put1(to(alpha))
				if n%2 == 0 {
					w.finish(w.lease1(alpha))
				}
			}
		}()
		for range 5 {
			w.ok(w.Compact(w.ctx))
		}
		close(stop)
		n := <-done
		w.equal("items", len(w.list(queue.Filter{})), n/2)
		w.crash()
		w.equal("items after a crash", len(w.list(queue.Filter{})), n/2)
	}},
}

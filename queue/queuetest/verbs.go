package queuetest

import (
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
)

var verbCases = []testcase{
	{"hold and release", func(w *world) {
		id := w.put1(to(alpha))
		w.change(queue.Filter{}, queue.Op{Verb: queue.Hold, Reason: "looking", By: "anna"}, 1)
		it := w.state(id, queue.Held)
		w.equal("reason, by, changed", []any{it.Reason, it.By, it.Changed.IsZero()}, []any{"looking", "anna", false})
		w.equal("due", len(w.due()), 0)
		w.change(queue.Filter{}, queue.Op{Verb: queue.Hold}, 0)
		w.change(queue.Filter{}, queue.Op{Verb: queue.Release, By: "anna"}, 1)
		w.state(id, queue.Ready)
		w.change(queue.Filter{}, queue.Op{Verb: queue.Release}, 0)
		w.finish(w.lease1(alpha))
	}},
	{"retry now and schedule set the time", func(w *world) {
		id := w.put1(to(alpha, in(time.Hour)))
		w.change(only(id), queue.Op{Verb: queue.RetryNow}, 1)
		w.equal("due", w.due(), []queue.Dest{alpha})
		w.change(only(id), queue.Op{Verb: queue.ScheduleAt, At: time.Now().Add(time.Minute)}, 1)
		w.equal("due", len(w.due()), 0)
		elapse(time.Minute)
		w.lease1(alpha)
	}},
	{"only release ends a hold", func(w *world) {
		id := w.put1(to(alpha, held, in(time.Hour)))
		w.change(only(id), queue.Op{Verb: queue.RetryNow}, 1)
		w.state(id, queue.Held)
		w.equal("due", len(w.due()), 0)
		w.change(only(id), queue.Op{Verb: queue.Release}, 1)
		w.equal("due", w.due(), []queue.Dest{alpha})
	}},
	{"delete, restore and purge", func(w *world) {
		ids := w.put("x", to(alpha), to(alpha, held), to(alpha))
		w.change(only(ids[:2]...), queue.Op{Verb: queue.Delete, Reason: "spam"}, 2)
		w.equal("listed", w.listIDs(queue.Filter{}), ids[2:])
		w.equal("in the trash", w.listIDs(queue.Filter{State: queue.Trash}), ids[:2])
		w.equal("reason", w.get(ids[0]).Reason, "spam")
		w.sound()
		w.change(queue.Filter{From: "*ANNA"}, queue.Op{Verb: queue.Restore}, 2)
		w.state(ids[0], queue.Ready)
		w.state(ids[1], queue.Held)
		w.change(only(ids[0]), queue.Op{Verb: queue.Purge}, 0) // it is not in the trash
		w.change(only(ids[0]), queue.Op{Verb: queue.Delete}, 1)
		w.change(queue.Filter{}, queue.Op{Verb: queue.Purge}, 1)
		w.gone(ids[0])
		w.equal("left", w.listIDs(queue.Filter{}), ids[1:])
	}},
	{"the trash empties itself", func(w *world) {
		id := w.put1(to(alpha))
		w.change(only(id), queue.Op{Verb: queue.Delete}, 1)
		elapse(queue.TrashFor - time.Hour)
		w.state(id, queue.Trash)
		elapse(3 * time.Hour)
		w.gone(id)
	}},
	{"hold and delete fence a running attempt out", func(w *world) {
		for _, c := range []struct {
			verb queue.Verb
			want queue.State
		}{{queue.Hold, queue.Held}, {queue.Delete, queue.Trash}} {
			id := w.put1(to(alpha))
			l := w.lease1(alpha)
			w.change(only(id), queue.Op{Verb: c.verb}, 1)
			w.equal("unknown", w.state(id, c.want).Unknown, true)
			w.fails(w.Settle(w.ctx, l, queue.Settlement{}), queue.ErrLeaseLost)
			w.fails(w.Extend(w.ctx, l, ttl), queue.ErrLeaseLost)
			w.state(id, c.want)
			elapse(2 * ttl)
			w.state(id, c.want)
			w.sound()
		}
	}},
	{"a leased item takes a new time when its attempt settles", func(w *world) {
		for _, c := range []struct {
			op   queue.Op
			want time.Duration
		}{
			{queue.Op{Verb: queue.RetryNow, By: "anna"}, 0},
			{queue.Op{Verb: queue.ScheduleAt, At: time.Now().Add(48 * time.Hour)}, 48 * time.Hour},
		} {
			start := time.Now()
			id := w.put1(to(alpha))
			l := w.lease1(alpha)
			w.change(only(id), c.op, 1)
			w.state(id, queue.Leased)
			w.ok(w.Extend(w.ctx, l, ttl))
			w.later(l, time.Hour)
			it := w.state(id, queue.Ready)
			if d := it.Next.Sub(start).Round(time.Minute); d != c.want {
				w.Errorf("%s: next attempt after %v, want %v", c.op.Verb, d, c.want)
			}
			w.change(only(id), queue.Op{Verb: queue.Delete}, 1)
		}
	}},
	{"a leased item takes a new time when it is returned", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		at := time.Now().Add(48 * time.Hour)
		w.change(only(id), queue.Op{Verb: queue.ScheduleAt, At: at}, 1)
		w.ok(w.Return(w.ctx, []queue.Lease{l}))
		w.equal("next", w.get(id).Next, at)
		w.equal("due", len(w.due()), 0)
	}},
	{"what an operator has set a time for waits for no link", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		keep := l.Item
		keep.Next, keep.Last = time.Now().Add(time.Hour), mail.LinkDown("no answer", nil)
		w.ok(w.Settle(w.ctx, l, queue.Settlement{Keep: []queue.Item{keep}}))
		at := time.Now().Add(48 * time.Hour)
		w.change(only(id), queue.Op{Verb: queue.ScheduleAt, At: at}, 1)
		it := w.get(id)
		w.equal("next", it.Next, at)
		w.equal("scope of the last failure", it.Last.Scope, mail.ScopeMessage)
		w.equal("its text", it.Last.Text, "no answer")
		id = w.put1(to(beta))
		w.change(only(id), queue.Op{Verb: queue.ScheduleAt, At: at}, 1)
		w.equal("scope without one", w.get(id).Last.Scope, mail.ScopeMessage)
	}},
	{"a change for a leased item that ends is nothing", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		w.change(only(id), queue.Op{Verb: queue.RetryNow}, 1)
		w.finish(l)
		w.gone(id)
	}},
	{"a held item that is leased can be released", func(w *world) {
		id := w.put1(to(alpha, held))
		l := must(w.LeaseID(w.ctx, id, "operator", ttl))(w)
		w.change(only(id), queue.Op{Verb: queue.Release}, 1)
		w.sound()
		w.ok(w.Return(w.ctx, []queue.Lease{l}))
		w.state(id, queue.Ready)
	}},
	{"a verb on many items touches what the filter selects", func(w *world) {
		for range 30 {
			its := make([]queue.Item, 20)
			for i := range its {
				its[i] = to([]queue.Dest{alpha, beta}[i%2])
			}
			w.put("x", its...)
		}
		w.change(queue.Filter{Host: "beta.*"}, queue.Op{Verb: queue.Hold}, 300)
		w.equal("held", len(w.list(queue.Filter{State: queue.Held, Host: "beta.example", Connector: "internet"})), 300)
		w.equal("due", w.due(), []queue.Dest{alpha})
	}},
	{"a verb that nobody knows is an error", func(w *world) {
		id := w.put1(to(alpha))
		if _, err := w.Change(w.ctx, queue.Filter{}, queue.Op{Verb: "explode"}); err == nil {
			w.Error("it was taken")
		}
		w.state(id, queue.Ready)
	}},
}

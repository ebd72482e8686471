package queuetest

import (
	"context"
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
)

var listCases = []testcase{
	{"pages are whole, in ID order, and end", func(w *world) {
		for range 7 {
			w.put("x", to(alpha), to(beta), to(alpha, held))
		}
		var got []queue.ID
		pages, at := 0, queue.Cursor("")
		for {
			page, next, err := w.List(w.ctx, queue.Filter{}, at, 7)
			w.ok(err)
			pages++
			if len(page) != 7 {
				w.Errorf("page %d has %d items", pages, len(page))
			}
			for _, it := range page {
				if n := len(got); n > 0 && got[n-1] >= it.ID {
					w.Errorf("%s comes after %s", it.ID, got[n-1])
				}
				got = append(got, it.ID)
			}
			if next == "" {
				break
			}
			at = next
		}
		w.equal("pages, items", []int{pages, len(got)}, []int{3, 21})
	}},
	{"an empty queue is one empty page", func(w *world) {
		page, next, err := w.List(w.ctx, queue.Filter{}, "", 10)
		w.ok(err)
		w.equal("page", []any{len(page), next}, []any{0, queue.Cursor("")})
	}},
	{"what stays through a listing is listed once, whatever changes beside it", func(w *world) {
		var stay []queue.ID
		for range 10 {
			ids := w.put("x", to(alpha), to(beta))
			stay = append(stay, ids[0])
		}
		seen := map[queue.ID]int{}
		at := queue.Cursor("")
		for n := 0; ; n++ {
			page, next, err := w.List(w.ctx, queue.Filter{}, at, 3)
			w.ok(err)
			for _, it := range page {
				seen[it.ID]++
			}
			if next == "" {
				break
			}
			at = next
			if n < 5 {
				for _, l := range w.lease(beta, 2) {
					w.finish(l)
				}
				w.put1(to(beta))
				for _, l := range w.lease(alpha, 1) {
					w.later(l, time.Duration(n)*time.Second)
				}
			}
		}
		for _, id := range stay {
			if seen[id] != 1 {
				w.Errorf("%s was listed %d times", id, seen[id])
			}
		}
	}},
	{"filters select", func(w *world) {
		a := w.put1(to(alpha))
		elapse(time.Hour)
		l := w.lease1(alpha)
		k := l.Item
		k.State, k.Next, k.Last = queue.Ready, time.Now().Add(time.Hour), mail.LinkDown("down", nil)
		w.ok(w.Settle(w.ctx, l, queue.Settlement{Keep: []queue.Item{k}}))
		b := w.put("a larger text than that of the first message", to(beta))[0]
		c := w.put1(to(gamma, held, func(it *queue.Item) { it.Envelope.ID = "SITEA-9" }))
		for _, x := range []struct {
			name string
			f    queue.Filter
			want []queue.ID
		}{
			{"all", queue.Filter{}, []queue.ID{a, b, c}},
			{"IDs, whatever their order, once each", queue.Filter{IDs: []queue.ID{c, a, c, 9999999}}, []queue.ID{a, c}},
			{"connector", queue.Filter{Connector: "internet"}, []queue.ID{a, b}},
			{"one destination", queue.Filter{Connector: "internet", Host: "beta.example"}, []queue.ID{b}},
			{"a destination that is not there", queue.Filter{Connector: "internet", Host: "GAMMA"}, nil},
			{"host glob", queue.Filter{Host: "*.example"}, []queue.ID{a, b}},
			{"originator", queue.Filter{From: "MS:NET/PO1/*"}, []queue.ID{a, b, c}},
			{"recipient", queue.Filter{To: "bob@gamma"}, []queue.ID{c}},
			{"state", queue.Filter{State: queue.Held}, []queue.ID{c}},
			{"older", queue.Filter{Older: 30 * time.Minute}, []queue.ID{a}},
			{"newer", queue.Filter{Newer: 30 * time.Minute}, []queue.ID{b, c}},
			{"larger", queue.Filter{Larger: 20}, []queue.ID{b}},
			{"class", queue.Filter{Class: mail.Transient}, []queue.ID{a}},
			{"message", queue.Filter{Message: "SITEA-9"}, []queue.ID{c}},
			{"all of several", queue.Filter{Connector: "internet", Newer: 30 * time.Minute}, []queue.ID{b}},
		} {
			w.equal(x.name, w.listIDs(x.f), x.want)
		}
	}},
	{"the page size and the cursor are checked", func(w *world) {
		if _, _, err := w.List(w.ctx, queue.Filter{}, "", 0); err == nil {
			w.Error("a page of nothing was given")
		}
		if _, _, err := w.List(w.ctx, queue.Filter{}, "not a cursor!", 1); err == nil {
			w.Error("a cursor of nonsense was taken")
		}
	}},
	{"every method honours a cancelled context", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		for name, f := range map[string]func() error{
			"Lease":        func() error { _, err := w.Lease(ctx, alpha, "x", 1, queue.NoWindow, ttl); return err },
			"LeaseWaiting": func() error { _, err := w.LeaseWaiting(ctx, alpha, "x", 0, 1, queue.NoWindow, ttl); return err },
			"LeaseID":      func() error { _, err := w.LeaseID(ctx, id, "x", ttl); return err },
			"Extend":       func() error { return w.Extend(ctx, l, ttl) },
			"Settle":       func() error { return w.Settle(ctx, l, queue.Settlement{}) },
			"Return":       func() error { return w.Return(ctx, []queue.Lease{l}) },
			"Get":          func() error { _, err := w.Get(ctx, id); return err },
			"List":         func() error { _, _, err := w.List(ctx, queue.Filter{}, "", 1); return err },
			"Change":       func() error { _, err := w.Change(ctx, queue.Filter{}, queue.Op{Verb: queue.Hold}); return err },
			"Suspend":      func() error { return w.Suspend(ctx, queue.Suspension{Dest: alpha}) },
			"Resume":       func() error { return w.Resume(ctx, alpha) },
			"Dests":        func() error { _, err := w.Dests(ctx); return err },
			"Probe":        func() error { return w.Probe(ctx) },
			"Check":        func() error { _, err := w.Check(ctx); return err },
			"Compact":      func() error { return w.Compact(ctx) },
			"Known":        func() error { _, err := w.Known(ctx, "k"); return err },
			"Remembered":   func() error { _, _, err := w.Remembered(ctx, "", 1); return err },
			"Remember":     func() error { return w.Remember(ctx, nil) },
		} {
			if err := f(); err != context.Canceled {
				w.Errorf("%s: got %v", name, err)
			}
		}
		w.finish(l)
	}},
}

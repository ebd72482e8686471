package queuetest

import (
	"errors"
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
)

var settleCases = []testcase{
	{"nothing kept ends the item", func(w *world) {
		id := w.put1(to(alpha))
		w.finish(w.lease1(alpha))
		w.gone(id)
	}},
	{"what is kept is as the settlement says and otherwise as it was", func(w *world) {
		id := w.put1(to(alpha))
		was := w.get(id)
		l := w.lease1(alpha)
		k := l.Item
		k.State, k.Next, k.Expires = queue.Ready, time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		k.Attempts, k.Tries = 3, map[string]int{"internet": 2, "x400": 1}
		k.Last = &mail.Failure{Class: mail.Transient, Scope: mail.ScopeLink, Code: 451, Enhanced: "4.4.1", Reason: 1, Diagnostic: -1, MSMail: 5,
			Text: "next hop down", Peer: "421 go away", RetryAfter: time.Minute}
		k.Delayed, k.Unknown, k.Reason, k.By = true, true, "because", "me"
		k.Dest = beta
		want := k
		// What a settlement may not change:
		k.Key, k.Created, k.Body, k.Envelope.ID = "other", time.Time{}, queue.BodyRef{}, "other"
		w.ok(w.Settle(w.ctx, l, queue.Settlement{Keep: []queue.Item{k}}))
		got := w.get(id)
		want.Key, want.Created, want.Body, want.Envelope, want.Changed = was.Key, was.Created, was.Body, was.Envelope, got.Changed
		want.LeaseOwner, want.LeaseUntil = "", time.Time{}
		w.equal("item", got, want)
		w.equal("text", w.text(got), "text of a message")
		w.equal("due", len(w.due()), 0)
		elapse(time.Hour)
		w.equal("due after an hour", w.due(), []queue.Dest{beta})
	}},
	{"a failure's cause is kept as its text", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		k := l.Item
		k.State, k.Last = queue.Held, mail.LocalFault("", errors.New("disk on fire"))
		w.ok(w.Settle(w.ctx, l, queue.Settlement{Keep: []queue.Item{k}}))
		w.equal("text", w.state(id, queue.Held).Last.Text, "disk on fire")
	}},
	{"an item split in three shares its body; the first keeps ID and key", func(w *world) {
		rs := []mail.Recipient{{Name: "one"}, {Name: "two"}, {Name: "three"}}
		id := w.put1(to(alpha, func(it *queue.Item) { it.Envelope.Recipients = rs }))
		was := w.get(id)
		l := w.lease1(alpha)
		var keep []queue.Item
		for i, d := range []queue.Dest{alpha, beta, gamma} {
			k := l.Item
			k.Envelope.Recipients, k.Dest, k.State, k.Next = rs[i:i+1], d, queue.Ready, time.Now().Add(time.Hour)
			keep = append(keep, k)
		}
		w.ok(w.Settle(w.ctx, l, queue.Settlement{Keep: keep}))
		all := w.list(queue.Filter{})
		w.equal("items", len(all), 3)
		keys := map[string]bool{}
		for i, it := range all {
			keys[it.Key] = true
			w.equal("recipients", it.Envelope.Recipients, rs[i:i+1])
			w.equal("text", w.text(it), "text of a message")
			w.equal("created", it.Created, was.Created)
		}
		w.equal("first", []any{all[0].ID, all[0].Key, len(keys)}, []any{id, was.Key, 3})
		elapse(time.Hour)
		for i, d := range []queue.Dest{alpha, beta} {
			w.finish(w.lease1(d))
			w.equal("text of the last", w.text(all[2]), "text of a message")
			w.equal("items left", len(w.list(queue.Filter{})), 2-i)
			w.sound()
		}
	}},
	{"rekey gives what is left a new key", func(w *world) {
		id := w.put1(to(alpha))
		was := w.get(id)
		l := w.lease1(alpha)
		k := l.Item
		k.State = queue.Ready
		w.ok(w.Settle(w.ctx, l, queue.Settlement{Keep: []queue.Item{k}, Rekey: true}))
		if got := w.get(id); got.Key == was.Key || got.Key == "" {
			w.Errorf("key is %q, was %q", got.Key, was.Key)
		}
	}},
	{"reports come in the same commit, with bodies of their own", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		w.ok(w.Settle(w.ctx, l, queue.Settlement{Spawn: []queue.New{
			{Body: w.stage("report one"), Items: []queue.Item{to(beta)}},
			{Body: must(w.Stage(w.ctx, &endless{n: 1 << 20}, 0))(w), Items: []queue.Item{to(gamma)}},
		}}))
		w.gone(id)
		w.equal("text", w.text(w.lease1(beta).Item), "report one")
		w.equal("size", len(w.text(w.lease1(gamma).Item)), 1<<20)
	}},
	{"a lost lease changes nothing and spawns nothing", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		elapse(ttl + time.Second)
		err := w.Settle(w.ctx, l, queue.Settlement{Spawn: []queue.New{{Body: w.stage("report"), Items: []queue.Item{to(beta)}}}})
		w.fails(err, queue.ErrLeaseLost)
		w.equal("items", w.listIDs(queue.Filter{}), []queue.ID{id})
	}},
	{"a lease is settled once", func(w *world) {
		w.put1(to(alpha))
		l := w.lease1(alpha)
		w.later(l, 0)
		w.fails(w.Settle(w.ctx, l, queue.Settlement{}), queue.ErrLeaseLost)
		w.equal("items", len(w.list(queue.Filter{})), 1)
	}},
	{"a spawned message whose dedup key is known is left out", func(w *world) {
		w.put("x", to(alpha), to(alpha))
		spawn := func() []queue.New {
			return []queue.New{{Body: w.stage("report"), Items: []queue.Item{to(beta)}, Dedup: "report/1"}}
		}
		for _, l := range w.lease(alpha, 2) {
			w.ok(w.Settle(w.ctx, l, queue.Settlement{Spawn: spawn()}))
		}
		w.equal("items", len(w.list(queue.Filter{})), 1)
	}},
	{"an item can be settled into the trash", func(w *world) {
		id := w.put1(to(alpha))
		w.ok(w.Settle(w.ctx, w.lease1(alpha), queue.Settlement{Trash: true}))
		w.state(id, queue.Trash)
		w.change(only(id), queue.Op{Verb: queue.Restore}, 1)
		w.equal("text", w.text(w.state(id, queue.Ready)), "text of a message")
	}},
	{"an item can be settled into being held", func(w *world) {
		id := w.put1(to(alpha))
		l := w.lease1(alpha)
		k := l.Item
		k.State, k.Reason = queue.Held, "poison"
		w.ok(w.Settle(w.ctx, l, queue.Settlement{Keep: []queue.Item{k}}))
		w.equal("reason", w.state(id, queue.Held).Reason, "poison")
		w.equal("due", len(w.due()), 0)
	}},
}

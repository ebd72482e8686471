package queuetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

var putCases = []testcase{
	{"what is put comes back whole", func(w *world) {
		now := time.Now()
		want := to(alpha, priority(mail.Urgent), in(time.Hour))
		e := &want.Envelope
		e.Sent = now.In(time.FixedZone("", -5*3600)).Add(-time.Minute)
		e.NotBefore, e.NotAfter, e.EnvID, e.RetFull, e.EightBit, e.UTF8 = now, now.Add(time.Hour), "QQ+314159", true, true, true
		e.Trace = []mail.Hop{{Site: "NET/PO1", At: now}, {Site: "SITEA", Via: "x400", At: now}}
		e.Name, e.About, e.ContentType = "Anna Ö.", "SITEB-1", "message/rfc822"
		e.Source.Detail, e.Source.Authenticated = "claim 7", true
		e.Extra = map[string]string{"mmff.priority": "1", "p1.content-identifier": "X"}
		e.Recipients = append(e.Recipients, mail.Recipient{
			Address: address.Address{Type: address.X400, Value: "c=US;a= ;p=Northwind;s=Kumar;"}, Name: "Kumar",
			ORCPT: "rfc822;k@x", Notify: mail.NotifySuccess | mail.NotifyDelay, Number: 3,
		})
		want.Reason = "kept back"
		want.Last = &mail.Failure{Class: mail.Policy, Scope: mail.ScopeMessage, Text: "waits for its turn"}
		id := w.put("text", want)[0]
		got := w.get(id)
		if got.Key == "" || got.ID != id || got.Created.Before(now) || got.Body.Where == "" {
			w.Errorf("set by Put: ID %s, key %q, created %v, where %q", got.ID, got.Key, got.Created, got.Body.Where)
		}
		want.ID, want.Key, want.Created, want.Body.Where = id, got.Key, got.Created, got.Body.Where
		h := sha256.Sum256([]byte("text"))
		want.Body.Size, want.Body.SHA256 = 4, hex.EncodeToString(h[:])
		w.equal("item", got, want)
		w.equal("text", w.text(got), "text")
	}},
	{"items of one message share its body and have IDs and keys of their own", func(w *world) {
		ids := w.put("shared", to(alpha), to(beta), to(gamma, held))
		a, b, c := w.get(ids[0]), w.get(ids[1]), w.get(ids[2])
		if a.Key == b.Key || b.Key == c.Key || a.Key == c.Key {
			w.Errorf("keys %q, %q, %q are not different", a.Key, b.Key, c.Key)
		}
		w.equal("states", []queue.State{a.State, b.State, c.State}, []queue.State{queue.Ready, queue.Ready, queue.Held})
		w.finish(w.lease1(alpha))
		w.equal("text after one has gone", w.text(b)+w.text(c), "sharedshared")
		w.finish(w.lease1(beta))
		w.equal("text of the last", w.text(c), "shared")
		w.change(only(c.ID), queue.Op{Verb: queue.Delete}, 1)
		w.change(only(c.ID), queue.Op{Verb: queue.Purge}, 1)
		if _, err := w.Body(c.Body).Open(); !errors.Is(err, queue.ErrNotFound) {
			w.Errorf("the body outlived its items: %v", err)
		}
	}},
	{"an empty body is a body", func(w *world) {
		w.equal("text", w.text(w.get(w.put("", to(alpha))[0])), "")
	}},
	{"a dedup key stores once and answers the first IDs", func(w *world) {
		put := func() ([]queue.ID, bool) {
			ids, dup, err := w.Put(w.ctx, queue.New{Body: w.stage("once"), Items: []queue.Item{to(alpha), to(beta)}, Dedup: "SITEB/1"})
			w.ok(err)
			return ids, dup
		}
		known := func(want bool) {
			w.Helper()
			w.equal("known", must(w.Known(w.ctx, "SITEB/1"))(w), want)
		}
		known(false)
		first, dup := put()
		w.equal("first is a duplicate", dup, false)
		known(true)
		again, dup := put()
		w.equal("second is a duplicate", dup, true)
		w.equal("IDs", again, first)
		w.finish(w.lease1(alpha))
		w.finish(w.lease1(beta))
		again, dup = put()
		w.equal("third, after the items have gone, is a duplicate", dup, true)
		w.equal("IDs", again, first)
		w.equal("stored", len(w.list(queue.Filter{})), 0)
		elapse(queue.DedupFor)
		known(true)
		elapse(3 * 24 * time.Hour)
		known(false)
		_, dup = put()
		w.equal("it is new again", dup, false)
	}},
	{"a dedup key lives as long as its items and DedupFor more", func(w *world) {
		_, _, err := w.Put(w.ctx, queue.New{Body: w.stage("x"), Items: []queue.Item{to(alpha, held)}, Dedup: "k"})
		w.ok(err)
		elapse(2 * queue.DedupFor)
		w.equal("known while it is held", must(w.Known(w.ctx, "k"))(w), true)
		l := must(w.LeaseID(w.ctx, w.list(queue.Filter{})[0].ID, "tester", ttl))(w)
		w.finish(l)
		elapse(queue.DedupFor - time.Hour)
		w.equal("known after it has gone", must(w.Known(w.ctx, "k"))(w), true)
	}},
	{"what another store remembered is remembered here, and as long", func(w *world) {
		hash := func(k string) []byte { h := sha256.Sum256([]byte(k)); return h[:16] }
		today := uint32(time.Now().Unix() / (24 * 60 * 60))
		ids, _, err := w.Put(w.ctx, queue.New{Body: w.stage("x"), Items: []queue.Item{to(alpha)}, Dedup: "here"})
		w.ok(err)
		w.ok(w.Remember(w.ctx, nil))
		w.ok(w.Remember(w.ctx, []queue.Memory{{Hash: hash("there"), Day: today}, {Hash: hash("here"), Day: today - 3}, {Hash: hash("earlier"), Day: today - 1}}))
		w.equal("a hash of another size is refused", w.Remember(w.ctx, []queue.Memory{{Hash: []byte("short")}}) != nil, true)
		w.reopen()
		days := map[string]uint32{}
		for at := queue.Cursor(""); ; {
			ms, next, err := w.Remembered(w.ctx, at, 1)
			w.ok(err)
			for _, m := range ms {
				days[string(m.Hash)] = m.Day
			}
			if at = next; next == "" {
				break
			}
		}
		w.equal("remembered", days, map[string]uint32{string(hash("here")): today, string(hash("there")): today, string(hash("earlier")): today - 1})
		again, dup, err := w.Put(w.ctx, queue.New{Body: w.stage("x"), Items: []queue.Item{to(alpha)}, Dedup: "there"})
		w.ok(err)
		w.equal("put", []any{len(again), dup}, []any{0, true})
		again, dup, err = w.Put(w.ctx, queue.New{Body: w.stage("x"), Items: []queue.Item{to(alpha)}, Dedup: "here"})
		w.ok(err)
		w.equal("put what was put here", []any{again, dup}, []any{ids, true})
		elapse(queue.DedupFor - time.Hour)
		w.equal("known", must(w.Known(w.ctx, "there"))(w), true)
		elapse(4 * 24 * time.Hour)
		w.equal("known after DedupFor", must(w.Known(w.ctx, "there"))(w), false)
		_, _, err = w.Remembered(w.ctx, "no position", 1)
		w.equal("a position that is none is an error", err != nil, true)
	}},
	{"of many puts with one dedup key at once, one stores", func(w *world) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		fresh, all := 0, map[queue.ID]bool{}
		for range 20 {
			wg.Go(func() {
				g, err := w.Stage(w.ctx, strings.NewReader("x"), 0)
				if err != nil {
					w.Error(err)
					return
				}
				ids, dup, err := w.Put(w.ctx, queue.New{Body: g, Items: []queue.Item{to(alpha)}, Dedup: "k"})
				if err != nil {
					w.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if !dup {
					fresh++
				}
				all[ids[0]] = true
			})
		}
		wg.Wait()
		w.equal("stored, different IDs", []int{fresh, len(all), len(w.list(queue.Filter{}))}, []int{1, 1, 1})
	}},
	{"what comes with a message comes in its commit", func(w *world) {
		ids, _, err := w.Put(w.ctx, queue.New{
			Body: w.stage("message"), Items: []queue.Item{to(alpha)}, Dedup: "k",
			Spawn: []queue.New{{Body: w.stage("report"), Items: []queue.Item{to(beta)}}},
		})
		w.ok(err)
		w.equal("IDs of the message alone", len(ids), 1)
		w.equal("text of the report", w.text(w.lease1(beta).Item), "report")
		_, dup, err := w.Put(w.ctx, queue.New{
			Body: w.stage("message"), Items: []queue.Item{to(alpha)}, Dedup: "k",
			Spawn: []queue.New{{Body: w.stage("report"), Items: []queue.Item{to(beta)}}},
		})
		w.ok(err)
		w.equal("again is a duplicate", dup, true)
		w.equal("items", len(w.list(queue.Filter{})), 2)
	}},
	{"a message without items leaves only what it spawns and its dedup key", func(w *world) {
		ids, dup, err := w.Put(w.ctx, queue.New{
			Body: w.stage("nobody can be reached"), Dedup: "k", Spawn: []queue.New{{Body: w.stage("report"), Items: []queue.Item{to(beta)}}},
		})
		w.ok(err)
		w.equal("IDs", []any{len(ids), dup}, []any{0, false})
		w.equal("items", len(w.list(queue.Filter{})), 1)
		w.equal("known", must(w.Known(w.ctx, "k"))(w), true)
	}},
	{"a body larger than allowed is refused and leaves nothing", func(w *world) {
		for _, n := range []int{11, 300 << 10, 3 << 20} {
			_, err := w.Stage(w.ctx, bytes.NewReader(make([]byte, n)), int64(n-1))
			var f *mail.Failure
			if !errors.As(err, &f) || f.Class != mail.Policy {
				w.Errorf("%d octets: got %v, want mail.TooLarge", n, err)
			}
		}
		g := must(w.Stage(w.ctx, bytes.NewReader(make([]byte, 11)), 11))(w)
		w.ok(g.Discard())
	}},
	{"an error of the reader is the error of Stage", func(w *world) {
		for _, n := range []int{10, 3 << 20} {
			_, err := w.Stage(w.ctx, io.MultiReader(bytes.NewReader(make([]byte, n)), brokenReader{}), 0)
			w.fails(err, io.ErrUnexpectedEOF)
		}
	}},
	{"a staged body can be read before it is put, and discarded twice", func(w *world) {
		for _, n := range []int64{1000, 2 << 20} {
			g := must(w.Stage(w.ctx, &endless{n: n}, 0))(w)
			r := must(g.Open())(w)
			got, err := io.ReadAll(r)
			w.ok(errors.Join(err, r.Close()))
			h := sha256.Sum256(got)
			if g.Size() != n || g.SHA256() != hex.EncodeToString(h[:]) || int64(len(got)) != n {
				w.Errorf("%d octets staged: size %d, read %d, hash %s", n, g.Size(), len(got), g.SHA256())
			}
			w.ok(g.Discard())
			w.ok(g.Discard())
			if _, _, err := w.Put(w.ctx, queue.New{Body: g, Items: []queue.Item{to(alpha)}}); err == nil {
				w.Error("a discarded body was put")
			}
		}
	}},
	{"a large body streams", func(w *world) {
		const n = 50 << 20
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		g := must(w.Stage(w.ctx, &endless{n: n}, 0))(w)
		ids, _, err := w.Put(w.ctx, queue.New{Body: g, Items: []queue.Item{to(alpha)}})
		w.ok(err)
		it := w.get(ids[0])
		r := must(w.Body(it.Body).Open())(w)
		h := sha256.New()
		_, err = io.Copy(h, r)
		w.ok(errors.Join(err, r.Close()))
		w.equal("hash", hex.EncodeToString(h.Sum(nil)), it.Body.SHA256)
		w.equal("size", it.Body.Size, int64(n))
		runtime.ReadMemStats(&after)
		// Whoever holds it whole allocates n at least. A driver's buffers come from a pool, of which the race detector takes a quarter away.
		if got := after.TotalAlloc - before.TotalAlloc; got > n*9/10 {
			w.Errorf("%d MiB were allocated for a body of %d MiB", got>>20, n>>20)
		}
		w.finish(w.lease1(alpha))
	}},
	{"bodies of every size come back, also from the middle", func(w *world) {
		for _, n := range []int{1, 4095, 4096, 65 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 512<<10 + 3, 1 << 20} {
			want := pattern(n)
			g := must(w.Stage(w.ctx, iotestOne{bytes.NewReader(want)}, 0))(w)
			ids, _, err := w.Put(w.ctx, queue.New{Body: g, Items: []queue.Item{to(alpha)}})
			w.ok(err)
			it := w.get(ids[0])
			if w.text(it) != string(want) {
				w.Errorf("a body of %d octets is not what was put", n)
			}
			r := must(w.Body(it.Body).Open())(w)
			at := must(r.Seek(int64(n/2), io.SeekStart))(w)
			rest, err := io.ReadAll(r)
			w.ok(errors.Join(err, r.Close()))
			if !bytes.Equal(rest, want[at:]) {
				w.Errorf("a body of %d octets differs from %d on", n, at)
			}
		}
	}},
	{"a cancelled context stores nothing", func(w *world) {
		g := w.stage("x")
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, _, err := w.Put(ctx, queue.New{Body: g, Items: []queue.Item{to(alpha)}})
		w.fails(err, context.Canceled)
		_, err = w.Stage(ctx, strings.NewReader("x"), 0)
		w.fails(err, context.Canceled)
		w.equal("items", len(w.list(queue.Filter{})), 0)
	}},
	{"a new item is ready or held", func(w *world) {
		for _, st := range []queue.State{queue.Leased, queue.Trash, "lost"} {
			if _, _, err := w.Put(w.ctx, queue.New{Body: w.stage("x"), Items: []queue.Item{to(alpha, func(it *queue.Item) { it.State = st })}}); err == nil {
				w.Errorf("state %q was taken", st)
			}
		}
	}},
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// iotestOne reads in odd portions.
type iotestOne struct{ r io.Reader }

func (o iotestOne) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 3001)]) }

// Package queuetest is the conformance suite of queue.Store: what the contract in package queue says, as tests that
// every implementation runs. It asks nothing of an implementation but the contract and a way to die as kill -9 would.
//
// Each case runs in a testing/synctest bubble with a store of its own, so that weeks of retries pass in no time.
package queuetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

// Fixture is one store under test.
type Fixture struct {
	queue.Store
	// Crash ends the store's hold on its files or server as kill -9 of its process would: nothing is flushed, settled or
	// marked as closed.
	Crash func() error
	// Open opens the same store again, after Crash or Close.
	Open func() (queue.Store, error)
}

// Run runs the suite's cases; Model is its other half. open makes an empty store; it is called inside the bubble in
// which the store is used.
func Run(t *testing.T, open func(t testing.TB) *Fixture) {
	for _, group := range []struct {
		name  string
		cases []testcase
	}{
		{"Put", putCases}, {"Lease", leaseCases}, {"Window", windowCases}, {"Settle", settleCases}, {"Change", verbCases},
		{"List", listCases}, {"Suspend", suspendCases}, {"Durable", durableCases}, {"Upkeep", upkeepCases},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				t.Run(c.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := &world{TB: t, Fixture: open(t), ctx: context.Background()}
						defer w.close()
						c.run(w)
						w.sound()
					})
				})
			}
		})
	}
}

type testcase struct {
	name string
	run  func(*world)
}

// world is a test's store and the words that tests are written in. A method that gets an error ends the test.
type world struct {
	testing.TB
	*Fixture
	ctx context.Context
}

func (w *world) close() {
	w.Helper()
	if err := w.Store.Close(); err != nil {
		w.Errorf("close: %v", err)
	}
}

// reopen closes the store properly and opens it again.
func (w *world) reopen() {
	w.Helper()
	w.close()
	w.open()
}

// crash kills the store and opens it again.
func (w *world) crash() {
	w.Helper()
	w.ok(w.Crash())
	w.open()
}

func (w *world) open() {
	w.Helper()
	s, err := w.Open()
	w.ok(err)
	w.Store = s
}

// sound compares the store's counters with what it lists, and has it check itself.
func (w *world) sound() {
	w.Helper()
	w.equal("problems that Check finds", must(w.Check(w.ctx))(w), []string(nil))
	var want queue.Stats
	dests := map[queue.Dest]*queue.DestStat{}
	for _, it := range w.list(queue.Filter{}) {
		d := dests[it.Dest]
		if d == nil {
			d = &queue.DestStat{Dest: it.Dest}
			dests[it.Dest] = d
		}
		switch it.State {
		case queue.Ready:
			want.Ready++
			d.Ready++
			if d.NextDue.IsZero() || it.Next.Before(d.NextDue) {
				d.NextDue = it.Next
			}
		case queue.Leased:
			want.Leased++
			d.Leased++
		case queue.Held:
			want.Held++
			d.Held++
		}
		want.Bytes += it.Body.Size
		d.Bytes += it.Body.Size
	}
	want.Trash, want.Dests = len(w.list(queue.Filter{State: queue.Trash})), len(dests)
	st := w.Stats()
	got := queue.Stats{Ready: st.Ready, Leased: st.Leased, Held: st.Held, Trash: st.Trash, Bytes: st.Bytes, Dests: st.Dests}
	w.equal("stats against the list", got, want)
	for _, d := range must(w.Dests(w.ctx))(w) {
		e := dests[d.Dest]
		if e == nil {
			w.Errorf("destination %s has no items", d.Dest)
			continue
		}
		delete(dests, d.Dest)
		got := queue.DestStat{Dest: d.Dest, Ready: d.Ready, Leased: d.Leased, Held: d.Held, Bytes: d.Bytes, NextDue: d.NextDue}
		w.equal("destination "+d.Dest.String()+" against the list", got, *e)
	}
	for d := range dests {
		w.Errorf("destination %s is missing", d)
	}
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// must makes must(f())(w) the value of f, or the test's end.
func must[T any](v T, err error) func(*world) T {
	return func(w *world) T {
		w.Helper()
		w.ok(err)
		return v
	}
}

func (w *world) fails(err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Fatalf("got error %v, want %v", err, want)
	}
}

// times compare by instant, whatever zone a store keeps them in.
var byInstant = cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })

func (w *world) equal(what string, got, want any) {
	w.Helper()
	if d := cmp.Diff(want, got, byInstant); d != "" {
		w.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// elapse lets time pass: in the bubble it costs none.
func elapse(d time.Duration) { <-time.After(d) }

var (
	alpha = queue.Dest{Connector: "internet", Host: "alpha.example"}
	beta  = queue.Dest{Connector: "internet", Host: "beta.example"}
	gamma = queue.Dest{Connector: "x400", Host: "GAMMA"}
)

const ttl = 5 * time.Minute

// to is an item for d, due now.
func to(d queue.Dest, with ...func(*queue.Item)) queue.Item {
	now := time.Now()
	it := queue.Item{
		Dest: d, State: queue.Ready, Next: now, Expires: now.Add(7 * 24 * time.Hour),
		Envelope: mail.Envelope{
			ID: "SITEA-" + d.Host, MessageID: "1@" + d.Host, Kind: mail.KindMessage, Arrived: now, Subject: "Counts",
			Originator: address.Address{Type: address.MS, Value: "NET/PO1/ANNA"},
			Recipients: []mail.Recipient{{Address: address.Address{Type: address.SMTP, Value: "bob@" + d.Host}}},
			Source:     mail.Source{Connector: "msmail", Peer: "NET/PO1"},
		},
	}
	for _, f := range with {
		f(&it)
	}
	return it
}

func in(d time.Duration) func(*queue.Item) {
	return func(it *queue.Item) { it.Next = time.Now().Add(d) }
}

func priority(p mail.Priority) func(*queue.Item) {
	return func(it *queue.Item) { it.Envelope.Priority = p }
}

func held(it *queue.Item) { it.State = queue.Held }

func (w *world) stage(text string) queue.Staged {
	w.Helper()
	return must(w.Stage(w.ctx, strings.NewReader(text), 0))(w)
}

// put stores one message for its items.
func (w *world) put(text string, items ...queue.Item) []queue.ID {
	w.Helper()
	ids, dup, err := w.Put(w.ctx, queue.New{Body: w.stage(text), Items: items})
	w.ok(err)
	if dup || len(ids) != len(items) {
		w.Fatalf("put answered %v, duplicate %v for %d items", ids, dup, len(items))
	}
	return ids
}

// put1 stores a message of one item.
func (w *world) put1(it queue.Item) queue.ID {
	w.Helper()
	return w.put("text of a message", it)[0]
}

func (w *world) get(id queue.ID) queue.Item {
	w.Helper()
	return must(w.Get(w.ctx, id))(w)
}

func (w *world) gone(id queue.ID) {
	w.Helper()
	it, err := w.Get(w.ctx, id)
	if !errors.Is(err, queue.ErrNotFound) {
		w.Errorf("entry %s: got state %q, error %v, want it gone", id, it.State, err)
	}
}

func (w *world) state(id queue.ID, want queue.State) queue.Item {
	w.Helper()
	it := w.get(id)
	if it.State != want {
		w.Errorf("entry %s is %s, want %s", id, it.State, want)
	}
	return it
}

// lease leases up to n items of d.
func (w *world) lease(d queue.Dest, n int) []queue.Lease {
	w.Helper()
	return must(w.Lease(w.ctx, d, "tester", n, queue.NoWindow, ttl))(w)
}

// lease1 leases the one item that it expects.
func (w *world) lease1(d queue.Dest) queue.Lease {
	w.Helper()
	ls := w.lease(d, 1)
	if len(ls) != 1 {
		w.Fatalf("nothing to lease for %s", d)
	}
	return ls[0]
}

func (w *world) finish(l queue.Lease) {
	w.Helper()
	w.ok(w.Settle(w.ctx, l, queue.Settlement{}))
}

// later settles a lease with a next attempt.
func (w *world) later(l queue.Lease, d time.Duration) {
	w.Helper()
	k := l.Item
	k.State, k.Next, k.Attempts = queue.Ready, time.Now().Add(d), l.Attempts+1
	w.ok(w.Settle(w.ctx, l, queue.Settlement{Keep: []queue.Item{k}}))
}

func leased(ls []queue.Lease) []queue.ID {
	var ids []queue.ID
	for _, l := range ls {
		ids = append(ids, l.ID)
	}
	return ids
}

func (w *world) list(f queue.Filter) []queue.Item {
	w.Helper()
	var all []queue.Item
	var at queue.Cursor
	for {
		page, next, err := w.List(w.ctx, f, at, 7)
		w.ok(err)
		all = append(all, page...)
		if next == "" {
			return all
		}
		at = next
	}
}

func (w *world) listIDs(f queue.Filter) []queue.ID {
	w.Helper()
	var ids []queue.ID
	for _, it := range w.list(f) {
		ids = append(ids, it.ID)
	}
	return ids
}

func (w *world) text(it queue.Item) string {
	w.Helper()
	r := must(w.Body(it.Body).Open())(w)
	b, err := io.ReadAll(r)
	w.ok(errors.Join(err, r.Close()))
	return string(b)
}

// change applies a verb and expects it to touch n items.
func (w *world) change(f queue.Filter, op queue.Op, n int) {
	w.Helper()
	if got := must(w.Change(w.ctx, f, op))(w); got != n {
		w.Errorf("%s touched %d entries, want %d", op.Verb, got, n)
	}
}

func only(ids ...queue.ID) queue.Filter { return queue.Filter{IDs: ids} }

func (w *world) due() []queue.Dest {
	w.Helper()
	ds, _ := w.Due(time.Now(), 100)
	slices.SortFunc(ds, func(a, b queue.Dest) int { return strings.Compare(a.String(), b.String()) })
	return ds
}

package queuetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"backbone/gateway/mail"
	"backbone/queue"
)

// Model drives a store and a map with the same random steps, crashes included, and compares what they hold.
func Model(t *testing.T, open func(t testing.TB) *Fixture) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubbled{t}, func(rt *rapid.T) {
			m := &machine{w: &world{TB: t, Fixture: open(t), ctx: t.Context()}, items: map[queue.ID]*queue.Item{}, leases: map[queue.ID]queue.Lease{}}
			defer m.w.close()
			rt.Repeat(map[string]func(*rapid.T){
				"":                     m.agrees,
				"put":                  m.put,
				"lease":                m.lease,
				"finish":               m.finish,
				"defer":                m.later,
				"split":                m.split,
				"return":               m.giveBack,
				"verb":                 m.verb,
				"elapse":               m.elapse,
				"crash":                m.crash,
				"restart":              m.restart,
				"compact":              func(*rapid.T) { m.w.ok(m.w.Compact(m.w.ctx)) },
				"settle a lease twice": m.settleTwice,
			})
			m.w.sound()
		})
	})
}

// machine is the map that the store must agree with.
type machine struct {
	w      *world
	items  map[queue.ID]*queue.Item
	leases map[queue.ID]queue.Lease
	spent  []queue.Lease // settled, returned or lost
	n      int
}

func (m *machine) agrees(t *rapid.T) {
	m.expire()
	got := append(m.w.list(queue.Filter{}), m.w.list(queue.Filter{State: queue.Trash})...)
	var g, x []string
	for i := range got {
		g = append(g, line(&got[i]))
	}
	for _, it := range m.items {
		x = append(x, line(it))
	}
	slices.Sort(g)
	slices.Sort(x)
	if a, b := strings.Join(g, "\n"), strings.Join(x, "\n"); a != b {
		t.Fatalf("the store holds\n%s\nthe model\n%s", a, b)
	}
	st := m.w.Stats()
	count := map[queue.State]int{}
	for _, it := range m.items {
		count[it.State]++
	}
	if st.Ready != count[queue.Ready] || st.Leased != count[queue.Leased] || st.Held != count[queue.Held] || st.Trash != count[queue.Trash] {
		t.Fatalf("stats say %+v, the model %v", st, count)
	}
	for _, d := range must(m.w.Dests(m.w.ctx))(m.w) {
		n := 0
		for _, it := range m.items {
			if it.Dest == d.Dest && it.State == queue.Ready {
				n++
			}
		}
		if d.Ready != n {
			t.Fatalf("%s counts %d ready, the model %d", d.Dest, d.Ready, n)
		}
	}
}

func line(it *queue.Item) string {
	return fmt.Sprintf("%013d %s %s %d %s attempts=%d unknown=%v priority=%d key=%s", it.ID, it.Dest, it.State, it.Next.UnixNano(), it.Envelope.Subject, it.Attempts, it.Unknown, it.Envelope.Priority, it.Key)
}

// expire does what the store does by itself.
func (m *machine) expire() {
	for id, l := range m.leases {
		if !time.Now().Before(l.LeaseUntil) {
			m.free(id, true)
		}
	}
}

// free ends a lease in the model.
func (m *machine) free(id queue.ID, unknown bool) {
	m.spent = append(m.spent, m.leases[id])
	delete(m.leases, id)
	it := m.items[id]
	it.State = queue.Ready
	it.Unknown = it.Unknown || unknown
}

func (m *machine) put(t *rapid.T) {
	var its []queue.Item
	for range rapid.IntRange(1, 4).Draw(t, "items") {
		d := rapid.SampledFrom([]queue.Dest{alpha, beta, gamma}).Draw(t, "destination")
		it := to(d, in(time.Duration(rapid.IntRange(-2, 10).Draw(t, "minutes"))*time.Minute), priority(mail.Priority(rapid.IntRange(-1, 1).Draw(t, "priority"))))
		m.n++
		it.Envelope.Subject = fmt.Sprint("message ", m.n)
		if rapid.Bool().Draw(t, "held") {
			it.State = queue.Held
		}
		its = append(its, it)
	}
	for i, id := range m.w.put(strings.Repeat("text ", rapid.SampledFrom([]int{1, 100, 60000}).Draw(t, "size")), its...) {
		got := m.w.get(id)
		its[i].ID, its[i].Key = id, got.Key
		m.items[id] = &its[i]
	}
}

// lease leases as many as it is told, and checks order and choice against the model.
func (m *machine) lease(t *rapid.T) {
	m.expire()
	d := rapid.SampledFrom([]queue.Dest{alpha, beta, gamma}).Draw(t, "destination")
	n := rapid.IntRange(1, 3).Draw(t, "n")
	var due []*queue.Item
	for _, it := range m.items {
		if it.Dest == d && it.State == queue.Ready && !it.Next.After(time.Now()) {
			due = append(due, it)
		}
	}
	slices.SortFunc(due, func(a, b *queue.Item) int {
		return cmp.Or(-cmp.Compare(a.Envelope.Priority, b.Envelope.Priority), a.Next.Compare(b.Next), cmp.Compare(a.ID, b.ID))
	})
	var want []queue.ID
	for _, it := range due[:min(n, len(due))] {
		want = append(want, it.ID)
	}
	ls := m.w.lease(d, n)
	if !slices.Equal(leased(ls), want) {
		t.Fatalf("leased %v, want %v", leased(ls), want)
	}
	for _, l := range ls {
		m.items[l.ID].State = queue.Leased
		m.leases[l.ID] = l
	}
}

// some is a lease that runs; ok is false when there is none.
func (m *machine) some(t *rapid.T) (l queue.Lease, ok bool) {
	m.expire()
	var ids []queue.ID
	for id := range m.leases {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return l, false
	}
	slices.Sort(ids)
	return m.leases[rapid.SampledFrom(ids).Draw(t, "lease")], true
}

func (m *machine) finish(t *rapid.T) {
	l, ok := m.some(t)
	if !ok {
		return
	}
	st := queue.Settlement{Trash: rapid.Bool().Draw(t, "to the trash")}
	m.w.ok(m.w.Settle(m.w.ctx, l, st))
	m.free(l.ID, false)
	if st.Trash {
		m.items[l.ID].State = queue.Trash
	} else {
		delete(m.items, l.ID)
	}
}

func (m *machine) later(t *rapid.T) {
	l, ok := m.some(t)
	if !ok {
		return
	}
	k := l.Item
	k.State, k.Attempts, k.Unknown = queue.Ready, k.Attempts+1, false
	k.Next = time.Now().Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "minutes")) * time.Minute)
	k.Dest = rapid.SampledFrom([]queue.Dest{alpha, beta, gamma}).Draw(t, "destination")
	m.w.ok(m.w.Settle(m.w.ctx, l, queue.Settlement{Keep: []queue.Item{k}}))
	m.free(l.ID, false)
	m.items[l.ID] = &k
}

func (m *machine) split(t *rapid.T) {
	l, ok := m.some(t)
	if !ok {
		return
	}
	a, b := l.Item, l.Item
	a.State, b.State = queue.Ready, queue.Held
	m.n++
	before := m.known()
	report := to(beta, func(it *queue.Item) { it.Envelope.Subject = fmt.Sprint("report ", m.n) })
	m.w.ok(m.w.Settle(m.w.ctx, l, queue.Settlement{Keep: []queue.Item{a, b}, Spawn: []queue.New{{Body: m.w.stage("report"), Items: []queue.Item{report}}}}))
	m.free(l.ID, false)
	m.items[l.ID] = &a
	for _, got := range m.w.list(queue.Filter{}) {
		if before[got.ID] {
			continue
		}
		switch {
		case got.State == queue.Held && got.Envelope.Subject == b.Envelope.Subject && got.Body == b.Body:
			b.ID, b.Key = got.ID, got.Key
			m.items[got.ID] = &b
		case got.Envelope.Subject == report.Envelope.Subject:
			report.ID, report.Key = got.ID, got.Key
			m.items[got.ID] = &report
		default:
			t.Fatalf("nobody asked for %s", line(&got))
		}
	}
}

func (m *machine) known() map[queue.ID]bool {
	ids := map[queue.ID]bool{}
	for id := range m.items {
		ids[id] = true
	}
	return ids
}

func (m *machine) giveBack(t *rapid.T) {
	if l, ok := m.some(t); ok {
		m.w.ok(m.w.Return(m.w.ctx, []queue.Lease{l}))
		m.free(l.ID, false)
	}
}

func (m *machine) verb(t *rapid.T) {
	m.expire()
	d := rapid.SampledFrom([]queue.Dest{alpha, beta, gamma}).Draw(t, "destination")
	op := queue.Op{Verb: rapid.SampledFrom([]queue.Verb{queue.Hold, queue.Release, queue.Delete, queue.Restore, queue.Purge}).Draw(t, "verb")}
	f := queue.Filter{Connector: d.Connector, Host: d.Host}
	if rapid.Bool().Draw(t, "glob") {
		f.Host = f.Host[:3] + "*"
	}
	want := 0
	for id, it := range m.items {
		if it.Dest != d || !m.apply(id, it, op.Verb) {
			continue
		}
		want++
	}
	m.w.change(f, op, want)
	if t.Failed() {
		t.Fatalf("%s on %s", op.Verb, d)
	}
}

// apply is what a verb does to an item in the model.
func (m *machine) apply(id queue.ID, it *queue.Item, v queue.Verb) bool {
	was := it.State
	switch {
	case v == queue.Hold && (was == queue.Ready || was == queue.Leased):
		it.State = queue.Held
	case v == queue.Release && was == queue.Held:
		it.State = queue.Ready
	case v == queue.Delete && was != queue.Trash:
		it.By = string(was) // where Restore brings it back to
		it.State = queue.Trash
	case v == queue.Restore && was == queue.Trash:
		it.State = queue.Ready
		if it.By == string(queue.Held) {
			it.State = queue.Held
		}
	case v == queue.Purge && was == queue.Trash:
		delete(m.items, id)
	default:
		return false
	}
	if was == queue.Leased {
		state := it.State
		m.free(id, true)
		it.State = state
	}
	return true
}

func (m *machine) elapse(t *rapid.T) {
	elapse(time.Duration(rapid.IntRange(1, 400).Draw(t, "seconds")) * time.Second)
}

func (m *machine) crash(*rapid.T) {
	m.expire()
	m.w.crash()
	for id := range m.leases {
		m.free(id, true)
	}
}

func (m *machine) restart(*rapid.T) {
	m.expire()
	m.w.reopen()
	for id := range m.leases {
		m.free(id, true)
	}
}

func (m *machine) settleTwice(t *rapid.T) {
	if len(m.spent) == 0 {
		return
	}
	l := rapid.SampledFrom(m.spent).Draw(t, "spent lease")
	m.w.fails(m.w.Settle(m.w.ctx, l, queue.Settlement{}), queue.ErrLeaseLost)
}

// bubbled hides the Deadline of a test, which may not be asked for in a bubble.
type bubbled struct{ testing.TB }

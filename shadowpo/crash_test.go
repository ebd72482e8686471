package shadowpo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"
)

// onModel is a drop on a model disk, with one thing at a time so that steps have one order.
func onModel(m *model) *Drop {
	d, err := openWith("model", Options{PostOffice: po1, Stable: -1, Parallel: 1, Batch: 3}, func(string) (tree, identity, error) {
		if err := m.Valid(); err != nil {
			return nil, identity{}, err
		}
		return m, identity{po1.String(), "model"}, nil
	})
	if err != nil {
		panic(err)
	}
	return d
}

// store is what the handler hands to: it survives every crash, and knows the keys it took.
type store struct {
	keys     map[string]bool
	messages []string // subject, and side id if any, of each message taken
}

func (s *store) take(m *model) Handler {
	return func(_ context.Context, in *Inbound) error {
		if err := m.live("accept", in.Key); err != nil {
			return err
		}
		if !s.keys[in.Key] {
			s.keys[in.Key] = true
			s.messages = append(s.messages, strings.TrimSpace(in.Message.Subject+" "+in.Side.Get(SideID)))
		}
		return m.live("accepted", in.Key)
	}
}

// run serves the folder until nothing is left to do or the process dies. between is called after each look at it.
func (s *store) run(m *model, between func()) {
	d := onModel(m)
	w := &watch{drop: d, handle: s.take(m), leave: map[string]fs.FileInfo{}}
	for range 10 {
		if _, err := w.cycle(context.Background()); err != nil {
			break
		}
		for _, c := range w.open {
			c.next = time.Time{} // no waiting
		}
		between()
	}
	w.close()
	if err := d.Close(); err != nil {
		panic(err)
	}
}

func bad(subject string) string {
	return strings.Replace(message(subject), "TO:CSI:", "TO:PCM:", 1)
}

func sideFile(id string) string {
	b, err := Side{{SideID, id}}.Encode()
	if err != nil {
		panic(err)
	}
	return string(b)
}

var deaths = []death{killed, powerNone, powerSome, powerNames}

// Whatever step the process does not live to take, however it dies, and however often: each submitted message is
// taken exactly once, each bad one is in badmail exactly once with its octets, and nothing is left over.
func TestSubmittedMessagesAreTakenExactlyOnceAcrossAnyCrash(t *testing.T) {
	fill := func(m *model) {
		m.write(submitDir, "REPEATED.MSG", message("one"))
		m.write(submitDir, "MIXED.MSG", message("two")+bad("bad two")+message("three"))
		m.write(submitDir, "SIDE.X", sideFile("ID4"))
		m.write(submitDir, "SIDE.MSG", message("four"))
		m.write(submitDir, "BAD.MSG", bad("bad whole"))
		m.write(submitDir, "REPEATED.DEL", "stranded")
	}
	// The same names come again as soon as they are free, at first while the gateway is down.
	refill := func(m *model, rest map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(rest)) {
			if _, there := m.folders[submitDir].names[name]; !there {
				m.write(submitDir, name, rest[name])
				delete(rest, name)
			}
		}
	}
	again := func() map[string]string {
		return map[string]string{"REPEATED.MSG": message("one"), "SIDE.MSG": message("five")}
	}
	finish := func(m *model, s *store, rest map[string]string) {
		for len(rest) > 0 {
			refill(m, rest)
			s.run(m, func() {})
		}
		s.run(m, func() {})
	}
	want := []string{"five", "four ID4", "one", "one", "three", "two"}
	wantBad := []string{bad("bad two"), bad("bad whole")}

	check := func(t *testing.T, m *model, s *store, trace string) {
		t.Helper()
		slices.Sort(s.messages)
		if !slices.Equal(s.messages, want) {
			t.Errorf("%s: took %q, want %q", trace, s.messages, want)
		}
		var gotBad []string
		for _, n := range sortedNames(m.folders[badmailDir]) {
			text := string(m.folders[badmailDir].names[n].data)
			switch {
			case strings.HasSuffix(n, extMessage):
				gotBad = append(gotBad, text)
			case !strings.HasSuffix(n, extReason) || !strings.HasPrefix(text, "151-"):
				t.Errorf("%s: badmail has %s: %q", trace, n, text)
			}
		}
		slices.Sort(gotBad)
		if !slices.Equal(gotBad, wantBad) {
			t.Errorf("%s: badmail has %q", trace, gotBad)
		}
		if left := sortedNames(m.folders[submitDir]); len(left) != 0 {
			t.Errorf("%s: submit still has %v", trace, left)
		}
		if t.Failed() {
			t.Fatal(strings.Join(m.trace, "\n"))
		}
	}
	for _, how := range deaths {
		t.Run(string(how), func(t *testing.T) {
			for at := 1; ; at++ {
				survived, seeds := false, 1
				if how == powerSome {
					seeds = 8
				}
				for seed := range seeds {
					rng := rand.New(rand.NewSource(int64(seed)))
					m, s, rest := newModel(), &store{keys: map[string]bool{}}, again()
					fill(m)
					m.killAt = at
					s.run(m, func() { refill(m, rest) })
					survived = m.Valid() == nil
					m = m.crash(how, rng)
					finish(m, s, rest)
					check(t, m, s, fmt.Sprintf("killed at step %d, seed %d", at, seed))
				}
				if survived {
					if at < 40 {
						t.Fatalf("only %d steps", at)
					}
					return
				}
			}
		})
	}
	t.Run("again and again", func(t *testing.T) {
		for seed := range 200 {
			rng := rand.New(rand.NewSource(int64(seed)))
			m, s, rest := newModel(), &store{keys: map[string]bool{}}, again()
			fill(m)
			for range rng.Intn(6) {
				m.killAt = 1 + rng.Intn(60)
				s.run(m, func() { refill(m, rest) })
				m = m.crash(deaths[rng.Intn(len(deaths))], rng)
			}
			finish(m, s, rest)
			check(t, m, s, fmt.Sprintf("seed %d", seed))
		}
	})
}

// The same for the way out: an agent that collects at any time finds each file whole, and each key once.
func TestDeliveredKeysAppearExactlyOnceAcrossAnyCrash(t *testing.T) {
	text := func(k string) string { return message("for " + k) }
	keys := []string{"k1", "k2", "k3", "k4"}
	type world struct {
		m    *model
		got  map[string]int // by contents
		done map[string]bool
	}
	// deliver tries every key that was not acknowledged, and with them one that was.
	deliver := func(w *world, rng *rand.Rand) {
		d := onModel(w.m)
		for _, k := range keys {
			o := Outbound{Key: k, Write: content(text(k))}
			if k == "k2" {
				o.Side = Side{{SideID, "ID2"}}
			}
			if _, err := d.Deliver(context.Background(), o); err == nil {
				w.done[k] = true
			}
			if rng.Intn(2) == 0 && w.m.Valid() == nil {
				w.m.collect(func(_, s string) { w.got[s]++ })
			}
		}
		if err := d.Close(); err != nil && !errors.Is(err, errKilled) {
			panic(err)
		}
	}
	check := func(t *testing.T, w *world, what string) {
		t.Helper()
		w.m.collect(func(_, s string) { w.got[s]++ })
		for _, k := range keys {
			if w.got[text(k)] != 1 {
				t.Errorf("%s: %s was collected %d times", what, k, w.got[text(k)])
			}
			delete(w.got, text(k))
		}
		for s := range w.got {
			t.Errorf("%s: collected %q", what, s)
		}
		for _, n := range sortedNames(w.m.folders[deliverDir]) {
			if !strings.HasSuffix(n, extSide) {
				t.Errorf("%s: deliver has %s", what, n)
			}
		}
		if t.Failed() {
			t.Fatal(strings.Join(w.m.trace, "\n"))
		}
	}
	for _, how := range deaths {
		t.Run(string(how), func(t *testing.T) {
			for at := 1; ; at++ {
				rng := rand.New(rand.NewSource(int64(at)))
				w := &world{newModel(), map[string]int{}, map[string]bool{}}
				w.m.killAt = at
				deliver(w, rng)
				survived := !w.m.dead
				if how == killed && rng.Intn(2) == 0 {
					w.m.collect(func(_, s string) { w.got[s]++ }) // while the gateway is down
				}
				w.m = w.m.crash(how, rng)
				deliver(w, rng)
				check(t, w, fmt.Sprintf("killed at step %d", at))
				if survived {
					if at < 25 {
						t.Fatalf("only %d steps", at)
					}
					return
				}
			}
		})
	}
	t.Run("again and again", func(t *testing.T) {
		for seed := range 400 {
			rng := rand.New(rand.NewSource(int64(seed)))
			w := &world{newModel(), map[string]int{}, map[string]bool{}}
			for range rng.Intn(6) {
				w.m.killAt = 1 + rng.Intn(40)
				deliver(w, rng)
				w.m = w.m.crash(deaths[rng.Intn(len(deaths))], rng)
			}
			deliver(w, rng)
			check(t, w, fmt.Sprintf("seed %d", seed))
		}
	})
}

// A replayed file is in badmail or in submit, never in both or in neither, whatever the moment of death.
func TestReplayIsOneStep(t *testing.T) {
	for _, how := range deaths {
		for at := 1; ; at++ {
			rng := rand.New(rand.NewSource(int64(at)))
			m, s := newModel(), &store{keys: map[string]bool{}}
			m.write(badmailDir, "BAD.MSG", bad("x"))
			m.write(badmailDir, "BAD.ERR", "151-001-002 bad\r\n")
			m.killAt = at
			d := onModel(m)
			_, err := d.Replay(context.Background(), "BAD", strings.NewReader(message("mended")))
			if cerr := d.Close(); cerr != nil {
				t.Fatal(cerr)
			}
			survived := !m.dead
			if survived && err != nil {
				t.Fatal(err)
			}
			m = m.crash(how, rng)
			s.run(m, func() {})
			left := 0
			for _, n := range sortedNames(m.folders[badmailDir]) {
				if strings.HasSuffix(n, extMessage) {
					left++
				}
			}
			if len(s.messages)+left != 1 {
				t.Fatalf("%s at step %d: %d taken, %d in badmail\n%s", how, at, len(s.messages), left, strings.Join(m.trace, "\n"))
			}
			if survived {
				break
			}
		}
	}
}

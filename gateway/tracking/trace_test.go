package tracking

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// story writes one message's life over three days and two restarts, among others.
func story(t *testing.T, dir string) {
	day := func(es ...Event) {
		t.Helper()
		l, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range es {
			put(t, l, e, Event{Type: Queued, ID: fmt.Sprintf("NOISE-%d", i), Item: "N", Source: "NORTHWIND.PO1/submit/OTHER.MSG"})
			<-time.After(time.Minute)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		<-time.After(24 * time.Hour)
	}
	day(Event{Type: Received, ID: "SITEA-1", MessageID: "mid-1@sitea.example", Source: "NORTHWIND.PO1/submit/MMFF7.MSG#2"},
		Event{Type: Queued, ID: "SITEA-1", Item: "7QX", Recipients: []string{"MS:NORTHWIND/PO2/JLEE"}})
	day(Event{Type: Deferred, ID: "SITEA-1", Item: "7QX"})
	day(Event{Type: Failed, ID: "SITEA-1", Item: "7QX"},
		Event{Type: Report, ID: "SITEA-1", About: "SITEA-2"},
		Event{Type: Delivered, ID: "SITEA-2", Item: "7QY"})
}

func TestTraceFindsOneTimelineByAnyName(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { story(t, dir) })
	want := []Type{Received, Queued, Deferred, Failed, Report, Delivered}
	check := func(t *testing.T, name, key string) {
		t.Helper()
		if diff := cmp.Diff(want, types(trace(t, openAt(t, dir, Options{}), key))); diff != "" {
			t.Errorf("%s %q: -want +got:\n%s", name, key, diff)
		}
	}
	for name, key := range map[string]string{
		"message id": "SITEA-1", "in lower case": "sitea-1", "Message-ID": "mid-1@sitea.example", "with brackets": " <MID-1@sitea.example> ", "queue id": "7qx",
		"drop file": "MMFF7.MSG", "drop file and ordinal": "mmff7.msg#2", "whole path": "NORTHWIND.PO1/submit/MMFF7.MSG#2", "its report": "SITEA-2", "its report's queue id": "7QY",
	} {
		check(t, name, key)
	}
	t.Run("without index files", func(t *testing.T) {
		removeIndexes(t, dir)
		check(t, "message id", "SITEA-1")
	})
	t.Run("with index files cut short", func(t *testing.T) {
		idx, err := filepath.Glob(filepath.Join(dir, "*.idx"))
		if err != nil || len(idx) == 0 {
			t.Fatal(idx, err)
		}
		for _, f := range idx {
			if err := os.Truncate(f, 20); err != nil {
				t.Fatal(err)
			}
		}
		check(t, "message id", "SITEA-1")
	})
	if _, err := openAt(t, dir, Options{}).Trace(context.Background(), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown key: %v, want ErrNotFound", err)
	}
}

func removeIndexes(t *testing.T, dir string) {
	t.Helper()
	idx, err := filepath.Glob(filepath.Join(dir, "*.idx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range idx {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

// An index that speaks of more than the log holds (the log lost its end in a power failure) must not hide what is
// written where the lost lines were.
func TestAnIndexOfALogThatLostItsEndIsThrownAway(t *testing.T) {
	dir := t.TempDir()
	l := openAt(t, dir, Options{})
	put(t, l, Event{Type: Queued, ID: "OLD1"}, Event{Type: Queued, ID: "OLD2"}, Event{Type: Queued, ID: "OLD3"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	b, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(logs[0], int64(strings.Index(string(b), "\n"))+1); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, dir, Options{})
	put(t, l, Event{Type: Queued, ID: "NEW1"}, Event{Type: Queued, ID: "NEW2"}, Event{Type: Queued, ID: "NEW3"})
	l = openAt(t, dir, Options{}) // as after a kill: what was in memory is in no index
	for id, n := range map[string]int{"OLD1": 1, "OLD2": 0, "NEW1": 1, "NEW2": 1, "NEW3": 1} {
		if got := len(trace(t, l, id)); got != n {
			t.Errorf("%s: %d events, want %d", id, got, n)
		}
	}
}

// Against the plainest model there is: a list that is searched from end to end. Runs of the index are made small by
// closing and by removing index files at random.
func TestTraceEqualsALinearSearch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "log")
		if err != nil {
			rt.Fatal(err)
		}
		l, err := Open(dir, Options{})
		if err != nil {
			rt.Fatal(err)
		}
		var model []Event
		word := func(label string, n int) string {
			if i := rapid.IntRange(0, n).Draw(rt, label); i > 0 {
				return fmt.Sprintf("%s%d", label, i)
			}
			return ""
		}
		base := time.Date(2025, 3, 4, 0, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				if err := l.Close(); err != nil {
					rt.Fatal(err)
				}
				if rapid.Bool().Draw(rt, "remove") {
					removeIndexes(t, dir)
				}
				if l, err = Open(dir, Options{}); err != nil {
					rt.Fatal(err)
				}
			default:
				e := Event{Time: base.Add(time.Duration(len(model)) * time.Second), Type: Queued, ID: word("ID", 6), MessageID: word("mid", 4), Item: word("item", 6), Source: word("F", 3)}
				if err := l.Append(context.Background(), e); err != nil {
					rt.Fatal(err)
				}
				model = append(model, e)
			}
		}
		for _, key := range []string{"ID1", "ID2", "mid1", "mid2", "item1", "item3", "F1", "F2"} {
			got, err := l.Trace(context.Background(), key)
			if err != nil && !errors.Is(err, ErrNotFound) {
				rt.Fatal(err)
			}
			var want []Event
			ids := map[string]bool{}
			for _, e := range model {
				if slices.Contains(e.names(), fold(key)) && e.ID != "" {
					ids[e.ID] = true
				}
			}
			for _, e := range model {
				if slices.Contains(e.names(), fold(key)) || ids[e.ID] {
					want = append(want, e)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("key %s: -want +got:\n%s", key, diff)
			}
		}
		if err := l.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// fill writes n events of n/5 messages, quickly, in several files of one day, and tells how large they are.
func fill(t testing.TB, dir string, n int) (octets int64) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	base := time.Date(2025, 3, 4, 0, 0, 0, 0, time.UTC)
	perFile := n/3 + 1
	var f *os.File
	var buf []byte
	flush := func() {
		if f == nil {
			return
		}
		if _, err := f.Write(buf); err != nil {
			t.Fatal(err)
		}
		octets += int64(len(buf))
		buf = buf[:0]
	}
	for i := range n {
		if i%perFile == 0 {
			flush()
			if f != nil {
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if f, err = os.Create(segment{"20250304", i / perFile}.log(dir)); err != nil {
				t.Fatal(err)
			}
		}
		m := i / 5
		e := Event{
			Time: base.Add(time.Duration(i) * time.Millisecond), Type: []Type{Received, Queued, Attempt, Deferred, Delivered}[i%5], Site: "SITEA",
			ID: fmt.Sprintf("SITEA-%020d", m), MessageID: fmt.Sprintf("%x@sitea.example", m*7919), Item: fmt.Sprintf("%X", m), Connector: "smtp", Dest: "smtp:mx.example.com",
			Originator: fmt.Sprintf("MS:NORTHWIND/PO1/USER%d", m%1000), Recipients: []string{fmt.Sprintf("SMTP:user%d@example.com", r.IntN(10_000))}, Subject: "Quarterly figures", Size: 4711,
			Source: fmt.Sprintf("NORTHWIND.PO1/submit/MMFF%d.MSG", m), Peer: "250 2.0.0 Ok: queued as 4F2A7",
		}
		b, err := encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		if buf = append(buf, b...); len(buf) > 1<<20 {
			flush()
		}
	}
	flush()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return octets
}

func BenchmarkTraceInAMillionEvents(b *testing.B) {
	dir := b.TempDir()
	octets := fill(b, dir, 1_000_000)
	l := openAt(b, dir, Options{})
	began := time.Now()
	trace(b, l, "SITEA-1") // makes the index
	b.Logf("log of %d MB indexed once in %s", octets>>20, time.Since(began).Round(time.Millisecond))
	for _, key := range []string{fmt.Sprintf("SITEA-%020d", 123_456), "1E240", "MMFF123456.MSG", "nobody"} {
		b.Run(key[:5], func(b *testing.B) {
			for b.Loop() {
				if n := len(trace(b, l, key)); n != 5 && key != "nobody" {
					b.Fatalf("%d events", n)
				}
			}
		})
	}
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := l.Search(context.Background(), Filter{Sender: "MS:NORTHWIND/PO1/USER77", Recipient: "*user4242@*"}, "", 1000); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, Options{})
	e := Event{Type: Queued, Site: "SITEA", ID: "SITEA-000000000000000001", MessageID: "x@sitea.example", Item: "7QX", Recipients: []string{"MS:NORTHWIND/PO2/JLEE"}, Originator: "MS:NORTHWIND/PO1/MKUMAR", Dest: "smtp:mx"}
	for b.Loop() {
		put(b, l, e)
	}
}

package archive

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/queue/boltqueue"
	"backbone/queue/pgqueue"
	"backbone/queue/pgqueue/pgtest"
)

func bolt(t testing.TB) queue.Store {
	t.Helper()
	s, err := boltqueue.Open(t.TempDir(), boltqueue.Options{Reserve: 1})
	return closed(t, s, err)
}

func postgres(t testing.TB) queue.Store {
	t.Helper()
	server, err := pgtest.Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	})
	s, err := pgqueue.Open(t.Context(), pgqueue.Options{DSN: server.DSN(), Node: "a"})
	return closed(t, s, err)
}

func closed(t testing.TB, s queue.Store, err error) queue.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// must ends the test at an error.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// seen is the dedup key of a message that has gone from a store that was filled.
const seen = "SITEB/0001"

// fill puts into a store one of everything that an entry can be.
func fill(t testing.TB, s queue.Store) {
	t.Helper()
	now := time.Now()
	item := func(n int, host string) queue.Item {
		return queue.Item{Dest: queue.Dest{Connector: "internet", Host: host}, Next: now.Add(time.Duration(n) * time.Hour), Expires: now.Add(90 * time.Hour),
			Envelope: mail.Envelope{ID: fmt.Sprint("A-", n), Subject: "hostile \x00 \xff \U0010ff41", Arrived: now, Extra: map[string]string{"mmff.priority": "1"},
				Originator: address.Address{Type: address.MS, Value: "NET/PO/ANNA"}, Sent: now.In(time.FixedZone("", 3600)),
				Recipients: []mail.Recipient{{Address: address.Address{Type: address.SMTP, Value: "bob\xe9@" + host}, Number: n}}}}
	}
	put := func(text string, its ...queue.Item) []queue.ID {
		body := must[queue.Staged](t)(s.Stage(t.Context(), strings.NewReader(text), 0))
		ids, _, err := s.Put(t.Context(), queue.New{Body: body, Items: its})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	put("small", item(1, "one.example"))
	body := must[queue.Staged](t)(s.Stage(t.Context(), strings.NewReader("gone"), 0))
	if _, _, err := s.Put(t.Context(), queue.New{Body: body, Dedup: seen}); err != nil {
		t.Fatal(err)
	}
	put("", item(2, "empty.example"))
	put(strings.Repeat("large text\r\n", 60_000), item(3, "a.example"), item(3, "b.example"), item(3, "c.example"))
	held := item(4, "held.example")
	held.State, held.Reason = queue.Held, "looking"
	put("held", held)
	gone := put("in the trash", item(5, "trash.example"))
	if n := must[int](t)(s.Change(t.Context(), queue.Filter{IDs: gone}, queue.Op{Verb: queue.Delete, Reason: "spam", By: "anna"})); n != 1 {
		t.Fatal("not deleted")
	}
	tried := put("tried", item(6, "tried.example"))
	l := must[queue.Lease](t)(s.LeaseID(t.Context(), tried[0], "gw", time.Hour))
	k := l.Item
	k.State, k.Attempts, k.Tries, k.Delayed, k.Unknown = queue.Ready, 3, map[string]int{"internet": 3}, true, true
	k.Last = &mail.Failure{Class: mail.Transient, Scope: mail.ScopeLink, Code: 451, Enhanced: "4.4.1", Diagnostic: -1, Text: "down", Peer: "421 \xff", RetryAfter: time.Minute}
	if err := s.Settle(t.Context(), l, queue.Settlement{Keep: []queue.Item{k}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Suspend(t.Context(), queue.Suspension{Dest: queue.Dest{Connector: "x400", Host: "GAMMA"}, Reason: "moving", By: "anna"}); err != nil {
		t.Fatal(err)
	}
}

// entry is what two stores must agree on.
type entry struct {
	Item queue.Item
	Text string
	With int // entries that share its body
}

func entries(t testing.TB, s queue.Store) (out []entry) {
	t.Helper()
	shared := map[string]int{}
	for _, f := range []queue.Filter{{}, {State: queue.Trash}} {
		items, _, err := s.List(t.Context(), f, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			r := must[io.ReadSeekCloser](t)(s.Body(it.Body).Open())
			text := string(must[[]byte](t)(io.ReadAll(r)))
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			shared[it.Body.Where]++
			out = append(out, entry{Item: it, Text: text})
		}
	}
	for i := range out {
		it := &out[i].Item
		out[i].With = shared[it.Body.Where]
		it.ID, it.Key, it.Body.Where, it.Created, it.Changed = 0, "", "", time.Time{}, time.Time{}
	}
	slices.SortFunc(out, func(a, b entry) int { return cmp.Compare(a.Item.Dest.Host, b.Item.Dest.Host) })
	return out
}

var byInstant = gocmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })

// move carries a queue over and compares.
func move(t *testing.T, from, to queue.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	wrote := must[Counts](t)(Export(t.Context(), from, &b))
	read := must[Counts](t)(Import(t.Context(), to, bytes.NewReader(b.Bytes())))
	if wrote != read || wrote.Messages != 6 || wrote.Entries != 8 {
		t.Errorf("wrote %+v, read %+v", wrote, read)
	}
	if d := gocmp.Diff(entries(t, from), entries(t, to), byInstant); d != "" {
		t.Errorf("(-from +to):\n%s", d)
	}
	if d := gocmp.Diff(from.Suspensions(), to.Suspensions(), byInstant); d != "" {
		t.Errorf("suspensions (-from +to):\n%s", d)
	}
	if !must[bool](t)(to.Known(t.Context(), seen)) || wrote.Keys == 0 {
		t.Errorf("what the first store remembered is not known: %+v", wrote)
	}
	if bad := must[[]string](t)(to.Check(t.Context())); len(bad) > 0 {
		t.Errorf("check: %v", bad)
	}
	return b.Bytes()
}

func TestAQueueGoesToPostgreSQLAndBack(t *testing.T) {
	first, second, third := bolt(t), postgres(t), bolt(t)
	fill(t, first)
	move(t, first, second)
	file := move(t, second, third)
	again := must[Counts](t)(Import(t.Context(), third, bytes.NewReader(file)))
	if want := (Counts{Messages: 6, Entries: 8, Known: 6, Keys: 7}); again != want {
		t.Errorf("read again: %+v, want %+v", again, want)
	}
	if d := gocmp.Diff(entries(t, second), entries(t, third), byInstant); d != "" {
		t.Errorf("after reading it again (-want +got):\n%s", d)
	}
}

func TestWhatWasLeasedIsUnknown(t *testing.T) {
	from, to := bolt(t), bolt(t)
	fill(t, from)
	items, _, err := from.List(t.Context(), queue.Filter{Host: "one.example"}, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	must[queue.Lease](t)(from.LeaseID(t.Context(), items[0].ID, "gw", time.Hour))
	var b bytes.Buffer
	must[Counts](t)(Export(t.Context(), from, &b))
	must[Counts](t)(Import(t.Context(), to, &b))
	items, _, err = to.List(t.Context(), queue.Filter{Host: "one.example"}, "", 1)
	if err != nil || len(items) != 1 || items[0].State != queue.Ready || !items[0].Unknown {
		t.Errorf("got %+v, %v", items, err)
	}
}

// TestAnArchiveThatWasCutShort is read at every length of its first part and at some of the rest: there is always an error, and
// reading the whole afterwards makes the queue complete, with nothing twice.
func TestAnArchiveThatWasCutShort(t *testing.T) {
	from, to := bolt(t), bolt(t)
	fill(t, from)
	var b bytes.Buffer
	must[Counts](t)(Export(t.Context(), from, &b))
	for n := 0; n < b.Len()-1024; n += 512 + b.Len()/40 {
		if _, err := Import(t.Context(), to, bytes.NewReader(b.Bytes()[:n])); err == nil {
			t.Errorf("%d of %d octets were taken for an archive", n, b.Len())
		}
	}
	must[Counts](t)(Import(t.Context(), to, bytes.NewReader(b.Bytes())))
	if d := gocmp.Diff(entries(t, from), entries(t, to), byInstant); d != "" {
		t.Errorf("(-from +to):\n%s", d)
	}
}

func TestAnArchiveThatLies(t *testing.T) {
	file := func(name, text string) []string { return []string{name, text} }
	archive := file("archive.json", `{"format":1,"id":"X"}`)
	envelope, body := file("1/1.envelope", `{"id":"A-1","recipients":[]}`), file("1/body", "x")
	for _, c := range []struct {
		name  string
		files [][]string
		wrong string
	}{
		{"another program's tar file", [][]string{file("README", "hello")}, "not an archive of a queue"},
		{"a later format", [][]string{file("archive.json", `{"format":2}`)}, "format is 2"},
		{"nothing but its head", [][]string{archive}, "cut short"},
		{"a body without an entry", [][]string{archive, body}, "not here"},
		{"an entry in no state", [][]string{archive, envelope, file("1/1.attempts", `{"state":"lost","dest":{"connector":"x"}}`)}, `can't be "lost"`},
		{"an entry without a destination", [][]string{archive, envelope, file("1/1.attempts", `{"state":"ready"}`)}, "without a destination"},
		{"another body", [][]string{archive, envelope, file("1/1.attempts", `{"state":"ready","dest":{"connector":"x"},"sha256":"00"}`), body}, "SHA-256"},
		{"a folder without a body", [][]string{archive, envelope, file("2/body", "x")}, "1/ has no body"},
		{"a remembered key of another size", [][]string{archive, file("known/000001", `[{"hash":"AAAA","day":1}]`)}, "3 octets, not 16"},
		{"fewer keys than it says", [][]string{archive, file("complete.json", `{"messages":0,"entries":0,"keys":1}`)}, "and 1"},
		{"fewer than it says", [][]string{archive, file("complete.json", `{"messages":2,"entries":2}`)}, "says that there are 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, f := range c.files {
				if err := w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o600, Size: int64(len(f[1]))}); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(w, f[1]); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			_, err := Import(t.Context(), bolt(t), &b)
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Fatalf("got %v, want %q", err, c.wrong)
			}
		})
	}
}

func FuzzImport(f *testing.F) {
	from := bolt(f)
	fill(f, from)
	var b bytes.Buffer
	must[Counts](f)(Export(context.Background(), from, &b))
	f.Add(b.Bytes()[:min(b.Len(), 8192)])
	f.Add([]byte("not a tar file"))
	to := bolt(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := Import(t.Context(), to, bytes.NewReader(b)); err == nil && n.Messages > n.Entries {
			t.Fatalf("%+v", n)
		}
	})
}

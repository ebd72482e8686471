package pgqueue

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"backbone/gateway/address"
	"backbone/gateway/directory"
)

// book is a gateway's directory on a shared database.
type book struct {
	*directory.Directory
	path string
}

// open opens the directory in a file for a gateway with a store.
func openBook(t testing.TB, s *Store, path string) *book {
	t.Helper()
	d, err := directory.Open(path, directory.Options{
		Site: directory.Identity{Name: "SITEA"}, NoSync: true, Log: s.slog,
		Share: func() (directory.Shared, error) { return s.Directory(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return &book{d, path}
}

func newBook(t testing.TB, s *Store) *book {
	return openBook(t, s, filepath.Join(t.TempDir(), "directory.db"))
}

func ms(t testing.TB, mailbox string) address.Address {
	t.Helper()
	a, err := address.Parse("MS:NET/PO/" + mailbox)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func person(t testing.TB, name string, proxies ...string) directory.Entry {
	e := directory.Entry{Name: name, Target: ms(t, name)}
	for _, p := range proxies {
		e.Secondary = append(e.Secondary, ms(t, p))
	}
	return e
}

func (b *book) add(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := b.Add(person(t, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// copied is all that a copy of the history must have in common with the others.
type copied struct {
	Head    directory.Cursor
	Entries []directory.Entry
	Stamps  []directory.Cursor
	Records map[string]string
}

func (b *book) copied(t testing.TB) (c copied) {
	t.Helper()
	var err error
	if c.Head, err = b.Head(); err == nil {
		c.Entries, _, err = b.ChangesSince(0, 1<<30)
	}
	for at := (directory.Cursor{}); err == nil; {
		var batch directory.Batch
		if batch, err = b.ChangesFor(at, 1); err != nil || batch.Next == at {
			break
		}
		at = batch.Next
		c.Stamps = append(c.Stamps, at)
	}
	c.Records = map[string]string{}
	if err == nil {
		err = b.Records("", "", 1<<30, func(k string, v []byte) error { c.Records[k] = string(v); return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// alike waits until all copies are the same.
func alike(t testing.TB, bs ...*book) copied {
	t.Helper()
	var first copied
	var diff string
	limit := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		for _, b := range bs { // who writes catches up at once
			if err := b.Edit(func(*directory.Edit) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		first, diff = bs[0].copied(t), ""
		for _, b := range bs[1:] {
			diff += cmp.Diff(first, b.copied(t), cmp.Comparer(func(a, b address.Address) bool { return a == b }))
		}
		if diff == "" {
			return first
		}
		if time.Now().After(limit) {
			t.Fatalf("the directories differ:\n%s", diff)
		}
	}
}

func TestAChangeAtOneGatewayIsInForceAtTheOther(t *testing.T) {
	dsn := schema(t)
	a, b := newBook(t, member(t, dsn, "a")), newBook(t, member(t, dsn, "b"))
	changed := b.Changed()
	a.add(t, "ONE", "TWO")
	<-changed
	eventually(t, "both to be known", func() bool { return b.Size() == 2 })
	if err := b.Remove("ONE"); err != nil {
		t.Fatal(err)
	}
	if err := a.Remove("ONE"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if c := alike(t, a, b); len(c.Entries) != 2 || c.Head.USN != 3 {
		t.Errorf("%+v", c)
	}
}

func TestOfTwoThatWantAnAddressAtOnceOneGetsIt(t *testing.T) {
	dsn := schema(t)
	a, b := newBook(t, member(t, dsn, "a")), newBook(t, member(t, dsn, "b"))
	for i := range 10 {
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for j, d := range []*book{a, b} {
			e := person(t, fmt.Sprintf("U%dX%d", i, j), fmt.Sprintf("SHARED%d", i))
			wg.Go(func() { _, errs[j] = d.Add(e) })
		}
		wg.Wait()
		var c *directory.Conflict
		if (errs[0] == nil) == (errs[1] == nil) || !errors.As(errors.Join(errs...), &c) {
			t.Fatalf("round %d: %v", i, errs)
		}
	}
	alike(t, a, b)
}

// TestDirectoriesOfOneHistoryAreAlike edits at two gateways as it comes, and joins a third late.
func TestDirectoriesOfOneHistoryAreAlike(t *testing.T) {
	dsn := schema(t)
	ss := []*Store{member(t, dsn, "a"), member(t, dsn, "b"), member(t, dsn, "c")}
	rapid.Check(t, func(rt *rapid.T) {
		_, err := ss[0].pool.Exec(t.Context(), `truncate directory_entry, directory_stamp, directory_side`)
		if err == nil {
			_, err = ss[0].pool.Exec(t.Context(), "update directory_head set usn = 0, stamp = 0, purged = 0, pruned = 0, mark = 0, swept = 0")
		}
		if err != nil {
			t.Fatal(err)
		}
		bs := []*book{newBook(t, ss[0]), newBook(t, ss[1])}
		defer func() {
			for _, b := range bs {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
		}()
		want := map[string]string{}
		for n := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			b := bs[rapid.IntRange(0, 1).Draw(rt, "gateway")]
			name := fmt.Sprintf("U%d", rapid.IntRange(0, 4).Draw(rt, "user"))
			e := person(t, name)
			e.Display = fmt.Sprint(n)
			var err error
			switch op := rapid.SampledFrom([]string{"add", "add", "replace", "remove", "record", "import", "reopen"}).Draw(rt, "op"); op {
			case "add":
				_, err = b.Add(e)
				if _, is := want[name]; is != errors.Is(err, directory.ErrExists) {
					rt.Fatalf("add %s, which is there %v: %v", name, is, err)
				} else if err == nil {
					want[name] = e.Display
				}
				err = nil
			case "replace":
				_, err = b.Replace(e)
				if _, is := want[name]; is == errors.Is(err, directory.ErrNotFound) {
					rt.Fatalf("replace %s, which is there %v: %v", name, is, err)
				} else if err == nil {
					want[name] = e.Display
				}
				err = nil
			case "remove":
				err = b.Remove(name)
				if _, is := want[name]; is != (err == nil) {
					rt.Fatalf("remove %s, which is there %v: %v", name, is, err)
				}
				delete(want, name)
				err = nil
			case "record":
				err = b.Edit(func(ed *directory.Edit) error {
					var v []byte
					if n%3 > 0 {
						v = fmt.Appendf(ed.Record(name), "%d,", n)
					}
					ed.SetRecord(name, v)
					return nil
				})
			case "import":
				_, err = b.Import(t.Context(), strings.NewReader(fmt.Sprintf("Obj-Class,Directory Name,Display Name,E-mail Address\nRemote,%s,%d,MS:NET/PO/%s\nRemote,V,%d,MS:NET/PO/V\n", name, n, name, n)), directory.ImportOptions{})
				want[name], want["V"] = e.Display, e.Display
			case "reopen":
				if err = b.Close(); err == nil {
					*b = *openBook(t, map[bool]*Store{true: ss[0], false: ss[1]}[b == bs[0]], b.path)
				}
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		bs = append(bs, newBook(t, ss[2]))
		c := alike(t, bs...)
		have := map[string]string{}
		for _, e := range c.Entries {
			if !e.Deleted {
				have[e.Name] = e.Display
			}
		}
		if diff := cmp.Diff(want, have); diff != "" {
			rt.Fatalf("-want +got:\n%s", diff)
		}
	})
}

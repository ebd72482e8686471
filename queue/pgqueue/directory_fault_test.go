package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"backbone/gateway/directory"
)

func (b *book) close(t testing.TB) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// here tells which names a copy has.
func (b *book) here(t testing.TB, want ...string) {
	t.Helper()
	page, _, err := b.List(directory.Filter{}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range page {
		have = append(have, e.Name)
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("has %v, want %v", have, want)
	}
}

// unshared is a directory that shares nothing yet.
func unshared(t testing.TB, path, site string, keep time.Duration) *directory.Directory {
	t.Helper()
	d, err := directory.Open(path, directory.Options{Site: directory.Identity{Name: site}, NoSync: true, KeepTombstones: keep})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// aside are the exports of directories that were replaced.
func aside(t testing.TB, path string) []string {
	t.Helper()
	files, err := filepath.Glob(path + ".before.*.csv")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// dying is a shared history whose gateway dies when a change is in it, and not yet in its own copy.
type dying struct {
	directory.Shared
	now bool
}

func (d *dying) Turn(ctx context.Context) (directory.Turn, error) {
	t, err := d.Shared.Turn(ctx)
	return &dyingTurn{t, d}, err
}

type dyingTurn struct {
	directory.Turn
	d *dying
}

var errDead = errors.New("dead")

func (t *dyingTurn) Commit(ctx context.Context, c directory.Change) error {
	if err := t.Turn.Commit(ctx, c); err != nil || !t.d.now {
		return err
	}
	return errDead
}

func TestAGatewayThatDiedAfterTheCommitHasTheChangeWhenItIsBack(t *testing.T) {
	dsn := schema(t)
	s, other := member(t, dsn, "a"), newBook(t, member(t, dsn, "b"))
	path := filepath.Join(t.TempDir(), "directory.db")
	mortal := &dying{Shared: s.Directory()}
	d, err := directory.Open(path, directory.Options{Site: directory.Identity{Name: "SITEA"}, NoSync: true, Share: func() (directory.Shared, error) { return mortal, nil }})
	if err != nil {
		t.Fatal(err)
	}
	a := &book{d, path}
	a.add(t, "ONE")
	mortal.now = true
	if _, err := a.Add(person(t, "TWO")); !errors.Is(err, errDead) {
		t.Errorf("added: %v", err)
	}
	a.here(t, "ONE")
	a.close(t)
	a = openBook(t, s, path)
	a.here(t, "ONE", "TWO")
	alike(t, a, other)
}

func TestAChangeOfTheDirectoryWhoseAnswerIsLostIsAskedFor(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	a, b := newBook(t, member(t, w.through(t, dsn), "a")), newBook(t, member(t, dsn, "b"))
	a.add(t, "ONE")
	w.arm("commit")
	a.add(t, "TWO")
	if err := a.Edit(func(e *directory.Edit) error {
		w.arm("commit")
		e.SetRecord("k", []byte("v"))
		return nil
	}); err != nil {
		t.Errorf("record: %v", err)
	}
	w.mu.Lock()
	if w.cuts != 2 {
		t.Errorf("the connection was cut %d times, want 2", w.cuts)
	}
	w.mu.Unlock()
	if c := alike(t, a, b); len(c.Entries) != 2 || c.Records["k"] != "v" {
		t.Errorf("%+v", c)
	}
}

func TestOfAChangeWhoseConnectionBrokeBeforeTheCommitNothingIsLeft(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	a, b := newBook(t, member(t, w.through(t, dsn), "a")), newBook(t, member(t, dsn, "b"))
	for what, fails := range map[string]func(){
		"when the turn is had":  w.severAll,
		"instead of the commit": func() { w.armBefore("commit") },
	} {
		err := a.Edit(func(e *directory.Edit) error {
			fails()
			_, err := e.Put(person(t, "ONE"))
			return err
		})
		if !errors.Is(err, directory.ErrUnavailable) {
			t.Errorf("broken off %s: %v", what, err)
		}
		a.here(t)
	}
	a.add(t, "ONE")
	if c := alike(t, a, b); len(c.Entries) != 1 || c.Head.USN != 1 {
		t.Errorf("%+v", c)
	}
}

func TestWithoutTheDatabaseADirectoryAnswersAndTakesNoChange(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	a := newBook(t, member(t, w.through(t, dsn), "a", func(o *Options) { o.Patience = 300 * time.Millisecond }))
	b := newBook(t, member(t, dsn, "b"))
	a.add(t, "ONE")
	w.down.Store(true)
	w.severAll()
	if _, err := a.Add(person(t, "TWO")); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("added without the database: %v", err)
	}
	if e, err := a.Find(ms(t, "ONE")); err != nil || e.Name != "ONE" {
		t.Errorf("found %+v, %v", e, err)
	}
	b.add(t, "THREE")
	a.here(t, "ONE")
	w.down.Store(false)
	eventually(t, "the other's change to be seen", func() bool { return a.Size() == 2 })
	a.add(t, "TWO")
	alike(t, a, b)
	b.here(t, "ONE", "THREE", "TWO")
}

func TestTheFirstGatewaysDirectoryIsSharedAndTheNextOnesKeptBeside(t *testing.T) {
	dsn := schema(t)
	first, second := filepath.Join(t.TempDir(), "directory.db"), filepath.Join(t.TempDir(), "directory.db")
	for path, names := range map[string][]string{first: {"A", "B", "C"}, second: {"A", "X", "Y", "Z"}} {
		d := book{unshared(t, path, "SITEA", 0), path}
		d.add(t, names...)
		if err := d.Remove("A"); err != nil {
			t.Fatal(err)
		}
		if err := d.Edit(func(e *directory.Edit) error { e.SetRecord("k", []byte(path)); return nil }); err != nil {
			t.Fatal(err)
		}
		d.close(t)
	}
	s := member(t, dsn, "a")
	a, b := openBook(t, s, first), openBook(t, member(t, dsn, "b"), second)
	a.here(t, "B", "C")
	if c := alike(t, a, b); len(c.Entries) != 3 || c.Records["k"] != first {
		t.Errorf("%+v", c)
	}
	if f := aside(t, first); f != nil {
		t.Errorf("the first gateway's directory was put aside: %v", f)
	}
	files := aside(t, second)
	if len(files) != 1 {
		t.Fatalf("files beside the second directory: %v", files)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if sum, err := b.Import(t.Context(), f, directory.ImportOptions{}); err != nil || sum.Created != 3 || sum.Errors != 0 {
		t.Errorf("import: %+v, %v", sum, err)
	}
	alike(t, a, b)
	a.here(t, "B", "C", "X", "Y", "Z")

	// The file of a gateway that was restored from a backup is a beginning, and goes on.
	a.close(t)
	old, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	b.add(t, "LATER")
	a = openBook(t, s, first)
	a.here(t, "B", "C", "LATER", "X", "Y", "Z")
	a.close(t)
	if err := os.WriteFile(first, old, 0o600); err != nil {
		t.Fatal(err)
	}
	a = openBook(t, s, first)
	alike(t, a, b)
	if f := aside(t, first); f != nil {
		t.Errorf("what was a beginning was put aside: %v", f)
	}
}

func TestTombstonesThatOneGatewayForgetsAreForgottenAtAll(t *testing.T) {
	dsn := schema(t)
	sa, sb, sc := member(t, dsn, "a"), member(t, dsn, "b"), member(t, dsn, "c")
	a, b := newBook(t, sa), newBook(t, sb)
	a.add(t, "X", "Y")
	before, err := a.Head()
	if err != nil {
		t.Fatal(err)
	}
	alike(t, a, b)
	b.close(t)
	if err := a.Remove("X"); err != nil {
		t.Fatal(err)
	}
	a.add(t, "Z")
	// A year passes; who joins now gets these times.
	if _, err := sa.pool.Exec(t.Context(), "update directory_stamp set at = at - 365 * 86400"); err != nil {
		t.Fatal(err)
	}
	c := newBook(t, sc)
	if all := alike(t, a, c); len(all.Entries) != 2 || len(all.Stamps) != 2 || all.Head.Purged != 3 {
		t.Errorf("%+v", all)
	}
	if batch, err := a.ChangesFor(before, 10); err != nil || batch.Reset != directory.ResetOld {
		t.Errorf("a reader from before is told %q, %v", batch.Reset, err)
	}
	// Who was away meanwhile can't know what was deleted.
	b = openBook(t, sb, b.path)
	b.here(t, "Y", "Z")
	alike(t, a, b, c)
}

// TestAWholeListIsReadByTwoGatewaysInTurn: what one has read of another site's list the other need not read.
func TestAWholeListIsReadByTwoGatewaysInTurn(t *testing.T) {
	dsn := schema(t)
	a, b := newBook(t, member(t, dsn, "a")), newBook(t, member(t, dsn, "b"))
	path := filepath.Join(t.TempDir(), "siteb.db")
	far := book{unshared(t, path, "SITEB", time.Nanosecond), path}
	far.add(t, "P0", "P1", "P2", "P3", "P4", "P5", "P6")
	read := func() (why directory.Reset, sum directory.Replicated) {
		for more, gateways := true, []*book{a, b}; more; gateways[0], gateways[1] = gateways[1], gateways[0] {
			g := gateways[0]
			if err := g.Edit(func(*directory.Edit) error { return nil }); err != nil {
				t.Fatal(err)
			}
			at, err := g.Cursor("SITEB")
			if err != nil {
				t.Fatal(err)
			}
			batch, err := far.ChangesFor(at, 2)
			if err != nil {
				t.Fatal(err)
			}
			if batch.Reset != "" {
				why = batch.Reset
			}
			r, err := g.Replicate("SITEB", batch)
			if err != nil || r.Stale {
				t.Fatalf("%+v, %v", r, err)
			}
			if again, err := gateways[1].Replicate("SITEB", batch); err != nil || !again.Stale {
				t.Errorf("the other gateway took the same piece again: %+v, %v", again, err)
			}
			sum.Add(r)
			more = batch.More
		}
		return why, sum
	}
	if why, sum := read(); why != directory.ResetNew || sum.Taken != 7 {
		t.Errorf("first: %q, %+v", why, sum)
	}
	for _, n := range []string{"P1", "P4"} {
		if err := far.Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	far.add(t, "P7")
	far.close(t)
	far.Directory = unshared(t, path, "SITEB", time.Nanosecond) // which forgets the tombstones
	defer far.close(t)
	if why, sum := read(); why != directory.ResetOld || sum.Deleted != 2 || sum.Taken != 1 {
		t.Errorf("then: %q, %+v", why, sum)
	}
	alike(t, a, b)
	b.here(t, "P0", "P2", "P3", "P5", "P6", "P7")
}

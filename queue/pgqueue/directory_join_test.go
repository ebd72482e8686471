package pgqueue

import (
	"fmt"
	"path/filepath"
	"testing"

	"backbone/gateway/directory"
)

func (b *book) record(t testing.TB, key, value string) {
	t.Helper()
	if err := b.Edit(func(e *directory.Edit) error { e.SetRecord(key, []byte(value)); return nil }); err != nil {
		t.Fatal(err)
	}
}

// A directory of its own may hold records and no entry: it is no beginning either.
func TestADirectoryOfRecordsAloneIsNoBeginningOfTheSharedOne(t *testing.T) {
	dsn := schema(t)
	path := filepath.Join(t.TempDir(), "directory.db")
	own := book{unshared(t, path, "SITEA", 0), path}
	own.record(t, "own", "1")
	own.close(t)
	a := newBook(t, member(t, dsn, "a"))
	a.record(t, "k1", "v1")
	a.record(t, "k2", "v2")
	a.add(t, "ONE")
	b := openBook(t, member(t, dsn, "b"), path)
	ra, rb := a.copied(t).Records, b.copied(t).Records
	if fmt.Sprint(ra) != fmt.Sprint(rb) {
		t.Errorf("the first has %v, the one that joined %v", ra, rb)
	}
}

package directory

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestASnapshotTakesAllOfADirectoryWhileItIsInUse: entries, tombstones and the history come back in another file's place,
// and the file that was there is kept.
func TestASnapshotTakesAllOfADirectoryWhileItIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.db")
	o := Options{Site: Identity{Name: "SITEA", Domains: []string{"sitea.example"}}}
	d := openAt(t, path, o)
	for _, name := range []string{"ASMITH", "MKUMAR"} {
		if _, err := d.Add(Entry{Name: name, Target: addr(t, "MS:NET/PO1/"+name)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Remove("MKUMAR"); err != nil {
		t.Fatal(err)
	}
	before, _, err := d.ChangesSince(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var snapshot bytes.Buffer
	if err := d.Snapshot(&snapshot); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Add(Entry{Name: "LATER", Target: addr(t, "MS:NET/PO1/LATER")}); err != nil {
		t.Fatal(err)
	}
	if _, err := Replace(path, bytes.NewReader(snapshot.Bytes())); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("replaced while it is open: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Replace(path, strings.NewReader("no directory at all")); err == nil {
		t.Error("replaced by what is no directory")
	}
	aside, err := Replace(path, &snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(aside); err != nil {
		t.Errorf("the old file: %v", err)
	}
	if left, _ := filepath.Glob(path + ".part"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	d = openAt(t, path, o)
	after, _, err := d.ChangesSince(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("not what was there (-was +is):\n%s", diff)
	}
	if _, err := d.Get("LATER"); err == nil {
		t.Error("what was added after the snapshot is there")
	}
}

package directory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// replica is one site in a test of convergence.
type replica struct {
	*Directory
	name, file, backup string
}

func (r *replica) open(t *rapid.T) {
	s := siteA
	s.Name = r.name
	d, err := Open(r.file, Options{Site: s, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	r.Directory = d
}

func (r *replica) copyTo(t *rapid.T, from, to string) {
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.open(t)
}

// pull takes at most pieces batches of up to n entries; what is under way may be cut there.
func pull(t *rapid.T, to, from *replica, n, pieces int) (taken int) {
	for range pieces {
		c, err := to.Cursor(from.name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := from.ChangesFor(c, n)
		if err != nil {
			t.Fatal(err)
		}
		r, err := to.Replicate(from.name, b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := to.Replicate(from.name, b) // replayed
		if err != nil || !again.Stale && b.Next != b.Since {
			t.Fatalf("a replayed batch was taken: %+v, %v", again, err)
		}
		taken += r.Taken + r.Deleted
		if !b.More {
			break
		}
	}
	return taken
}

func (r *replica) state(t *rapid.T) map[string]string {
	out := map[string]string{}
	page, more, err := r.List(Filter{}, "", 1000)
	if err != nil || more != "" {
		t.Fatal(more, err)
	}
	for _, e := range page {
		out[e.ID()] = fmt.Sprintf("%d %s %q", e.Version, e.Target, e.Display)
	}
	for _, c := range r.Connectors() {
		out[c.ID()] = fmt.Sprintf("%d %v", c.Version, c.Spaces)
	}
	return out
}

// What every replica holds in the end does not depend on who heard of what when, on what was lost, repeated or cut
// off, on restored backups, or on how long anyone was away.
func TestReplicasConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var stopped any // rapid ends a check by a panic, which has to leave the bubble
		synctest.Test(t, func(t *testing.T) {
			defer func() { stopped = recover() }()
			converge(t, rt)
		})
		if fmt.Sprintf("%T", stopped) == "rapid.invalidData" {
			panic(stopped) // on a line of its own: rapid tells failures apart by the stack
		}
		if stopped != nil {
			panic(stopped)
		}
	})
}

func converge(t *testing.T, rt *rapid.T) {
	dir, err := os.MkdirTemp(t.TempDir(), "d")
	if err != nil {
		rt.Fatal(err)
	}
	all := make([]*replica, 3)
	for i := range all {
		all[i] = &replica{name: fmt.Sprintf("SITE%d", i), file: filepath.Join(dir, fmt.Sprint(i))}
		all[i].backup = all[i].file + ".backup"
		all[i].open(rt)
		defer func() { closeAll(t, all[i].Directory) }()
	}
	for range rapid.IntRange(1, 40).Draw(rt, "steps") {
		r := all[rapid.IntRange(0, 2).Draw(rt, "site")]
		name := fmt.Sprintf("U%d", rapid.IntRange(0, 3).Draw(rt, "user"))
		switch rapid.SampledFrom([]string{"write", "write", "remove", "pull", "pull", "pull", "backup", "restore", "away"}).Draw(rt, "op") {
		case "write":
			e := Entry{Name: name, Display: fmt.Sprint(rapid.IntRange(0, 3).Draw(rt, "display")), Target: addr(t, "MS:N/"+r.name+"/"+name)}
			if _, err := r.Add(e); errors.Is(err, ErrExists) {
				_, err = r.Replace(e)
				if c := (*Conflict)(nil); err != nil && !errors.As(err, &c) {
					rt.Fatal(err)
				}
			}
		case "remove":
			if err := r.Remove(name); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrForeign) {
				rt.Fatal(err)
			}
		case "pull":
			from := all[rapid.IntRange(0, 2).Draw(rt, "from")]
			if from != r {
				pull(rt, r, from, rapid.IntRange(1, 3).Draw(rt, "batch"), rapid.IntRange(1, 4).Draw(rt, "pieces"))
			}
		case "backup":
			r.copyTo(rt, r.file, r.backup)
		case "restore":
			if _, err := os.Stat(r.backup); err == nil {
				r.copyTo(rt, r.backup, r.file)
			}
		case "away":
			time.Sleep(time.Duration(rapid.IntRange(1, 400).Draw(rt, "days")) * 24 * time.Hour)
			r.write.Lock()
			err := r.purge(time.Now())
			r.write.Unlock()
			if err != nil {
				rt.Fatal(err)
			}
		}
		time.Sleep(time.Second)
	}
	for round := 0; ; round++ {
		news := 0
		for _, to := range all {
			for _, from := range all {
				if from != to {
					news += pull(rt, to, from, 2, 100)
				}
			}
		}
		if news == 0 {
			break
		}
		if round == 10 {
			rt.Fatal("the replicas do not come to rest")
		}
	}
	for _, r := range all[1:] {
		if diff := cmp.Diff(all[0].state(rt), r.state(rt)); diff != "" {
			rt.Fatalf("%s and %s differ:\n%s", all[0].name, r.name, diff)
		}
	}
}

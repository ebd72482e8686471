package directory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"backbone/gateway/mail"
)

func TestReplicationDelta(t *testing.T) {
	a := open(t, Options{})
	siteB := siteA
	siteB.Name = "SITEB"
	b := open(t, Options{Site: siteB})
	pull := func() int {
		t.Helper()
		es, _, err := a.ChangesSince(0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		n, err := b.Apply(es)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	add(t, a, person(t, "X", "MS:N/P/X", "SMTP:x@example.com"), person(t, "Y", "MS:N/P/Y"))
	if n := pull(); n != 2 {
		t.Errorf("%d taken, want 2", n)
	}
	if n := pull(); n != 0 {
		t.Errorf("%d taken again", n)
	}
	if r, err := b.Resolve(addr(t, "SMTP:x@example.com")); err != nil || r.Entry != "SITEA/X" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := b.Replace(Entry{Name: "X", Site: "SITEA", Target: addr(t, "MS:N/P/Z")}); !errors.Is(err, ErrForeign) {
		t.Errorf("writing another site's entry: %v", err)
	}
	if err := b.Remove("SITEA/X"); !errors.Is(err, ErrForeign) {
		t.Errorf("removing another site's entry: %v", err)
	}
	usn := a.USN()
	changed := a.Changed()
	if err := a.Remove("X"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	es, next, err := a.ChangesSince(usn, 1000)
	if err != nil || len(es) != 1 || !es[0].Deleted || es[0].Name != "X" || next != usn+1 || !es[0].Target.IsZero() {
		t.Errorf("delta %+v, next %d, %v; want the tombstone alone", es, next, err)
	}
	if pull() != 1 || b.Size() != 1 {
		t.Error("the tombstone was not taken")
	}
	if n, err := b.Apply([]Entry{{Name: "X", Site: "SITEA", Version: 1, Target: addr(t, "MS:N/P/X")}}); n != 0 || err != nil {
		t.Errorf("an older version came back to life: %d, %v", n, err)
	}
	if n, err := b.Apply([]Entry{{Name: "E\x1b", Site: "SITEC", Version: 1, Target: addr(t, "MS:N/P/E")}, {Name: "T", Site: "S/C", Version: 1, Deleted: true}, {Name: "B", Site: "SITEB", Version: 9, Target: addr(t, "MS:N/P/B")}}); n != 0 || err != nil {
		t.Errorf("hostile entries taken: %d, %v", n, err)
	}
	t.Run("an address of two sites' entries is ambiguous until one gives way", func(t *testing.T) {
		add(t, b, person(t, "MINE", "MS:N/P/SAME"))
		if n, err := b.Apply([]Entry{{Name: "THEIRS", Site: "SITEA", Version: 1, Target: addr(t, "MS:N/P/SAME")}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		check := func() {
			t.Helper()
			_, err := b.Resolve(addr(t, "MS:N/P/SAME"))
			if f := mail.AsFailure(err); err == nil || f.MSMail != 30 || !strings.Contains(f.Text, "SITEA/THEIRS") || !strings.Contains(f.Text, "SITEB/MINE") {
				t.Errorf("got %v, want [030] that names both", err)
			}
		}
		check()
		b = reopen(t, b)
		check()
		if n := b.Name(addr(t, "MS:N/P/SAME")); n != "" {
			t.Errorf("name %q", n)
		}
		if err := b.Remove("MINE"); err != nil {
			t.Fatal(err)
		}
		if r, err := b.Resolve(addr(t, "MS:N/P/SAME")); err != nil || r.Entry != "SITEA/THEIRS" {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestTombstonesAreForgottenInTime(t *testing.T) {
	d := open(t, Options{KeepTombstones: time.Hour})
	add(t, d, person(t, "X", "MS:N/P/X"), person(t, "Y", "MS:N/P/Y"))
	if err := d.Remove("X"); err != nil {
		t.Fatal(err)
	}
	d = reopen(t, d)
	if len(d.graves) != 1 {
		t.Fatalf("%d tombstones, want 1", len(d.graves))
	}
	d.write.Lock()
	err := d.purge(time.Now().Add(2 * time.Hour))
	d.write.Unlock()
	if err != nil || len(d.graves) != 0 {
		t.Errorf("%d tombstones, %v", len(d.graves), err)
	}
	d = reopen(t, d)
	if es, _, err := d.ChangesSince(0, 10); err != nil || len(es) != 1 || len(d.graves) != 0 {
		t.Errorf("changes %v, %v", es, err)
	}
}

// What every replica holds in the end does not depend on the order in which it hears of changes, nor on repetitions.
func TestReplicasConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "d")
		if err != nil {
			rt.Fatal(err)
		}
		var all []*Directory
		for i := range 3 {
			s := siteA
			s.Name = fmt.Sprintf("SITE%d", i)
			d, err := Open(filepath.Join(dir, s.Name), Options{Site: s})
			if err != nil {
				rt.Fatal(err)
			}
			defer closeAll(t, d)
			d.db.NoSync = true
			all = append(all, d)
		}
		pull := func(to, from *Directory, since uint64) {
			es, _, err := from.ChangesSince(since, 1000)
			if err != nil {
				rt.Fatal(err)
			}
			if _, err := to.Apply(es); err != nil {
				rt.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			i := rapid.IntRange(0, 2).Draw(rt, "site")
			name := fmt.Sprintf("U%d", rapid.IntRange(0, 2).Draw(rt, "user"))
			switch rapid.IntRange(0, 3).Draw(rt, "op") {
			case 0:
				e := Entry{Name: name, Target: addr(t, fmt.Sprintf("MS:N/P%d/U%d", i, rapid.IntRange(0, 9).Draw(rt, "mbx")))}
				if _, err := all[i].Add(e); errors.Is(err, ErrExists) {
					_, err = all[i].Replace(e)
					if var_ := (*Conflict)(nil); err != nil && !errors.As(err, &var_) {
						rt.Fatal(err)
					}
				}
			case 1:
				if err := all[i].Remove(name); err != nil && !errors.Is(err, ErrNotFound) {
					rt.Fatal(err)
				}
			case 2:
				pull(all[(i+1)%3], all[i], rapid.Uint64Range(0, all[i].USN()).Draw(rt, "since"))
			case 3:
				pull(all[(i+2)%3], all[i], 0)
			}
		}
		for range 2 {
			for i := range all {
				for j := range all {
					if i != j {
						pull(all[j], all[i], 0)
					}
				}
			}
		}
		state := func(d *Directory) map[string]string {
			out := map[string]string{}
			es, _, err := d.ChangesSince(0, 1000)
			if err != nil {
				rt.Fatal(err)
			}
			for _, e := range es {
				out[e.ID()] = fmt.Sprintf("%d %v %s", e.Version, e.Deleted, e.Target)
			}
			return out
		}
		for _, d := range all[1:] {
			if diff := cmp.Diff(state(all[0]), state(d)); diff != "" {
				rt.Fatalf("replicas differ:\n%s", diff)
			}
		}
	})
}

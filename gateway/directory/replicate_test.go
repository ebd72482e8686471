package directory

import (
	"errors"
	"strings"
	"testing"
	"time"

	"backbone/gateway/mail"
)

// apply hands over entries as a partner's next batch.
func apply(d *Directory, from string, es []Entry) (int, error) {
	c, err := d.Cursor(from)
	if err != nil {
		return 0, err
	}
	r, err := d.Replicate(from, Batch{Since: c, Changes: es, Next: Cursor{USN: c.USN + 1, Stamp: 1}})
	return r.Taken, err
}

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
		n, err := apply(b, "SITEA", es)
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
	if n, err := apply(b, "SITEA", []Entry{{Name: "X", Site: "SITEA", Version: 1, Target: addr(t, "MS:N/P/X")}}); n != 0 || err != nil {
		t.Errorf("an older version came back to life: %d, %v", n, err)
	}
	if n, err := apply(b, "SITEA", []Entry{{Name: "E\x1b", Site: "SITEC", Version: 1, Target: addr(t, "MS:N/P/E")}, {Name: "T", Site: "S/C", Version: 1, Deleted: true}, {Name: "B", Site: "SITEB", Version: 9, Target: addr(t, "MS:N/P/B")}}); n != 0 || err != nil {
		t.Errorf("hostile entries taken: %d, %v", n, err)
	}
	t.Run("an address of two sites' entries is ambiguous until one gives way", func(t *testing.T) {
		add(t, b, person(t, "MINE", "MS:N/P/SAME"))
		if n, err := apply(b, "SITEA", []Entry{{Name: "THEIRS", Site: "SITEA", Version: 1, Target: addr(t, "MS:N/P/SAME")}}); n != 1 || err != nil {
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

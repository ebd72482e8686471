package directory

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// two are SITEA and SITEB, in a bubble.
func two(t *testing.T) (a, b *Directory) {
	siteB := siteA
	siteB.Name = "SITEB"
	return openAt(t, t.TempDir()+"/a", Options{NoSync: true}), openAt(t, t.TempDir()+"/b", Options{Site: siteB, NoSync: true})
}

// follow takes all of from's changes and returns why it had to begin at the beginning, "" when it had not.
func follow(t *testing.T, to, from *Directory, name string) (why Reset, sum Replicated) {
	t.Helper()
	for {
		c, err := to.Cursor(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := from.ChangesFor(c, 2)
		if err != nil {
			t.Fatal(err)
		}
		if b.Reset != "" {
			why = b.Reset
		}
		r, err := to.Replicate(name, b)
		if err != nil || r.Stale {
			t.Fatal(r, err)
		}
		sum.Add(r)
		if !b.More {
			return why, sum
		}
	}
}

func TestASiteThatWasAwayForAYearCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := two(t)
		for _, n := range []string{"A", "B", "C", "D", "E"} {
			add(t, a, person(t, n, "MS:N/P/"+n))
		}
		if why, _ := follow(t, b, a, "SITEA"); why != ResetNew {
			t.Errorf("the first time: %q", why)
		}
		if err := a.Remove("B"); err != nil {
			t.Fatal(err)
		}
		if err := a.Remove("E"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(365 * 24 * time.Hour)
		add(t, a, person(t, "F", "MS:N/P/F")) // which forgets the tombstones
		if len(a.graves) != 0 {
			t.Fatalf("%d tombstones are still there", len(a.graves))
		}
		why, sum := follow(t, b, a, "SITEA")
		if why != ResetOld || sum.Deleted != 2 || sum.Taken != 1 {
			t.Errorf("%q, %+v; want old, two deleted and one taken", why, sum)
		}
		if b.Size() != 4 {
			t.Errorf("%d entries, want 4", b.Size())
		}
		// What SITEB still had may not come back to life at its own site.
		if _, sum := follow(t, a, b, "SITEB"); sum.Taken != 0 || a.Size() != 4 {
			t.Errorf("back at its own site: %+v, %d entries", sum, a.Size())
		}
		if why, sum := follow(t, b, a, "SITEA"); why != "" || sum.Taken != 0 {
			t.Errorf("then it is quiet: %q %+v", why, sum)
		}
	})
}

// Found by TestReplicasConverge: an entry is made again after its tombstone was forgotten, so that it counts from one, and
// the other site still has it from before, with a higher count.
func TestAnEntryMadeAnewIsTheSameEverywhereThoughItsDeletionIsForgotten(t *testing.T) {
	for what, remove := range map[string]bool{"made again": false, "made again and deleted": true} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := two(t)
				old := person(t, "A", "MS:N/P/A")
				add(t, a, old)
				for _, display := range []string{"Second", "Third"} {
					old.Display = display
					if _, err := a.Replace(old); err != nil {
						t.Fatal(err)
					}
				}
				follow(t, b, a, "SITEA")
				if err := a.Remove("A"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(365 * 24 * time.Hour)
				add(t, a, person(t, "F", "MS:N/P/F")) // which forgets the tombstone
				add(t, a, person(t, "A", "MS:N/P/A"))
				if remove {
					if err := a.Remove("A"); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					follow(t, b, a, "SITEA")
					follow(t, a, b, "SITEB")
				}
				for _, d := range []*Directory{a, b} {
					es, _, err := d.List(Filter{}, "", 10)
					if err != nil {
						t.Fatal(err)
					}
					for _, e := range es {
						if e.Name == "A" && (remove || e.Display == "Third") {
							t.Errorf("%s has version %d, %q", d.o.Site.Name, e.Version, e.Display)
						}
					}
					if want := 2; !remove && len(es) != want || remove && len(es) != want-1 {
						t.Errorf("%s has %d entries", d.o.Site.Name, len(es))
					}
				}
			})
		})
	}
}

func TestARestoredSiteGetsItsOwnEntriesBackAndIsFoundOut(t *testing.T) {
	a, b := two(t)
	add(t, a, person(t, "OLD", "MS:N/P/OLD"))
	follow(t, b, a, "SITEA")
	path := a.db.Path()
	closeAll(t, a)
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a = openAt(t, path, a.o)
	add(t, a, person(t, "LOST", "MS:N/P/LOST"), person(t, "LOST2", "MS:N/P/LOST2"))
	if err := a.Remove("OLD"); err != nil {
		t.Fatal(err)
	}
	follow(t, b, a, "SITEA")
	closeAll(t, a)
	if err := os.WriteFile(path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	a = openAt(t, path, a.o)
	// It goes on differently, beyond the number where the other one is.
	for _, n := range []string{"N1", "N2", "N3", "N4"} {
		add(t, a, person(t, n, "MS:N/P/"+n))
	}
	if why, sum := follow(t, b, a, "SITEA"); why != ResetForked || sum.Taken != 4 || sum.Deleted != 0 {
		t.Errorf("%q, %+v; want forked, four taken and nothing deleted", why, sum)
	}
	if _, sum := follow(t, a, b, "SITEB"); sum.Recovered != 3 {
		t.Errorf("%+v; want both lost entries and the lost deletion recovered", sum)
	}
	if a.Size() != 6 || b.Size() != 6 {
		t.Errorf("%d and %d entries, want 6", a.Size(), b.Size())
	}
	if why, _ := follow(t, b, a, "SITEA"); why != "" {
		t.Errorf("afterwards %q", why)
	}
}

func TestAnEditKeepsEntriesAndRecordsTogetherOrNothing(t *testing.T) {
	d := open(t, Options{})
	boom := os.ErrInvalid
	for _, fails := range []bool{true, false} {
		err := d.Edit(func(e *Edit) error {
			if _, err := e.Put(person(t, "X", "MS:N/P/X")); err != nil {
				return err
			}
			e.SetRecord("k/1", []byte("v"))
			if string(e.Record("k/1")) != "v" {
				t.Error("a record that was set is not seen")
			}
			if got, ok := e.Find(addr(t, "MS:N/P/X")); !ok || got.Name != "X" {
				t.Error("an entry that was put is not found")
			}
			if fails {
				return boom
			}
			return nil
		})
		v, rerr := d.Record("k/1")
		if (err != nil) != fails || rerr != nil || (v != nil) == fails || (d.Size() == 1) == fails {
			t.Errorf("fails %v: %v, record %q, %d entries", fails, err, v, d.Size())
		}
	}
	if err := d.Edit(func(e *Edit) error {
		e.SetRecord("k/2", []byte("w"))
		e.SetRecord("k/1", nil)
		e.SetRecord("l", []byte("x"))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	d = reopen(t, d)
	var keys []string
	if err := d.Records("k/", "", 10, func(k string, _ []byte) error { keys = append(keys, k); return nil }); err != nil || len(keys) != 1 || keys[0] != "k/2" {
		t.Errorf("records %v, %v", keys, err)
	}
}

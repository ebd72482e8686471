package directory

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var siteA = Identity{
	Name: "SITEA", Organization: "Northwind", Domains: []string{"sitea.example", "old.example"}, Partners: []string{"siteb.example"},
	MS: "NORTHWIND/SITEA", X400: address.ORAddress{C: "US", A: " ", P: "Northwind", O: "SITEA"},
}

func open(t testing.TB, o Options) *Directory {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "directory.db"), o)
}

func openAt(t testing.TB, path string, o Options) *Directory {
	t.Helper()
	if o.Site.Name == "" {
		o.Site = siteA
	}
	d, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, d) })
	return d
}

func closeAll(t testing.TB, d *Directory) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func reopen(t testing.TB, d *Directory) *Directory {
	t.Helper()
	path := d.db.Path()
	closeAll(t, d)
	return openAt(t, path, d.o)
}

func addr(t testing.TB, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func addrs(t testing.TB, s ...string) (out []address.Address) {
	t.Helper()
	for _, a := range s {
		out = append(out, addr(t, a))
	}
	return out
}

// person is an entry "NAME target proxy...".
func person(t testing.TB, name, target string, proxies ...string) Entry {
	t.Helper()
	return Entry{Name: name, Display: strings.ToLower(name) + " display", Target: addr(t, target), Proxies: addrs(t, proxies...)}
}

func add(t testing.TB, d *Directory, es ...Entry) {
	t.Helper()
	for _, e := range es {
		if _, err := d.Add(e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnEntryComesBackAsItWasAdded(t *testing.T) {
	d := open(t, Options{})
	e := Entry{
		Name: "MKUMAR", Display: " Kumar, Mira ", Alias: "MKUMAR", First: "Mira", Last: "Kumar", Target: addr(t, "MS:northwind/po2/mkumar"),
		Proxies: addrs(t, "SMTP:mira.kumar@Northwind.example", "SMTP:mk@northwind.example", "MS:NORTHWIND/PO2/MKumar", "X400:c=US;a= ;p=Northwind;s=Kumar"), Secondary: addrs(t, "MS:OLDNET/OLDPO/MKUMAR", "SMTP:mk@northwind.example"),
		Hidden: true, Container: "Recipients", Attributes: map[string]string{"Custom Attribute 3": "x", "Title": "Dr"},
	}
	got, err := d.Add(e)
	if err != nil {
		t.Fatal(err)
	}
	want := e
	want.Site, want.Display = "SITEA", "Kumar, Mira"
	want.Target = address.Address{Type: "MS", Value: "NORTHWIND/PO2/MKUMAR"}
	want.Proxies = addrs(t, "SMTP:mira.kumar@northwind.example", "X400:c=US;a= ;p=Northwind;s=Kumar;")
	want.Secondary = addrs(t, "SMTP:mk@northwind.example", "MS:OLDNET/OLDPO/MKUMAR")
	want.USN, want.Version, want.Changed, want.Written, want.Stamp = 1, 1, got.Changed, 1, got.Stamp
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	d = reopen(t, d)
	for _, name := range []string{"MKUMAR", "mkumar", "SITEA/MKUMAR"} {
		if got, err = d.Get(name); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after a restart: -want +got:\n%s", diff)
		}
	}
	if got, err := d.Find(addr(t, "smtp:MK@northwind.EXAMPLE")); err != nil || got.Name != "MKUMAR" {
		t.Errorf("by a secondary proxy: %v, %v", got.Name, err)
	}
}

func TestWhatAnEntryMayNotHold(t *testing.T) {
	d := open(t, Options{})
	ok := func() Entry { return person(t, "A", "MS:N/P/A") }
	for name, change := range map[string]func(*Entry){
		"no name":                        func(e *Entry) { e.Name = " " },
		"a slash in its name":            func(e *Entry) { e.Name = "A/B" },
		"a terminal escape in its name":  func(e *Entry) { e.Name = "A\x1b[31m" },
		"a name of 65 characters":        func(e *Entry) { e.Name = strings.Repeat("x", 65) },
		"a display name over 256":        func(e *Entry) { e.Display = strings.Repeat("x", 257) },
		"a direction override":           func(e *Entry) { e.Display = "a\u202eb" },
		"no target":                      func(e *Entry) { e.Target = address.Address{} },
		"a target that is no address":    func(e *Entry) { e.Target = address.Address{Type: "MS", Value: "N/P"} },
		"a proxy that is no address":     func(e *Entry) { e.Proxies = []address.Address{{Type: "SMTP", Value: "x"}} },
		"the null address as proxy":      func(e *Entry) { e.Proxies = []address.Address{{}} },
		"an attribute that is not known": func(e *Entry) { e.Attributes = map[string]string{"Shoe size": "9"} },
		"too many proxies": func(e *Entry) {
			for i := range 501 {
				e.Secondary = append(e.Secondary, address.Address{Type: "SMTP", Value: fmt.Sprintf("u%d@example.com", i)})
			}
		},
	} {
		e := ok()
		change(&e)
		if _, err := d.Add(e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := d.Add(ok()); err != nil || d.Size() != 1 {
		t.Errorf("the unchanged entry: %v, size %d", err, d.Size())
	}
}

func TestNoAddressBelongsToTwo(t *testing.T) {
	for _, tt := range []struct {
		name        string
		second      []string // name, target, proxies
		conflicting string
		target      bool
	}{
		{"same target", []string{"B", "MS:N/P/A"}, "MS:N/P/A", true},
		{"same target in other case", []string{"B", "ms:n/p/a"}, "MS:N/P/A", true},
		{"same proxy", []string{"B", "MS:N/P/B", "SMTP:A@example.com"}, "SMTP:A@example.com", false},
		{"its proxy is the other's target", []string{"B", "MS:N/P/B", "MS:N/P/A"}, "MS:N/P/A", false},
		{"its target is the other's proxy (Q232618)", []string{"B", "SMTP:a@example.com"}, "SMTP:a@example.com", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, Options{})
			add(t, d, person(t, "A", "MS:N/P/A", "SMTP:a@example.com"))
			_, err := d.Add(person(t, tt.second[0], tt.second[1], tt.second[2:]...))
			var c *Conflict
			if !errors.As(err, &c) || c.Other != "SITEA/A" || c.Address != addr(t, tt.conflicting) || c.Target != tt.target {
				t.Fatalf("error %v, want a conflict over %s that names SITEA/A", err, tt.conflicting)
			}
			if f := mail.AsFailure(err); f.MSMail != 30 || f.Enhanced != "5.1.4" || f.Diagnostic != 1 {
				t.Errorf("as a failure: %+v, want [030] (Q165396)", f)
			}
			if d.Size() != 1 {
				t.Error("the entry was added all the same")
			}
		})
	}
}

func TestAddReplaceRemove(t *testing.T) {
	d := open(t, Options{})
	add(t, d, person(t, "A", "MS:N/P/A", "SMTP:a@example.com"))
	if _, err := d.Add(person(t, "a", "MS:N/P/A2")); !errors.Is(err, ErrExists) {
		t.Errorf("adding the name again in other case: %v", err)
	}
	if _, err := d.Replace(person(t, "B", "MS:N/P/B")); !errors.Is(err, ErrNotFound) {
		t.Errorf("replacing nobody: %v", err)
	}
	if _, err := d.Replace(person(t, "a", "MS:N/P/A2", "SMTP:a2@example.com")); err != nil {
		t.Fatal(err)
	}
	// What the entry gave up is free, what it got is taken.
	add(t, d, person(t, "B", "MS:N/P/A", "SMTP:a@example.com"))
	if _, err := d.Add(person(t, "C", "MS:N/P/A2")); err == nil {
		t.Error("the new target is free")
	}
	if err := d.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing twice: %v", err)
	}
	add(t, d, person(t, "C", "MS:N/P/A2"))
	e, err := d.Add(person(t, "A", "MS:N/P/A3"))
	if err != nil || e.Version != 4 {
		t.Errorf("made again: version %d, %v; want 4, after create, replace, delete", e.Version, err)
	}
	before := d.USN()
	if _, err := d.Replace(person(t, "A", "MS:N/P/A3")); err != nil || d.USN() != before {
		t.Errorf("replacing with the same wrote something: USN %d, was %d, %v", d.USN(), before, err)
	}
}

func TestListPagesAndFilters(t *testing.T) {
	d := open(t, Options{})
	for i := range 25 {
		add(t, d, person(t, fmt.Sprintf("U%02d", i), fmt.Sprintf("MS:NORTHWIND/PO%d/U%02d", i%2+1, i), fmt.Sprintf("SMTP:u%02d@example.com", i)))
	}
	add(t, d, Entry{Name: "Åsa", Display: "Åsa Öberg", Hidden: true, Target: addr(t, "SMTP:asa@example.org")})
	yes := true
	for _, tt := range []struct {
		name string
		f    Filter
		want int
	}{
		{"all", Filter{}, 26},
		{"by a post office", Filter{Address: "MS:NORTHWIND/PO1/*"}, 13},
		{"by an address without type", Filter{Address: "u07@example.com"}, 1},
		{"by a proxy's domain", Filter{Address: "*@example.com"}, 25},
		{"by text in any case", Filter{Text: "öBERG"}, 1},
		{"by text of an address", Filter{Text: "po2/u1"}, 5},
		{"by target type", Filter{Type: "SMTP"}, 1},
		{"hidden ones", Filter{Hidden: &yes}, 1},
		{"of another site", Filter{Site: "SITEB"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for after := ""; ; {
				page, more, err := d.List(tt.f, after, 10)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page {
					got = append(got, e.Name)
				}
				if len(page) > 10 {
					t.Fatalf("a page of %d", len(page))
				}
				if after = more; more == "" {
					break
				}
			}
			if len(got) != tt.want || !slices.IsSorted(got) {
				t.Errorf("%d entries, want %d, in order: %v", len(got), tt.want, got)
			}
		})
	}
}

func TestASecondProcessAndADamagedFileAreRefused(t *testing.T) {
	d := open(t, Options{})
	if _, err := Open(d.db.Path(), d.o); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second opening: %v", err)
	}
	path := filepath.Join(t.TempDir(), "bad.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("rubbish ", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Site: siteA}); err == nil {
		t.Error("a damaged file opens")
	}
	if _, err := Open(path, Options{}); err == nil {
		t.Error("no site name")
	}
}

// Against a plain list: random adds, replacements, removals and restarts, then every address is asked for.
func TestDirectoryEqualsAPlainList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "d")
		if err != nil {
			rt.Fatal(err)
		}
		d, err := Open(filepath.Join(dir, "d.db"), Options{Site: siteA})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { closeAll(t, d) }()
		d.db.NoSync = true          // power does not fail in this test
		model := map[string]Entry{} // by lower-case name
		pool := make([]address.Address, 12)
		for i := range pool {
			pool[i] = addr(t, fmt.Sprintf("SMTP:u%d@example.com", i))
		}
		draw := func() address.Address { return pool[rapid.IntRange(0, len(pool)-1).Draw(rt, "address")] }
		taken := func(e Entry) bool {
			for name, o := range model {
				if name == strings.ToLower(e.Name) {
					continue
				}
				for _, k := range o.addresses() {
					if slices.Contains(e.addresses(), k) {
						return true
					}
				}
			}
			return false
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			name := rapid.SampledFrom([]string{"A", "a", "B", "C", "D"}).Draw(rt, "name")
			e := Entry{Name: name, Target: draw()}
			for range rapid.IntRange(0, 3).Draw(rt, "proxies") {
				e.Secondary = append(e.Secondary, draw())
			}
			_, have := model[strings.ToLower(name)]
			switch rapid.IntRange(0, 3).Draw(rt, "op") {
			case 0:
				_, err := d.Add(e)
				if want := !have && !taken(e); (err == nil) != want {
					rt.Fatalf("add %s: %v, want success %v", name, err, want)
				} else if want {
					model[strings.ToLower(name)] = e
				}
			case 1:
				_, err := d.Replace(e)
				if want := have && !taken(e); (err == nil) != want {
					rt.Fatalf("replace %s: %v, want success %v", name, err, want)
				} else if want {
					model[strings.ToLower(name)] = e
				}
			case 2:
				if err := d.Remove(name); (err == nil) != have {
					rt.Fatalf("remove %s: %v, want success %v", name, err, have)
				}
				delete(model, strings.ToLower(name))
			case 3:
				closeAll(t, d)
				if d, err = Open(filepath.Join(dir, "d.db"), d.o); err != nil {
					rt.Fatal(err)
				}
				d.db.NoSync = true
			}
		}
		for _, a := range pool {
			want := ""
			for _, name := range slices.Sorted(maps.Keys(model)) {
				if e := model[name]; slices.Contains(e.addresses(), a.Key()) {
					want = e.Target.String()
				}
			}
			r, err := d.Resolve(a)
			if err != nil {
				rt.Fatal(err)
			}
			if got := r.Target.String(); r.Known != (want != "") || r.Known && got != want {
				rt.Fatalf("%s resolves to %s (known %v), want %q", a, got, r.Known, want)
			}
		}
		if d.Size() != len(model) {
			rt.Fatalf("size %d, want %d", d.Size(), len(model))
		}
		es, _, err := d.ChangesSince(0, 1000)
		if err != nil {
			rt.Fatal(err)
		}
		live := 0
		for _, e := range es {
			if !e.Deleted {
				live++
			}
		}
		if live != len(model) {
			rt.Fatalf("%d live entries by number, want %d", live, len(model))
		}
	})
}

func TestLookUpsDoNotWaitForWriters(t *testing.T) {
	d := open(t, Options{})
	add(t, d, person(t, "X", "MS:N/P/X"))
	d.write.Lock() // an import under way
	defer d.write.Unlock()
	if r, err := d.Resolve(addr(t, "MS:N/P/X")); err != nil || !r.Known {
		t.Errorf("%+v, %v", r, err)
	}
	if _, _, err := d.List(Filter{}, "", 1); err != nil {
		t.Error(err)
	}
	d.Learn(addr(t, "MS:N/P/X"), "c", "h", time.Now())
}

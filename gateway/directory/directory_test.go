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
	want.USN, want.Version, want.Changed = 1, 1, got.Changed
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

func TestResolve(t *testing.T) {
	d := open(t, Options{Aliases: map[string]string{"OLDNET/OLDPO": "MIDNET/MIDPO", "MIDNET/MIDPO": "NORTHWIND/PO2"}})
	add(t, d,
		person(t, "MKUMAR", "MS:NORTHWIND/PO2/MKUMAR", "SMTP:mira.kumar@northwind.example", "MS:GONENET/GONEPO/MK"),
		person(t, "FWD", "MS:OLDNET/OLDPO/JLEE", "SMTP:fwd@sitea.example"),
		person(t, "JLEE", "SMTP:jin@elsewhere.example", "MS:NORTHWIND/PO2/JLEE"),
		person(t, "WRAPPED", "SMTP:IMCEAMS-NORTHWIND_PO2_MKUMAR@siteb.example", "SMTP:wrapped@sitea.example"),
		person(t, "RING", "MS:OLDNET/OLDPO/RING", "MS:NORTHWIND/PO2/RING"),
	)
	for _, tt := range []struct {
		name, in, want, entry string
	}{
		{"a target is its own", "MS:NORTHWIND/PO2/MKUMAR", "MS:NORTHWIND/PO2/MKUMAR", "SITEA/MKUMAR"},
		{"a proxy leads to the target", "SMTP:Mira.Kumar@NORTHWIND.example", "MS:NORTHWIND/PO2/MKUMAR", "SITEA/MKUMAR"},
		{"an old MS proxy leads to the target (Q156545)", "MS:GONENET/GONEPO/MK", "MS:NORTHWIND/PO2/MKUMAR", "SITEA/MKUMAR"},
		{"a one-off address is its own", "MS:OTHER/PO/X", "MS:OTHER/PO/X", ""},
		{"a renamed post office leads to its last name (Q114246)", "MS:OLDNET/OLDPO/X", "MS:NORTHWIND/PO2/X", ""},
		{"a renamed post office's known user", "MS:OLDNET/OLDPO/MKUMAR", "MS:NORTHWIND/PO2/MKUMAR", "SITEA/MKUMAR"},
		{"steps are followed to the end", "SMTP:fwd@sitea.example", "SMTP:jin@elsewhere.example", "SITEA/FWD"},
		{"our encapsulation is undone", "SMTP:IMCEAMS-NORTHWIND_PO2_X@sitea.example", "MS:NORTHWIND/PO2/X", ""},
		{"a partner's encapsulation as target is undone", "SMTP:wrapped@sitea.example", "MS:NORTHWIND/PO2/MKUMAR", "SITEA/WRAPPED"},
		{"a stranger's is not", "SMTP:IMCEAMS-NORTHWIND_PO2_X@stranger.example", "SMTP:IMCEAMS-NORTHWIND_PO2_X@stranger.example", ""},
		{"the null originator stays", "<>", "<>", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := d.Resolve(addr(t, tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if r.Target != addr(t, tt.want) || r.Entry != tt.entry || r.Known != (tt.entry != "") {
				t.Errorf("got %+v, want %s of %q", r, tt.want, tt.entry)
			}
			if changed := !r.Target.Equal(addr(t, tt.in)); changed != (len(r.Steps) > 0) {
				t.Errorf("steps %q do not tell why %s became %s", r.Steps, tt.in, r.Target)
			}
		})
	}
	if r, err := d.Resolve(addr(t, "MS:NORTHWIND/PO2/MKUMAR")); err != nil || r.Name != "mkumar display" {
		t.Errorf("name %q, %v", r.Name, err)
	}
	_, err := d.Resolve(addr(t, "MS:NORTHWIND/PO2/RING"))
	if f := mail.AsFailure(err); err == nil || f.Diagnostic != 27 || f.Enhanced != "5.4.6" || !strings.Contains(f.Text, "circle") {
		t.Errorf("addresses in a circle: %v", err)
	}
}

func TestAVeryLongWayIsNotFollowed(t *testing.T) {
	d := open(t, Options{})
	for i := range 8 { // two steps each
		add(t, d, person(t, fmt.Sprintf("U%d", i), fmt.Sprintf("SMTP:IMCEASMTP-u%d+40x+2Eexample@sitea.example", i+1), fmt.Sprintf("SMTP:u%d@x.example", i)))
	}
	_, err := d.Resolve(addr(t, "SMTP:u0@x.example"))
	if f := mail.AsFailure(err); err == nil || f.Diagnostic != 27 {
		t.Errorf("16 steps: %v", err)
	}
	if r, err := d.Resolve(addr(t, "SMTP:u4@x.example")); err != nil || r.Target.Value != "u8@x.example" || len(r.Steps) != 8 {
		t.Errorf("8 steps: %+v, %v", r, err)
	}
}

func TestAliasesThatCircleAreRefused(t *testing.T) {
	for _, aliases := range []map[string]string{{"A/B": "A/B"}, {"A/B": "C/D", "C/D": "A/B"}, {"A/B": "C"}, {"A/B/C": "D/E"}} {
		if d, err := Open(filepath.Join(t.TempDir(), "d"), Options{Site: siteA, Aliases: aliases}); err == nil {
			t.Errorf("%v: accepted", aliases)
			closeAll(t, d)
		}
	}
}

func TestAddressBook(t *testing.T) {
	d := open(t, Options{})
	add(t, d,
		person(t, "MKUMAR", "MS:NORTHWIND/PO2/MKUMAR", "SMTP:mira.kumar@northwind.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=Kumar"),
		Entry{Name: "BOB", Display: "Bob", Target: addr(t, "SMTP:bob@elsewhere.example"), Proxies: addrs(t, "MS:NORTHWIND/SITEA/BOB")},
		Entry{Name: "SEC", Target: addr(t, "MS:NORTHWIND/PO2/SEC"), Secondary: addrs(t, "SMTP:sec@northwind.example")},
	)
	for _, tt := range []struct {
		name, in string
		as       address.Type
		want     string
	}{
		{"its own type stays", "MS:NORTHWIND/PO2/MKUMAR", "MS", "MS:NORTHWIND/PO2/MKUMAR"},
		{"the proxy of the type", "MS:NORTHWIND/PO2/MKUMAR", "SMTP", "SMTP:mira.kumar@northwind.example"},
		{"another type's proxy", "MS:NORTHWIND/PO2/MKUMAR", "X400", "X400:c=US;a= ;p=Northwind;o=SITEA;s=Kumar;"},
		{"a proxy stands for the same person", "SMTP:mira.kumar@northwind.example", "MS", "MS:NORTHWIND/PO2/MKUMAR"},
		{"a stranger who is known has his MS proxy", "SMTP:Bob@elsewhere.example", "MS", "MS:NORTHWIND/SITEA/BOB"},
		{"a secondary proxy is better than none", "MS:NORTHWIND/PO2/SEC", "SMTP", "SMTP:sec@northwind.example"},
		{"nobody's MS address in SMTP", "MS:NORTHWIND/PO2/X", "SMTP", "SMTP:IMCEAMS-NORTHWIND_PO2_X@sitea.example"},
		{"nobody's MS address in X.400", "MS:NORTHWIND/PO2/X", "X400", "X400:c=US;a= ;p=Northwind;o=SITEA;dda:MS=NORTHWIND/PO2/X;"},
		{"nobody's SMTP address in X.400", "SMTP:u@example.com", "X400", "X400:c=US;a= ;p=Northwind;o=SITEA;dda:RFC-822=u(a)example.com;"},
		{"nobody's O/R address in SMTP", "X400:c=DE;a=x;s=Y", "SMTP", "SMTP:IMCEAX400-c=DE+3Ba=x+3Bs=Y+3B@sitea.example"},
		{"MS Mail carries typed addresses", "SMTP:u@example.com", "MS", "SMTP:u@example.com"},
		{"the null originator", "<>", "SMTP", "<>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := d.As(addr(t, tt.in), tt.as)
			if got != addr(t, tt.want) {
				t.Errorf("As(%s, %s) = %s, want %s", tt.in, tt.as, got, tt.want)
			}
			r, err := d.Resolve(got)
			if err != nil {
				t.Fatal(err)
			}
			home, err := d.Resolve(addr(t, tt.in))
			if err != nil || !r.Target.Equal(home.Target) {
				t.Errorf("a reply to %s goes to %s, not to %s", got, r.Target, home.Target)
			}
		})
	}
	for in, want := range map[string]string{
		"X400:c=US;a= ;p=Northwind;o=SITEB;dda:MS=NORTHWIND/PO9/X":                   "MS:NORTHWIND/PO9/X",
		"X400:c=US;a= ;p=Contoso;o=SITEB;dda:MS=NORTHWIND/PO9/X":                     "X400:c=US;a= ;p=Contoso;o=SITEB;dda:MS=NORTHWIND/PO9/X;",
		"SMTP:IMCEAMS-NORTHWIND_PO9_X@SITEB.example":                                 "MS:NORTHWIND/PO9/X",
		"SMTP:IMCEAMS-NORTHWIND_PO9_X@old.example":                                   "MS:NORTHWIND/PO9/X",
		"SMTP:IMCEASMTP-IMCEAMS-NORTHWIND+5FPO9+5FX+40siteb+2Eexample@sitea.example": "MS:NORTHWIND/PO9/X",
		"SMTP:IMCEAMS-broken@sitea.example":                                          "SMTP:IMCEAMS-broken@sitea.example",
		"MS:N/P/M":                                                                   "MS:N/P/M",
	} {
		if got := d.Native(addr(t, in)); got != addr(t, want) {
			t.Errorf("Native(%s) = %s, want %s", in, got, want)
		}
	}
	if n := d.Name(addr(t, "ms:northwind/sitea/bob")); n != "Bob" {
		t.Errorf("name %q", n)
	}
	if n := d.Name(addr(t, "SMTP:nobody@example.com")); n != "" {
		t.Errorf("name %q of nobody", n)
	}
}

func TestGeneratedProxies(t *testing.T) {
	d := open(t, Options{Generate: true})
	add(t, d,
		Entry{Name: "Kumar, Mira", Alias: "Mira.Kumar", First: "Mira", Last: "Kumar", Target: addr(t, "SMTP:mira@elsewhere.example")},
		Entry{Name: "Kumar2", Alias: "Mira-Kumar", First: "Mira", Last: "Kumar", Target: addr(t, "SMTP:mira2@elsewhere.example")},
		Entry{Name: "Postmaster", Target: addr(t, "SMTP:p@elsewhere.example")},
		Entry{Name: "Post", Alias: "postmaster", Target: addr(t, "MS:NORTHWIND/PO2/PM")},
		Entry{Name: "HQ", Target: addr(t, "MS:NORTHWIND/PO2/HQ"), Proxies: addrs(t, "SMTP:head@northwind.example")},
		Entry{Name: "HQ2", Alias: "HQ", Target: addr(t, "MS:NORTHWIND/PO2/HQ2")},
		Entry{Name: "HQ3", Alias: "HQ", Target: addr(t, "MS:NORTHWIND/PO2/HQ3")},
	)
	for name, want := range map[string][]string{
		"Kumar, Mira": {"MS:NORTHWIND/SITEA/MIRAKUMAR", "X400:c=US;a= ;p=Northwind;o=SITEA;s=Kumar;g=Mira;"},
		"Kumar2":      {"MS:NORTHWIND/SITEA/MIRAKUMA0", "X400:c=US;a= ;p=Northwind;o=SITEA;s=Kumar2;g=Mira;"},
		"Postmaster":  {"MS:NORTHWIND/SITEA/POSTMAST0", "X400:c=US;a= ;p=Northwind;o=SITEA;s=Postmaster;"}, // Q175447
		"Post":        {"SMTP:postmaster2@sitea.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=postmaster2;"},
		"HQ":          {"SMTP:head@northwind.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=HQ;"},
		"HQ2":         {"SMTP:HQ@sitea.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=HQ2;"},
		"HQ3":         {"SMTP:HQ2@sitea.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=HQ3;"},
	} {
		e, err := d.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(addrs(t, want...), e.Proxies); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	t.Run("switched on later", func(t *testing.T) {
		d := open(t, Options{})
		add(t, d, Entry{Name: "A", Target: addr(t, "MS:N/P/A")})
		d.o.Generate = true
		d = reopen(t, d)
		if got := d.As(addr(t, "MS:N/P/A"), address.SMTP); got != addr(t, "SMTP:A@sitea.example") {
			t.Errorf("got %s", got)
		}
		if e, err := d.Get("A"); err != nil || e.Version != 2 {
			t.Errorf("version %d, %v; replicas would not hear of it", e.Version, err)
		}
	})
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

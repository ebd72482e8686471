package directory

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

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

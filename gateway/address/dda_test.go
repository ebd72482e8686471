package address_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
)

var siteA = address.ORAddress{C: "US", A: " ", P: "Northwind", O: "SITEA"}

func isSiteA(o address.ORAddress) bool { return o.Equal(siteA) }

func TestToDDA(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a Microsoft Mail address (Q262112)", "MS:NORTHWIND/PO2/MKUMAR", "c=US;a= ;p=Northwind;o=SITEA;dda:MS=NORTHWIND/PO2/MKUMAR;"},
		{"a system box, in PrintableString", "MS:NORTHWIND/PO2/$SYSTEM", "c=US;a= ;p=Northwind;o=SITEA;dda:MS=NORTHWIND/PO2/(036)SYSTEM;"},
		{"an SMTP address has MIXER's type", "SMTP:first_last@x.example", "c=US;a= ;p=Northwind;o=SITEA;dda:RFC-822=first(u)last(a)x.example;"},
		{"a gateway address", "FAX:Mira K@555", "c=US;a= ;p=Northwind;o=SITEA;dda:FAX=Mira K(a)555;"},
		{"an O/R address stays what it is", "X400:c=GB;a= ;p=Other;s=Jones;", "c=GB;a= ;p=Other;s=Jones;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := must(t, c.in)
			o := address.ToDDA(a, siteA)
			if o.String() != c.want {
				t.Errorf("got  %s\nwant %s", o, c.want)
			}
			if err := o.Validate(); err != nil {
				t.Error(err)
			}
			if a.Type == address.X400 {
				return
			}
			if back, ok := address.FromDDA(o, isSiteA); !ok || back != a {
				t.Errorf("comes back as %v, %v", back, ok)
			}
		})
	}
	if o := address.ToDDA(address.Address{}, siteA); !o.IsZero() {
		t.Errorf("the null originator becomes %v", o)
	}
	withDDA := siteA
	withDDA.DDA = []address.DDA{{"ID", "4711"}}
	if o := address.ToDDA(must(t, "MS:N/P/B"), withDDA); len(o.DDA) != 1 || len(withDDA.DDA) != 1 || withDDA.DDA[0].Type != "ID" {
		t.Errorf("the site's own attributes: got %v, site is now %v", o, withDDA)
	}
}

func TestLongAddressesSpreadOverFourAttributes(t *testing.T) {
	local := strings.Repeat("a_", 60) // 120 octets, 240 escaped
	a := must(t, "SMTP:"+local+"@"+strings.Repeat("abcdefg.", 20)+"example")
	o := address.ToDDA(a, siteA)
	var types []string
	for _, d := range o.DDA {
		types = append(types, d.Type)
		if open, shut := strings.Count(d.Value, "("), strings.Count(d.Value, ")"); open != shut {
			t.Errorf("an escape is cut in two: %s", d.Value)
		}
	}
	if diff := cmp.Diff([]string{"RFC-822", "RFC822C1", "RFC822C2", "RFC822C3"}, types); diff != "" {
		t.Error(diff)
	}
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
	if back, ok := address.FromDDA(o, isSiteA); !ok || back != a {
		t.Errorf("comes back as %v, %v", back, ok)
	}
	o.DDA[0], o.DDA[2] = o.DDA[2], o.DDA[0]
	if back, ok := address.FromDDA(o, isSiteA); !ok || back != a {
		t.Errorf("with the attributes in another order it comes back as %v, %v", back, ok)
	}

	blanks := must(t, "FAX:"+strings.Repeat("a ", 150)+"b")
	o = address.ToDDA(blanks, siteA)
	if err := o.Validate(); err == nil {
		t.Errorf("901 characters fit into %d attributes", len(o.DDA))
	}
	text := o.String() // blanks at the ends of values are lost on the way
	parsed, err := address.ParseORAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	if back, ok := address.FromDDA(parsed, isSiteA); !ok || back != blanks {
		t.Errorf("an address that is too long comes back as %v, %v", back, ok)
	}
}

func TestFromDDA(t *testing.T) {
	const site = "c=US;a= ;p=Northwind;o=SITEA;"
	for _, c := range []struct{ name, in, want string }{
		{"Exchange's spelling, unescaped", site + "dda:MS=NORTHWIND/PO2/$SYSTEM", "MS:NORTHWIND/PO2/$SYSTEM"},
		{"doubled slashes", site + "dda:MS=NORTHWIND//PO2//MKUMAR", "MS:NORTHWIND/PO2/MKUMAR"},
		{"type in lower case", site + "dda:ms=northwind/po2/mkumar", "MS:NORTHWIND/PO2/MKUMAR"},
		{"CSI and PCM are MS", site + "dda:PCM=northwind/po2/mkumar", "MS:NORTHWIND/PO2/MKUMAR"},
		{"SMTP, before SP3", site + "dda:SMTP=mira@x.example", "SMTP:mira@x.example"},
		{"half escaped (Q254725)", site + "dda:RFC-822=first(u)last@x.example", "SMTP:first_last@x.example"},
		{"capital escapes", site + "dda:rfc-822=first(U)last(A)x.example", "SMTP:first_last@x.example"},
		{"decimal escapes", site + "dda:RFC-822=mira(064)x.example", "SMTP:mira@x.example"},
		{"ADMD 0 is our blank one", "c=us;a=0;p=northwind;o=sitea;dda:MS=N/P/B", "MS:N/P/B"},
		{"another site", "c=US;a= ;p=Northwind;o=SITEB;dda:MS=N/P/B", ""},
		{"no attribute", site, ""},
		{"a note on a person", "c=US;a= ;p=Northwind;o=SITEA;s=Kumar;dda:ID=4711", ""},
		{"two types at once", site + "dda:MS=N/P/B;dda:FAX=555", ""},
		{"a continuation of nothing else", site + "dda:RFC-822=mira(a)x.example;dda:ID=1", ""},
		{"one type twice over", site + "dda:RFC-822=mira(a)x.example;dda:RFC-822=bob(a)x.example", ""},
		{"a broken address", site + "dda:MS=N/P", ""},
		{"a line end", site + "dda:RFC-822=mira(013)(010)(a)x.example", ""},
		{"a type of nine", site + "dda:ABCDEFGHI=1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := must(t, "X400:"+c.in).ORAddress()
			if err != nil {
				t.Fatal(err)
			}
			got, ok := address.FromDDA(o, isSiteA)
			if c.want == "" {
				if ok || !got.IsZero() {
					t.Errorf("comes out as %v, %v, want nothing", got, ok)
				}
				return
			}
			if !ok || got.String() != c.want {
				t.Errorf("comes out as %v, %v, want %s", got, ok, c.want)
			}
		})
	}
	person := siteA
	person.S, person.DDA = "Kumar", []address.DDA{{"ID", "4711"}}
	everyone := func(address.ORAddress) bool { return true }
	if got, ok := address.FromDDA(person, everyone); ok {
		t.Errorf("a note on a person comes out as %v", got)
	}
	person.DDA = []address.DDA{{"MS", "N/P/B"}}
	if got, ok := address.FromDDA(person, everyone); !ok || got.String() != "MS:N/P/B" {
		t.Errorf("an MS attribute beside a name comes out as %v, %v", got, ok)
	}
}

func TestPrintableEscapes(t *testing.T) {
	for _, c := range []struct{ plain, escaped string }{
		{"mira@x.example", "mira(a)x.example"},
		{`@%!"_()`, "(a)(p)(b)(q)(u)(l)(r)"},
		{"a*b#c", "a(042)b(035)c"},
		{"(a)", "(l)a(r)"},
		{"mü", "m(195)(188)"},
		{"a'()+,-./:=? Z", "a'(l)(r)+,-./:=? Z"},
		{" a  b ", "(032)a (032)b(032)"},
		{"", ""},
	} {
		if got := address.EscapePrintable(c.plain); got != c.escaped {
			t.Errorf("%q escaped is %q, want %q", c.plain, got, c.escaped)
		}
		if got := address.UnescapePrintable(c.escaped); got != c.plain {
			t.Errorf("%q unescaped is %q, want %q", c.escaped, got, c.plain)
		}
	}
	for _, literal := range []string{"(x)", "(", "(a", "(12)", "(256)", "(999)", "(1a2)", "()", "(!)", "a)"} {
		if got := address.UnescapePrintable(literal); got != literal {
			t.Errorf("%q is no escape but becomes %q", literal, got)
		}
	}
}

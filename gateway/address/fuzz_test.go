package address_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
)

var seeds = []string{
	"MS:NORTHWIND/PO2/MKUMAR", "CSI:a/b/$system", `[PCM:a\b\c]`, "a/b/*special", "Mira@Northwind.example", `"x@evil> NOTIFY=NEVER "@good`,
	"a@[IPv6:2001:db8::1]", "müller@bücher.example", "postmaster", "<>", "FAX:Mira^0DHQ^0D", `[FAX:a\rb]`,
	"c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;", "/c=US/a= /p=N/o=P$/Q/dda:MS=N//P//M", `/ddat=ms /ddav="NET/PO/$SYSTEM"`,
	"/C=us/a=MCI/p=microsoft/o=PSS/dda.type=ms/dda.value=net$/po$/mailbox", "c=US;dda:ID=a;;b;;;s=K", "/OU=C/OU=B/O=O/C=US/",
	"IMCEAMS-NORTHWIND_PO2_+24SYSTEM@" + ourDomain, "IMCEASMTP-IMCEAMS+2DA_B_C+40gw+2Esitea+2Eexample@" + ourDomain,
	"c=US;a= ;p=Northwind;o=SITEA;dda:RFC-822=first(u)last@x.example", "/S=K/C=US/@" + ourDomain, "IMCEAFAX-a+0D+0A@" + ourDomain,
}

// checkAddress tells what must hold for whatever a parser let through.
func checkAddress(t *testing.T, in string, a address.Address) {
	t.Helper()
	for _, r := range a.Value {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			t.Fatalf("%q gives %q, which holds %q", in, a, r)
		}
	}
	if !utf8.ValidString(a.Value) {
		t.Fatalf("%q gives %q, which is not UTF-8", in, a)
	}
	for _, s := range []string{a.String(), a.Display()} {
		if b, err := address.Parse(s); err != nil || b != a {
			t.Fatalf("%q gives %q, which reads back as %q, %v", in, s, b, err)
		}
	}
	if !a.Equal(a) {
		t.Fatalf("%q gives %q, which does not equal itself", in, a)
	}
	if a.IsZero() {
		return
	}
	if b, err := address.ParseMMFF(a.MMFF()); err != nil || b != a {
		t.Fatalf("%q gives %q, which MMFF has as %q and gives back as %q, %v", in, a, a.MMFF(), b, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if a, err := address.ParseMMFF(in); err == nil {
			checkAddress(t, in, a)
		}
		a, err := address.Parse(in)
		if err != nil {
			return
		}
		checkAddress(t, in, a)
		if a.IsZero() || len(a.Value) > 500 {
			return
		}
		const other = "other.example" // a is never at home there
		e := address.Encapsulate(a, other)
		if _, nested := address.Decapsulate(a, func(string) bool { return true }); !nested {
			if back, ok := address.Decapsulate(e, func(d string) bool { return d == other }); !ok || back != a {
				t.Fatalf("%q as IMCEA is %q and comes back as %q, %v", a, e, back, ok)
			}
		}
		o := address.ToDDA(a, siteA)
		if a.Type != address.X400 {
			if back, ok := address.FromDDA(o, isSiteA); !ok || back != a {
				t.Fatalf("%q as DDA is %q and comes back as %q, %v", a, o, back, ok)
			}
		}
	})
}

func FuzzORAddress(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		o, err := address.ParseORAddress(in)
		if err != nil {
			return
		}
		if _, err := o.Address(); err != nil && len(o.String()) < 2000 {
			t.Fatalf("%q parses but makes no address: %v", in, err)
		}
		for _, s := range []string{o.String(), o.Slash(), o.MIXER()} {
			if len(s) > 4096 {
				continue
			}
			again, err := address.ParseORAddress(s)
			if diff := cmp.Diff(o, again); diff != "" || err != nil {
				t.Fatalf("%q prints as %q, which reads back otherwise: %v\n%s", in, s, err, diff)
			}
		}
		if !o.Equal(o) {
			t.Fatalf("%q does not equal itself", in)
		}
	})
}

func FuzzDecapsulate(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, local string) {
		a := address.Address{Type: address.SMTP, Value: local + "@" + ourDomain}
		if inner, ok := address.Decapsulate(a, ours); ok {
			checkAddress(t, local, inner)
			if again, ok := address.Decapsulate(inner, ours); ok {
				t.Fatalf("%q gives %q, which still hides %q", local, inner, again)
			}
		}
		if inner, ok := address.Decapsulate(a, func(string) bool { return false }); ok {
			t.Fatalf("%q of a foreign domain gives %q", local, inner)
		}
		o := siteA
		o.DDA = []address.DDA{{Type: "RFC-822", Value: local}}
		if inner, ok := address.FromDDA(o, isSiteA); ok {
			checkAddress(t, local, inner)
		}
		o.DDA[0].Type = "FAX"
		if inner, ok := address.FromDDA(o, isSiteA); ok {
			checkAddress(t, local, inner)
		}
	})
}

func FuzzMailbox(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
		f.Add("<@a.example:" + s + ">")
	}
	f.Fuzz(func(t *testing.T, in string) {
		m, err := address.ParseMailbox(in)
		if err != nil {
			if m, err = address.ParsePath(in); err != nil {
				return
			}
		}
		if m == (address.Mailbox{}) {
			if in != "<>" {
				t.Fatalf("%q is the null path", in)
			}
			return
		}
		s := m.String()
		if again, err := address.ParseMailbox(s); err != nil || again != m {
			t.Fatalf("%q prints as %q, which reads back as %+v, %v", in, s, again, err)
		}
		// What a peer sees: nothing outside quotes may end the path or begin a parameter.
		outside, quoted := "", false
		for i := 0; i < len(s); i++ {
			switch {
			case quoted && s[i] == '\\':
				i++
			case s[i] == '"':
				quoted = !quoted
			case !quoted:
				outside += s[i : i+1]
			}
		}
		if quoted || strings.ContainsAny(outside, " <>\\,;()") || strings.Count(outside, "@") > 1 {
			t.Fatalf("%q prints as %q", in, s)
		}
		for i := range len(s) {
			if s[i] < ' ' || s[i] == 0x7f {
				t.Fatalf("%q prints with a control character: %q", in, s)
			}
		}
	})
}

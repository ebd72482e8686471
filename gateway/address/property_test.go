package address_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"backbone/gateway/address"
)

// letters has what people put into names, and what the syntaxes quote, escape and split at.
var letters = []rune(`abzAZ09 .-_@"\()<>,;:=/$^+%!*'#{}` + "éüßЖ日ﾊ")

func text(t *rapid.T, label string, min, max int) string {
	return rapid.StringOfN(rapid.SampledFrom(letters), min, max, -1).Draw(t, label)
}

func anyMSMail(t *rapid.T) address.Address {
	element := rapid.StringMatching(`[A-Z0-9]{1,10}`)
	mailbox := rapid.OneOf(element, rapid.SampledFrom([]string{"$SYSTEM", "*SPECIAL", "MüLLER", "SYSTEM1", "POSTMASTER"}))
	a, err := address.MSMail{Net: element.Draw(t, "net"), PO: element.Draw(t, "po"), Mailbox: mailbox.Draw(t, "mailbox")}.Address()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func anyMailbox(t *rapid.T) address.Mailbox {
	domain := rapid.OneOf(
		rapid.StringMatching(`[a-z0-9]([a-z0-9_-]{0,5}[a-z0-9])?(\.[a-z0-9]{1,5}){0,3}`),
		rapid.SampledFrom([]string{"[192.0.2.1]", "[IPv6:2001:db8::1]", "xn--bcher-kva.example"}))
	return address.Mailbox{Local: text(t, "local", 1, 40), Domain: domain.Draw(t, "domain")}
}

func anyORAddress(t *rapid.T) address.ORAddress {
	field := func(name string) string {
		if rapid.Bool().Draw(t, "has "+name) {
			return text(t, name, 1, 20)
		}
		return ""
	}
	o := address.ORAddress{C: "US", A: rapid.SampledFrom([]string{"", " ", "0", "ATT"}).Draw(t, "a"), P: field("p"), O: field("o"),
		S: field("s"), G: field("g"), I: field("i"), Q: field("q"), CN: field("cn"), X121: field("x121"), NID: field("nid"), TID: field("tid"), TTY: field("tty")}
	for i := range rapid.IntRange(0, 4).Draw(t, "units") {
		o.OU[i] = "u" + text(t, "unit", 0, 10)
	}
	for range rapid.IntRange(0, 4).Draw(t, "ddas") {
		kind := rapid.SampledFrom([]string{"MS", "ms", "RFC-822", "RFC822C1", "SNADS", "ID", "A B", "type", "x"}).Draw(t, "type")
		o.DDA = append(o.DDA, address.DDA{Type: kind, Value: "v" + text(t, "value", 0, 20)})
	}
	return o
}

func anyAddress(t *rapid.T) address.Address {
	switch rapid.IntRange(0, 3).Draw(t, "type") {
	case 0:
		return anyMSMail(t)
	case 1:
		a, err := anyMailbox(t).Address()
		if err != nil {
			t.Fatal(err)
		}
		return a
	case 2:
		a, err := anyORAddress(t).Address()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	return address.Address{
		Type:  address.Type(rapid.SampledFrom([]string{"FAX", "MCI", "SNADS", "EX", "CCMAIL", "MSMAIL", "A1"}).Draw(t, "name")),
		Value: "v" + strings.TrimRight(text(t, "value", 0, 60), " "),
	}
}

func TestWhatIsPrintedIsParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyAddress(t)
		for _, s := range []string{a.String(), a.Display(), "[" + a.String() + "]", strings.ToLower(string(a.Type)) + ":" + a.Value} {
			if strings.HasPrefix(s, "[") && strings.Contains(s, `\r`) && a.Type != address.SMTP && a.Type != address.X400 {
				continue // in a one-off that is ^0D
			}
			if b, err := address.Parse(s); err != nil || b != a {
				t.Fatalf("%q reads back as %v, %v, want %v", s, b, err, a)
			}
		}
		if b, err := address.ParseMMFF(a.MMFF()); err != nil || b != a {
			t.Fatalf("in MMFF %q reads back as %v, %v", a.MMFF(), b, err)
		}
		if !a.Equal(a) {
			t.Fatalf("%v does not equal itself", a)
		}
	})
}

func TestMailboxPartsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMailbox(t)
		for _, parse := range []func() (address.Mailbox, error){
			func() (address.Mailbox, error) { return address.ParseMailbox(m.String()) },
			func() (address.Mailbox, error) { return address.ParsePath(m.Path()) },
			func() (address.Mailbox, error) { return address.ParsePath("<@relay.example:" + m.String() + ">") },
		} {
			if again, err := parse(); err != nil || again != m {
				t.Fatalf("%s reads back as %+v, %v, want %+v", m, again, err, m)
			}
		}
	})
}

func TestORAddressPartsSurviveEachForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := anyORAddress(t)
		canonical, err := address.ParseORAddress(o.String())
		if err != nil || !canonical.Equal(o) {
			t.Fatalf("%+v prints as %s and reads back as %+v, %v", o, o, canonical, err)
		}
		if canonical.String() != o.String() {
			t.Fatalf("canonical text is not stable: %s, then %s", o, canonical)
		}
		for _, s := range []string{canonical.Slash(), canonical.MIXER(), o.Slash(), o.MIXER()} {
			again, err := address.ParseORAddress(s)
			if diff := cmp.Diff(canonical, again); diff != "" || err != nil {
				t.Fatalf("%s reads back otherwise: %v\n%s", s, err, diff)
			}
		}
	})
}

func TestEncapsulationIsUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyAddress(t)
		e := address.Encapsulate(a, ourDomain)
		if back, ok := address.Decapsulate(e, ours); !ok || back != a {
			t.Fatalf("%v as IMCEA is %v and comes back as %v, %v", a, e, back, ok)
		}
		if m, err := e.SMTP(); err != nil || m.UTF8() || m.String() != e.Value || strings.ContainsAny(m.Local, `"\ @<>`) {
			t.Fatalf("%v is not plain ASCII: %+v, %v", e, m, err)
		}
	})
}

func TestDDAEncapsulationIsUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyAddress(t)
		o := address.ToDDA(a, siteA)
		if a.Type == address.X400 {
			if b, err := o.Address(); err != nil || b != a {
				t.Fatalf("%v becomes %v, %v", a, b, err)
			}
			return
		}
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{o.String(), o.Slash(), o.MIXER()} {
			parsed, err := address.ParseORAddress(s)
			if err != nil {
				t.Fatal(err)
			}
			if back, ok := address.FromDDA(parsed, isSiteA); !ok || back != a {
				t.Fatalf("%v as DDA is %s and comes back as %v, %v", a, s, back, ok)
			}
		}
	})
}

func TestEscapesAreUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		e := address.EscapePrintable(s)
		if !address.PrintableString(e) || e != strings.TrimSpace(e) || strings.Contains(e, "  ") {
			t.Fatalf("%q escaped is %q, which X.400 would not keep", s, e)
		}
		if got := address.UnescapePrintable(e); got != s {
			t.Fatalf("%q escaped is %q and comes back as %q", s, e, got)
		}
		if got := address.UnescapeMMFF(address.EscapeMMFF(s)); got != s {
			t.Fatalf("%q comes back from MMFF as %q", s, got)
		}
	})
}

func TestEqualDoesNotSeeLetterCase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyAddress(t)
		if strings.ContainsAny(a.Value, "ßﾊ") {
			return // no capital of its own, or no case
		}
		b := address.Address{Type: a.Type, Value: strings.ToUpper(a.Value)}
		if a.Type == address.X400 {
			p, err := address.Parse("X400:" + b.Value)
			if err != nil {
				t.Fatal(err)
			}
			b = p
		}
		if !a.Equal(b) || a.Key() != b.Key() {
			t.Fatalf("%v and %v have the keys %q and %q", a, b, a.Key(), b.Key())
		}
	})
}

// The greedy matcher against the definition.
func TestGlobAgreesWithItsDefinition(t *testing.T) {
	var naive func(p, s []rune) bool
	naive = func(p, s []rune) bool {
		switch {
		case len(p) == 0:
			return len(s) == 0
		case p[0] == '*':
			return naive(p[1:], s) || len(s) > 0 && naive(p, s[1:])
		default:
			return len(s) > 0 && (p[0] == '%' || strings.EqualFold(string(p[0]), string(s[0]))) && naive(p[1:], s[1:])
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringOfN(rapid.SampledFrom([]rune("aBü*%")), 0, 8, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.SampledFrom([]rune("AbÜ")), 0, 10, -1).Draw(t, "s")
		if got, want := address.Glob(p, s), naive([]rune(p), []rune(s)); got != want {
			t.Fatalf("Glob(%q, %q) = %v, want %v", p, s, got, want)
		}
	})
}

package address_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a Microsoft Mail address is raised", "MS:northwind/po2/mkumar", "MS:NORTHWIND/PO2/MKUMAR"},
		{"the type may have any case", "ms:NORTHWIND/PO2/MKUMAR", "MS:NORTHWIND/PO2/MKUMAR"},
		{"CSI is FFAPI's name for MS (Q156730)", "CSI:NORTHWIND/PO2/MKUMAR", "MS:NORTHWIND/PO2/MKUMAR"},
		{"PCM is DirSync's name for MS (Q156730)", "PCM:NORTHWIND/PO2/MKUMAR", "MS:NORTHWIND/PO2/MKUMAR"},
		{"three elements without a type are MS", "northwind/po2/mkumar", "MS:NORTHWIND/PO2/MKUMAR"},
		{"the client's one-off form", "[MS:NORTHWIND/PO2/MKUMAR]", "MS:NORTHWIND/PO2/MKUMAR"},
		{"the AppleTalk client's one-off form (Q94410)", `[PCM:NET\ruby\ID]`, "MS:NET/RUBY/ID"},
		{"a backslash of a quoted local part is no line end", `[SMTP:"a\r b"@x.example]`, `SMTP:"ar b"@x.example`},
		{"the DirSync box", "MS:NORTHWIND/HUB/$system", "MS:NORTHWIND/HUB/$SYSTEM"},
		{"the user list box", "MS:NORTHWIND/HUB/*special", "MS:NORTHWIND/HUB/*SPECIAL"},
		{"a high letter keeps its case", "MS:NET/PO/müller", "MS:NET/PO/MüLLER"},
		{"outer blanks do not count", "  MS: NET/PO/BOB  ", "MS:NET/PO/BOB"},

		{"SMTP keeps the local part and lowers the domain", "smtp:Mira.Kumar@Northwind.EXAMPLE", "SMTP:Mira.Kumar@northwind.example"},
		{"a bare text with @ is SMTP", "mira@northwind.example", "SMTP:mira@northwind.example"},
		{"a one-off SMTP address", "[SMTP:mira@northwind.example]", "SMTP:mira@northwind.example"},
		{"needless quotes go", `"mira"@northwind.example`, "SMTP:mira@northwind.example"},
		{"a colon in quotes makes no type", `"FAX:1"@northwind.example`, `SMTP:"FAX:1"@northwind.example`},
		{"slashes and equals signs are local part characters", "/c=us/@northwind.example", "SMTP:/c=us/@northwind.example"},
		{"an address literal has colons but no type", "mira@[IPv6:2001:DB8::1]", "SMTP:mira@[IPv6:2001:db8::1]"},
		{"postmaster needs no domain", "SMTP:Postmaster", "SMTP:Postmaster"},

		{"semicolon form", "X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira", "X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;"},
		{"bare semicolon form", "g=Mira;s=Kumar;p=Northwind;a= ;c=US", "X400:c=US;a= ;p=Northwind;s=Kumar;g=Mira;"},
		{"bare slash form", "/c=US/a= /p=Northwind/o=P$/Q", "X400:c=US;a= ;p=Northwind;o=P/Q;"},
		{"an O/R address with an unescaped @ is not SMTP", "c=US;a= ;p=N;dda:RFC-822=u@h", "X400:c=US;a= ;p=N;dda:RFC-822=u@h;"},
		{"dda is a keyword, not a type", "dda:MS=NET/PO/BOB;c=US", "X400:c=US;dda:MS=NET/PO/BOB;"},

		{"another type is carried as it is", "FAX:Mira_K@555", "FAX:Mira_K@555"},
		{"a carriage return stays ^0D", "Fax:Mira^0DHQ^0DNorthwind^0D555^0D", "FAX:Mira^0DHQ^0DNorthwind^0D555^0D"},
		{`the client writes it \r (Q94410)`, `[FAX:Mira\rHQ\r555\r]`, "FAX:Mira^0DHQ^0D555^0D"},
		{"AppleTalk 1.0b", "[MSMAIL:Mira@Server]", "MSMAIL:Mira@Server"},
		{"a distinguished name", "EX:/o=Northwind/ou=SITEB/cn=Recipients/cn=MKUMAR", "EX:/o=Northwind/ou=SITEB/cn=Recipients/cn=MKUMAR"},
		{"the null originator", "<>", "<>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := address.Parse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if a.String() != c.want {
				t.Errorf("Parse(%q) = %s, want %s", c.in, a, c.want)
			}
			for _, text := range []string{a.String(), a.Display()} {
				if b, err := address.Parse(text); err != nil || b != a {
					t.Errorf("%q reads back as %v, %v", text, b, err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, part string }{
		{"nothing", "", address.PartAddress},
		{"blanks", "   ", address.PartAddress},
		{"a lone word", "mkumar", address.PartAddress},
		{"two elements", "NET/PO", address.PartAddress},
		{"four elements", "NET/PO/A/B", address.PartAddress},
		{"a network of 11 characters", "MS:NORTHWINDXX/PO/BOB", address.PartNetwork},
		{"a postoffice of 11 characters", "MS:NET/POSTOFFICE1/BOB", address.PartPO},
		{"a mailbox of 11 characters", "MS:NET/PO/MKUMARMKUMA", address.PartMailbox},
		{"an empty network", "MS:/PO/BOB", address.PartNetwork},
		{"an empty mailbox", "MS:NET/PO/", address.PartMailbox},
		{"a hyphen in a network", "MS:N-W/PO/BOB", address.PartNetwork},
		{"a high letter in a postoffice", "MS:NET/BÜRO/BOB", address.PartPO},
		{"a blank in a mailbox", "MS:NET/PO/M KUMAR", address.PartMailbox},
		{"an underscore in a mailbox", "MS:NET/PO/M_KUMAR", address.PartMailbox},
		{"a box that only looks like $SYSTEM", "MS:NET/PO/$ADMIN", address.PartMailbox},
		{"a long s that folds to $SYSTEM", "MS:NET/PO/$ſYSTEM", address.PartMailbox},
		{"a curly quote in a mailbox", "MS:NET/PO/O’NEILL", address.PartMailbox},
		{"a type of nine letters", "MSMAILFAX:foo", address.PartType},
		{"a type with a hyphen in a one-off", "[CC-MAIL:foo]", address.PartType},
		{"a one-off without a type", "[NET/PO/BOB]", address.PartType},
		{"a type and no value", "FAX:", address.PartAddress},
		{"an O/R keyword that nobody knows", "X400:c=US;zz=1", address.PartAttribute},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := address.Parse(c.in)
			var e *address.Error
			if !errors.As(err, &e) {
				t.Fatalf("Parse(%q) = %v, %v, want an *Error", c.in, a, err)
			}
			if e.Part != c.part {
				t.Errorf("Parse(%q) blames the %s, want the %s: %v", c.in, e.Part, c.part, err)
			}
			if a != (address.Address{}) {
				t.Errorf("Parse(%q) gives %v beside its error", c.in, a)
			}
		})
	}
}

// hostile is what no address may hold, whichever way it comes in.
var hostile = map[string]string{
	"NUL": "\x00", "CR": "\r", "LF": "\n", "tab": "\t", "escape": "\x1b", "DEL": "\x7f",
	"NEL (C1)": "\u0085", "CSI (C1)": "\u009b", "line separator": "\u2028", "paragraph separator": "\u2029",
	"right-to-left override": "\u202e", "left-to-right isolate": "\u2066", "Arabic letter mark": "\u061c",
	"byte order mark": "\ufeff", "zero width space": "\u200b", "no-break space": "\u00a0",
	"invalid UTF-8": "\xff", "a cut UTF-8 sequence": "\xc3", "replacement character": "\ufffd",
}

func TestNoParserTakesHostileCharacters(t *testing.T) {
	smtpOnly := func(s string) error { _, err := address.ParseMailbox(s); return err }
	for what, h := range hostile {
		for _, c := range []struct {
			in    string
			parse func(string) error
		}{
			{"MS:NET/PO/B" + h + "B", parse},
			{"FAX:a" + h + "b", parse},
			{"FAX:ab" + h, parse},
			{h + "FAX:ab", parse},
			{"X400:c=US;a= ;p=N;s=a" + h + "b", parse},
			{"X400:c=US;a= ;p=N;dda:FAX=a" + h + "b", parse},
			{"X400:/c=US/a= /p=N/dda.type=a" + h + "b/dda.value=x", parse},
			{"a" + h + "b@northwind.example", smtpOnly},
			{`"a` + h + `b"@northwind.example`, smtpOnly},
			{`"a\` + h + `b"@northwind.example`, smtpOnly},
			{"a@north" + h + "wind.example", smtpOnly},
			{"CSI:NET/PO/B" + h + "B", func(s string) error { _, err := address.ParseMMFF(s); return err }},
			{"FAX:a" + h + "b", func(s string) error { _, err := address.ParseMMFF(s); return err }},
			{"FAX:a" + h + "b*", func(s string) error { _, err := address.ParseSpace(s); return err }},
			{"SMTP:*@a" + h + "b", func(s string) error { _, err := address.ParseSpace(s); return err }},
			{"<a" + h + "b@northwind.example>", func(s string) error { _, err := address.ParsePath(s); return err }},
			{"<@a" + h + "b.example:a@northwind.example>", func(s string) error { _, err := address.ParsePath(s); return err }},
			{"north" + h + "wind.example", func(s string) error { _, err := address.ParseDomain(s); return err }},
			{"NET/P" + h + "O", func(s string) error { _, err := address.ParsePostOffice(s); return err }},
		} {
			err := c.parse(c.in)
			if err == nil {
				t.Errorf("%s: %q is taken", what, c.in)
				continue
			}
			if strings.ContainsAny(err.Error(), "\x00\r\n\x1b\u202e\u009b") {
				t.Errorf("%s: the error shows it raw: %q", what, err.Error())
			}
		}
	}
}

func parse(s string) error { _, err := address.Parse(s); return err }

func TestErrorNamesWhatAndWhere(t *testing.T) {
	_, err := address.Parse("MS:NORTHWIND/PO2/M_KUMAR")
	want := `address "NORTHWIND/PO2/M_KUMAR": mailbox: has the character '_', which no mailbox name may hold (KB Q199676)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = address.Parse("FAX:" + strings.Repeat("ü", 5000))
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("an error on a huge address is %d octets long, want it cut", len(err.Error()))
	}
}

func TestTypedAccessors(t *testing.T) {
	ms, smtp, or := must(t, "MS:NET/PO/BOB"), must(t, "SMTP:bob@net.example"), must(t, "X400:c=US;a= ;p=Net;s=Bob;")
	m, err := ms.MSMail()
	if diff := cmp.Diff(address.MSMail{Net: "NET", PO: "PO", Mailbox: "BOB"}, m); diff != "" || err != nil {
		t.Error(err, diff)
	}
	b, err := smtp.SMTP()
	if diff := cmp.Diff(address.Mailbox{Local: "bob", Domain: "net.example"}, b); diff != "" || err != nil {
		t.Error(err, diff)
	}
	o, err := or.ORAddress()
	if diff := cmp.Diff(address.ORAddress{C: "US", A: " ", P: "Net", S: "Bob"}, o); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, a := range []address.Address{ms, smtp, or, {}} {
		_, e1 := a.MSMail()
		_, e2 := a.SMTP()
		_, e3 := a.ORAddress()
		failed := 0
		for _, err := range []error{e1, e2, e3} {
			if err != nil {
				failed++
			}
		}
		want := 2
		if a.IsZero() {
			want = 3
		}
		if failed != want {
			t.Errorf("%v: %d accessors of other types fail, want %d", a, failed, want)
		}
	}
}

func TestEqualAndKey(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		equal      bool
	}{
		{"MS letter case", "MS:net/po/bob", "CSI:NET/PO/BOB", true},
		{"MS high letters", "MS:NET/PO/müller", "MS:NET/PO/MÜLLER", true},
		{"MS other box", "MS:NET/PO/BOB", "MS:NET/PO/ROB", false},
		{"MS with and without an accent", "MS:NET/PO/MULLER", "MS:NET/PO/MÜLLER", false},
		{"dotless i is no i", "MS:NET/PO/BıLL", "MS:NET/PO/BILL", false},
		{"SMTP local part", "SMTP:Bob@net.example", "SMTP:bob@NET.example", true},
		{"SMTP quotes", `SMTP:"bob"@net.example`, "SMTP:bob@net.example", true},
		{"SMTP U-label and A-label", "SMTP:bob@bücher.example", "SMTP:bob@XN--BCHER-KVA.example", true},
		{"SMTP composed and decomposed", "SMTP:m\u00fcller@net.example", "SMTP:mu\u0308ller@net.example", true},
		{"SMTP long s is no s", "SMTP:boſs@net.example", "SMTP:boss@net.example", false},
		{"X400 case, order and blanks", "X400:c=us;a= ;p=net work;s=BOB", "X400:/S=Bob/P=Net   Work/A= /C=US", true},
		{"X400 ADMD blank and 0", "X400:c=us;a= ;p=net;s=b", "X400:c=us;a=0;p=net;s=b", true},
		{"X400 ADMD blank and absent", "X400:c=us;a=;p=net;s=b", "X400:c=us;p=net;s=b", true},
		{"X400 ADMD absent, no country", "X400:a= ;p=net;s=b", "X400:p=net;s=b", true},
		{"X400 ADMD 0 and 01", "X400:c=us;a=0;p=net;s=b", "X400:c=us;a=01;p=net;s=b", false},
		{"X400 PRMD 0 is a name", "X400:c=us;p=0;s=b", "X400:c=us;s=b", false},
		{"X400 different unit", "X400:c=us;p=n;ou1=a", "X400:c=us;p=n;o=a", false},
		{"same value, other type", "FAX:1", "FAX2:1", false},
		{"null and null", "<>", "<>", true},
		{"null and postmaster", "<>", "SMTP:postmaster", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := must(t, c.a), must(t, c.b)
			if a.Equal(b) != c.equal || b.Equal(a) != c.equal {
				t.Errorf("%v and %v equal: %v, want %v", a, b, a.Equal(b), c.equal)
			}
			if (a.Key() == b.Key()) != c.equal {
				t.Errorf("keys %q and %q, want equal: %v", a.Key(), b.Key(), c.equal)
			}
		})
	}
}

func TestJSONKeepsTypeAndValue(t *testing.T) {
	b, err := json.Marshal(must(t, "MS:NET/PO/BOB"))
	if got, want := string(b), `{"type":"MS","value":"NET/PO/BOB"}`; got != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func must(t *testing.T, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

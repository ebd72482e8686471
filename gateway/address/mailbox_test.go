package address_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
)

func TestParseMailbox(t *testing.T) {
	local64, local246 := strings.Repeat("a", 64), strings.Repeat("a", 246)
	for _, c := range []struct {
		name, in string
		want     address.Mailbox
		text     string // String, when it is not in
		utf8     bool
		long     bool
	}{
		{name: "plain", in: "mira.kumar@northwind.example", want: address.Mailbox{Local: "mira.kumar", Domain: "northwind.example"}},
		{name: "the local part keeps its case, the domain does not", in: "Mira@NorthWind.Example",
			want: address.Mailbox{Local: "Mira", Domain: "northwind.example"}, text: "Mira@northwind.example"},
		{name: "every atom character", in: "!#$%&'*+-/=?^_`{|}~@x.example", want: address.Mailbox{Local: "!#$%&'*+-/=?^_`{|}~", Domain: "x.example"}},
		{name: "quotes that are not needed go", in: `"mira"@x.example`, want: address.Mailbox{Local: "mira", Domain: "x.example"}, text: "mira@x.example"},
		{name: "a backslash that is not needed goes", in: `"mi\ra"@x.example`, want: address.Mailbox{Local: "mira", Domain: "x.example"}, text: "mira@x.example"},
		{name: "quotes that are needed stay", in: `"mira kumar"@x.example`, want: address.Mailbox{Local: "mira kumar", Domain: "x.example"}},
		{name: "quote and backslash", in: `"a\"b\\c"@x.example`, want: address.Mailbox{Local: `a"b\c`, Domain: "x.example"}},
		{name: "an @ in quotes", in: `"a@b"@x.example`, want: address.Mailbox{Local: "a@b", Domain: "x.example"}},
		{name: "doubled dots need quotes", in: `"a..b"@x.example`, want: address.Mailbox{Local: "a..b", Domain: "x.example"}},
		{name: "parameters smuggled into a quoted local part stay quoted", in: `"x@evil> NOTIFY=NEVER "@good.example`,
			want: address.Mailbox{Local: "x@evil> NOTIFY=NEVER ", Domain: "good.example"}},
		{name: "a single label", in: "mira@server", want: address.Mailbox{Local: "mira", Domain: "server"}},
		{name: "a NetBIOS name", in: "mira@srv_a.example", want: address.Mailbox{Local: "mira", Domain: "srv_a.example"}},
		{name: "IPv4 literal", in: "mira@[192.0.2.1]", want: address.Mailbox{Local: "mira", Domain: "[192.0.2.1]"}},
		{name: "IPv6 literal", in: "mira@[ipv6:2001:0DB8:0::1]", want: address.Mailbox{Local: "mira", Domain: "[IPv6:2001:db8::1]"}, text: "mira@[IPv6:2001:db8::1]"},
		{name: "a UTF-8 local part needs SMTPUTF8", in: "müller@x.example", want: address.Mailbox{Local: "müller", Domain: "x.example"}, utf8: true},
		{name: "a quoted UTF-8 local part too", in: `"jürg müller"@x.example`, want: address.Mailbox{Local: "jürg müller", Domain: "x.example"}, utf8: true},
		{name: "a joiner is part of a word", in: "می\u200cخواهم@x.example", want: address.Mailbox{Local: "می\u200cخواهم", Domain: "x.example"}, utf8: true},
		{name: "a UTF-8 domain goes to A-labels and needs nothing", in: "mira@Bücher.example",
			want: address.Mailbox{Local: "mira", Domain: "xn--bcher-kva.example"}, text: "mira@xn--bcher-kva.example"},
		{name: "bare postmaster", in: "PostMaster", want: address.Mailbox{Local: "PostMaster"}},
		{name: "64 octets are RFC 5321's limit", in: local64 + "@x.example", want: address.Mailbox{Local: local64, Domain: "x.example"}},
		{name: "65 are long", in: local64 + "a@x.example", want: address.Mailbox{Local: local64 + "a", Domain: "x.example"}, long: true},
		{name: "64 and a quote are long", in: `"` + local64[1:] + ` "@x.example`, want: address.Mailbox{Local: local64[1:] + " ", Domain: "x.example"}, long: true},
		{name: "246 are what Exchange took (Q160284)", in: local246 + "@x.example", want: address.Mailbox{Local: local246, Domain: "x.example"}, long: true},
		{name: "an encapsulated address may be longer", in: "imceaX400-" + local246 + "@x.example", want: address.Mailbox{Local: "imceaX400-" + local246, Domain: "x.example"}, long: true},
		{name: "a path of 256 octets is not", in: "a@" + strings.Repeat("abcdefg.", 31) + "abcd", want: address.Mailbox{Local: "a", Domain: strings.Repeat("abcdefg.", 31) + "abcd"}},
		{name: "a path of 257 is", in: "ab@" + strings.Repeat("abcdefg.", 31) + "abcd", want: address.Mailbox{Local: "ab", Domain: strings.Repeat("abcdefg.", 31) + "abcd"}, long: true},
		{name: "a path over 256 octets is long", in: "a@" + strings.Repeat("abcdefg.", 31) + "example", want: address.Mailbox{Local: "a", Domain: strings.Repeat("abcdefg.", 31) + "example"}, long: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := address.ParseMailbox(c.in)
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
			text := c.text
			if text == "" {
				text = c.in
			}
			if got.String() != text || got.Path() != "<"+text+">" {
				t.Errorf("prints as %s and %s, want %s", got, got.Path(), text)
			}
			if got.UTF8() != c.utf8 || got.Long() != c.long {
				t.Errorf("UTF8 %v, Long %v, want %v, %v", got.UTF8(), got.Long(), c.utf8, c.long)
			}
			if again, err := address.ParseMailbox(got.String()); err != nil || again != got {
				t.Errorf("reads back as %+v, %v", again, err)
			}
		})
	}
}

func TestParseMailboxRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, part string }{
		{"nothing", "", address.PartAddress},
		{"no @", "mira", address.PartAddress},
		{"no local part", "@x.example", address.PartLocal},
		{"an empty quoted local part", `""@x.example`, address.PartLocal},
		{"no domain", "mira@", address.PartDomain},
		{"two @", "mira@x@y.example", address.PartDomain},
		{"what go-smtp makes of a quoted local part (safety)", "x@evil> NOTIFY=NEVER @good", address.PartDomain},
		{"a blank outside quotes", "mira kumar@x.example", address.PartLocal},
		{"brackets", "<mira@x.example>", address.PartLocal},
		{"a comment", "mira(home)@x.example", address.PartLocal},
		{"a leading dot", ".mira@x.example", address.PartLocal},
		{"a dot before the @", "mira.@x.example", address.PartLocal},
		{"two dots", "mi..ra@x.example", address.PartLocal},
		{"an open quote", `"mira@x.example`, address.PartLocal},
		{"an escaped last quote", `"mira\"@x.example`, address.PartLocal},
		{"text after the quote", `"mira"k@x.example`, address.PartAddress},
		{"a backslash before a high letter", `"m\ü"@x.example`, address.PartLocal},
		{"247 octets", strings.Repeat("a", 247) + "@x.example", address.PartLocal},
		{"an encapsulated address that fits no command line", "IMCEAX400-" + strings.Repeat("a", 1800) + "@x.example", address.PartLocal},
		{"a trailing dot", "mira@x.example.", address.PartDomain},
		{"an empty label", "mira@x..example", address.PartDomain},
		{"a label with a hyphen in front", "mira@-x.example", address.PartDomain},
		{"a label of 64", "mira@" + strings.Repeat("a", 64) + ".example", address.PartDomain},
		{"a domain of 256", "mira@" + strings.Repeat("abcdefg.", 31) + "examplee", address.PartDomain},
		{"a star that a routing tab appended (Q189492)", "IMCEAMS-NET_PO_BOB@*", address.PartDomain},
		{"an open literal", "mira@[192.0.2.1", address.PartDomain},
		{"a literal that is no address", "mira@[192.0.2]", address.PartDomain},
		{"an IPv6 literal without its tag", "mira@[2001:db8::1]", address.PartDomain},
		{"an IPv4 literal with one", "mira@[IPv6:192.0.2.1]", address.PartDomain},
		{"a zone", "mira@[IPv6:fe80::1%eth0]", address.PartDomain},
		{"a literal of another tag", "mira@[x400:foo]", address.PartDomain},
		{"an IDN that is none", "mira@x\u0301-.ü", address.PartDomain},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := address.ParseMailbox(c.in)
			e, ok := err.(*address.Error)
			if !ok {
				t.Fatalf("got %+v, %v, want an *Error", m, err)
			}
			if e.Part != c.part {
				t.Errorf("blames the %s, want the %s: %v", e.Part, c.part, err)
			}
		})
	}
}

func TestParsePath(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"null", "<>", "<>"},
		{"mailbox", "<Mira@X.example>", "<Mira@x.example>"},
		{"postmaster", "<postmaster>", "<postmaster>"},
		{"a source route is ignored", "<@a.example,@b.example:mira@x.example>", "<mira@x.example>"},
		{"a bracket in quotes", `<"a>b"@x.example>`, `<"a>b"@x.example>`},
		{"no brackets", "mira@x.example", ""},
		{"half a bracket", "<mira@x.example", ""},
		{"doubled brackets", "<<mira@x.example>>", ""},
		{"a route without a mailbox", "<@a.example>", ""},
		{"a route with a bad domain", "<@a b:mira@x.example>", ""},
		{"a route with a missing @", "<@a.example,b.example:mira@x.example>", ""},
		{"parameters", "<mira@x.example> SIZE=1", ""},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := address.ParsePath(c.in)
			if c.want == "" {
				if err == nil {
					t.Errorf("%q is taken as %s", c.in, m.Path())
				}
				return
			}
			if err != nil || m.Path() != c.want {
				t.Errorf("got %s, %v, want %s", m.Path(), err, c.want)
			}
		})
	}
}

func TestMailboxPartsCannotSmuggle(t *testing.T) {
	for _, m := range []address.Mailbox{
		{}, {Local: "mira"}, {Domain: "x.example"}, {Local: "mira", Domain: "x.example> X=1"}, {Local: "mira", Domain: "x@y"},
		{Local: "mira\r\nRCPT TO:<a@b>", Domain: "x.example"}, {Local: "mira\x00", Domain: "x.example"}, {Local: "a\xffb", Domain: "x.example"},
		{Local: "a@b.example"}, {Local: strings.Repeat("a", 300), Domain: "x.example"},
	} {
		if a, err := m.Address(); err == nil {
			t.Errorf("%+v makes the address %v", m, a)
		}
	}
	a, err := address.Mailbox{Local: `we"ird`, Domain: "x.example"}.Address()
	if want := `SMTP:"we\"ird"@x.example`; err != nil || a.String() != want {
		t.Errorf("got %v, %v, want %s", a, err, want)
	}
}

func TestPostmasterMailbox(t *testing.T) {
	for in, want := range map[string]bool{"postmaster": true, "PostMaster@x.example": true, `"postmaster"@x.example`: true, "postmaster0@x.example": false} {
		m, err := address.ParseMailbox(in)
		if err != nil || m.Postmaster() != want {
			t.Errorf("%s: postmaster %v, %v, want %v", in, m.Postmaster(), err, want)
		}
	}
}

func TestParseDomain(t *testing.T) {
	for in, want := range map[string]string{
		"Northwind.EXAMPLE": "northwind.example", "bücher.example": "xn--bcher-kva.example", "[192.0.2.1]": "[192.0.2.1]",
		"": "", "a b": "", "*": "", "x.example.": "",
	} {
		got, err := address.ParseDomain(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseDomain(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

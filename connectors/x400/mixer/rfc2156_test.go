package mixer

import (
	"strings"
	"testing"

	"backbone/connectors/x400/p22"
	"backbone/gateway/address"

	"github.com/google/go-cmp/cmp"
)

// TestTheEscapesOfRFC2156 is the table of 3.4 (appendix E, ps-encoded): ASCII in PrintableString and back.
func TestTheEscapesOfRFC2156(t *testing.T) {
	for _, tt := range []struct{ name, ascii, printable string }{
		{"at", "@", "(a)"}, {"percent", "%", "(p)"}, {"exclamation mark", "!", "(b)"}, {"quotation mark", `"`, "(q)"}, {"underscore", "_", "(u)"},
		{"left parenthesis", "(", "(l)"}, {"right parenthesis", ")", "(r)"}, {"another character, in three decimal digits", "&", "(038)"},
		{"what PrintableString has", "Aa0 '+,-./:=?", "Aa0 '+,-./:=?"},
		{"a mailbox", "info_desk@other.org", "info(u)desk(a)other.org"},
		{"a mailbox of a relay", "user%host@relay.org", "user(p)host(a)relay.org"},
		{"a bang path", "host!user@relay.org", "host(b)user(a)relay.org"},
		{"a quoted local part", `"a b"@x.org`, "(q)a b(q)(a)x.org"},
		{"what looks like an escape", "(a)", "(l)a(r)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := address.EscapePrintable(tt.ascii); got != tt.printable {
				t.Errorf("%s became %s, want %s", tt.ascii, got, tt.printable)
			}
			if got := address.UnescapePrintable(tt.printable); got != tt.ascii {
				t.Errorf("%s was read as %s, want %s", tt.printable, got, tt.ascii)
			}
		})
	}
}

// TestThePersonalNamesOfRFC2156 are the examples of 4.2.1, as encoded-pn in an O/R address and as a mailbox of a mapped domain.
func TestThePersonalNamesOfRFC2156(t *testing.T) {
	x := addresses(t)
	for _, tt := range []struct{ name, pn, or string }{
		{"given name and surname", "Marshall.Rose", "g=Marshall;s=Rose;"},
		{"initials and surname", "M.T.Rose", "i=MT;s=Rose;"},
		{"all three", "Marshall.M.T.Rose", "g=Marshall;i=MT;s=Rose;"},
		{"a surname alone", "Rose", "s=Rose;"},
		{"one initial", "J.Linnimouth", "i=J;s=Linnimouth;"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := or(t, "c=US;a= ;p=acme;"+tt.or)
			if got := or(t, "/PN="+tt.pn+"/PRMD=acme/ADMD= /C=US/"); !got.Equal(want) {
				t.Errorf("PN=%s is %s, want %s", tt.pn, got, want)
			}
			if got := x.OR(smtp(tt.pn + "@acme.com")); !got.Equal(want) {
				t.Errorf("the mailbox %s is %s, want %s", tt.pn, got, want)
			}
			if got := x.Native(want); got != smtp(tt.pn+"@acme.com") {
				t.Errorf("%s is %s", want, got)
			}
		})
	}
	for name, pn := range map[string]string{"nothing between dots": "a..b", "a dot at the end": "a.", "two given names": "Anna.Maria.Rose"} {
		if got, err := address.ParseORAddress("/PN=" + pn + "/PRMD=acme/ADMD= /C=US/"); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, or1 := range map[string]string{"a generation": "g=Marshall;s=Rose;q=Jr;", "a given name of one letter": "g=J;s=Smith;", "a surname with a dot": "s=van.Gogh;"} {
		want := or(t, "c=US;a= ;p=acme;"+or1)
		if got := x.Native(want); got.Type != address.X400 || !x.OR(got).Equal(want) {
			t.Errorf("%s, which encoded-pn can't say, became %s and then %s", name, got, x.OR(got))
		}
	}
}

// TestTheAddressFormsOfX402 takes each form through MIXER's text (4.1) and a mailbox's left-hand side (4.2.2), both ways.
func TestTheAddressFormsOfX402(t *testing.T) {
	x := addresses(t)
	for _, tt := range []struct{ name, semicolons, mixer string }{
		{"mnemonic", "c=GB;a=gold 400;p=UK;o=UCL;ou1=CS;s=Kille;g=Steve;", "/G=Steve/S=Kille/OU=CS/O=UCL/PRMD=UK/ADMD=gold 400/C=GB/"},
		{"mnemonic, units from the lowest up", "c=GB;a= ;o=O;ou1=A;ou2=B;ou3=C;s=X;", "/S=X/OU=C/OU=B/OU=A/O=O/ADMD= /C=GB/"},
		{"mnemonic, common name", "c=GB;a= ;p=P;cn=Help Desk;", "/CN=Help Desk/PRMD=P/ADMD= /C=GB/"},
		{"mnemonic, generation and initials", "c=US;a= ;p=P;s=Linnimouth;i=J;q=5;", "/I=J/S=Linnimouth/GQ=5/PRMD=P/ADMD= /C=US/"},
		{"numeric", "c=310;a=0;n-id=12345;", "/UA-ID=12345/ADMD=0/C=310/"},
		{"terminal", "c=DE;a=dbp;x.121=45611;t-id=9;t-ty=g3;", "/X121=45611/T-ID=9/T-TY=g3/ADMD=dbp/C=DE/"},
		{"a slash and an equals sign", "c=GB;a= ;o=P/Q=R;s=X;", "/S=X/O=P$/Q$=R/ADMD= /C=GB/"},
		{"a domain-defined attribute of one's own", "c=GB;a= ;o=O;dda:X-TYPE=value;", "/DD.X-TYPE=value/O=O/ADMD= /C=GB/"},
		{"RFC 822 under another's address", "c=GB;a= ;o=O;dda:RFC-822=a(u)b(a)c.org;", "/DD.RFC-822=a(u)b(a)c.org/O=O/ADMD= /C=GB/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := or(t, tt.semicolons)
			if got := want.MIXER(); got != tt.mixer {
				t.Errorf("written as %s, want %s", got, tt.mixer)
			}
			if got := or(t, tt.mixer); !got.Equal(want) {
				t.Errorf("%s was read as %s", tt.mixer, got)
			}
			mb, err := address.ParseMailbox(`"` + tt.mixer + `"@sitea.example`)
			if err != nil {
				t.Fatal(err)
			}
			a, err := mb.Address()
			if err != nil {
				t.Fatal(err)
			}
			if got := x.OR(a); !got.Equal(want) {
				t.Errorf("the mailbox %s is %s", a, got)
			}
			if got := x.Native(want); !x.OR(got).Equal(want) {
				t.Errorf("%s became %s and then %s", want, got, x.OR(got))
			}
		})
	}
	for in, want := range map[string]string{ // what is read and never written (std-or-address-input)
		"/RFC-822=a(a)b.org/O=O/ADMD= /C=GB/": "c=GB;a= ;o=O;dda:RFC-822=a(a)b.org;",
		"/dd:MS=N$/P$/M/O=O/ADMD= /C=GB":      "c=GB;a= ;o=O;dda:MS=N/P/M;",
		"S=X;O=O;ADMD= ;C=GB":                 "c=GB;a= ;o=O;s=X;",
		"/C=GB/ADMD=/O=O/OU=A/OU=B/S=X/":      "c=GB;a= ;o=O;ou1=A;ou2=B;s=X;",
	} {
		if got := or(t, in); !got.Equal(or(t, want)) {
			t.Errorf("%s was read as %s, want %s", in, got, want)
		}
	}
}

// TestALongMailboxGoesOnInFurtherAttributes (4.3.1): RFC-822, RFC822C1 and so on, no escape cut in two.
func TestALongMailboxGoesOnInFurtherAttributes(t *testing.T) {
	x := addresses(t)
	local := strings.Repeat("a_b", 21)
	long := smtp(local + "@" + strings.Repeat("department.", 15) + "other.org")
	got := x.OR(long)
	var types []string
	for _, d := range got.DDA {
		types = append(types, d.Type)
		if len(d.Value) > 128 || strings.Count(d.Value, "(") != strings.Count(d.Value, ")") {
			t.Errorf("%s=%s", d.Type, d.Value)
		}
	}
	if diff := cmp.Diff([]string{"RFC-822", "RFC822C1", "RFC822C2"}, types); diff != "" {
		t.Error(diff)
	}
	if back := x.Native(got); !back.Equal(long) {
		t.Errorf("came back as %s", back)
	}
}

// TestTheHeadingFieldsOfRFC2156 takes each field of 5.1.1 there and back, one at a time, and looks at what it was there.
func TestTheHeadingFieldsOfRFC2156(t *testing.T) {
	for _, tt := range []struct {
		field string
		back  string // when it is not the same
		there func(*p22.Heading) bool
	}{
		{"From: Mira Kumar <Mira.Kumar@acme.com>", `From: "Mira Kumar" <Mira.Kumar@acme.com>`, func(h *p22.Heading) bool {
			return h.Originator != nil && h.Originator.FreeForm == "Mira Kumar" && h.Originator.Name.Address.S == "Kumar"
		}},
		{"Sender: <desk@acme.com>", "From: <desk@acme.com>", func(h *p22.Heading) bool { return h.Originator != nil && h.Originator.Name.Address.S == "desk" }},
		{"To: <a@other.org>", "", func(h *p22.Heading) bool { return len(h.Primary) == 1 }},
		{"Cc: <a@other.org>", "", func(h *p22.Heading) bool { return len(h.Copy) == 1 }},
		{"Bcc: <a@other.org>", "", func(h *p22.Heading) bool { return len(h.Blind) == 1 }},
		{"Reply-To: <a@other.org>", "", func(h *p22.Heading) bool { return len(h.ReplyTo) == 1 }},
		{"Subject: figures", "", func(h *p22.Heading) bool { return h.Subject == "figures" }},
		{"Message-ID: <m1@acme.com>", "", func(h *p22.Heading) bool { return h.This.Local == "m1(a)acme.com" && h.This.User == nil }},
		{`Message-ID: <"5*/S=X/ADMD= /C=US/"@MHS>`, "", func(h *p22.Heading) bool { return h.This.Local == "5" && h.This.User.Address.S == "X" }},
		{"In-Reply-To: <m0@acme.com>", "", func(h *p22.Heading) bool { return h.RepliedTo != nil && h.RepliedTo.Local == "m0(a)acme.com" }},
		{"References: <r1@acme.com>", "", func(h *p22.Heading) bool { return len(h.Related) == 1 }},
		{"Supersedes: <r1@acme.com>", "", func(h *p22.Heading) bool { return len(h.Obsoleted) == 1 }},
		{"Obsoletes: <r1@acme.com>", "Supersedes: <r1@acme.com>", func(h *p22.Heading) bool { return len(h.Obsoleted) == 1 }},
		{"Expires: Fri, 14 Mar 1997 09:30:00 +0000", "", func(h *p22.Heading) bool { return h.Expiry.Year() == 1997 }},
		{"Expiry-Date: Fri, 14 Mar 1997 09:30:00 +0000", "Expires: Fri, 14 Mar 1997 09:30:00 +0000", func(h *p22.Heading) bool { return h.Expiry.Year() == 1997 }},
		{"Reply-By: Fri, 14 Mar 1997 09:30:00 +0000", "", func(h *p22.Heading) bool { return h.Reply.Year() == 1997 }},
		{"Importance: high", "", func(h *p22.Heading) bool { return h.Importance == p22.ImportanceHigh }},
		{"Importance: low", "", func(h *p22.Heading) bool { return h.Importance == p22.ImportanceLow }},
		{"Sensitivity: Personal", "", func(h *p22.Heading) bool { return h.Sensitivity == p22.Personal }},
		{"Sensitivity: Private", "", func(h *p22.Heading) bool { return h.Sensitivity == p22.Private }},
		{"Sensitivity: Company-Confidential", "", func(h *p22.Heading) bool { return h.Sensitivity == p22.CompanyConfidential }},
		{"Autoforwarded: TRUE", "", func(h *p22.Heading) bool { return h.AutoForwarded }},
		{"Incomplete-Copy: ", "", func(h *p22.Heading) bool { return len(h.Extensions) == 1 && h.Extensions[0].Type == p22.IncompleteCopy }},
		{"Language: en, fr", "", func(h *p22.Heading) bool { return len(h.Extensions) == 1 && h.Extensions[0].Type == p22.Languages }},
		{"Language: Esperanto", "", func(h *p22.Heading) bool { return len(h.Fields(p22.HeaderFields)) == 1 }},
		{"Date: Fri, 14 Mar 1997 09:30:00 +0000", "", func(h *p22.Heading) bool { return len(h.Fields(p22.HeaderFields)) == 1 }},
		{"Comments: anything else", "", func(h *p22.Heading) bool { return len(h.Fields(p22.HeaderFields)) == 1 }},
	} {
		t.Run(tt.field, func(t *testing.T) {
			m := mapper(t)
			content := there(t, m, tt.field+"\n\nbody\n")
			o, err := p22.Parse(content)
			if err != nil || !tt.there(&o.IPM.Heading) {
				t.Errorf("%v: %+v", err, o.IPM.Heading)
			}
			want := tt.back
			if want == "" {
				want = tt.field
			}
			if got := back(t, m, content); !strings.HasPrefix(got, want+"\r\n") && !strings.Contains(got, "\r\n"+want+"\r\n") {
				t.Errorf("no %q in\n%s", want, got)
			}
		})
	}
}

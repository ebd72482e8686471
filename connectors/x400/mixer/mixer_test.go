package mixer

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/p22"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/emersion/go-message/textproto"
	"github.com/google/go-cmp/cmp"
)

func or(t testing.TB, s string) address.ORAddress {
	t.Helper()
	o, err := address.ParseORAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func addresses(t testing.TB) *Addresses {
	return &Addresses{Book: &connectortest.Book{}, Ours: or(t, "c=US;a= ;p=Northwind;o=SITEA;"), Domain: "sitea.example",
		Table: []Mapping{{Domain: "acme.com", OR: or(t, "c=US;a= ;p=acme;")}, {Domain: "paris.acme.com", OR: or(t, "c=FR;a=atlas;p=acme;o=Paris;")}}}
}

func mapper(t testing.TB) *Mapper {
	return &Mapper{Addresses: addresses(t), Note: func(mail.Note) {}}
}

func smtp(s string) address.Address { return address.Address{Type: address.SMTP, Value: s} }

func TestAddressesMapBothWays(t *testing.T) {
	x := addresses(t)
	for _, tt := range []struct {
		name, or string
		native   address.Address
	}{
		{"a mapped domain", "c=US;a= ;p=acme;s=Kumar;g=Mira;", smtp("Mira.Kumar@acme.com")},
		{"initials", "c=US;a= ;p=acme;s=Rose;g=Marshall;i=MT;", smtp("Marshall.M.T.Rose@acme.com")},
		{"a domain below a mapped one", "c=US;a= ;p=acme;o=Sales;ou1=East;s=Kumar;", smtp("Kumar@east.sales.acme.com")},
		{"the longest of two mappings", "c=FR;a=atlas;p=acme;o=Paris;s=Kumar;", smtp("Kumar@paris.acme.com")},
		{"a domain of the world", "c=US;a= ;p=Northwind;o=SITEA;dda:RFC-822=info(u)desk(a)other.org;", smtp("info_desk@other.org")},
		{"an MS Mail address", "c=US;a= ;p=Northwind;o=SITEA;dda:MS=NORTHWIND/PO2/MKUMAR;", address.Address{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"}},
		{"a native X.400 address", "c=GB;a=gold;p=UK;o=UCL;s=Kille;", address.Address{Type: address.X400, Value: "c=GB;a=gold;p=UK;o=UCL;s=Kille;"}},
		{"one that the mapping could not give back", "c=US;a= ;p=acme;s=Kumar;q=Jr;", address.Address{Type: address.X400, Value: "c=US;a= ;p=acme;s=Kumar;q=Jr;"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := or(t, tt.or)
			if got := x.Native(want); !got.Equal(tt.native) {
				t.Errorf("%s became %s, want %s", tt.or, got, tt.native)
			}
			if got := x.OR(tt.native); !got.Equal(want) {
				t.Errorf("%s became %s, want %s", tt.native, got, tt.or)
			}
		})
	}
	if got := x.OR(smtp("/S=Kille/O=UCL/PRMD=UK/ADMD=gold/C=GB/@sitea.example")); !got.Equal(or(t, "c=GB;a=gold;p=UK;o=UCL;s=Kille;")) {
		t.Errorf("a local part with an O/R address became %s", got)
	}
	x.Theirs = or(t, "c=US;a= ;p=Northwind;o=SITEB;")
	if got := x.RecipientOR(address.Address{Type: address.MS, Value: "N/P/M"}).String(); got != "c=US;a= ;p=Northwind;o=SITEB;dda:MS=N/P/M;" {
		t.Errorf("a recipient of the peer's became %s", got)
	}
}

// there gives a message's content as X.400 carries it.
func there(t testing.TB, m *Mapper, message string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.ToIPM(&b, strings.NewReader(strings.ReplaceAll(message, "\n", "\r\n"))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func back(t testing.TB, m *Mapper, content []byte) string {
	t.Helper()
	o, err := p22.Parse(content)
	if err != nil || o.IPM == nil {
		t.Fatal(o, err)
	}
	var b bytes.Buffer
	if err := m.FromIPM(&b, o.IPM, Facts{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const report = `From: Mira Kumar <Mira.Kumar@acme.com>
To: "Desk, Info" <info_desk@other.org>,
 IMCEAMS-NORTHWIND_PO2_BOB@sitea.example
Cc: Kille@paris.acme.com
Reply-To: replies@other.org
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and figures
Date: Fri, 14 Mar 1997 09:30:00 +0000
Message-ID: <m1@acme.com>
In-Reply-To: <m0@other.org>
References: <r1@other.org> <m0@other.org>
Importance: high
X-MMFF-Priority: 3
X-Folded: one
 two
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain; charset=us-ascii

Hello
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe =E2=82=AC =E6=BC=A2
--b
Content-Type: text/plain; charset=ibm850
Content-Transfer-Encoding: base64
X-MMFF-Body: exact

gWJlcg1saW5lCg==
--b
Content-Type: application/msword; name="FIGURES.DOC"
Content-Disposition: attachment; filename="FIGURES.DOC"
Content-Description: the figures
X-MMFF-Name: RklHVVJFUy5ET0M=
Content-Transfer-Encoding: base64

AAECAwQFBgcICQ==
--b
Content-Type: message/rfc822

From: inner@other.org
To: Mira.Kumar@acme.com
Subject: inner
Message-ID: <in@other.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: 8bit

` + "caf\xe9" + `
--b--
`

func TestAMessageComesBackAsItWas(t *testing.T) {
	m := mapper(t)
	content := there(t, m, report)
	o, err := p22.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	if o.IPM.Subject != "Grüße and figures" || o.IPM.This.Local != "m1(a)acme.com" || o.IPM.Originator.Name.Address.String() != "c=US;a= ;p=acme;s=Kumar;g=Mira;" ||
		o.IPM.Primary[0].FreeForm != "Desk, Info" || o.IPM.Primary[1].Name.Address.DDA[0] != (address.DDA{Type: "MS", Value: "NORTHWIND/PO2/BOB"}) {
		t.Errorf("%+v", o.IPM.Heading)
	}
	var kinds []string
	for _, p := range o.IPM.Body {
		kinds = append(kinds, p.Kind.String()+" "+p.Filename)
	}
	if diff := cmp.Diff([]string{"ia5-text ", "general-text ", "general-text ", "file-transfer FIGURES.DOC", "message "}, kinds); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(meaning(t, strings.ReplaceAll(report, "\n", "\r\n")), meaning(t, back(t, m, content))); diff != "" {
		t.Error(diff)
	}
}

// meaning is a message without what an encoding or a boundary is free to choose: sorted fields and decoded parts.
func meaning(t testing.TB, message string) []string {
	t.Helper()
	h, body, err := open(strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	var walk func(h textproto.Header, r io.Reader)
	walk = func(h textproto.Header, r io.Reader) {
		typ, params := mediaType(h)
		for f := h.Fields(); f.Next(); {
			key := strings.ToLower(f.Key())
			if key == "content-transfer-encoding" || key == "content-type" && strings.HasPrefix(typ, "multipart/") {
				continue
			}
			v, err := words.DecodeHeader(f.Value())
			if err != nil {
				v = f.Value()
			}
			v = strings.ReplaceAll(strings.ReplaceAll(v, `"`, ""), "<IMCEAMS-NORTHWIND_PO2_BOB@sitea.example>", "IMCEAMS-NORTHWIND_PO2_BOB@sitea.example")
			v = strings.ReplaceAll(strings.Trim(v, "<>"), "ibm850", "ibm850")
			out = append(out, key+": "+strings.Join(strings.Fields(v), " "))
		}
		if strings.HasPrefix(typ, "multipart/") {
			mr := textproto.NewMultipartReader(r, params["boundary"])
			for {
				p, err := mr.NextPart()
				if err != nil {
					return
				}
				walk(p.Header, p)
			}
		}
		d := decoded(h, r)
		if typ == "message/rfc822" {
			h, b, err := open(d)
			if err != nil {
				t.Fatal(err)
			}
			walk(h, b)
			return
		}
		b, err := io.ReadAll(d)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, "= "+string(b))
	}
	walk(h, body)
	for i, s := range out {
		if strings.HasPrefix(s, "content-type: application/msword") {
			out[i] = "content-type: application/msword"
		}
	}
	sortFields(out)
	return out
}

// sortFields sorts the fields between two bodies.
func sortFields(s []string) {
	start := 0
	for i := range s {
		if strings.HasPrefix(s[i], "= ") {
			insertion(s[start:i])
			start = i + 1
		}
	}
}

func insertion(s []string) {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}

func TestWhatHasNoPlaceIn1984IsNoted(t *testing.T) {
	m := mapper(t)
	m.Options.Stack1984 = true
	var notes []string
	m.Note = func(n mail.Note) { notes = append(notes, n.Action+" "+n.Field) }
	o, err := p22.Parse(there(t, m, "Language: en\nIncomplete-Copy: \n"+report))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, p := range o.IPM.Body {
		kinds = append(kinds, p.Kind.String())
	}
	if diff := cmp.Diff([]string{"ia5-text", "ia5-text", "ia5-text", "bilaterally-defined", "message"}, kinds); diff != "" || o.IPM.Extensions != nil {
		t.Error(diff, o.IPM.Extensions)
	}
	for _, want := range []string{"lost Language", "lost Incomplete-Copy", "lost Date", "lost X-Mmff-Priority", "lost text", "lost attachment FIGURES.DOC"} {
		if !strings.Contains(strings.ToLower(strings.Join(notes, "\n")), strings.ToLower(want)) {
			t.Errorf("no note %q in %q", want, notes)
		}
	}
}

func TestAnotherMTAsMessageReadsWell(t *testing.T) {
	b, err := os.ReadFile("../p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	a, err := p1.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	got := back(t, mapper(t), a.Message.Content.Octets())
	for _, want := range []string{"Subject: Hello over P1\r\n", "Message-ID: <m1@testa.test>\r\n", "Content-Type: text/plain; charset=us-ascii\r\n", "From: ", "To: "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestNothingInAContentCanForgeAField(t *testing.T) {
	x, err := p22.NewFields(p22.HeaderFields, []string{"X-A: b\r\nBcc: evil@x.org", "Bcc: evil@x.org", "Content-Type: text/html", "no field", "X-B: c\nTo: evil@x.org", "Subject: second"})
	if err != nil {
		t.Fatal(err)
	}
	y, err := p22.NewFields(p22.PartFields, []string{"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nSubject: y", ""})
	if err != nil {
		t.Fatal(err)
	}
	h := &p22.Heading{This: p22.IPMID{Local: "m1\r\nBcc: x@y"}, Subject: "s\r\nBcc: x@y", Originator: &p22.ORDescriptor{FreeForm: "a\r\nBcc: x@y"}, Extensions: []p22.Extension{x, y}, Importance: 1}
	var b bytes.Buffer
	s := ber.NewStream(&b)
	p22.WriteIPM(s, h, p1.Options{}, func() { p22.PartIA5(s, strings.NewReader("text\r\n")) })
	got := back(t, mapper(t), b.Bytes())
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	parsed, err := textproto.ReadHeader(bufio.NewReader(strings.NewReader(got)))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Get("Bcc") != "" || strings.Contains(strings.ToLower("\r\n"+head), "\r\nbcc") || strings.Contains(head, "\r\nTo:") || !strings.HasPrefix(parsed.Get("Content-Type"), "text/plain") || body != "text\r\n" {
		t.Error(got)
	}
}

func FuzzThereAndBack(f *testing.F) {
	f.Add(strings.ReplaceAll(report, "\n", "\r\n"))
	f.Add("Subject: x\r\n\r\nbody")
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b--")
	f.Fuzz(func(t *testing.T, s string) {
		m := mapper(t)
		var b bytes.Buffer
		if m.ToIPM(&b, strings.NewReader(s)) != nil {
			return
		}
		o, err := p22.Parse(b.Bytes())
		if err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		var out bytes.Buffer
		if err := m.FromIPM(&out, o.IPM, Facts{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := open(bytes.NewReader(out.Bytes())); err != nil {
			t.Fatalf("%v in %q", err, out.String())
		}
	})
}

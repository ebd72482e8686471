package translate

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	now    = time.Date(1997, 3, 14, 12, 0, 0, 0, time.UTC)
	asmith = ms("NORTHWIND/PO1/ASMITH")
	mkumar = ms("NORTHWIND/PO2/MKUMAR")
)

func ms(s string) address.Address   { return address.Address{Type: address.MS, Value: s} }
func smtp(s string) address.Address { return address.Address{Type: address.SMTP, Value: s} }

// postOffice is one with every setting at its default.
func postOffice(t testing.TB, name string, codepage int) *PostOffice {
	t.Helper()
	po, err := address.ParsePostOffice(name)
	if err != nil {
		t.Fatal(err)
	}
	page, err := mmff.LookupCodePage(codepage)
	if err != nil {
		t.Fatal(err)
	}
	return &PostOffice{Name: po, Page: page, LineEnd: mmff.CRLF, Zone: time.UTC, Gateways: []address.Type{address.SMTP},
		RichText: KeepRichText, Postmaster: ms(name + "/POSTMASTER")}
}

func arrival(id string) Arrival {
	return Arrival{ID: id, Domain: "sitea.example", Now: now, Book: &connectortest.Book{}, Via: "po"}
}

// fatal is what *testing.T and *rapid.T share.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// canonical runs In and reads the message that comes of it.
func canonical(t fatal, po *PostOffice, m *mmff.Message, side shadowpo.Side) (*Inbound, []byte) {
	t.Helper()
	in, err := po.In(m, side, arrival("A1"))
	if err != nil {
		t.Fatalf("In: %v", err)
	}
	r := in.Open()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read canonical form: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return in, b
}

// back runs Out.
func back(t fatal, po *PostOffice, env mail.Envelope, content []byte) (*Outbound, *mmff.Message) {
	t.Helper()
	out, err := po.Out(&env, connectortest.Bytes(content), &connectortest.Book{})
	if err != nil {
		t.Fatalf("Out: %v", err)
	}
	return out, out.Message
}

func octets(t fatal, c mail.Content) string {
	t.Helper()
	if c == nil {
		return ""
	}
	r, err := c.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if int64(len(b)) != c.Size() {
		t.Fatalf("%d octets, %d promised", len(b), c.Size())
	}
	return string(b)
}

// plain is a message in a form that cmp can show.
type plain struct {
	To                            []address.Address
	From                          address.Address
	Date, Time, Subject, Priority string
	Text                          string
	Attachments                   []string
}

func flat(t fatal, m *mmff.Message) plain {
	t.Helper()
	p := plain{To: m.To, From: m.From, Date: m.Date, Time: m.Time, Subject: m.Subject, Priority: m.Priority, Text: octets(t, m.Text)}
	for _, a := range m.Attachments {
		p.Attachments = append(p.Attachments, a.Name+": "+octets(t, a.Content))
	}
	return p
}

// safeForSMTP checks what every relay on the way may rely on.
func safeForSMTP(t fatal, b []byte) {
	t.Helper()
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		t.Fatalf("does not end with a line end: SMTP would add one")
	}
	_, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	for line := range bytes.SplitSeq(body, []byte("\r\n")) {
		if bytes.HasPrefix(line, []byte("From ")) || bytes.HasSuffix(line, []byte(" ")) || bytes.HasSuffix(line, []byte("\t")) {
			t.Fatalf("a relay may change the line %q", line)
		}
	}
	for line := range bytes.SplitSeq(b[:len(b)-2], []byte("\r\n")) {
		if len(line) > 998 {
			t.Fatalf("a line of %d octets", len(line))
		}
		for _, c := range line {
			if c > 126 || c < ' ' && c != '\t' {
				t.Fatalf("octet %#x in line %q", c, line)
			}
		}
	}
}

var codePages = []int{437, 737, 850, 852, 855, 857, 860, 862, 863, 865, 866, 869, 874, 932, 936, 949, 950,
	1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257}

// genBody makes bodies of all that bodies have been seen to hold.
func genBody(t *rapid.T, name string) []byte {
	piece := rapid.OneOf(
		rapid.Map(rapid.SampledFrom([]string{"\r\n", "\r", "\n", "", " ", "\t\r\n", "Hello both,", "From here", ".", "--=_", "=20", "\x1a", "\x00",
			"bin 1: 40 \r\n", "\x8a\x81\xe1", "\r\r\n", "\n\r", strings.Repeat("x", 1100)}), func(s string) []byte { return []byte(s) }),
		rapid.SliceOfN(rapid.Byte(), 0, 30),
	)
	return bytes.Join(rapid.SliceOfN(piece, 0, 30).Draw(t, name), nil)
}

// genText makes one line of text that the code page can hold.
func genText(t *rapid.T, page *mmff.CodePage, name string, odd bool) string {
	s, _ := page.Decode(rapid.SliceOfN(rapid.ByteRange(0x20, 0xff), 0, 40).Draw(t, name))
	s = strings.Map(func(r rune) rune {
		if r == '\ufffd' || !odd && (r < ' ' || r == 0x7f) {
			return -1
		}
		return r
	}, s)
	b, loss := page.Encode(s)
	again, _ := page.Decode(b)
	if loss != (mmff.Loss{}) || again != s {
		return "plain"
	}
	return s
}

func genMessage(t *rapid.T, page *mmff.CodePage) *mmff.Message {
	sent := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "sent"), 0).UTC()
	m := &mmff.Message{From: asmith, To: []address.Address{mkumar, ms("NORTHWIND/PO2/JLEE")},
		LineEnd:  rapid.SampledFrom([]mmff.LineEnd{mmff.CR, mmff.LF, mmff.CRLF}).Draw(t, "line end"),
		Subject:  genText(t, page, "subject", true) + rapid.SampledFrom([]string{"", "\r", "\x01x", "  ", "=?utf-8?q?x?="}).Draw(t, "odd subject"),
		Priority: rapid.SampledFrom([]string{"", "1", "2", "3", "4", "5", "R", "F", "C", "T", "r", "7", "x"}).Draw(t, "priority"),
		Text:     mmff.Bytes(genBody(t, "body"))}
	m.SetSent(sent)
	for i := range rapid.IntRange(0, 4).Draw(t, "attachments") {
		name := strings.TrimSpace(genText(t, page, "name", false) + rapid.SampledFrom([]string{"", ".TXT", " B.DOC", ".", "\u202e", `C:\X\Y.WK1`, "CON", "WINMAIL.DAT"}).Draw(t, "name end"))
		if _, loss := page.Encode(name); name == "" || loss != (mmff.Loss{}) {
			name = fmt.Sprintf("F%d.DAT", i)
		}
		m.Attachments = append(m.Attachments, mmff.Attachment{Name: name, Content: mmff.Bytes(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "content"))})
	}
	return m
}

// What leaves one post office reaches another of the same code page and line ends octet by octet, whatever lies between:
// SMTP, the site link or X.400, all of which carry the canonical form.
func TestAMessageReachesAnotherPostOfficeOctetByOctet(t *testing.T) {
	offices := map[int]*PostOffice{}
	for _, n := range codePages {
		offices[n] = postOffice(t, "NORTHWIND/PO1", n)
	}
	rapid.Check(t, func(t *rapid.T) {
		po := *offices[rapid.SampledFrom(codePages).Draw(t, "code page")]
		m := genMessage(t, po.Page)
		in, b := canonical(t, &po, m, nil)
		safeForSMTP(t, b)
		po.LineEnd = m.LineEnd
		out, got := back(t, &po, in.Envelope, b)
		if d := cmp.Diff(flat(t, m), flat(t, got)); d != "" {
			t.Fatalf("-sent +received:\n%s\ncanonical form:\n%s", d, b)
		}
		var file bytes.Buffer
		if _, err := mmff.Encode(&file, got, po.EncodeOptions()); err != nil {
			t.Fatalf("the message can't be written: %v", err)
		}
		for _, n := range out.Notes {
			if n.Action != mail.NoteMapped {
				t.Fatalf("unexpected note: %+v", n)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatalf("%v", err)
		}
	})
}

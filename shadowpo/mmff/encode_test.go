package mmff_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

func ms(s string) address.Address {
	a, err := address.Parse("MS:" + s)
	if err != nil {
		panic(err)
	}
	return a
}

func small() *mmff.Message {
	return &mmff.Message{To: []address.Address{ms("NET/PO2/BOB")}, From: ms("NET/PO1/ANN"), Subject: "s", Text: mmff.Bytes([]byte("t"))}
}

// view is a message with its contents read, for comparing.
type view struct {
	Version                       string
	To                            []address.Address
	From                          address.Address
	Date, Time, Subject, Priority string
	Text                          string
	Attachments                   [][2]string
	LineEnd                       mmff.LineEnd
}

func viewOf(t testing.TB, m *mmff.Message) view {
	v := view{m.Version, m.To, m.From, m.Date, m.Time, m.Subject, m.Priority, "", nil, m.LineEnd}
	if v.Version == "" {
		v.Version = "3.00"
	}
	if v.LineEnd == "" {
		v.LineEnd = mmff.CRLF
	}
	if m.Text != nil {
		v.Text = contents(t, m.Text)
	}
	for _, a := range m.Attachments {
		v.Attachments = append(v.Attachments, [2]string{a.Name, contents(t, a.Content)})
	}
	return v
}

// genMessage makes messages that the format can hold.
func genMessage(t *rapid.T, p *mmff.CodePage) *mmff.Message {
	ascii := rapid.StringMatching(`[A-Z0-9]{1,10}`)
	addr := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) address.Address {
			a, err := address.Parse("MS:" + ascii.Draw(t, "net") + "/" + ascii.Draw(t, "po") + "/" + ascii.Draw(t, "mbx"))
			if err != nil {
				t.Fatal(err)
			}
			return a
		}),
		rapid.SampledFrom([]address.Address{
			{Type: "SMTP", Value: "a.b+c@example.com"}, {Type: "SMTP", Value: `"odd ^0D name"@example.com`}, {Type: "FAX", Value: "Ann^0DOslo^0D"},
			ms("NET/PO/$SYSTEM"), ms("NET/PO/*SPECIAL"),
		}))
	// Text of the page: what its octets mean, so that nothing is lost on the way.
	text := rapid.Custom(func(t *rapid.T) string {
		s, _ := p.Decode(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "octets"))
		b, _ := p.Encode(s)
		s, _ = p.Decode(b)
		return s
	})
	name := rapid.Custom(func(t *rapid.T) string {
		s := strings.Map(func(r rune) rune {
			if r == '\r' || r == '\n' {
				return '_'
			}
			return r
		}, text.Draw(t, "text"))
		return "x" + s + "y"
	})
	data := rapid.Custom(func(t *rapid.T) string {
		return rapid.OneOf(rapid.StringN(0, 300, -1), rapid.Just("VERSION:3.00\r\nTO:A/B/C\r\n"),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) string { return string(b) })).Draw(t, "data")
	})
	m := &mmff.Message{
		Version:  rapid.SampledFrom([]string{"", "3.00", "2.10"}).Draw(t, "version"),
		To:       rapid.SliceOfN(addr, 1, 5).Draw(t, "to"),
		From:     addr.Draw(t, "from"),
		Date:     rapid.SampledFrom([]string{"", "1997-03-14", "00-00-00", "2107-12-31"}).Draw(t, "date"),
		Time:     rapid.SampledFrom([]string{"", "09:05", "25:61"}).Draw(t, "time"),
		Subject:  text.Draw(t, "subject"),
		Priority: rapid.SampledFrom([]string{"", "1", "5", "R", "F", "X"}).Draw(t, "priority"),
		LineEnd:  rapid.SampledFrom([]mmff.LineEnd{"", mmff.CR, mmff.LF, mmff.CRLF}).Draw(t, "lineend"),
		Text:     mmff.Bytes([]byte(data.Draw(t, "text"))),
	}
	for range rapid.IntRange(0, 3).Draw(t, "attachments") {
		m.Attachments = append(m.Attachments, mmff.Attachment{Name: name.Draw(t, "name"), Content: mmff.Bytes([]byte(data.Draw(t, "data")))})
	}
	return m
}

// Several messages in one file come back as they were, each where it was put.
func TestDecodingGivesWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, err := mmff.LookupCodePage(rapid.SampledFrom(pages).Draw(rt, "page"))
		if err != nil {
			rt.Fatal(err)
		}
		var file bytes.Buffer
		var want []view
		end := mmff.LineEnd("")
		for i := range rapid.IntRange(1, 3).Draw(rt, "messages") {
			m := genMessage(rt, p)
			if i == 0 {
				end = m.LineEnd
			}
			m.LineEnd = end
			notes, err := mmff.Encode(&file, m, mmff.EncodeOptions{CodePage: p})
			if err != nil {
				rt.Fatal(err)
			}
			for _, n := range notes {
				if n.Action == mail.NoteLost || !strings.HasPrefix(n.Detail, "cut ") {
					rt.Fatalf("note %v", n)
				}
				return // a subject of the double-byte kind, over 255 octets when escaped: another test's matter
			}
			want = append(want, viewOf(t, m))
		}
		good, bad := decode(t, file.String(), mmff.Options{CodePage: p})
		var got []view
		for _, m := range good {
			got = append(got, viewOf(t, m))
		}
		if d := cmp.Diff(want, got); d != "" || len(bad) != 0 {
			rt.Fatalf("bad %v, -want +got\n%s\nfile %q", bad, d, file.String())
		}
	})
}

func TestWhatTheFormatCannotSayIsAnErrorBeforeAnythingIsWritten(t *testing.T) {
	for name, change := range map[string]func(m *mmff.Message){
		"no recipients":                          func(m *mmff.Message) { m.To = nil },
		"no originator":                          func(m *mmff.Message) { m.From = address.Address{} },
		"CC":                                     func(m *mmff.Message) { m.CC = m.To },
		"a line end in an attachment's name":     func(m *mmff.Message) { m.Attachments[0].Name = "a\r\nTEXT:0" },
		"an attachment without name":             func(m *mmff.Message) { m.Attachments[0].Name = "" },
		"outer blanks in an attachment's name":   func(m *mmff.Message) { m.Attachments[0].Name = " a" },
		"a line end in the priority":             func(m *mmff.Message) { m.Priority = "5\rTO:A/B/C" },
		"a blank in the date":                    func(m *mmff.Message) { m.Date = "1997-03-14 09:05" },
		"a line end in the version":              func(m *mmff.Message) { m.Version = "3.00\n" },
		"an originator that the page lacks":      func(m *mmff.Message) { m.From = address.Address{Type: "MS", Value: "NET/PO/ПЁТР"} },
		"a recipient that the page would change": func(m *mmff.Message) { m.To[0] = address.Address{Type: "MS", Value: "NET/PO/ŁUKASZ"} },
		"an attachment's name without end":       func(m *mmff.Message) { m.Attachments[0].Name = strings.Repeat("x", 9000) },
	} {
		m := small()
		m.Attachments = []mmff.Attachment{{Name: "A.TXT", Content: mmff.Bytes(nil)}}
		change(m)
		var out bytes.Buffer
		if _, err := mmff.Encode(&out, m, mmff.EncodeOptions{}); err == nil || out.Len() != 0 {
			t.Errorf("%s: got %v and %d octets", name, err, out.Len())
		}
	}
}

func TestSubjectsCanForgeNoLine(t *testing.T) {
	m := small()
	m.Subject = "x\r\nTO:CSI:NET/PO2/EVE\r\nTEXT:0\r\n\x00\x1b[2J"
	var out bytes.Buffer
	if _, err := mmff.Encode(&out, m, mmff.EncodeOptions{}); err != nil {
		t.Fatal(err)
	}
	good, _ := decode(t, out.String(), mmff.Options{})
	if len(good) != 1 || len(good[0].To) != 1 || good[0].Subject != m.Subject {
		t.Errorf("got %+v", good)
	}
}

func TestSubjectsAreCutBetweenCharacters(t *testing.T) {
	p932 := page(t, 932)
	for _, c := range []struct {
		name     string
		page     *mmff.CodePage
		max      int
		in, want string
	}{
		{"63 fits", mmff.CP850, 63, strings.Repeat("x", 63), strings.Repeat("x", 63)},
		{"64 does not", mmff.CP850, 63, strings.Repeat("x", 64), strings.Repeat("x", 63)},
		{"no half a double-byte character", p932, 5, "日本語", "日本"},
		{"no half an escape", mmff.CP850, 5, "abcd\refgh", "abcd"},
		{"no letter without its accent", mmff.CP850, 4, "abce\u0301fg", "abcé"},
		{"255 without a limit", mmff.CP850, 0, strings.Repeat("é", 300), strings.Repeat("é", 255)},
		{"never more than 255", mmff.CP850, 1000, strings.Repeat("é", 300), strings.Repeat("é", 255)},
	} {
		m := small()
		m.Subject = c.in
		var out bytes.Buffer
		notes, err := mmff.Encode(&out, m, mmff.EncodeOptions{CodePage: c.page, SubjectMax: c.max})
		if err != nil {
			t.Fatal(err)
		}
		good, _ := decode(t, out.String(), mmff.Options{CodePage: c.page})
		if len(good) != 1 || good[0].Subject != c.want {
			t.Errorf("%s: got %q", c.name, good[0].Subject)
		}
		if (len(notes) == 1) != (c.in != c.want) {
			t.Errorf("%s: got notes %v", c.name, notes)
		}
	}
}

// lying is content of another size than it says.
type lying struct {
	mail.Content
	size int64
}

func (l lying) Size() int64 { return l.size }

func TestContentsMustHaveTheSizeTheySay(t *testing.T) {
	for _, size := range []int64{0, 4, 6, 100} {
		m := small()
		m.Attachments = []mmff.Attachment{{Name: "A", Content: lying{mmff.Bytes([]byte("12345")), size}}}
		if _, err := mmff.Encode(io.Discard, m, mmff.EncodeOptions{}); err == nil {
			t.Errorf("5 octets pass for %d", size)
		}
	}
	m := small()
	m.Text = lying{mmff.Bytes([]byte("12345")), 6}
	if _, err := mmff.Encode(io.Discard, m, mmff.EncodeOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

func TestNotesTellWhatTheCodePageTook(t *testing.T) {
	m := small()
	m.Subject = "日本 “x”"
	m.Attachments = []mmff.Attachment{{Name: "план.txt", Content: mmff.Bytes(nil)}}
	var out bytes.Buffer
	notes, err := mmff.Encode(&out, m, mmff.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(notes); strings.Count(got, "lost") != 2 || strings.Count(got, "changed") != 1 {
		t.Errorf("got %v", notes)
	}
	if !strings.Contains(out.String(), "SUBJECT:?? \"x\"\r\n") || !strings.Contains(out.String(), "ATTACHMENT:????.txt 0\r\n") {
		t.Errorf("got %q", out.String())
	}
}

// The octets C2 A0 are two letters in 850, although UTF-8 has a blank of that spelling.
func TestAttachmentNamesAreJudgedInTheirCodePage(t *testing.T) {
	m := &mmff.Message{From: address.Address{Type: address.MS, Value: "N/P/A"}, To: []address.Address{{Type: address.MS, Value: "N/P/B"}},
		Attachments: []mmff.Attachment{{Name: "\u252c\u00e1"}}}
	var b bytes.Buffer
	if _, err := mmff.Encode(&b, m, mmff.EncodeOptions{}); err != nil || !strings.Contains(b.String(), "ATTACHMENT:\xc2\xa0 0\r\n") {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

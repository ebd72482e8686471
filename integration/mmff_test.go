package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"

	"github.com/google/go-cmp/cmp"
)

// fields is a drop file's message as it is compared: every token, and the octets of text and attachments.
type fields struct {
	Version, From, Date, Time, Subject, Priority string
	To                                           []string
	Text                                         string
	Attachments                                  []file
}

type file struct{ Name, Octets string }

func fieldsOf(t *testing.T, name string, b []byte) fields {
	t.Helper()
	d := mmff.NewDecoder(bytes.NewReader(b), int64(len(b)), mmff.Options{})
	m, err := d.Next()
	if err != nil {
		t.Fatalf("%s: %v\n%q", name, err, b)
	}
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%s holds more than one message: %v", name, err)
	}
	f := fields{Version: m.Version, From: m.From.String(), Date: m.Date, Time: m.Time, Subject: m.Subject, Priority: m.Priority, Text: octetsOf(t, m.Text)}
	for _, a := range m.To {
		f.To = append(f.To, a.String())
	}
	for _, a := range m.Attachments {
		f.Attachments = append(f.Attachments, file{a.Name, octetsOf(t, a.Content)})
	}
	return f
}

func octetsOf(t *testing.T, c mail.Content) string {
	t.Helper()
	if c == nil {
		return ""
	}
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// mmffText writes the drop file of a case, its octets as they are.
func mmffText(head []string, text string, attachments []file) string {
	var b strings.Builder
	b.WriteString("VERSION:3.00\r\n")
	for _, h := range head {
		b.WriteString(h + "\r\n")
	}
	for _, a := range attachments {
		fmt.Fprintf(&b, "ATTACHMENT:%s %d\r\n", a.Name, len(a.Octets))
	}
	fmt.Fprintf(&b, "TEXT:%d\r\n%s", len(text), text)
	for _, a := range attachments {
		b.WriteString(a.Octets)
	}
	return b.String()
}

func TestWhatADropFileHoldsComesOutOfTheOtherSiteOverP1(t *testing.T) {
	var every, upper strings.Builder // octets, and the characters of the code page's upper half
	for i := range 256 {
		every.WriteByte(byte(i))
	}
	for i := 0x80; i < 0x100; i++ {
		upper.WriteByte(byte(i))
		if i%16 == 15 {
			upper.WriteString("\r\n")
		}
	}
	head := func(subject, priority string, to ...string) []string {
		var h []string
		for _, a := range append([]string{"CSI:NET/PO2/MKUMAR"}, to...) {
			h = append(h, "TO:"+a)
		}
		h = append(h, "FROM:CSI:NET/PO1/ASMITH", "DATE:1997-03-14", "TIME:09:05", "SUBJECT:"+subject)
		if priority != "" {
			h = append(h, "PRIORITY:"+priority)
		}
		return h
	}
	type message struct {
		head        []string
		text        string
		attachments []file
	}
	cases := map[string]message{
		"PLAIN":   {head: head("Plain", ""), text: "Hello\r\n"},
		"MANYTO":  {head: head("Several recipients", "3", "CSI:NET/PO2/JLEE", "NET/PO2/RIVERA"), text: "to three\r\n"},
		"NOTEXT":  {head: head("No text at all", "3")},
		"NOTITLE": {head: head("", "3"), text: "no subject\r\n"},
		"OPENEND": {head: head("No line end at the end", "3"), text: "last line"},
		"BLANKS":  {head: head("  blanks  around and   within ", "3"), text: "\r\n\r\n  indented\r\ntrailing  \r\n\ttab\r\n\r\n\r\n"},
		"FROMLIN": {head: head("Lines that mail has a meaning for", "3"), text: "From here\r\n.\r\n..\r\n-- \r\n>From\r\n--b\r\n"},
		"LONGLIN": {head: head("Long lines", "3"), text: strings.Repeat("word ", 400) + "\r\n" + strings.Repeat("x", 3000) + "\r\n"},
		"UPPER":   {head: head("Gr\x81\xe1e \x9b\x91\xe4 \xb0\xdb", "3"), text: upper.String()},
		"CONTROL": {head: head("With^0Da line end", "3"), text: "bell \x07, form feed \x0c, escape \x1b, end of file \x1a\r\n"},
		"LONGSUB": {head: head(strings.Repeat("Long subject ", 19), "3"), text: "x\r\n"},
		"FILES": {head: head("Attachments", "3"), text: "see there\r\n", attachments: []file{
			{"COUNTS.XLS", every.String()}, {"EMPTY.DAT", ""}, {"README.TXT", "text\r\nwith lines\r\n"}, {"A name of more than eight.letters", "x"},
			{"\x9aBUNG.\x8ex", "named in the code page"}, {"COUNTS.XLS", "the same name again"}, {"LARGE.BIN", strings.Repeat(every.String(), 1000)},
		}},
	}
	for _, p := range []string{"1", "2", "4", "5", "R", "C", "F", "T", "7", "Z"} {
		cases["PRIO"+p] = message{head: head("Priority "+p, p), text: "x\r\n"}
	}
	for _, mode := range []string{"normal", "x410", "1984"} {
		t.Run(mode, func(t *testing.T) {
			a, b := pair(t, overX400In(mode))
			want := map[string]fields{}
			for name, c := range cases {
				text := mmffText(c.head, c.text, c.attachments)
				f := fieldsOf(t, name, []byte(text))
				want[f.Subject] = f
				drop(t, a.po("NET/PO1"), name, text)
			}
			compare(t, b, want)
		})
	}
}

func overX400In(mode string) func(self, peer *site, selfName, peerName, peerPO string) string {
	return func(self, peer *site, selfName, peerName, peerPO string) string {
		return strings.Replace(overX400(self, peer, selfName, peerName, peerPO), "type = \"x400\"", fmt.Sprintf("type = \"x400\"\nmode = %q", mode), 1)
	}
}

// compare waits for what was sent and compares it, by subject.
func compare(t *testing.T, b *site, want map[string]fields) {
	t.Helper()
	until(t, time.Minute, "all arrive", func() bool { return len(delivered(t, b.po("NET/PO2"))) >= len(want) })
	for _, name := range delivered(t, b.po("NET/PO2")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got := fieldsOf(t, name, text)
		w, ok := want[got.Subject]
		if !ok {
			t.Errorf("a subject that was not sent, or came twice: %q", got.Subject)
			continue
		}
		delete(want, got.Subject)
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("%q, sent (-) and delivered (+):\n%s", got.Subject, diff)
		}
	}
	for subject := range want {
		t.Errorf("%q did not arrive", subject)
	}
}

package translate

import (
	"strings"
	"testing"

	"backbone/gateway/address"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"
)

func TestTheFormOfABodyFollowsFromItsContent(t *testing.T) {
	tests := []struct {
		name, body string
		end        mmff.LineEnd
		page       int
		alone      bool
		want       bodyForm
	}{
		{"plain lines", "Hello both,\r\nbye\r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "7bit", false, true}},
		{"nothing", "", mmff.CRLF, 850, true, bodyForm{"us-ascii", "7bit", false, true}},
		{"no last line end, alone", "Hello", mmff.CRLF, 850, true, bodyForm{"us-ascii", "quoted-printable", false, false}},
		{"no last line end, before attachments", "Hello", mmff.CRLF, 850, false, bodyForm{"us-ascii", "7bit", false, false}},
		{"a few umlauts", "Die St\x81ckliste folgt am Montag.\r\n", mmff.CRLF, 850, true, bodyForm{"utf-8", "quoted-printable", false, true}},
		{"mostly not ASCII", "\x81\x84\x94\x81 x\r\n", mmff.CRLF, 850, true, bodyForm{"utf-8", "base64", false, true}},
		{"an octet that means nothing", "abc \x81 def ghi jkl\r\n", mmff.CRLF, 932, true, bodyForm{"shift_jis", "base64", true, true}},
		{"CR line ends", "a\rb\r", mmff.CR, 850, true, bodyForm{"us-ascii", "7bit", false, true}},
		{"LF line ends", "a\nb\n", mmff.LF, 850, true, bodyForm{"us-ascii", "7bit", false, true}},
		{"an LF among CRs", "a\rb\nc\r", mmff.CR, 850, true, bodyForm{"us-ascii", "base64", true, true}},
		{"a CR among CRLFs", "a\r\r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "base64", true, true}},
		{"an LF among CRLFs", "a\nb\r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "base64", true, true}},
		{"a NUL in a long text", strings.Repeat("text ", 20) + "\x00.\r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "quoted-printable", true, true}},
		{"a long line", strings.Repeat("x", 901) + "\r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "quoted-printable", false, true}},
		{"a line that just fits", strings.Repeat("x", 900) + "\r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "7bit", false, true}},
		{"a line beyond all bounds", strings.Repeat("x", maxLine+10) + "\r\n", mmff.CRLF, 850, true, bodyForm{"ibm850", "base64", true, true}},
		{"blanks at a line's end", "x \r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "quoted-printable", false, true}},
		{"From at a line's beginning", "x\r\nFrom here on\r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "base64", false, true}},
		{"From within a plain line", "x From here\r\n", mmff.CRLF, 850, true, bodyForm{"us-ascii", "7bit", false, true}},
		{"what might be a boundary of ours", "x\r\n--=_16a3\r\n", mmff.CRLF, 850, false, bodyForm{"us-ascii", "quoted-printable", false, true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			page, err := mmff.LookupCodePage(tt.page)
			if err != nil {
				t.Fatal(err)
			}
			got, err := examine(page, tt.end, mmff.Bytes([]byte(tt.body)), tt.alone)
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestASideFilesCodePageCountsInsteadOfThePostOffices(t *testing.T) {
	po := postOffice(t, "NORTHWIND/PO1", 850)
	// The octets E9 and 82 are é in 1252 and in 850.
	subject, _ := po.Page.Decode([]byte("caf\xe9"))
	m := &mmff.Message{From: asmith, To: []address.Address{mkumar}, Subject: subject, Text: mmff.Bytes([]byte("caf\xe9 au lait, s'il vous pla\xeet\r\n")),
		Attachments: []mmff.Attachment{{Name: subject, Content: mmff.Bytes(nil)}}}
	_, b := canonical(t, po, m, shadowpo.Side{{Key: shadowpo.SideCodePage, Value: "1252"}})
	_, got := back(t, po, envelope(asmith), b)
	if got.Subject != "café" || got.Attachments[0].Name != "café" || octets(t, got.Text) != "caf\x82 au lait, s'il vous pla\x8ct\r\n" {
		t.Errorf("subject %q, attachment %q, text %q", got.Subject, got.Attachments[0].Name, octets(t, got.Text))
	}
	in, b := canonical(t, po, m, shadowpo.Side{{Key: shadowpo.SideCodePage, Value: "42"}})
	if _, got := back(t, po, in.Envelope, b); got.Subject != subject || len(in.Notes) != 1 || in.Notes[0].Field != "codepage" {
		t.Errorf("an unknown code page: subject %q, notes %v", got.Subject, in.Notes)
	}
}

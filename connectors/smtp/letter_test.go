package smtp

import (
	"errors"
	"io"
	"strings"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/gateway/mail"
)

// TestWhatAPeerLacks sends messages to peers without this or that extension.
func TestWhatAPeerLacks(t *testing.T) {
	const (
		nothing = "EHLO 250 peer"
		eight   = `EHLO 250-peer\n250 8BITMIME`
		utf8    = `EHLO 250-peer\n250-8BITMIME\n250 SMTPUTF8`
	)
	latin := "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9\r\n"
	for _, tt := range []struct {
		name, ehlo, content string
		utf8                bool
		want                string // outcome
		mail                string // MAIL's parameters
		body                string // how the content ends up
	}{
		{"8 bits to who takes them", eight, latin, false, "delivered", " BODY=8BITMIME", latin},
		{"7 bits are not announced as 8", eight, "Subject: x\r\n\r\nplain\r\n", false, "delivered", "", "Subject: x\r\n\r\nplain\r\n"},
		{"8 bits to who does not", nothing, latin, false, "delivered", "", "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n"},
		{"a raw header goes where 8 bits go", eight, "Subject: caf\xe9\r\n\r\nx\r\n", false, "delivered", " BODY=8BITMIME", "Subject: caf\xe9\r\n\r\nx\r\n"},
		{"a raw header is encoded for 7 bits", nothing, "Subject: caf\xe9\r\n\r\nx\r\n", false, "delivered", "", "Subject: =?unknown-8bit?q?caf=E9?=\r\n\r\nx\r\n"},
		{"SMTPUTF8 header to who takes it", utf8, "Subject: café\r\n\r\nx\r\n", true, "delivered", " BODY=8BITMIME SMTPUTF8", "Subject: café\r\n\r\nx\r\n"},
		{"SMTPUTF8 header to who does not", eight, "Subject: café\r\nFrom: Ä <a@b.example>\r\n\r\nx\r\n", true, "delivered", " BODY=8BITMIME", "Subject: =?utf-8?q?caf=C3=A9?=\r\nFrom: =?utf-8?q?=C3=84?= <a@b.example>\r\n\r\nx\r\n"},
		{"SMTPUTF8 is not asked for without need", utf8, "Subject: x\r\n\r\nx\r\n", true, "delivered", "", "Subject: x\r\n\r\nx\r\n"},
		{"addresses in the header that only SMTPUTF8 carries", eight, "From: ä@b.example\r\n\r\nx\r\n", true, "failed/permanent/message/553/5.6.7", "-", ""},
		{"bare line ends never leave", eight, "Subject: x\r\nContent-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\none\ntwo\rthree\r\n.\r\nfour\r\n", false, "delivered", "",
			"Subject: x\r\nContent-Type: text/plain\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\none\r\ntwo\r\nthree\r\n..\r\nfour\r\n"},
		{"nor do lines over 998", eight, "Subject: x\r\nContent-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\n" + strings.Repeat("x", 999) + "\r\n", false, "delivered", "",
			"Subject: x\r\nContent-Type: text/plain\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
				strings.Repeat(strings.Repeat("x", 75)+"=\r\n", 13) + strings.Repeat("x", 24) + "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, tt.ehlo)
			c, closeOut := outbound(t, p.addr, nil)
			tr := transferOf(c, []byte(tt.content), smtpAddress("one@siteb.example"))
			tr.Envelope.UTF8 = tt.utf8
			tr.Envelope.Extra = map[string]string{receivedKey: "mx.sitea.example"}
			var notes []string
			tr.Note = func(n mail.Note) { notes = append(notes, n.Detail) }
			if got := states(c.Deliver(t.Context(), tr)); got != tt.want {
				t.Fatalf("%s, want %s", got, tt.want)
			}
			if err := closeOut(); err != nil {
				t.Error(err)
			}
			if tt.mail == "-" {
				return
			}
			if got := p.heard()[1]; got != "MAIL FROM:<origin@sitea.example>"+tt.mail {
				t.Errorf("peer heard %q, want parameters %q", got, tt.mail)
			}
			if got := p.received()[0]; got != tt.body {
				t.Errorf("peer got\n%q, want\n%q", got, tt.body)
			}
			changed := strings.Contains(tt.body, "quoted-printable")
			if changed != (len(notes) > 0) {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func TestAddressesThatOnlySMTPUTF8Carries(t *testing.T) {
	p := newPeer(t, `EHLO 250-peer\n250 8BITMIME`)
	c, closeOut := outbound(t, p.addr, nil)
	tr := transferOf(c, letterText, smtpAddress("one@siteb.example"), smtpAddress("müller@siteb.example"))
	if got := states(c.Deliver(t.Context(), tr)); got != "delivered failed/permanent/recipient/553/5.6.7" {
		t.Error(got)
	}
	tr.Envelope.Originator = smtpAddress("bäcker@sitea.example")
	if got := states(c.Deliver(t.Context(), tr)); got != "failed/permanent/recipient/553/5.6.7 failed/permanent/recipient/553/5.6.7" {
		t.Error(got)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

// TestAStoreThatFailsInTheMiddle: the message was begun, the final dot must not follow.
func TestAStoreThatFailsInTheMiddle(t *testing.T) {
	p := newPeer(t)
	c, closeOut := outbound(t, p.addr, nil)
	tr := transferOf(c, letterText, smtpAddress("one@siteb.example"))
	content := &connectortest.Synthetic{Length: 300 << 10, Seed: 1}
	tr.Content = &failsLater{Synthetic: content}
	out := c.Deliver(t.Context(), tr)
	if got := states(out); got != "deferred/local/message/451/4.3.0" {
		t.Errorf("%s: %v", got, out[0].Failure)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
	if n := len(p.received()); n != 0 {
		t.Errorf("%d torn messages arrived", n)
	}
}

// failsLater can be read to the end twice; the third reading, when the message is on the wire, fails in its middle.
type failsLater struct{ *connectortest.Synthetic }

func (f *failsLater) Open() (io.ReadSeekCloser, error) {
	in, err := f.Synthetic.Open()
	return &thirdFails{ReadSeekCloser: in}, err
}

type thirdFails struct {
	io.ReadSeekCloser
	seeks, reads int
}

func (s *thirdFails) Seek(offset int64, whence int) (int64, error) {
	s.seeks++
	return s.ReadSeekCloser.Seek(offset, whence)
}

func (s *thirdFails) Read(p []byte) (int, error) {
	if s.seeks == 2 {
		if s.reads++; s.reads > 20 {
			return 0, errors.New("input/output error")
		}
	}
	return s.ReadSeekCloser.Read(p[:min(len(p), 4096)])
}

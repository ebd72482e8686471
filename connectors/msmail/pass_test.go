package msmail

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// transfer is what the gateway makes of an accepted message for one post office.
func transfer(a connectortest.Accepted, key, hop string) *connectors.Transfer {
	env := a.Envelope
	env.Trace = append(slices.Clone(env.Trace), mail.Hop{Site: "SITEA", At: env.Arrived})
	return &connectors.Transfer{Key: key, NextHop: hop, Envelope: env, Content: connectortest.Bytes(a.Content), Attempt: 1, Note: func(mail.Note) {}}
}

// randomFile is a message file with everything that a body, a name and an attachment can hold.
func randomFile(t testing.TB, rng *rand.Rand, n int) []byte {
	t.Helper()
	octets := func(max int) []byte {
		b := make([]byte, rng.IntN(max+1))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	body := octets(400)
	for range rng.IntN(20) {
		body = slices.Insert(body, rng.IntN(len(body)+1), []byte([]string{"\r\n", "Hello both,\r\n", "\x8a\x81", "From x\r\n", ".\r\n", " \r\n"}[rng.IntN(6)])...)
	}
	m := &mmff.Message{From: ms("NORTHWIND/PO1/ASMITH"), To: []address.Address{ms("NORTHWIND/PO2/MKUMAR"), ms("NORTHWIND/PO2/JLEE")},
		Subject: fmt.Sprintf("message %d \u00fc\u00df  \u2591", n), Priority: string("12345RFCTx"[rng.IntN(10)]), Text: mmff.Bytes(body)}
	m.SetSent(time.Unix(rng.Int64N(4e9), 0).UTC())
	for i := range rng.IntN(4) {
		m.Attachments = append(m.Attachments, mmff.Attachment{Name: []string{"COUNTS.WK1", "a b\u00e9.doc", "WINMAIL.DAT", `C:\CON.TXT`}[rng.IntN(4)],
			Content: mmff.Bytes(octets(3000 * i))})
	}
	var b bytes.Buffer
	if _, err := mmff.Encode(&b, m, mmff.EncodeOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatOnePostOfficeSubmitsAnotherCollectsOctetByOctet(t *testing.T) {
	const n = 200
	s := open(t, nil)
	defer s.close()
	gw := &connectortest.Acceptor{}
	stop := s.serve(gw)
	defer stop()
	rng := rand.New(rand.NewPCG(1, 2))
	sent := map[string]bool{}
	for i := range n {
		f := randomFile(t, rng, i)
		sent[string(f)] = true
		s.submit("NORTHWIND.PO1", fmt.Sprintf("MMFF%d.MSG", i), f)
	}
	taken := gw.Wait(t, n)
	stop()
	for i, a := range taken {
		hop, err := s.NextHop(a.Envelope.Recipients[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		for j, o := range s.Deliver(context.Background(), transfer(a, fmt.Sprint("T", i), hop)) {
			if o.State != mail.Relayed {
				t.Fatalf("message %d, recipient %d: %s %v", i, j, o.State, o.Failure)
			}
		}
	}
	got := s.files("NORTHWIND.PO2", "deliver", ".MSG")
	if len(got) != n {
		t.Fatalf("%d files for PO2, want %d", len(got), n)
	}
	for _, name := range got {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !sent[string(b)] {
			t.Errorf("%s is none of the files that were sent:\n%q", name, b)
		}
		delete(sent, string(b))
	}
	if left := s.files("NORTHWIND.PO1", "submit", ".*"); len(left) > 0 {
		t.Errorf("left in submit: %v", left)
	}
	if bad := s.files("NORTHWIND.PO1", "badmail", ".*"); len(bad) > 0 {
		t.Errorf("in badmail: %v", bad)
	}
}

func TestAnAcceptedMessageSaysWhereItCameFrom(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	s.book.Add(ms("NORTHWIND/PO1/ASMITH"), "Smith, Alex", smtp("asmith@sitea.example"))
	gw := &connectortest.Acceptor{}
	stop := s.serve(gw)
	defer stop()
	s.submit("NORTHWIND.PO1", "MMFF1.MSG", file("Hello\r\n", "TO:CSI:NORTHWIND/PO2/MKUMAR", "TO:SMTP:ben@example.org", "FROM:NORTHWIND/PO1/ASMITH",
		"DATE:1997-03-14", "TIME:09:05", "SUBJECT:Q1 stock counts", "PRIORITY:5"))
	a := gw.Wait(t, 1)[0]
	stop()
	e := a.Envelope
	if e.Originator != ms("NORTHWIND/PO1/ASMITH") || e.Name != "Smith, Alex" || len(e.Recipients) != 2 || e.Recipients[1].Address != smtp("ben@example.org") {
		t.Errorf("originator %s %q, recipients %v", e.Originator, e.Name, e.Recipients)
	}
	if e.Priority != mail.Urgent || e.Subject != "Q1 stock counts" || !e.Sent.Equal(time.Date(1997, 3, 14, 9, 5, 0, 0, time.UTC)) {
		t.Errorf("priority %s, subject %q, sent %s", e.Priority, e.Subject, e.Sent)
	}
	want := mail.Source{Connector: "po", Peer: "NORTHWIND/PO1", Detail: "MMFF1.MSG", Authenticated: true}
	if e.Source != want {
		t.Errorf("source %+v, want %+v", e.Source, want)
	}
	if len(e.Trace) != 1 || e.Trace[0].Site != "NORTHWIND/PO1" {
		t.Errorf("trace %v", e.Trace)
	}
	if len(a.Notes) == 0 || a.Notes[0].Field != "drop file" || !strings.Contains(a.Notes[0].Detail, "MMFF1.MSG, SHA-256 ") {
		t.Errorf("notes %v", a.Notes)
	}
	if !strings.HasPrefix(a.Dedup, "NORTHWIND/PO1/") || !bytes.Contains(a.Content, []byte(`From: "Smith, Alex" <asmith@sitea.example>`)) {
		t.Errorf("dedup %q, content\n%s", a.Dedup, a.Content)
	}
}

func TestARefusedMessageGoesToBadmailAndItsSenderIsTold(t *testing.T) {
	tests := []struct {
		name    string
		header  []string
		answer  error
		report  string // "" = none
		badmail int
	}{
		{"too large", []string{"FROM:NORTHWIND/PO1/ASMITH", "SUBJECT:big"}, mail.TooLarge("the site takes 35 MB"), "[009]", 1},
		{"a report is never reported on", []string{"FROM:NORTHWIND/PO1/POSTMASTER", "SUBJECT:Mail failure"}, mail.TooLarge("no"), "", 1},
		{"mail of machines is never reported on", []string{"FROM:NORTHWIND/PO1/$SYSTEM", "SUBJECT:dirsync"}, mail.TooLarge("no"), "", 1},
		{"a foreign sender gets no file of ours", []string{"FROM:SMTP:ben@example.org", "SUBJECT:hi"}, mail.TooLarge("no"), "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, nil)
			defer s.close()
			gw := &connectortest.Acceptor{}
			gw.Script(tt.answer)
			stop := s.serve(gw)
			defer stop()
			s.submit("NORTHWIND.PO1", "MMFF1.MSG", file("the text\r\n", append(tt.header, "TO:NORTHWIND/PO2/MKUMAR")...))
			connectortest.Until(t, "badmail", func() bool { return len(s.files("NORTHWIND.PO1", "badmail", ".ERR")) == tt.badmail })
			stop()
			got := s.collected("NORTHWIND.PO1", mmff.CP850)
			if tt.report == "" {
				if len(got) != 0 {
					t.Fatalf("a report was written: %s", text(t, got[0]))
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("%d reports, want 1", len(got))
			}
			if m := got[0]; m.From != ms("NORTHWIND/SITEA/POSTMASTER") || m.To[0] != ms("NORTHWIND/PO1/ASMITH") || m.Subject != "Mail failure" ||
				!strings.Contains(text(t, m), tt.report) || !strings.HasSuffix(text(t, m), "the text\r\n") {
				t.Errorf("report %+v\n%s", m, text(t, m))
			}
			list, err := s.Quarantined(context.Background())
			if err != nil || len(list) != 1 || list[0].Place != "NORTHWIND/PO1" {
				t.Fatalf("quarantine %v, %v", list, err)
			}
		})
	}
}

func TestAMessageThatCantBeTakenNowStaysInTheDrop(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	gw := &connectortest.Acceptor{}
	busy := &mail.Failure{Class: mail.Local, Scope: mail.ScopeMessage, Code: 452, Text: "queue disk is full"}
	gw.Script(busy, busy)
	stop := s.serve(gw)
	defer stop()
	s.submit("NORTHWIND.PO1", "MMFF1.MSG", file("Hello\r\n", "TO:NORTHWIND/PO2/MKUMAR", "FROM:NORTHWIND/PO1/ASMITH"))
	gw.Wait(t, 1)
	stop()
	if left := s.files("NORTHWIND.PO1", "submit", ".*"); len(left) != 0 {
		t.Errorf("left in submit: %v", left)
	}
	if n := len(s.collected("NORTHWIND.PO1", mmff.CP850)); n != 0 {
		t.Errorf("%d reports about a local fault", n)
	}
}

func TestAMessageThatWasTakenThoughTheAnswerWasLostIsNotOfferedAgain(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	gw := &connectortest.Acceptor{}
	gw.OnTaken(func(context.Context, connectortest.Accepted) error { return mail.LocalFault("the answer is lost", nil) })
	stop := s.serve(gw)
	defer stop()
	s.submit("NORTHWIND.PO1", "MMFF1.MSG", file("Hello\r\n", "TO:NORTHWIND/PO2/MKUMAR", "FROM:NORTHWIND/PO1/ASMITH"))
	connectortest.Until(t, "the file gone", func() bool { return len(gw.Taken()) == 1 && len(s.files("NORTHWIND.PO1", "submit", ".*")) == 0 })
	stop()
	if len(gw.Taken()) != 1 || gw.Duplicates() != 0 {
		t.Errorf("taken %d, offered again %d times", len(gw.Taken()), gw.Duplicates())
	}
}

func TestUserListsAreNeverBounced(t *testing.T) {
	list := file("users\r\n", "TO:NORTHWIND/PO2/*SPECIAL", "FROM:NORTHWIND/PO1/ADMIN", "SUBJECT:user list")
	t.Run("deleted by default", func(t *testing.T) {
		s := open(t, nil)
		defer s.close()
		gw := &connectortest.Acceptor{}
		stop := s.serve(gw)
		defer stop()
		s.submit("NORTHWIND.PO1", "MMFF1.MSG", list)
		connectortest.Until(t, "the file gone", func() bool {
			return strings.Contains(s.logged(), "Q112879") && len(s.files("NORTHWIND.PO1", "submit", ".*")) == 0
		})
		stop()
		if n := len(gw.Taken()); n != 0 {
			t.Errorf("%d messages taken", n)
		}
	})
	t.Run("to the administrator when configured", func(t *testing.T) {
		s := open(t, func(c *Config) { c.PostOffices[0].Special = "administrator" })
		defer s.close()
		gw := &connectortest.Acceptor{}
		stop := s.serve(gw)
		defer stop()
		s.submit("NORTHWIND.PO1", "MMFF1.MSG", list)
		a := gw.Wait(t, 1)[0]
		if r := a.Envelope.Recipients; len(r) != 1 || r[0].Address != smtp("postmaster@sitea.example") || r[0].Notify != mail.NotifyNever {
			t.Errorf("recipients %+v", r)
		}
	})
}

func TestAMessageThatWasHereBeforeIsRefusedAsALoop(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	gw := &connectortest.Acceptor{}
	stop := s.serve(gw)
	defer stop()
	side := "backbone side 1\nhop=NORTHWIND/PO1\nhop=SITEA\nhop=NORTHWIND/PO2\n"
	if err := os.WriteFile(s.folder("NORTHWIND.PO1", "submit")+"/MMFF1.X", []byte(side), 0o660); err != nil {
		t.Fatal(err)
	}
	s.submit("NORTHWIND.PO1", "MMFF1.MSG", file("round\r\n", "TO:NORTHWIND/PO2/MKUMAR", "FROM:NORTHWIND/PO1/ASMITH"))
	connectortest.Until(t, "the report", func() bool { return len(s.collected("NORTHWIND.PO1", mmff.CP850)) == 1 })
	stop()
	if got := text(t, s.collected("NORTHWIND.PO1", mmff.CP850)[0]); !strings.Contains(got, "[004]") || !strings.Contains(got, "NORTHWIND/PO1 -> SITEA -> NORTHWIND/PO2") {
		t.Errorf("report:\n%s", got)
	}
	if n := len(gw.Taken()); n != 0 {
		t.Errorf("%d messages taken", n)
	}
}

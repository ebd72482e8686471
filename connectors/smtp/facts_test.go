package smtp

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"

	"github.com/google/go-cmp/cmp"
)

// submitted reads a header as the server does for a message of SMTP:a@far.example.
func submitted(t testing.TB, header string, partner bool) (connectors.Submission, error) {
	t.Helper()
	buf, h, err := readHead(strings.NewReader(strings.ReplaceAll(header, "\n", "\r\n")), nil)
	if err != nil {
		t.Fatal(err)
	}
	sub := connectors.Submission{Envelope: mail.Envelope{Kind: mail.KindMessage, Originator: smtpAddress("a@far.example")}}
	return sub, readFacts(buf[:h.end]).fill(&sub, partner)
}

func TestPriorityIsTakenFromThePlainestField(t *testing.T) {
	for header, want := range map[string]mail.Priority{
		"":                                           mail.Normal,
		"X-Priority: 1 (Highest)\n":                  mail.Urgent,
		"X-Priority: 2\n":                            mail.Urgent,
		"X-Priority: 3\n":                            mail.Normal,
		"X-Priority: 5\n":                            mail.NonUrgent,
		"Importance: Low\n":                          mail.NonUrgent,
		"Importance: high\nX-Priority: 5\n":          mail.Urgent,
		"X-Priority: 1\nImportance: low\n":           mail.NonUrgent,
		"Priority: urgent\nImportance: low\n":        mail.Urgent,
		"Priority: non-urgent\nX-Priority: 1\n":      mail.NonUrgent,
		"Priority: whatever\nX-Priority: 1\n":        mail.Urgent,
		"X-MSMail-Priority: High\nX-Priority: 3\n":   mail.Normal,
		"X-MSMail-Priority: Low\nSubject: urgent!\n": mail.NonUrgent,
	} {
		sub, err := submitted(t, header+"\nbody\n", false)
		if err != nil || sub.Envelope.Priority != want {
			t.Errorf("%q: %v (%v), want %v", header, sub.Envelope.Priority, err, want)
		}
	}
}

func TestFactsOfAHeader(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, header string
		want         mail.Envelope
	}{
		{"nothing", "", mail.Envelope{}},
		{"folded and encoded", "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n =?utf-8?b?IGF1cw==?=\nMessage-ID:\n <1@far.example>\nDate: Sun, 22 Nov 2026 11:00:00 +0100\n",
			mail.Envelope{Subject: "grüße aus", MessageID: "1@far.example", Sent: at}},
		{"a charset of old", "Subject: =?windows-1252?q?=80_5?= =?koi8-r?q?=C4=C1?=\n", mail.Envelope{Subject: "€ 5да"}},
		{"an unknown charset stays as it is", "Subject: =?klingon?q?x?=\n", mail.Envelope{Subject: "=?klingon?q?x?="}},
		{"terminal escapes and direction tricks", "Subject: a\x1b[31mb\u202egpj.exe\n", mail.Envelope{Subject: "a [31mbgpj.exe"}},
		{"a name for the originator", "From: =?utf-8?q?M=C3=BCller?= <a@FAR.example>\n", mail.Envelope{Name: "Müller"}},
		{"a name for somebody else", "From: Boss <boss@far.example>\n", mail.Envelope{}},
		{"several authors", "From: A <a@far.example>, B <b@far.example>\n", mail.Envelope{}},
		{"a blank before the colon", "Subject : x\n", mail.Envelope{Subject: "x"}},
		{"an overlong subject", "Subject: " + strings.Repeat("ü", 300) + "\n", mail.Envelope{Subject: strings.Repeat("ü", 256)}},
		{"received by", "Received: from a ([1.2.3.4]) by MX.far.example with ESMTP id 1\n\tfor <x>; Sun, 22 Nov 2026 10:00:00 +0000 (UTC)\nReceived: by first.example\n",
			mail.Envelope{Trace: []mail.Hop{{Site: "first.example"}, {Site: "mx.far.example", At: at}}}},
		{"a host named like a site", "Received: by SITEA\n", mail.Envelope{Trace: []mail.Hop{{Site: "(sitea)"}}}},
		{"a read receipt", "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n", mail.Envelope{Kind: mail.KindReceipt}},
		{"somebody's own words dressed as a report", "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n", mail.Envelope{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sub, err := submitted(t, tt.header+"\nSubject: not this one\n", false)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.Kind == "" {
				tt.want.Kind = mail.KindMessage
			}
			tt.want.Originator = smtpAddress("a@far.example")
			sub.Envelope.Sent = sub.Envelope.Sent.UTC()
			if tt.want.Sent.IsZero() {
				sub.Envelope.Sent = time.Time{}
			}
			if diff := cmp.Diff(tt.want, sub.Envelope); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatAPartnerMaySay(t *testing.T) {
	header := "X-Backbone-Transfer: 0123456789abcdef\nX-Backbone-Id: SITEB-1\nX-Backbone-Trace: SITEB; 2026-11-22T10:00:00Z\nX-Backbone-Trace: bad site\nx-backbone-trace: NET/PO\n\n"
	sub, err := submitted(t, header, true)
	if err != nil {
		t.Fatal(err)
	}
	if sub.Dedup != "smtp:0123456789abcdef" || sub.Envelope.ID != "SITEB-1" || fmt.Sprint(sub.Envelope.Trace) != "[{NET/PO  0001-01-01 00:00:00 +0000 UTC} {SITEB  2026-11-22 10:00:00 +0000 UTC}]" {
		t.Errorf("%+v %q", sub.Envelope, sub.Dedup)
	}
	if sub, err = submitted(t, header, false); err != nil || sub.Dedup != "" || sub.Envelope.ID != "" || len(sub.Envelope.Trace) != 0 {
		t.Errorf("a stranger's word was taken: %+v %q %v", sub.Envelope, sub.Dedup, err)
	}
	if sub, err = submitted(t, strings.Repeat("X-Backbone-Trace: SITEB\n", 10_000)+"\n", true); err != nil || len(sub.Envelope.Trace) != maxTrace {
		t.Errorf("%d hops, %v", len(sub.Envelope.Trace), err)
	}
	for _, bad := range []string{"X-Backbone-Id: " + strings.Repeat("x", 33), "X-Backbone-Id: a b", "X-Backbone-Transfer: short", "X-Backbone-Transfer: " + strings.Repeat("x", 200)} {
		if sub, err = submitted(t, bad+"\n\n", true); err != nil || sub.Dedup != "" || sub.Envelope.ID != "" {
			t.Errorf("%s: %+v %q %v", bad, sub.Envelope, sub.Dedup, err)
		}
	}
}

func TestMessageHeaderBombs(t *testing.T) {
	for name, in := range map[string]string{
		"a million fields":  strings.Repeat("X: y\r\n", 1_000_000),
		"a field of 10 MB":  "Subject: " + strings.Repeat("x", 10<<20),
		"folds without end": "Subject: x" + strings.Repeat("\r\n y", 1_000_000),
		"encoded words":     "Subject: " + strings.Repeat("=?utf-8?q?x?= ", 100_000) + "\r\n",
		"received from all": strings.Repeat("Received: by a.example; Sun, 22 Nov 2026 10:00:00 +0000\r\n", 100_000),
		"a From of a crowd": "From: " + strings.Repeat("a <a@b.example>, ", 20_000) + "\r\n",
	} {
		start := time.Now()
		r := strings.NewReader(in)
		buf, h, err := readHead(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		sub := connectors.Submission{}
		_ = readFacts(buf[:h.end]).fill(&sub, false)
		if len(buf) > maxHead {
			t.Errorf("%s: %d octets in memory", name, len(buf))
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s took %v", name, d)
		}
		header, rest := h.split(buf, nil)
		left, err := io.ReadAll(r)
		if err != nil || string(header)+string(rest)+string(left) != in {
			t.Errorf("%s: octets are lost", name)
		}
	}
}

// FuzzHead: whatever the octets, nothing is lost but the fields that never stay, and the header is what it says.
func FuzzHead(f *testing.F) {
	for _, s := range []string{"", "Subject: x\r\n\r\nbody", "no header", " fold first\r\n", "A: b\r\n c\r\nnot a field\r\n", "Return-Path: <x>\r\n y\r\nX-Backbone-Id: 1\r\nZ:\r\n\r\n", "A : b\n\nx", "From: a <b@c.d>\r\nDate: x\r\nContent-Type: multipart/report; report-type=\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		buf, h, err := readHead(bytes.NewReader(in), nil)
		if err != nil {
			t.Fatal(err)
		}
		if h.blank && h.foreign || h.end > len(buf) || len(in) <= maxHead && !bytes.Equal(buf[:min(len(buf), len(in))], in[:len(buf)]) {
			t.Fatalf("head %+v of %q", h, in)
		}
		sub := connectors.Submission{}
		fs := readFacts(buf[:h.end])
		_ = fs.fill(&sub, true)
		if strings.ContainsAny(sub.Envelope.Subject+sub.Envelope.MessageID+sub.Envelope.Name, "\r\n\x00\x1b") {
			t.Fatalf("envelope holds control characters: %+v", sub.Envelope)
		}
		header, rest := h.split(buf, nil)
		for name := range fields(header) {
			if droppedField(name) {
				t.Fatalf("%s stays in %q", name, header)
			}
		}
		// Read again, what comes out has its header end where we said.
		_, again, err := readHead(bytes.NewReader(append(bytes.Clone(header), rest...)), nil)
		if err != nil || h.foreign && (!again.blank || again.end != len(header)-2) {
			t.Fatalf("%q was made %q, whose head is %+v", in, header, again)
		}
	})
}

// FuzzPathArg: what is accepted can be printed and read again, and no part of a path becomes a parameter.
func FuzzPathArg(f *testing.F) {
	for _, s := range []string{"FROM:<a@b.example>", `FROM:<"a> SIZE=1"@b.example> SIZE=2`, "FROM:<>", "FROM:<@r:a@b.example> X=Y=Z", `FROM:<"\>"@b.example>`, "FROM:<a@b> BODY=8BITMIME  RET=FULL"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		mb, params, err := parsePathArg(s, "FROM:")
		if err != nil {
			return
		}
		line := "FROM:" + mb.Path()
		for _, p := range params {
			line += " " + p.String()
		}
		mb2, params2, err := parsePathArg(line, "FROM:")
		if err != nil || mb2 != mb || len(params2) != len(params) {
			t.Fatalf("%q was read as %v %v; printed %q, read as %v %v (%v)", s, mb, params, line, mb2, params2, err)
		}
		if strings.ContainsAny(line, "\r\n\x00") && !strings.ContainsAny(s, "\r\n\x00") {
			t.Fatalf("%q became %q", s, line)
		}
	})
}

// FuzzORCPT: what is taken goes out again as the same.
func FuzzORCPT(f *testing.F) {
	for _, s := range []string{"rfc822;a+2Bb@c.example", "x400;/C=US/", "utf-8;m\\x{FC}ller@x.example", "ms;NET/PO/M+20X", "x;+", ";x", "a;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseORCPT(s)
		if err != nil {
			return
		}
		out := formatORCPT(got, true)
		if strings.ContainsAny(out, "\r\n") || strings.Contains(out, " ") {
			t.Fatalf("%q goes out as %q", s, out)
		}
		if out == "" {
			return
		}
		again, err := parseORCPT(out)
		_, v1, _ := strings.Cut(got, ";")
		_, v2, _ := strings.Cut(again, ";")
		if err != nil || strings.TrimSpace(v1) != v2 {
			t.Fatalf("%q is %q, goes out as %q, comes back as %q (%v)", s, got, out, again, err)
		}
	})
}

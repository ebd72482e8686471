package translate

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"

	"github.com/google/go-cmp/cmp"
	netmail "net/mail"
	"pgregory.net/rapid"
)

func envelope(from address.Address) mail.Envelope {
	return mail.Envelope{ID: "SITEA-17", MessageID: "17@example.org", Kind: mail.KindMessage, Originator: from,
		Recipients: []mail.Recipient{{Address: mkumar}}, Arrived: now}
}

// crlf is a message written with \n.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func translated(t testing.TB, po *PostOffice, env mail.Envelope, content string) *Outbound {
	t.Helper()
	out, err := po.Out(&env, connectortest.Bytes(crlf(content)), book())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	})
	return out
}

func TestFromIsWhomAReplyReaches(t *testing.T) {
	ben := smtp("ben@example.org")
	b := book()
	b.Add(ms("NORTHWIND/SITEA/BEN"), "Ben", ben)
	x400 := address.Address{Type: address.X400, Value: "c=US;a= ;p=Fabrikam;o=SITEB;s=Lee;g=Jo;"}
	tests := []struct {
		name       string
		gateways   []address.Type
		originator address.Address
		header     string
		want       address.Address
		note       string
	}{
		{"a post office's user as himself", nil, asmith, "asmith@northwind.example", asmith, ""},
		{"a post office's user who is encapsulated in the header", nil, ms("NORTHWIND/PO3/X"), "IMCEAMS-NORTHWIND_PO3_X@sitea.example", ms("NORTHWIND/PO3/X"), ""},
		{"an SMTP user through the post office's gateway", []address.Type{address.SMTP}, smtp("eve@example.org"), "eve@example.org", smtp("eve@example.org"), ""},
		{"an SMTP user by his MS proxy where there is no gateway", nil, ben, "ben@example.org", ms("NORTHWIND/SITEA/BEN"), "mapped"},
		{"an X.400 user through an SMTP gateway, encapsulated", []address.Type{address.SMTP}, x400, "IMCEAX400-c=US+3Ba=+20+3Bp=Fabrikam+3Bo=SITEB+3Bs=Lee+3Bg=Jo+3B@sitea.example",
			smtp("IMCEAX400-c=US+3Ba=+20+3Bp=Fabrikam+3Bo=SITEB+3Bs=Lee+3Bg=Jo+3B@sitea.example"), "mapped"},
		{"an X.400 user through an X.400 gateway", []address.Type{address.X400}, x400, "", x400, ""},
		{"the author and not the list's bounce address", []address.Type{address.SMTP}, smtp("list-bounces@example.org"), "ann@example.org", smtp("ann@example.org"), ""},
		{"nobody can reply, and the ledger says so", nil, smtp("eve@example.org"), "eve@example.org", smtp("eve@example.org"), "lost"},
		{"a null originator without an author is POSTMASTER", nil, address.Address{}, "", ms("NORTHWIND/PO2/POSTMASTER"), ""},
		{"a header that is no address leaves the envelope's", []address.Type{address.SMTP}, ben, "undisclosed", ben, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			po := postOffice(t, "NORTHWIND/PO2", 850)
			po.Gateways = tt.gateways
			env := envelope(tt.originator)
			from := ""
			if tt.header != "" {
				from = "From: Somebody <" + tt.header + ">\r\n"
			}
			out, err := po.Out(&env, connectortest.Bytes([]byte(from+"Date: Fri, 14 Mar 1997 10:05:00 +0100\r\n\r\nx\r\n")), b)
			if err != nil {
				t.Fatal(err)
			}
			if out.Message.From != tt.want {
				t.Errorf("FROM %s, want %s", out.Message.From, tt.want)
			}
			if got := len(out.Notes) > 0; got != (tt.note != "") || got && out.Notes[0].Action != tt.note {
				t.Errorf("notes %+v, want %q", out.Notes, tt.note)
			}
		})
	}
}

func TestDatesAreKeptAndNeverStopMail(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, date, sent string
		want             string
	}{
		{"in the post office's zone", "Fri, 14 Mar 1997 23:30:00 -0500", "", "1997-03-15 05:30"},
		{"with the letters of another time", "Fri, 14 Mar 97 09:05 GMT (noon or so)", "", "1997-03-14 10:05"},
		{"an hour that does not exist, as it was written", "Sun, 30 Mar 1997 03:30:00 +0200", "1997-03-30 02:30", "1997-03-30 02:30"},
		{"a year of two digits, as it was written", "Fri, 14 Mar 1997 09:05:00 +0100", "97-3-14 09:05", "97-3-14 09:05"},
		{"not as it was written when the date was changed since", "Fri, 14 Mar 1997 09:05:00 +0100", "1996-01-01 00:00", "1997-03-14 09:05"},
		{"not as it was written when that is no date", "Fri, 14 Mar 1997 09:05:00 +0100", "SUBJECT:x 09:05", "1997-03-14 09:05"},
		{"the arrival when there is none", "", "", "1997-03-14 13:00"},
		{"the arrival when it makes no sense", "tomorrow", "", "1997-03-14 13:00"},
		{"the arrival when the year can't be written", "Fri, 14 Mar 0900 09:05:00 +0000", "", "1997-03-14 13:00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			po := postOffice(t, "NORTHWIND/PO2", 850)
			po.Zone = berlin
			m := translated(t, po, envelope(asmith), "Date: "+tt.date+"\n"+fieldSent+": "+tt.sent+"\n\nx\n").Message
			if got := m.Date + " " + m.Time; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestPostOfficeSettings(t *testing.T) {
	const forwarded = "From: Ben <ben@example.org>\nTo: Mira <mkumar@sitea.example>\nCc: ann@example.org\nContent-Type: multipart/mixed; boundary=B\n\n--B\n\nfyi\n--B\nContent-Type: message/rfc822\n\n" +
		"From: Carol <carol@example.net>\nSubject: lunch\nContent-Type: multipart/alternative; boundary=C\n\n--C\n\nat noon\n--C\nContent-Type: text/html\n\n<b>at noon</b>\n--C--\n--B\n" +
		"Content-Disposition: attachment; filename=\"quarterly report.document\"\n\nQ\n--B\nContent-Type: application/ms-tnef\n\nT\n--B--\n"
	long := "Subject: x\n\n" + strings.Repeat("word ", 30) + "\n" + strings.Repeat("w", 100) + "\nshort\n"
	tests := []struct {
		name, content string
		set           func(*PostOffice)
		text          string
		attachments   []string
	}{
		{"forwarded messages are attached", forwarded, func(*PostOffice) {}, "fyi", []string{"MSG00001.EML", "quarterly report.document", "WINMAIL.DAT"}},
		{"forwarded messages as text", forwarded, func(p *PostOffice) { p.EmbeddedText = true },
			"fyi\r\n\r\n------------------------------\r\nFrom: Carol <carol@example.net>\r\nSubject: lunch\r\n\r\nat noon", []string{"quarterly report.document", "WINMAIL.DAT"}},
		{"names for DOS", forwarded, func(p *PostOffice) { p.DOSNames = true }, "fyi", []string{"MSG00001.EML", "QUARTERL.DOC", "WINMAIL.DAT"}},
		{"rich text taken off", forwarded, func(p *PostOffice) { p.RichText = StripRichText }, "fyi", []string{"MSG00001.EML", "quarterly report.document"}},
		{"rich text is taken off for foreign systems only on the way out of a post office", forwarded, func(p *PostOffice) { p.RichText = ForeignRichText }, "fyi",
			[]string{"MSG00001.EML", "quarterly report.document", "WINMAIL.DAT"}},
		{"a heading", forwarded, func(p *PostOffice) { p.Heading = true }, "From: Ben (ben@example.org)\r\nTo: Mira (NORTHWIND/PO2/MKUMAR)\r\nCc: ann@example.org\r\n\r\nfyi",
			[]string{"MSG00001.EML", "quarterly report.document", "WINMAIL.DAT"}},
		{"long lines stay long", long, func(*PostOffice) {}, strings.Repeat("word ", 30) + "\r\n" + strings.Repeat("w", 100) + "\r\nshort\r\n", nil},
		{"long lines are broken at blanks", long, func(p *PostOffice) { p.Wrap = 78 },
			strings.Repeat("word ", 15)[:74] + "\r\n" + strings.Repeat("word ", 15) + "\r\n" + strings.Repeat("w", 78) + "\r\n" + strings.Repeat("w", 22) + "\r\nshort\r\n", nil},
		{"line ends of the DOS programs", "Subject: x\n\na\nb\n", func(p *PostOffice) { p.LineEnd = mmff.CR }, "a\rb\r", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			po := postOffice(t, "NORTHWIND/PO2", 850)
			tt.set(po)
			m := translated(t, po, envelope(smtp("ben@example.org")), tt.content).Message
			var names []string
			for _, a := range m.Attachments {
				names = append(names, a.Name)
			}
			if d := cmp.Diff(tt.text, octets(t, m.Text)); d != "" {
				t.Errorf("text, -want +got:\n%s", d)
			}
			if d := cmp.Diff(tt.attachments, names); d != "" {
				t.Errorf("attachments, -want +got:\n%s", d)
			}
		})
	}
}

func TestALineBrokenIntoColumnsLosesNothing(t *testing.T) {
	po := postOffice(t, "NORTHWIND/PO2", 850)
	po.Wrap = 40
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringOfN(rapid.SampledFrom([]rune("ab \u00fc\u00df\t")), 0, 400, -1).Draw(t, "text")
		e := po.encoder(strings.NewReader(in), false)
		b, err := io.ReadAll(e)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := po.Page.Decode(b)
		for line := range strings.SplitSeq(u, "\r\n") {
			if n := len([]rune(strings.TrimRight(line, " "))); n > 40 {
				t.Fatalf("a line of %d columns", n)
			}
		}
		strip := strings.NewReplacer(" ", "", "\r\n", "")
		if strip.Replace(u) != strip.Replace(in) {
			t.Fatalf("%q became %q", in, u)
		}
	})
}

func TestCharsets(t *testing.T) {
	tests := []struct{ name, label, in, want string }{
		{"no label", "", "Gr\xfc\xdfe", "Gr\u00fc\u00dfe"},
		{"no label, UTF-8 after all", "", "Gr\u00fc\u00dfe", "Gr\u00fc\u00dfe"},
		{"us-ascii that is none", "us-ascii", "Gr\xfc\xdfe", "Gr\u00fc\u00dfe"},
		{"utf-8 with a broken octet", "UTF-8", "a\xfcb", "a\u00fcb"},
		{"utf-8 cut within a character", "utf-8", "a\xc3", "a\u00c3"},
		{"iso-8859-1 with Windows quotes", "ISO-8859-1", "\x93x\x94", "\u201cx\u201d"},
		{"iso-8859-15", "iso-8859-15", "\xa4", "\u20ac"},
		{"windows-1254", "windows-1254", "\xfe\xdd", "\u015f\u0130"},
		{"cp850", "cp850", "\x81", "\u00fc"},
		{"cp932", "cp932", "\x93\xfa\x96\x7b", "\u65e5\u672c"},
		{"big5", "big5", "\xa4\xa4", "\u4e2d"},
		{"iso-2022-jp", "iso-2022-jp", "\x1b$BF|K\\\x1b(B", "\u65e5\u672c"},
		{"koi8-r", "koi8-r", "\xcd\xc9\xd2", "\u043c\u0438\u0440"},
		{"utf-16", "utf-16le", "a\x00\xfc\x00", "a\u00fc"},
		{"utf-7", "utf-7", "Hi +AOQ-pfel +- +2D3cqQ- end+AOQ", "Hi \u00e4pfel + \U0001f4a9 end\u00e4"},
		{"a name that nobody knows", "x-klingon", "Gr\xfc\xdfe", "Gr\u00fc\u00dfe"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{"whole": strings.NewReader(tt.in), "octet by octet": iotest.OneByteReader(strings.NewReader(tt.in))} {
				u, known := toUTF8(tt.label, r)
				b, err := io.ReadAll(u)
				if err != nil || string(b) != tt.want || known == (tt.label == "x-klingon") {
					t.Errorf("%s: got %q, %v, known %v, want %q", name, b, err, known, tt.want)
				}
			}
		})
	}
}

func TestPriorities(t *testing.T) {
	tests := []struct {
		name, header string
		priority     mail.Priority
		want         string
	}{
		{"nothing said", "", mail.Normal, ""},
		{"an urgent envelope alone", "", mail.Urgent, "5"},
		{"a non-urgent envelope alone", "", mail.NonUrgent, "1"},
		{"high importance", "Importance: high\n", mail.Normal, "5"},
		{"X-Priority", "X-Priority: 5 (lowest)\n", mail.Normal, "1"},
		{"normal is said", "Importance: Normal\n", mail.Normal, "3"},
		{"the original letter", "Importance: high\n" + fieldPriority + ": 4\n", mail.Urgent, "4"},
		{"the original letter does not survive a change", "Importance: low\n" + fieldPriority + ": 4\n", mail.NonUrgent, "1"},
		{"a free letter", fieldPriority + ": q\n", mail.Normal, "q"},
		{"a letter that is none", fieldPriority + ": 5\tx\n", mail.Normal, ""},
		{"a receipt", "Disposition-Notification-To: a@b.example\n", mail.Normal, "R"},
		{"R without a receipt asked for is not believed", fieldPriority + ": R\n", mail.Normal, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := envelope(asmith)
			env.Priority = tt.priority
			if got := translated(t, postOffice(t, "NORTHWIND/PO2", 850), env, tt.header+"Subject: x\n\nx\n").Message.Priority; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatAPostOfficeAloneMaySayIsNotBelievedOfOthers(t *testing.T) {
	// "exact" would bring an escape sequence to a DOS screen.
	const content = "From: eve@example.org\n" + fieldBody + ": exact\nContent-Transfer-Encoding: quoted-printable\n\na=1B[2Jb\n"
	po := postOffice(t, "NORTHWIND/PO2", 850)
	if got := octets(t, translated(t, po, envelope(smtp("eve@example.org")), content).Message.Text); got != "a?[2Jb\r\n" {
		t.Errorf("from outside: %q", got)
	}
	if got := octets(t, translated(t, po, envelope(asmith), content).Message.Text); got != "a\x1b[2Jb\r\n" {
		t.Errorf("from a post office: %q", got)
	}
	subject := fieldSubject + ": " + exactText("x\r\nTO:CSI:A/B/C") + "\nSubject: another\n\nx\n"
	if got := translated(t, po, envelope(asmith), subject).Message.Subject; got != "another" {
		t.Errorf("subject %q", got)
	}
	name := "Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Disposition: attachment; filename=a.txt\n" + fieldName + ": " + exactText(`..\..\x`) + "\n\nx\n--B--\n"
	if got := translated(t, po, envelope(asmith), name).Message.Attachments[0].Name; got != "a.txt" {
		t.Errorf("name %q", got)
	}
}

func TestReportsAreWrittenAsMSMailWritesThem(t *testing.T) {
	original := connectortest.Bytes(crlf("From: \"Smith, Alex\" <asmith@northwind.example>\nTo: Gone <gone@sitea.example>\nSubject: Q1 stock counts\nDate: Fri, 14 Mar 1997 09:05:00 +0000\n" +
		"Content-Type: multipart/mixed; boundary=B\n\n--B\n\nHello Gr=C3=BC\n--B\nContent-Disposition: attachment; filename=a.txt\n\nnot returned as text\n--B--\n"))
	gone := mail.Recipient{Address: ms("NORTHWIND/PO2/GONE"), Name: "Gone, Ann"}
	late := dsn.ForRecipient(mail.Recipient{Address: smtp("ben@example.org")}, dsn.Delayed, mail.LinkDown("example.org does not answer", nil))
	late.WillRetryUntil = now.AddDate(0, 0, 2)
	tests := []struct {
		file       string
		recipients []dsn.Recipient
		side       string
	}{
		{"failed", []dsn.Recipient{dsn.ForRecipient(gone, dsn.Failed, mail.UnknownRecipient("no mailbox GONE at post office PO2")),
			dsn.ForRecipient(mail.Recipient{Address: ms("NORTHWIND/PO2/GONE2")}, dsn.Failed, mail.UnknownRecipient("no mailbox GONE2 at post office PO2")),
			dsn.ForRecipient(mail.Recipient{Address: smtp("ben@example.org"), Name: "Ben"}, dsn.Failed, mail.Expired("tried for 2 days"))}, "ndr"},
		{"delayed", []dsn.Recipient{late}, "delay"},
		{"delivered", []dsn.Recipient{dsn.ForRecipient(mail.Recipient{Address: smtp("ben@example.org")}, dsn.Delivered, nil)}, "dr"},
		{"relayed", []dsn.Recipient{dsn.ForRecipient(gone, dsn.Relayed, nil)}, "dr"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			r := &dsn.Report{ReportingMTA: dsn.MTA{Name: "sitea.example"}, About: "SITEA-9", Arrival: now, Recipients: tt.recipients}
			var err error
			if r.Original, err = dsn.Describe(original); err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if _, err := dsn.Build(&b, r, original, dsn.Options{From: netmail.Address{Address: "postmaster@sitea.example"}, To: netmail.Address{Address: "asmith@northwind.example"},
				MessageID: "R1@sitea.example", Date: now, Full: true}); err != nil {
				t.Fatal(err)
			}
			po := postOffice(t, "NORTHWIND/PO1", 850)
			po.Postmaster = ms("NORTHWIND/SITEA/POSTMASTER")
			env := mail.Envelope{ID: "SITEA-R1", Kind: mail.KindReport, About: "SITEA-9", Recipients: []mail.Recipient{{Address: asmith}}, Arrived: now}
			out, err := po.Out(&env, connectortest.Bytes(b.Bytes()), book())
			if err != nil {
				t.Fatal(err)
			}
			if got := out.Side.Get(shadowpo.SideType); got != tt.side {
				t.Errorf("side type %q, want %q", got, tt.side)
			}
			m := out.Message
			golden(t, "testdata/report/"+tt.file+".golden", fmt.Sprintf("FROM %s TO %s %s %s %q\n\n", m.From, m.To[0], m.Date, m.Time, m.Subject)+strings.ReplaceAll(octets(t, m.Text), "\r\n", "\n"))
			// Our own report, submitted by a post office, is known for one, and names the same recipients.
			if tt.side == "ndr" {
				in, _ := canonical(t, po, m, nil)
				if in.Envelope.Kind != mail.KindReport || !in.Envelope.Originator.IsZero() {
					t.Errorf("on its way back it is a %s from %s", in.Envelope.Kind, in.Envelope.Originator)
				}
			}
		})
	}
}

func TestAReportFromAPostOfficeReachesAnotherAsItWas(t *testing.T) {
	b, err := os.ReadFile("testdata/in/ndr.msg")
	if err != nil {
		t.Fatal(err)
	}
	m, err := mmff.NewDecoder(bytes.NewReader(b), int64(len(b)), mmff.Options{}).Next()
	if err != nil {
		t.Fatal(err)
	}
	po := postOffice(t, "NORTHWIND/PO1", 850)
	in, content := canonical(t, po, m, nil)
	if in.Envelope.Kind != mail.KindReport || !in.Envelope.Originator.IsZero() {
		t.Errorf("kind %s, originator %s", in.Envelope.Kind, in.Envelope.Originator)
	}
	r, err := dsn.Parse(bytes.NewReader(content))
	if err != nil || len(r.Recipients) != 2 || r.Recipients[0].Name != "Gone, Ann" || r.Recipients[1].MSMail != 2 {
		t.Errorf("as others see it: %+v, %v", r, err)
	}
	_, got := back(t, po, in.Envelope, content)
	if d := cmp.Diff(flat(t, m), flat(t, got)); d != "" {
		t.Errorf("-sent +received:\n%s", d)
	}
}

func TestMIMEKeepsTextAndAttachmentsOnItsWayThroughAPostOffice(t *testing.T) {
	po := postOffice(t, "NORTHWIND/PO2", 850)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.ReplaceAll(genText(t, po.Page, "text", false), "\u00ad", "")
		files := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 0, 5).Draw(t, "files")
		var b bytes.Buffer
		fmt.Fprintf(&b, "From: ben@example.org\r\nSubject: x\r\nDate: Fri, 14 Mar 1997 09:05:00 +0000\r\nContent-Type: multipart/mixed; boundary=BB\r\n\r\n--BB\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n", text)
		want := []string{}
		for i, f := range files {
			name := fmt.Sprintf("file%d.dat", i)
			want = append(want, name+": "+string(f))
			head, err := headerBytes(attachmentHeader(name).Header)
			if err != nil {
				t.Fatal(err)
			}
			enc, err := io.ReadAll(encoded(bytes.NewReader(f), "base64", false))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "--BB\r\n%s%s\r\n", head, enc)
		}
		b.WriteString("--BB--\r\n")
		_, m := back(t, po, envelope(smtp("ben@example.org")), b.Bytes())
		first := flat(t, m)
		m.LineEnd = mmff.CRLF
		in, content := canonical(t, po, m, nil)
		_, again := back(t, po, in.Envelope, content)
		second := flat(t, again)
		if d := cmp.Diff(first, second); d != "" {
			t.Fatalf("-first +second:\n%s", d)
		}
		u, _ := po.Page.Decode([]byte(second.Text))
		if u != text {
			t.Fatalf("text %q became %q", text, u)
		}
		if d := cmp.Diff(want, append([]string{}, second.Attachments...)); d != "" {
			t.Fatalf("-want +got:\n%s", d)
		}
	})
}

package dsn

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"os"
	"strings"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

type content string

func (c content) Size() int64 { return int64(len(c)) }
func (c content) Open() (io.ReadSeekCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{strings.NewReader(string(c)), io.NopCloser(nil)}, nil
}

var (
	now  = time.Date(1997, 3, 14, 13, 5, 0, 0, time.UTC)
	opts = Options{
		From:      netmail.Address{Name: "System Administrator", Address: "postmaster@sitea.northwind.example"},
		To:        netmail.Address{Name: "Smith, Alex", Address: "IMCEAMS-NORTHWIND_PO1_ASMITH@sitea.northwind.example"},
		MessageID: "R17@sitea.northwind.example",
		Date:      now,
	}
	original = content("Message-ID: <000A17@northwind.example>\r\nFrom: IMCEAMS-NORTHWIND_PO1_ASMITH@sitea.northwind.example\r\n" +
		"Subject: Q1 stock counts\r\nDate: Fri, 14 Mar 1997 09:05:00 +0000\r\n\r\nHello both\r\n")
)

func ndr() *Report {
	return &Report{
		ReportingMTA: MTA{Name: "sitea.northwind.example"}, EnvID: "PO1 17", About: "SITEA-17",
		Arrival:  now.Add(-4 * time.Hour),
		Original: Original{MessageID: "000A17@northwind.example", Subject: "Q1 stock counts", Sent: now.Add(-4 * time.Hour)},
		Recipients: []Recipient{
			{Final: address.Address{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"}, Name: "Kumar, Mira", Action: Failed, Status: "5.1.1",
				MSMail: 2, X400: &X400{1, 0}, LastAttempt: now, Text: "Post office NORTHWIND/PO2 has no such mailbox."},
			{Final: smtp("jörg@example.org"), Original: smtp("joerg@example.org"), Action: Failed, Status: "5.3.4",
				RemoteMTA: MTA{Name: "mx.example.org"}, Diagnostic: "552 5.3.4 Nachricht zu groß", DiagnosticType: "smtp"},
			{Final: address.Address{Type: address.X400, Value: "c=US;a= ;p=Fabrikam;o=SITEB;s=Lee;g=Jo;"}, Action: Delayed, Status: "4.4.1",
				X400: &X400{1, 2}, WillRetryUntil: now.AddDate(0, 0, 2)},
		},
	}
}

func TestBuildWritesTheGoldenReport(t *testing.T) {
	var b bytes.Buffer
	eight, err := Build(&b, ndr(), original, opts)
	if err != nil || eight {
		t.Fatalf("Build: %v, eight bit %v", err, eight)
	}
	const file = "testdata/ndr.golden"
	got := strings.ReplaceAll(b.String(), "\r\n", "\n")
	if strings.ContainsAny(got, "\r") || strings.Count(b.String(), "\n") != strings.Count(b.String(), "\r\n") {
		t.Error("a line does not end with CRLF")
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// parts takes a report apart with the standard library, which shares no code with Build.
func parts(t *testing.T, raw []byte) (head netmail.Header, types, bodies []string) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	typ, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("Content-Type %q %v: %v", typ, params, err)
	}
	mr := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := mr.NextPart()
		if err == io.EOF {
			return m.Header, types, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		typ, _, _ := strings.Cut(p.Header.Get("Content-Type"), ";")
		types, bodies = append(types, typ), append(bodies, string(body))
	}
}

func TestBuildReturnsAsMuchOfTheOriginalAsWasAskedFor(t *testing.T) {
	big := original + content(strings.Repeat("0123456789abcdef\r\n", 10_000))
	eight := original + "Grüße\r\n"
	longHeader := content("Subject: x\r\n" + strings.Repeat("X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 4000) + "\r\nbody\r\n")
	delayed := &Report{Recipients: []Recipient{{Final: smtp("a@b.example"), Action: Delayed}}}
	full := opts
	full.Full = true
	tests := []struct {
		name      string
		report    *Report
		original  mail.Content
		opts      Options
		lastType  string
		last      string
		eightBit  bool
		atMostKiB int
	}{
		{"the header alone by default", ndr(), original, opts, "text/rfc822-headers", "Date: Fri, 14 Mar 1997 09:05:00 +0000\r\n", false, 8},
		{"everything when the originator wants it", ndr(), original, full, "message/rfc822", "Hello both\r\n", false, 8},
		{"everything with 8-bit text tells the envelope", ndr(), eight, full, "message/rfc822", "Grüße\r\n", true, 8},
		{"8-bit text that is not returned does not matter", ndr(), eight, opts, "text/rfc822-headers", "+0000\r\n", false, 8},
		{"never more than the limit", ndr(), big, full, "text/rfc822-headers", "+0000\r\n", false, 8},
		{"never the whole with a delay notice", delayed, original, full, "text/rfc822-headers", "+0000\r\n", false, 8},
		{"a header cut at 64 KiB and at a line's end", ndr(), longHeader, opts, "text/rfc822-headers", "yyy\r\n", false, 80},
		{"nothing when the original is gone", ndr(), nil, full, "message/delivery-status", "", false, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			eight, err := Build(&b, tt.report, tt.original, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			_, types, bodies := parts(t, b.Bytes())
			last := len(types) - 1
			if types[last] != tt.lastType || !strings.HasSuffix(bodies[last], tt.last) {
				t.Errorf("last part is %s ending %q", types[last], bodies[last][max(0, len(bodies[last])-60):])
			}
			if eight != tt.eightBit {
				t.Errorf("eight bit: got %v", eight)
			}
			if b.Len() > tt.atMostKiB<<10 {
				t.Errorf("report of %d octets", b.Len())
			}
		})
	}
}

func TestNothingInAReportAddsAFieldOrAPart(t *testing.T) {
	evil := "x\r\nBcc: victim@example.com\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\x00\x1b[31m\u202eevil\u2028"
	evilAddress := address.Address{Type: "SM\r\nTP", Value: evil}
	r := &Report{
		ReportingMTA: MTA{Type: evil, Name: evil}, ReceivedFrom: MTA{Name: evil}, EnvID: evil, About: evil,
		Original: Original{MessageID: evil, Subject: evil, From: evil},
		Recipients: []Recipient{{Original: evilAddress, Final: evilAddress, Name: evil, Action: Action(evil), Status: evil, Diagnostic: evil,
			DiagnosticType: evil, RemoteMTA: MTA{Type: evil, Name: evil}, Text: evil}},
	}
	o := opts
	o.MessageID, o.To.Name, o.From.Name = evil, evil, evil
	var b bytes.Buffer
	if _, err := Build(&b, r, content("Subject: "+evil+"\r\n\r\n"), o); err != nil {
		t.Fatal(err)
	}
	head, types, bodies := parts(t, b.Bytes())
	want := []string{"text/plain", "message/delivery-status", "text/rfc822-headers"}
	if d := cmp.Diff(want, types); d != "" {
		t.Errorf("parts, -want +got:\n%s", d)
	}
	for _, name := range []string{"Bcc", "X"} {
		if head.Get(name) != "" {
			t.Errorf("a field %s came into being", name)
		}
	}
	for _, line := range strings.Split(bodies[1], "\r\n") {
		if strings.HasPrefix(strings.ToLower(line), "bcc") || strings.HasPrefix(line, "--") {
			t.Errorf("the status part has the line %q", line)
		}
	}
	if strings.ContainsAny(bodies[0]+bodies[1], "\x00\x1b\u202e\u2028") {
		t.Error("a control character came through")
	}
	o.To.Address = "a@b.example\r\nBcc: c@d.example"
	if _, err := Build(io.Discard, r, nil, o); err == nil {
		t.Error("an address with a line end was taken")
	}
}

func TestABoundaryGuessedByTheOriginalIsNotUsed(t *testing.T) {
	guess, _, err := boundaryFor(nil, false, opts.MessageID)
	if err != nil {
		t.Fatal(err)
	}
	// The guess straddles the reader's buffer, where a search by blocks would miss it.
	evil := original + content(strings.Repeat("x", 32<<10-len(original)-10)+"\r\n--"+guess+"\r\nContent-Type: text/html\r\n\r\nforged\r\n")
	o := opts
	o.Full = true
	var b bytes.Buffer
	if _, err := Build(&b, ndr(), evil, o); err != nil {
		t.Fatal(err)
	}
	_, types, bodies := parts(t, b.Bytes())
	if len(types) != 3 || !strings.Contains(bodies[2], "forged") {
		t.Errorf("parts %v: the original broke out of its part", types)
	}
}

func TestBuildNeedsIdentifierDateAndAddresses(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no Message-ID":  func(o *Options) { o.MessageID = "" },
		"no date":        func(o *Options) { o.Date = time.Time{} },
		"no To":          func(o *Options) { o.To.Address = "" },
		"a bare From":    func(o *Options) { o.From.Address = "postmaster" },
		"a folding From": func(o *Options) { o.From.Address = "a\r\n@b" },
	} {
		t.Run(name, func(t *testing.T) {
			o := opts
			change(&o)
			if _, err := Build(io.Discard, ndr(), nil, o); err == nil {
				t.Error("taken")
			}
		})
	}
}

func sameSecond(a, b time.Time) bool { return a.Equal(b) }

// rebuild writes r and reads it back.
func rebuild(t rapid.TB, r *Report) *Report {
	t.Helper()
	var b bytes.Buffer
	if _, err := Build(&b, r, nil, opts); err != nil {
		t.Fatalf("%v", err)
	}
	for line := range strings.SplitSeq(b.String(), "\r\n") {
		if len(line) > 998 {
			t.Fatalf("a line of %d octets", len(line))
		}
	}
	got, err := Parse(&b)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return got
}

func TestWhatIsBuiltIsParsedToTheSame(t *testing.T) {
	words := rapid.Custom(func(t *rapid.T) string {
		return clean(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "550 5.1.1 no", "=?utf-8?q?x?=", "a  b", "Kumar, Mira", strings.Repeat("w", 1200), "ß;ü"})).Draw(t, "s"))
	})
	value := rapid.Custom(func(t *rapid.T) string { return clean("v" + words.Draw(t, "v") + "w") })
	addr := rapid.Custom(func(t *rapid.T) address.Address {
		switch rapid.IntRange(0, 3).Draw(t, "type") {
		case 0:
			return smtp(value.Draw(t, "local") + "@example.org")
		case 1:
			return address.Address{Type: address.MS, Value: value.Draw(t, "ms")}
		case 2:
			return address.Address{Type: address.X400, Value: "c=US;a= ;p=" + value.Draw(t, "p") + ";"}
		}
		return address.Address{Type: "PROFS", Value: value.Draw(t, "profs")}
	})
	when := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "none") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "sec"), 0).UTC()
	})
	mta := rapid.Custom(func(t *rapid.T) MTA {
		return MTA{Type: rapid.SampledFrom([]string{"", "x400", "x-backbone"}).Draw(t, "type"), Name: value.Draw(t, "name")}
	})
	rcpt := rapid.Custom(func(t *rapid.T) Recipient {
		r := Recipient{Final: addr.Draw(t, "final"), Name: words.Draw(t, "name"), LastAttempt: when.Draw(t, "last"), Text: words.Draw(t, "text"),
			Action: rapid.SampledFrom([]Action{Failed, Delayed, Delivered, Relayed, Expanded}).Draw(t, "action"),
			MSMail: rapid.IntRange(0, 999).Draw(t, "msmail"),
			Status: fmt.Sprintf("%d.%d.%d", rapid.SampledFrom([]int{2, 4, 5}).Draw(t, "class"), rapid.IntRange(0, 999).Draw(t, "subject"), rapid.IntRange(0, 999).Draw(t, "detail"))}
		if rapid.Bool().Draw(t, "has original") {
			r.Original = addr.Draw(t, "original")
		}
		if d := words.Draw(t, "diagnostic"); d != "" {
			r.Diagnostic, r.DiagnosticType = d, "smtp"
		}
		if rapid.Bool().Draw(t, "has x400") {
			r.X400 = &X400{rapid.IntRange(0, 6).Draw(t, "reason"), rapid.IntRange(-1, 255).Draw(t, "diag")}
		}
		if rapid.Bool().Draw(t, "has remote") {
			r.RemoteMTA = mta.Draw(t, "remote")
		}
		if r.Action == Delayed {
			r.WillRetryUntil = when.Draw(t, "until")
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		want := &Report{ReportingMTA: mta.Draw(t, "mta"), EnvID: words.Draw(t, "envid"), About: words.Draw(t, "about"), Arrival: when.Draw(t, "arrival"),
			Recipients: rapid.SliceOfN(rcpt, 1, 4).Draw(t, "recipients")}
		got := rebuild(t, want)
		if d := cmp.Diff(want, got, cmp.Comparer(sameSecond)); d != "" {
			t.Fatalf("-want +got:\n%s", d)
		}
	})
}

func TestAReturnedHeaderIsDescribed(t *testing.T) {
	var b bytes.Buffer
	if _, err := Build(&b, ndr(), original, opts); err != nil {
		t.Fatal(err)
	}
	got, err := Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Describe(original)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got.Original, cmp.Comparer(sameSecond)); d != "" || want.Subject != "Q1 stock counts" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestARecipientsStatusComesFromItsFailure(t *testing.T) {
	rcpt := mail.Recipient{Address: address.Address{Type: address.MS, Value: "N/P/M"}, Name: "Mira", ORCPT: "rfc822;mira@example.org"}
	busy := mail.LinkDown("post office PO2 can't be reached", io.ErrUnexpectedEOF)
	busy.Peer = "450 4.2.0 busy"
	tests := []struct {
		name   string
		action Action
		f      *mail.Failure
		want   Recipient
	}{
		{"success", Relayed, nil, Recipient{Status: "2.0.0"}},
		{"unknown recipient", Failed, mail.UnknownRecipient("no such mailbox"), Recipient{Status: "5.1.1", MSMail: 2, X400: &X400{1, 0}, Text: "no such mailbox"}},
		{"link down with the peer's words", Delayed, busy, Recipient{Status: "4.4.1", MSMail: 5, X400: &X400{1, 2}, Text: "post office PO2 can't be reached", Diagnostic: "450 4.2.0 busy", DiagnosticType: "smtp"}},
		{"a failure without codes", Failed, &mail.Failure{Class: mail.Permanent, Diagnostic: -1, Peer: "go away"}, Recipient{Status: "5.0.0", X400: &X400{0, -1}, Diagnostic: "go away", DiagnosticType: "x-backbone"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Final, tt.want.Name, tt.want.Original, tt.want.Action = rcpt.Address, "Mira", smtp("mira@example.org"), tt.action
			if d := cmp.Diff(tt.want, ForRecipient(rcpt, tt.action, tt.f)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestExplainKnowsEveryFailureOfTheGateway(t *testing.T) {
	general := lookup(Recipient{Status: "5.0.0"}).reason
	for _, f := range []*mail.Failure{mail.NoRoute(""), mail.UnknownRecipient(""), mail.AmbiguousRecipient(""), mail.LinkDown("", nil), mail.Expired(""),
		mail.HopLimit(""), mail.Loop(""), mail.TooLarge(""), mail.BadContent("", nil), mail.Restricted("")} {
		reason, advice := Explain(ForRecipient(mail.Recipient{}, Failed, f))
		if reason == general || advice == "" {
			t.Errorf("%s: %q, %q", f.Enhanced, reason, advice)
		}
		// A peer that gives X.411's numbers alone must be understood as well.
		if byNumber, _ := Explain(Recipient{Action: Failed, X400: &X400{f.Reason, f.Diagnostic}}); byNumber == general {
			t.Errorf("reason %d, diagnostic %d is not explained", f.Reason, f.Diagnostic)
		}
	}
}

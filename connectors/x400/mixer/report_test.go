package mixer

import (
	"bytes"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/p22"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"

	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestAReportGoesThereAndBack(t *testing.T) {
	m := mapper(t)
	ours := p1.GDI{Country: "US", ADMD: " ", PRMD: "Northwind"}
	bob := address.Address{Type: address.MS, Value: "NORTHWIND/PO2/BOB"}
	in := &dsn.Report{EnvID: "QQ314159", About: "A1B2", Recipients: []dsn.Recipient{
		dsn.ForRecipient(mail.Recipient{Address: bob}, dsn.Failed, mail.UnknownRecipient("no such mailbox")),
		dsn.ForRecipient(mail.Recipient{Address: smtp("x_y@other.org"), ORCPT: IntendedAs(7, m.OR(smtp("x_y@other.org")))}, dsn.Delivered, nil),
	}}
	// As it went: dsn's own parser gives the ORCPT as an address.
	in.Recipients[1].Original = dsn.ParseAddress(IntendedAs(7, m.OR(smtp("x_y@other.org"))))
	r, ok := m.ToReport(in, p1.MTSIdentifier{GDI: ours, Local: "R1"}, nil, now)
	if !ok {
		t.Fatal("no report")
	}
	if r.Subject.String() != "[/PRMD=Northwind/ADMD= /C=US/;A1B2]" || len(r.Recipients) != 2 || !r.Recipients[0].NonDelivery || r.Recipients[0].Reason != 1 ||
		r.Recipients[0].Diagnostic != 0 || r.Recipients[0].Number != 1 || r.Recipients[1].NonDelivery || r.Recipients[1].Number != 7 || r.Recipients[1].Intended != nil ||
		!strings.Contains(r.Recipients[0].Supplementary, "no such mailbox") {
		t.Errorf("%+v", r)
	}
	r.Destination = p1.ORName{Address: m.OR(smtp("o@sitea.example"))}
	r.Trace = []p1.TraceElement{{GDI: ours, Arrival: now}}
	b, err := r.Encode(there(t, m, "Subject: figures\n\nbody\n"), p1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := p1.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := m.FromReport(&out, a.Report, "SITEB", dsn.Options{From: netmail.Address{Address: "postmaster@sitea.example"}, To: netmail.Address{Address: "o@sitea.example"}, MessageID: "r1@sitea.example", Date: now}); err != nil {
		t.Fatal(err)
	}
	back, err := dsn.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	if back.EnvID != "QQ314159" || back.About != "A1B2" || !strings.Contains(string(back.Header), "Subject: figures") {
		t.Errorf("%+v", back)
	}
	type line struct {
		Final, Action, Status string
	}
	var got []line
	for _, x := range back.Recipients {
		got = append(got, line{x.Final.String(), string(x.Action), x.Status})
	}
	if diff := cmp.Diff([]line{{"MS:NORTHWIND/PO2/BOB", "failed", "5.1.1"}, {"SMTP:x_y@other.org", "delivered", "2.1.5"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAReportOnAMessageOfX400NamesItAsX400Did(t *testing.T) {
	m := mapper(t)
	in := &dsn.Report{EnvID: "[/PRMD=TestA/ADMD=TEST/C=GB/;<m1@testa.test>]", About: "A1", Recipients: []dsn.Recipient{{Final: smtp("a@b.c"), Action: dsn.Failed, Status: "5.1.1"}}}
	r, ok := m.ToReport(in, p1.MTSIdentifier{Local: "R"}, nil, now)
	if !ok || r.Subject.String() != in.EnvID {
		t.Errorf("%v: %s", ok, r.Subject)
	}
}

func TestX411HasNoReportOfADelay(t *testing.T) {
	in := &dsn.Report{Recipients: []dsn.Recipient{{Final: smtp("a@b.c"), Action: dsn.Delayed, Status: "4.4.7"}}}
	if _, ok := mapper(t).ToReport(in, p1.MTSIdentifier{}, nil, now); ok {
		t.Error("a delay became a report")
	}
}

func TestNotificationsGoThereAndBack(t *testing.T) {
	m := mapper(t)
	me := or(t, "c=US;a= ;p=acme;s=Kumar;g=Mira;")
	for _, want := range []*p22.IPN{
		{Subject: p22.IPMID{Local: "m1(a)acme.com"}, Originator: &p22.ORDescriptor{Name: &p1.ORName{Address: me}}, DiscardReason: -1, Received: now},
		{Subject: p22.IPMID{Local: "native 5"}, Originator: &p22.ORDescriptor{Name: &p1.ORName{Address: me}}, DiscardReason: -1, Received: now, Automatic: true},
		{Subject: p22.IPMID{Local: "m1(a)acme.com"}, Originator: &p22.ORDescriptor{Name: &p1.ORName{Address: me}}, DiscardReason: -1, NonReceipt: true, Reason: 1, Automatic: true},
	} {
		var b bytes.Buffer
		if err := m.FromIPN(&b, want, Facts{Submitted: now, MTSIdentifier: "[x]"}, "o@sitea.example"); err != nil {
			t.Fatal(err)
		}
		got, ok := m.ToIPN(bytes.NewReader(b.Bytes()), now)
		if !ok {
			t.Fatalf("no notification in\n%s", b.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if _, ok := m.ToIPN(strings.NewReader("Subject: x\r\n\r\nbody"), now); ok {
		t.Error("a message became a notification")
	}
}

func TestACorrelatorIsTextOrNothing(t *testing.T) {
	if got := Correlator([]p1.Extension{NewCorrelator("abc")}); got != "abc" {
		t.Error(got)
	}
	if got := Correlator([]p1.Extension{{Number: p1.ExtContentCorrelator, Value: ber.AppendHeader(nil, ber.OctetString, false, 0)}}); got != "" {
		t.Error(got)
	}
}

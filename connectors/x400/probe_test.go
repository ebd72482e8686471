package x400

import (
	"bytes"
	"context"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func TestAProbeOfSomethingTooLargeIsAnsweredWithANonDelivery(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) {
		caller.Transport, answerer.Transport, answerer.MaxSize = "rfc1006", "rfc1006", 1000
	})
	c := a.opened.Connectors[0].(*Connector)
	for id, size := range map[string]int{"SMALL": 900, "LARGE": 1100} {
		probe := message(id, size)
		probe.Content = connectortest.Bytes(make([]byte, size))
		probe.Envelope.Recipients[0].Notify = mail.NotifySuccess | mail.NotifyFailure
		if got := c.Probe(context.Background(), probe)[0]; got.State != mail.Delivered || !got.PeerReports {
			t.Error(got.Failure)
		}
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
	if len(b.gw.Taken()) != 2 {
		t.Fatalf("%d reports", len(b.gw.Taken()))
	}
	for _, m := range b.gw.Taken() {
		want := "Action: delivered"
		if m.Envelope.About == "LARGE" {
			want = "Status: 5.3.4"
		}
		if !bytes.Contains(m.Content, []byte(want)) {
			t.Errorf("%s: no %q in\n%s", m.Envelope.About, want, m.Content)
		}
		// Its way leads back to the peer; were the peer its source, that would be a loop.
		if m.Envelope.Source.Peer != "SITEB" {
			t.Errorf("%s comes from %q, not from us", m.Envelope.About, m.Envelope.Source.Peer)
		}
	}
}

func TestAReportOnWhatHadNoOriginatorIsThePostmasters(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) { caller.Transport, answerer.Transport = "rfc1006", "rfc1006" })
	report := message("REPORT", 0)
	report.Envelope.Kind, report.Envelope.Originator = mail.KindReport, address.Address{}
	or := "X400:c=US;a= ;p=Northwind;o=SITEB;s=POSTMASTER;"
	to, err := address.Parse(or)
	if err != nil {
		t.Fatal(err)
	}
	report.Envelope.Recipients = []mail.Recipient{{Address: to}}
	report.Content = connectortest.Bytes(connectortest.Report("nobody@sitea.example"))
	if got := a.opened.Connectors[0].Deliver(context.Background(), report)[0]; got.State != mail.Delivered {
		t.Fatal(got.Failure)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
	want := address.Address{Type: address.SMTP, Value: "postmaster@siteb.example"}
	if got := b.gw.Taken(); len(got) != 1 || got[0].Envelope.Recipients[0].Address != want {
		t.Errorf("got %+v, want one report for %s", got, want)
	}
}

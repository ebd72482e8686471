package x400

import (
	"context"
	"slices"
	"testing"
	"time"

	"backbone/connectors/connectortest"
	"backbone/connectors/x400/p1"
	"backbone/gateway/mail"
)

// offered is what becomes of a message that the peer remote hands over to a gateway of ours.
func offered(t *testing.T, gw *connectortest.Acceptor, remote string, v p1.Envelope) {
	t.Helper()
	c := section("SITEB", remote)
	c.Transport, c.Listen = "rfc1006", "127.0.0.1:0"
	s := openFor(t, "SITEB", c, gw)
	v.Probe = false
	head, err := v.Header(1, p1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &arrival{arrivals: &arrivals{peer: s.opened.Sources[0].(*listener).peers[0], gw: gw}, ctx: context.Background()}
	if err := a.offer(append(head, 'x')); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// TestAForgedIdentifierTakesNoMailFromOthers: a peer that uses the identifiers of another's messages beforehand does not make the
// other's pass for repetitions.
func TestAForgedIdentifierTakesNoMailFromOthers(t *testing.T) {
	gw := &connectortest.Acceptor{}
	v := addressed(t, "c=US;a= ;p=Northwind;o=SITEB;s=Kim;")
	offered(t, gw, "SITEX", *v)
	offered(t, gw, "SITEA", *v)
	offered(t, gw, "SITEA", *v)
	var from []string
	for _, m := range gw.Taken() {
		from = append(from, m.Envelope.Source.Peer)
	}
	if want := []string{"SITEX", "SITEA"}; !slices.Equal(from, want) {
		t.Errorf("taken from %q, want one each from %q", from, want)
	}
}

// TestAForgedTraceNamesNobodyElse: whatever a trace says, the message came from the peer that has bound, and a hop through us that we
// have not seen is a loop to its own harm; a trace without end is no more than many hops.
func TestAForgedTraceNamesNobodyElse(t *testing.T) {
	gw := &connectortest.Acceptor{}
	v := addressed(t, "c=US;a= ;p=Northwind;o=SITEB;s=Kim;")
	ours := p1.GDI{Country: "US", ADMD: " ", PRMD: "Northwind"}
	for range 5000 {
		v.Trace = append(v.Trace, p1.TraceElement{GDI: p1.GDI{Country: "FR", ADMD: "atlas"}, Arrival: time.Unix(9e8, 0)})
	}
	x, err := p1.NewInternalTrace([]p1.TraceElement{{GDI: ours, MTA: "SITEA", Arrival: time.Unix(9e8, 0)}, {GDI: ours, MTA: "SITEB", Arrival: time.Unix(9e8, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	v.Extensions = []p1.Extension{x}
	offered(t, gw, "SITEX", *v)
	taken := gw.Taken()
	if len(taken) != 1 {
		t.Fatalf("%d taken", len(taken))
	}
	env := taken[0].Envelope
	if env.Source.Peer != "SITEX" || env.Kind != mail.KindMessage {
		t.Errorf("%+v", env.Source)
	}
	if n := len(env.Trace); n != 5003 || env.Trace[n-1].Site != "SITEB" {
		t.Errorf("%d hops, the last %+v", n, env.Trace[n-1])
	}
}

// TestAnMTAOfAnotherDomainWithOurNameIsNoLoop: names of MTAs are their domain's own.
func TestAnMTAOfAnotherDomainWithOurNameIsNoLoop(t *testing.T) {
	gw := &connectortest.Acceptor{}
	v := addressed(t, "c=US;a= ;p=Northwind;o=SITEB;s=Kim;")
	x, err := p1.NewInternalTrace([]p1.TraceElement{{GDI: p1.GDI{Country: "GB", ADMD: "gold", PRMD: "UCL"}, MTA: "SITEB", Arrival: time.Unix(9e8, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	v.Extensions = []p1.Extension{x}
	offered(t, gw, "SITEX", *v)
	taken := gw.Taken()
	if len(taken) != 1 {
		t.Fatalf("%d taken", len(taken))
	}
	trace := taken[0].Envelope.Trace
	if len(trace) != 2 || trace[1].Site == "SITEB" {
		t.Errorf("hops %+v, want the domain and its MTA", trace)
	}
}

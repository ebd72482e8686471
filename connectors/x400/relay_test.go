package x400

import (
	"context"
	"slices"
	"testing"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/google/go-cmp/cmp"
)

// transferred gives what an envelope becomes that comes in at one connector and goes out at another: first in the gateway, then
// on the wire again.
func transferred(t testing.TB, v *p1.Envelope) (mail.Envelope, *p1.Envelope) {
	t.Helper()
	c := section("SITEB", "SITEA")
	c.Transport, c.Listen = "rfc1006", "127.0.0.1:0"
	s := open(t, "SITEB", c)
	p := s.opened.Sources[0].(*listener).peers[0]
	b, err := v.EncodeProbe(p1.Options{}) // as it comes from the wire: with its encodings
	if err != nil {
		t.Fatal(err)
	}
	apdu, err := p1.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	a := &arrival{arrivals: &arrivals{peer: p, gw: s.gw}, ctx: context.Background()}
	env := a.envelope(apdu.Probe)
	out := p.envelope(&env)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	return env, out
}

// addressed is a transfer envelope for or alone.
func addressed(t testing.TB, or string) *p1.Envelope {
	t.Helper()
	to, err := address.ParseORAddress(or)
	if err != nil {
		t.Fatal(err)
	}
	from, err := address.ParseORAddress("c=GB;a=gold;p=UCL;s=Kille;")
	if err != nil {
		t.Fatal(err)
	}
	gdi := p1.GDI{Country: "GB", ADMD: "gold", PRMD: "UCL"}
	return &p1.Envelope{Probe: true, ID: p1.MTSIdentifier{GDI: gdi, Local: "m1"}, Originator: p1.ORName{Address: from}, ContentType: p1.ContentType{BuiltIn: 22},
		Trace:      []p1.TraceElement{{GDI: gdi, Arrival: time.Unix(9e8, 0)}},
		Recipients: []p1.Recipient{{Name: p1.ORName{Address: to}, Number: 3, Indicators: ber.NewBits(8, p1.Responsibility, p1.OriginatingMTANonDelivery), Conversion: -1}}}
}

// TestWhatOnlyP1KnowsOfARecipientIsRelayed: postal attributes, a directory name, an explicit conversion, extensions.
func TestWhatOnlyP1KnowsOfARecipientIsRelayed(t *testing.T) {
	v := addressed(t, "c=FR;a=atlas;p=Paris;cn=Printer;")
	var w ber.Writer
	w.Cons(ber.Application(0), func() {
		w.Cons(ber.Sequence, func() {
			w.Cons(ber.Application(1), func() { w.Text(ber.PrintableString, "FR") })
			w.Cons(ber.Application(2), func() { w.Text(ber.PrintableString, "atlas") })
		})
		w.Cons(ber.Set, func() {
			for kind, text := range map[int64]string{1: "Printer", 7: "PDS", 9: "75001"} { // common name, physical delivery, postal code
				w.Cons(ber.Sequence, func() {
					w.Int(ber.Context(0), kind)
					w.Cons(ber.Context(1), func() { w.Text(ber.PrintableString, text) })
				})
			}
		})
	})
	postal, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d := ber.NewDecoder(postal, ber.DefaultLimits)
	v.Recipients[0].Name = p1.ReadORName(d.Root())
	v.Recipients[0].Conversion = 1
	v.Recipients[0].Extensions = []p1.Extension{{Number: p1.ExtAlternateRecipient, Critical: ber.NewBits(8, p1.CriticalForSubmission), Value: []byte{5, 0}},
		{Private: "1.2.3", Value: []byte{4, 1, 'x'}}}
	_, out := transferred(t, v)
	got := out.Recipients[0]
	if diff := cmp.Diff(v.Recipients[0].Extensions, got.Extensions); diff != "" || got.Conversion != 1 || got.Number != 3 {
		t.Errorf("conversion %d, number %d, %s", got.Conversion, got.Number, diff)
	}
	if !slices.Equal(got.Name.Raw, postal) {
		t.Errorf("the name became\n%x, was\n%x", got.Name.Raw, postal)
	}
}

// TestARecipientThatWasReroutedHasItsNewNameOnly: an operator's or the directory's new address is not undone by what came.
func TestARecipientThatWasReroutedHasItsNewNameOnly(t *testing.T) {
	v := addressed(t, "c=FR;a=atlas;p=Paris;cn=Printer;")
	v.Recipients[0].Conversion = 1
	env, _ := transferred(t, v)
	env.Recipients[0].Address = address.Address{Type: address.X400, Value: "c=FR;a=atlas;p=Lyon;cn=Printer;"}
	c := section("SITEB", "SITEA")
	c.Transport, c.Listen = "rfc1006", "127.0.0.1:0"
	s := open(t, "SITEB", c)
	out := s.opened.Sources[0].(*listener).peers[0].envelope(&env)
	if got := out.Recipients[0]; got.Name.Address.P != "Lyon" || got.Name.Raw != nil || got.Conversion != 1 {
		t.Errorf("%+v", got)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// TestTheTimesOfAMessageAreKept: deferred delivery and latest delivery come in, wait in the gateway and go out.
func TestTheTimesOfAMessageAreKept(t *testing.T) {
	latest := time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC)
	x, err := p1.NewLatestDelivery(latest)
	if err != nil {
		t.Fatal(err)
	}
	v := addressed(t, "c=FR;a=atlas;p=Paris;s=X;")
	v.Extensions = []p1.Extension{x}
	env, out := transferred(t, v)
	if got, ok := p1.LatestDelivery(out.Extensions); !env.NotAfter.Equal(latest) || !ok || !got.Equal(latest) || len(out.Extensions) != 1 {
		t.Errorf("not after %v, then %v in %d extensions, want %v", env.NotAfter, got, len(out.Extensions), latest)
	}
	v.Probe, v.Deferred = false, latest
	h, err := v.Header(0, p1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := p1.Parse(h)
	if err != nil || !a.Message.Deferred.Equal(latest) {
		t.Errorf("deferred until %v, %v", a, err)
	}
}

// TestTheInternalTraceShowsWhereAMessageHasBeen: MTAs of our domain become hops, with ours among them the gateway knows a loop;
// going out they are MTAs again, and foreign domains stay out of it.
func TestTheInternalTraceShowsWhereAMessageHasBeen(t *testing.T) {
	v := addressed(t, "c=FR;a=atlas;p=Paris;s=X;")
	ours := p1.GDI{Country: "US", ADMD: " ", PRMD: "Northwind"}
	v.Trace = append(v.Trace, p1.TraceElement{GDI: ours, Arrival: time.Unix(9e8, 0)})
	x, err := p1.NewInternalTrace([]p1.TraceElement{{GDI: ours, MTA: "SITEB", Arrival: time.Unix(9e8, 0)}, {GDI: ours, MTA: "SITEC", Arrival: time.Unix(9e8, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	v.Extensions = []p1.Extension{x}
	env, out := transferred(t, v)
	var sites, mtas []string
	for _, h := range env.Trace {
		sites = append(sites, h.Site)
	}
	for _, e := range p1.InternalTrace(out.Extensions) {
		mtas = append(mtas, e.MTA)
	}
	if diff := cmp.Diff([]string{"/PRMD=UCL/ADMD=gold/C=GB/", "SITEB", "SITEC"}, sites); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"SITEB", "SITEC"}, mtas); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(v.Trace, out.Trace, cmp.Comparer(func(a, b p1.TraceElement) bool { return a.GDI == b.GDI })); diff != "" {
		t.Error(diff)
	}
}

// TestTheListsThatAMessageWentThroughStayKnown: the history of distribution lists is shown in the header and relayed.
func TestTheListsThatAMessageWentThroughStayKnown(t *testing.T) {
	v := addressed(t, "c=FR;a=atlas;p=Paris;s=X;")
	var w ber.Writer
	w.Cons(ber.Sequence, func() {
		w.Cons(ber.Sequence, func() {
			v.Originator.Write(&w, ber.Application(0), p1.Options{})
			w.Time(ber.UTCTime, time.Unix(9e8, 0))
		})
	})
	b, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	v.Extensions = []p1.Extension{{Number: p1.ExtDLExpansionHistory, Value: b}}
	_, out := transferred(t, v)
	got := p1.DLExpansionHistory(out.Extensions)
	if len(got) != 1 || !got[0].List.Address.Equal(v.Originator.Address) || !got[0].At.Equal(time.Unix(9e8, 0)) {
		t.Errorf("%+v", got)
	}
}

package p1

import (
	"backbone/connectors/x400/golden/beginnings"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/gateway/address"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// captured is the message that PP transferred in pp-e2e.pcap.
func captured(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var pp = GDI{"GB", "TEST", "TestA"}

func TestAnotherMTAsMessageIsReadWhole(t *testing.T) {
	a, err := Parse(captured(t))
	if err != nil || a.Message == nil {
		t.Fatal(a, err)
	}
	m := a.Message
	if m.ID.String() != "[/PRMD=TestA/ADMD=TEST/C=GB/;<m1@testa.test>]" || m.Originator.Address.MIXER() != "/S=pp/O=OrgA/PRMD=TestA/ADMD=TEST/C=GB/" ||
		m.ContentType.BuiltIn != ContentP22 || m.ContentID != "Hello over P1" || m.Priority != PriorityNormal || m.Content.OctetLen() != 232 ||
		!m.Indicators.Has(AlternateRecipientAllowed) || !m.Indicators.Has(ContentReturnRequest) || m.Indicators.Has(Disclosure) {
		t.Errorf("%+v", m.Envelope)
	}
	if len(m.Trace) != 2 || m.Trace[1].GDI != pp || !m.Trace[1].Arrival.Equal(time.Date(1998, 11, 22, 22, 29, 24, 0, time.UTC)) || m.Trace[1].Rerouted {
		t.Errorf("%+v", m.Trace)
	}
	internal := InternalTrace(m.Extensions)
	if len(m.Extensions) != 2 || m.Extensions[0].Number != ExtContentCorrelator || len(internal) != 2 || internal[1].MTA != "mta-a.testa.test" {
		t.Errorf("%+v\n%+v", m.Extensions, internal)
	}
	if len(m.Recipients) != 1 {
		t.Fatal(len(m.Recipients))
	}
	r := m.Recipients[0]
	if r.Name.Address.MIXER() != "/S=pp/O=OrgB/PRMD=TestB/ADMD=TEST/C=GB/" || r.Number != 1 || !r.Responsible() || !r.Indicators.Has(OriginatingMTANonDelivery) ||
		!r.Indicators.Has(OriginatorNonDeliveryReport) || r.Indicators.Has(OriginatorReport) || r.Conversion != -1 {
		t.Errorf("%+v", r)
	}
}

// TestAMessageIsRelayedAsItCame writes the captured message again: in the form of 1988's text the envelope's members are
// octet for octet those that came.
func TestAMessageIsRelayedAsItCame(t *testing.T) {
	for _, o := range []Options{{}, {ExplicitExtensionType: true}} {
		a, err := Parse(captured(t))
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if err := a.Message.Content.WriteOctets(&content); err != nil {
			t.Fatal(err)
		}
		b, err := a.Message.Header(int64(content.Len()), o)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, content.Bytes()...)
		again, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		first, second := members(t, captured(t)), members(t, b)
		for i := range first {
			extensions := strings.HasPrefix(first[i], "a3")
			if first[i] != second[i] && (!extensions || o.ExplicitExtensionType) && !strings.Contains(first[i], "80") {
				t.Errorf("member %d: %s became %s", i, first[i], second[i])
			}
		}
		if diff := cmp.Diff(a.Message.Extensions, again.Message.Extensions); diff != "" {
			t.Error(diff)
		}
	}
}

func members(t *testing.T, b []byte) (out []string) {
	d := ber.NewDecoder(b, Limits)
	for m := range d.Root().First().All() {
		out = append(out, hex.EncodeToString(m.Raw))
	}
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	return out
}

func TestTruncationAnywhereIsAnErrorAndNothingElse(t *testing.T) {
	whole := captured(t)
	beginnings.Fail(t, "message", whole, func(b []byte) error { _, err := Parse(b); return err })
}

func TestORNamesAreReadAndWrittenAsOnTheWire(t *testing.T) {
	for _, tt := range []struct{ name, text, wire string }{
		{"PP's", "c=GB;a=TEST;p=TestA;o=OrgA;s=pp;", "60 25 30 23 61 04 1302 4742 62 06 1304 54455354 a2 07 1305 5465737441 83 04 4f726741 a5 04 8002 7070"},
		{"with an MS Mail address", "c=US;a= ;p=Northwind;o=SITEB;dda:MS=NORTHWIND/PO2/MKUMAR;",
			"60 3f 30 1f 61 04 1302 5553 62 03 1301 20 a2 0b 1309 4e6f72746877696e64 83 05 5349544542 30 1c 30 1a 1302 4d53 1314 4e4f52544857494e442f504f322f4d4b554d4152"},
		{"numeric", "c=310;a=0;n-id=12345;", "60 15 30 13 61 05 1203 333130 62 03 1201 30 84 05 3132333435"},
		{"with units and a common name", "c=GB;a= ;o=O;ou1=A;ou2=B;cn=Help Desk;",
			""},
		{"with T.61", "c=CH;a= ;o=Zürich;", ""},
		{"with Unicode", "c=JP;a= ;o=漢字;s=山;g=Mira;", ""},
		{"with units in T.61", "c=CH;a= ;o=X;ou1=Bäh;ou2=B;", ""},
		{"with everything personal", "c=US;a=X;p=Y;s=Kumar;g=Mira;i=MK;q=Jr;t-ty=ia5;x.121=31234;t-id=9;", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			or, err := address.ParseORAddress(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			var w ber.Writer
			ORName{Address: or}.Write(&w, ber.Application(0), Options{})
			b, err := w.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if want := unhex(t, tt.wire); tt.wire != "" && !bytes.Equal(b, want) {
				t.Errorf("written as\n%x, want\n%x", b, want)
			}
			d := ber.NewDecoder(b, Limits)
			got := ReadORName(d.Root())
			if diff := cmp.Diff(or, got.Address); diff != "" || d.Err() != nil {
				t.Error(d.Err(), diff)
			}
		})
	}
}

func TestOf1984IsOnlyWhat1984Has(t *testing.T) {
	or, err := address.ParseORAddress("c=CH;a= ;o=Zürich;cn=Help Desk;")
	if err != nil {
		t.Fatal(err)
	}
	var w ber.Writer
	ORName{Address: or}.Write(&w, ber.Application(0), Options{Stack1984: true})
	b, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d := ber.NewDecoder(b, Limits)
	got := ReadORName(d.Root()).Address.String()
	if want := "c=CH;a= ;o=Z??rich;dda:common=Help Desk;"; got != want && got != "c=CH;a= ;o=Z?rich;dda:common=Help Desk;" {
		t.Errorf("got %s, want %s", got, want)
	}
	v := &Envelope{ID: MTSIdentifier{pp, "1"}, Extensions: []Extension{{Number: 23}}, Recipients: []Recipient{{Number: 1, Conversion: -1, Extensions: []Extension{{Number: 2}}}}}
	h, err := v.Header(0, Options{Stack1984: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Parse(h)
	if err != nil || a.Message.Extensions != nil || a.Message.Recipients[0].Extensions != nil {
		t.Errorf("%v: extensions went to a system of 1984", err)
	}
}

func TestBindsAreReadAndWrittenAsOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		name, wire      string
		want            Bind
		result, wrapped bool
	}{
		{"PP's argument in normal mode", "b0 15 a1 13 80 05 6d74612d61 a1 0a 04 08 7365637265742d61", Bind{Name: "mta-a", Password: []byte("secret-a")}, false, true},
		{"PP's in X.410 mode", "a1 13 80 05 6d74612d61 a1 0a 04 08 7365637265742d61", Bind{Name: "mta-a", Password: []byte("secret-a")}, false, false},
		{"PP's of 1984", "a1 13 80 05 6d74612d61 a1 0a 16 08 7365637265742d61", Bind{Name: "mta-a", Password: []byte("secret-a"), IA5: true}, false, false},
		{"a result", "b1 15 a1 13 80 05 6d74612d62 a1 0a 04 08 7365637265742d62", Bind{Name: "mta-b", Password: []byte("secret-b")}, true, true},
		{"without authentication", "0500", Bind{Unauthenticated: true}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, tt.wire)
			got, err := ParseBind(b)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
			again, err := got.Encode(tt.result, tt.wrapped)
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("written as %x, %v, want %x", again, err, b)
			}
		})
	}
	for _, wire := range []string{"b2 03 020102", "020102"} {
		if n, err := ParseBindError(unhex(t, wire)); n != BindAuthenticationError || err != nil {
			t.Errorf("%s: %d, %v", wire, n, err)
		}
	}
	if b, err := EncodeBindError(2); err != nil || !bytes.Equal(b, unhex(t, "b203020102")) {
		t.Errorf("%x, %v", b, err)
	}
}

func TestTheExtensionsTypeIsReadInBothForms(t *testing.T) {
	for _, wire := range []string{"31 07 30 05 80 01 17 a2 00", "31 09 30 07 a0 03 02 01 17 a2 00", "31 0a 30 08 80 01 17 81 01 00 a2 00"} {
		b := unhex(t, strings.Replace(wire, "a2 00", "", 1))
		b[1], b[3] = byte(len(b)-2), byte(len(b)-4)
		d := ber.NewDecoder(b, Limits)
		if got := readExtensions(d.Root()); d.Err() != nil || len(got) != 1 || got[0].Number != 23 {
			t.Errorf("%s: %+v, %v", wire, got, d.Err())
		}
	}
}

func TestACriticalExtensionThatIsUnknownForbids(t *testing.T) {
	label := Extension{Number: 20, Critical: ber.NewBits(8, CriticalForDelivery)}
	private := Extension{Private: "1.2.3", Critical: ber.NewBits(8, CriticalForTransfer)}
	latest := Extension{Number: ExtLatestDelivery, Critical: ber.NewBits(8, CriticalForDelivery)}
	for _, tt := range []struct {
		x    Extension
		bit  int
		want bool
	}{{label, CriticalForDelivery, true}, {label, CriticalForTransfer, false}, {private, CriticalForTransfer, true}, {latest, CriticalForDelivery, false}} {
		if _, got := Forbids([]Extension{tt.x}, tt.bit); got != tt.want {
			t.Errorf("%s, bit %d: %v, want %v", tt.x, tt.bit, got, tt.want)
		}
	}
}

var (
	printableText = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9 '+,./:=?-]{0,10}[A-Za-z0-9]`)
	anyTime       = rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 2524607999).Draw(t, "time"), 0).UTC()
	})
	anyGDI = rapid.Custom(func(t *rapid.T) GDI {
		return GDI{"US", rapid.SampledFrom([]string{" ", "mci", "0"}).Draw(t, "admd"), rapid.SampledFrom([]string{"", "Northwind", "42"}).Draw(t, "prmd")}
	})
	anyID = rapid.Custom(func(t *rapid.T) MTSIdentifier {
		return MTSIdentifier{anyGDI.Draw(t, "gdi"), rapid.StringMatching(`[!-~]{1,32}`).Draw(t, "local")}
	})
	anyOR = rapid.Custom(func(t *rapid.T) address.ORAddress {
		some := func(name string) string { return rapid.OneOf(rapid.Just(""), printableText).Draw(t, name) }
		o := address.ORAddress{C: "US", A: " ", P: some("p"), O: some("o"), S: printableText.Draw(t, "s"), G: some("g"), I: some("i"), CN: some("cn")}
		if o.OU[0] = some("ou1"); o.OU[0] != "" {
			o.OU[1] = some("ou2")
		}
		if rapid.Bool().Draw(t, "dda") {
			o.DDA = []address.DDA{{Type: "MS", Value: printableText.Draw(t, "value")}}
		}
		return o
	})
	anyTrace = rapid.Custom(func(t *rapid.T) TraceElement {
		e := TraceElement{GDI: anyGDI.Draw(t, "gdi"), Arrival: anyTime.Draw(t, "arrival"), Rerouted: rapid.Bool().Draw(t, "rerouted"), DL: rapid.Bool().Draw(t, "dl")}
		if rapid.Bool().Draw(t, "attempted") {
			g := anyGDI.Draw(t, "to")
			e.Attempted = &g
		}
		return e
	})
	anyExtension = rapid.Custom(func(t *rapid.T) Extension {
		x := Extension{Number: rapid.Int64Range(1, 50).Draw(t, "number"), Critical: ber.NewBits(8, rapid.IntRange(0, 2).Draw(t, "critical")), Value: []byte{4, 1, 'x'}}
		if rapid.Bool().Draw(t, "private") {
			x.Number, x.Private = 0, "1.2.840.113556.5.1"
		}
		return x
	})
)

// plainly drops what only reading knows.
func plainly(v *Envelope) {
	v.Originator.Raw = nil
	for i := range v.Trace {
		v.Trace[i].Raw = nil
	}
	for i := range v.Recipients {
		v.Recipients[i].Name.Raw = nil
	}
}

func TestEnvelopesSurviveWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := &Envelope{
			Probe: rapid.Bool().Draw(t, "probe"), ID: anyID.Draw(t, "id"), Originator: ORName{Address: anyOR.Draw(t, "originator")},
			ContentType: ContentType{BuiltIn: rapid.SampledFrom([]int64{0, 2, 22, 35}).Draw(t, "type")}, ContentID: rapid.StringMatching(`[A-Z]{0,16}`).Draw(t, "content id"),
			Indicators: ber.NewBits(8, Disclosure), EITs: BuiltInEITs(2), Trace: rapid.SliceOfN(anyTrace, 0, 4).Draw(t, "trace"),
			Extensions: rapid.SliceOfN(anyExtension, 0, 3).Draw(t, "extensions"),
		}
		if len(v.Trace) == 0 {
			v.Trace = nil
		}
		if len(v.Extensions) == 0 {
			v.Extensions = nil
		}
		if v.Probe {
			v.ContentLength = rapid.Int64Range(0, 1<<40).Draw(t, "length")
		} else {
			v.Priority, v.Deferred = rapid.Int64Range(0, 2).Draw(t, "priority"), anyTime.Draw(t, "deferred")
		}
		if rapid.Bool().Draw(t, "oid") {
			v.ContentType = ContentType{OID: "1.3.26.0.4406.0.4.1"}
		}
		for i := range rapid.IntRange(1, 5).Draw(t, "recipients") {
			v.Recipients = append(v.Recipients, Recipient{Name: ORName{Address: anyOR.Draw(t, "recipient")}, Number: int64(i + 1),
				Indicators: ber.NewBits(8, rapid.IntRange(0, 4).Draw(t, "bit")), Conversion: rapid.Int64Range(-1, 3).Draw(t, "conversion")})
			if rapid.Bool().Draw(t, "with extensions") {
				v.Recipients[i].Extensions = rapid.SliceOfN(anyExtension, 1, 3).Draw(t, "recipient's extensions")
			}
		}
		o := Options{ExplicitExtensionType: rapid.Bool().Draw(t, "explicit")}
		b, err := v.EncodeProbe(o)
		if !v.Probe {
			b, err = v.Header(0, o)
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		got := a.Probe
		if !v.Probe {
			got = a.Message.Envelope
		}
		plainly(got)
		if diff := cmp.Diff(v, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReportsSurviveWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := ContentType{BuiltIn: ContentP22}
		r := &Report{ID: anyID.Draw(t, "id"), Destination: ORName{Address: anyOR.Draw(t, "destination")}, Trace: []TraceElement{anyTrace.Draw(t, "trace")},
			Subject: anyID.Draw(t, "subject"), ContentType: &c, ContentID: "X"}
		for i := range rapid.IntRange(1, 4).Draw(t, "recipients") {
			x := ReportedRecipient{Actual: ORName{Address: anyOR.Draw(t, "actual")}, Number: int64(i + 1), Indicators: ber.NewBits(8, 2), Arrival: anyTime.Draw(t, "arrival"), Diagnostic: -1}
			if x.NonDelivery = rapid.Bool().Draw(t, "failed"); x.NonDelivery {
				x.Reason, x.Diagnostic = rapid.Int64Range(0, 8).Draw(t, "reason"), rapid.Int64Range(-1, 78).Draw(t, "diagnostic")
				x.Supplementary = "unknown here"
			} else {
				x.Delivered, x.UserType = anyTime.Draw(t, "delivered"), rapid.Int64Range(0, 6).Draw(t, "user")
			}
			if rapid.Bool().Draw(t, "intended") {
				x.Intended = &ORName{Address: anyOR.Draw(t, "intended name")}
			}
			r.Recipients = append(r.Recipients, x)
		}
		returned := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "returned")
		b, err := r.Encode(returned, Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := Parse(b)
		if err != nil || a.Report == nil {
			t.Fatal(a, err)
		}
		got := a.Report
		if !bytes.Equal(got.Returned.Octets(), returned) {
			t.Errorf("returned %x, want %x", got.Returned.Octets(), returned)
		}
		got.Returned, got.Destination.Raw, got.Trace[0].Raw = ber.Element{}, nil, nil
		for i := range got.Recipients {
			got.Recipients[i].Actual.Raw = nil
			if got.Recipients[i].Intended != nil {
				got.Recipients[i].Intended.Raw = nil
			}
		}
		if diff := cmp.Diff(r, got, cmp.AllowUnexported(ber.Element{}), cmp.Comparer(func(a, b ber.Element) bool { return a.Present() == b.Present() })); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAReportOf1984HasOnlyWhat1984Has(t *testing.T) {
	c := ContentType{BuiltIn: ContentP22}
	or, err := address.ParseORAddress("c=US;a= ;p=N;s=A;cn=Common;")
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{ID: MTSIdentifier{pp, "r"}, Destination: ORName{Address: or}, Trace: []TraceElement{{GDI: pp}}, Extensions: []Extension{{Number: 38, Value: []byte{5, 0}}},
		Subject: MTSIdentifier{pp, "m"}, EITs: BuiltInEITs(2), ContentType: &c, ContentID: "X", ContentExtensions: []Extension{{Number: 23, Value: []byte{5, 0}}},
		Recipients: []ReportedRecipient{
			{Actual: ORName{Address: or}, Number: 1, Indicators: ber.NewBits(8, 2), NonDelivery: true, Reason: 5, Diagnostic: 29, Supplementary: "no", Extensions: []Extension{{Number: 25, Value: []byte{5, 0}}}},
			{Actual: ORName{Address: or}, Number: 2, Indicators: ber.NewBits(8, 2), NonDelivery: true, Reason: 0, Diagnostic: 3},
			{Actual: ORName{Address: or}, Number: 3, Indicators: ber.NewBits(8, 1), Diagnostic: -1, UserType: 6},
		}}
	b, err := r.Encode([]byte("content"), Options{Stack1984: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	got := a.Report
	type said struct {
		Reason, Diagnostic, UserType int64
		Supplementary                string
	}
	var all []said
	for _, x := range got.Recipients {
		all = append(all, said{x.Reason, x.Diagnostic, x.UserType, x.Supplementary})
		if x.Extensions != nil || x.Actual.Address.CN != "" || len(x.Actual.Address.DDA) != 1 {
			t.Errorf("%+v", x)
		}
	}
	if diff := cmp.Diff([]said{{1, -1, 0, "no"}, {0, 3, 0, ""}, {0, -1, 1, ""}}, all); diff != "" {
		t.Error(diff)
	}
	if got.EITs != nil || got.ContentType != nil || got.Extensions != nil || got.ContentExtensions != nil || got.ContentID != "X" || string(got.Returned.Octets()) != "content" {
		t.Errorf("%+v", got)
	}
}

func TestBindsSurviveWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Bind{Name: rapid.StringMatching(`[ -~]{1,32}`).Draw(t, "name"), Password: rapid.SliceOfN(rapid.Byte(), 0, 62).Draw(t, "password"), IA5: rapid.Bool().Draw(t, "ia5")}
		if rapid.Bool().Draw(t, "unauthenticated") {
			want = Bind{Unauthenticated: true}
		}
		b, err := want.Encode(rapid.Bool().Draw(t, "result"), rapid.Bool().Draw(t, "wrapped"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseBind(b)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
		n := rapid.Int64Range(0, 5).Draw(t, "error")
		if b, err = EncodeBindError(n); err != nil {
			t.Fatal(err)
		}
		if got, err := ParseBindError(b); got != n || err != nil {
			t.Errorf("%d became %d, %v", n, got, err)
		}
	})
}

func TestHalfAnAPDUIsNoAPDU(t *testing.T) {
	whole := captured(t)
	for n := range whole {
		if a, err := Parse(whole[:n]); err == nil {
			t.Fatalf("%d octets of %d are %+v", n, len(whole), a)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(captured(f))
	v := &Envelope{Probe: true, ID: MTSIdentifier{pp, "1"}, Recipients: []Recipient{{Number: 1, Conversion: -1, Indicators: ber.NewBits(8, 0)}}}
	if b, err := v.EncodeProbe(Options{}); err == nil {
		f.Add(b)
	}
	r := &Report{ID: v.ID, Subject: v.ID, Recipients: []ReportedRecipient{{Number: 1, NonDelivery: true, Indicators: ber.NewBits(8, 0)}}}
	if b, err := r.Encode([]byte("x"), Options{}); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := ParseBind(b); err == nil && len(n.Password) > len(b) {
			t.Error("a password out of nothing")
		}
		a, err := Parse(b)
		if err != nil {
			return
		}
		var again []byte
		switch {
		case a.Message != nil:
			InternalTrace(a.Message.Extensions)
			DLExpansionHistory(a.Message.Extensions)
			LatestDelivery(a.Message.Extensions)
			again, err = a.Message.Header(0, Options{})
		case a.Probe != nil:
			again, err = a.Probe.EncodeProbe(Options{})
		case a.Report != nil:
			again, err = a.Report.Encode(nil, Options{})
		}
		if err != nil {
			return
		}
		if _, err := Parse(again); err != nil {
			t.Errorf("what was read was written as %x: %v", again, err)
		}
	})
}

package site

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"backbone/connectors/site/sitev1"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// local are the fields of mail.Envelope that stay at a site.
var local = map[string]bool{"Arrived": true, "Source": true}

func anyAddress() *rapid.Generator[address.Address] {
	return rapid.Custom(func(t *rapid.T) address.Address {
		text := rapid.SampledFrom([]string{"MS:NORTHWIND/PO1/JBERG", "MS:NORTHWIND/PO1/$SYSTEM", "SMTP:Jo.Berg@example.com", "SMTP:\"jo berg\"@example.com",
			"X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;", "FAX:+1 555 0100", "X400:c=DE;a=dbp;p=x;s=Ü;"}).Draw(t, "address")
		a, err := address.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return a
	})
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		us := rapid.Int64Range(-62135596800e6+1, 253402300799e6).Draw(t, "us") // years 1 to 9999
		if us == 0 {
			return time.Time{}
		}
		return time.UnixMicro(us).UTC()
	})
}

func anyEnvelope() *rapid.Generator[mail.Envelope] {
	text := rapid.StringMatching(`[ -~\täöß€]{0,60}`)
	word := rapid.StringMatching(`[!-~]{0,32}`)
	return rapid.Custom(func(t *rapid.T) mail.Envelope {
		e := mail.Envelope{
			ID: word.Draw(t, "id"), MessageID: text.Draw(t, "message id"), Name: text.Draw(t, "name"), Subject: text.Draw(t, "subject"),
			Kind:     rapid.SampledFrom([]mail.Kind{mail.KindMessage, mail.KindReport, mail.KindReceipt, mail.KindProbe}).Draw(t, "kind"),
			Priority: rapid.SampledFrom([]mail.Priority{mail.NonUrgent, mail.Normal, mail.Urgent}).Draw(t, "priority"),
			Sent:     anyTime().Draw(t, "sent"), NotBefore: anyTime().Draw(t, "not before"), NotAfter: anyTime().Draw(t, "not after"),
			EnvID: text.Draw(t, "envid"), RetFull: rapid.Bool().Draw(t, "full"), EightBit: rapid.Bool().Draw(t, "8bit"),
			UTF8: rapid.Bool().Draw(t, "utf8"), About: text.Draw(t, "about"), ContentType: text.Draw(t, "type"),
		}
		if e.Kind != mail.KindReport {
			e.Originator = anyAddress().Draw(t, "originator")
		}
		for range rapid.IntRange(1, 4).Draw(t, "recipients") {
			e.Recipients = append(e.Recipients, mail.Recipient{Address: anyAddress().Draw(t, "rcpt"), Name: text.Draw(t, "rcpt name"),
				ORCPT: text.Draw(t, "orcpt"), Notify: 2 * mail.Notify(rapid.IntRange(0, 15).Draw(t, "notify")), Number: rapid.IntRange(0, 9999).Draw(t, "number")})
		}
		for range rapid.IntRange(0, 3).Draw(t, "hops") {
			e.Trace = append(e.Trace, mail.Hop{Site: text.Draw(t, "site"), Via: text.Draw(t, "via"), At: anyTime().Draw(t, "at")})
		}
		if m := rapid.MapOf(text, rapid.String()).Draw(t, "extra"); len(m) > 0 {
			e.Extra = m
		}
		return e
	})
}

func TestAnEnvelopeTravelsWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyEnvelope().Draw(t, "envelope")
		b, err := proto.Marshal(packEnvelope(&want))
		if err != nil {
			t.Fatal(err)
		}
		var w sitev1.Envelope
		if err := proto.Unmarshal(b, &w); err != nil {
			t.Fatal(err)
		}
		got, err := unpackEnvelope(&w)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("the envelope changed on the way (-sent +arrived):\n%s", d)
		}
	})
}

// TestNoFieldOfAnEnvelopeIsForgotten fails when mail.Envelope gets a field that the link does not carry.
func TestNoFieldOfAnEnvelopeIsForgotten(t *testing.T) {
	var e mail.Envelope
	fill(reflect.ValueOf(&e).Elem())
	e.Kind, e.Priority, e.ID = mail.KindMessage, mail.Urgent, "ID"
	jo := address.Address{Type: address.MS, Value: "NORTHWIND/PO1/JBERG"}
	e.Originator, e.Recipients[0].Address, e.Recipients[0].Notify = jo, jo, mail.NotifySuccess
	got, err := unpackEnvelope(packEnvelope(&e))
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(got)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if zero := v.Field(i).IsZero(); zero != local[name] {
			t.Errorf("field %s arrived: %v, want %v", name, !zero, !local[name])
		}
	}
	if d := cmp.Diff(e.Recipients, got.Recipients); d != "" {
		t.Errorf("recipients:\n%s", d)
	}
	if d := cmp.Diff(e.Trace, got.Trace); d != "" {
		t.Errorf("trace:\n%s", d)
	}
}

// fill sets every field to something that is not zero.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMicro(858331800000001).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint(2)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf("v"))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic(fmt.Sprintf("no filling for %v", v.Type()))
	}
}

func TestWhatPeopleReadIsCleanedAndTheRestRefused(t *testing.T) {
	w := goodEnvelope()
	w.Subject, w.Name = "a\r\nBcc: x", strings.Repeat("ü", maxText)
	w.Sent, w.NotAfter = math.MaxInt64, math.MinInt64
	w.Recipients[0].Name = "bell\a"
	w.Recipients[0].Orcpt = "rfc822;\x80x"
	w.Trace[0].Site = "SITE\x00A"
	w.Extra = map[string]string{"mmff.priority": "line\nline", "bad\xff": "bad\xff"}
	e, err := unpackEnvelope(w)
	if err != nil {
		t.Fatal(err)
	}
	if e.Subject != "a\uFFFD\uFFFDBcc: x" || e.Recipients[0].Name != "bell\uFFFD" || e.Recipients[0].ORCPT != "rfc822;\uFFFDx" || e.Trace[0].Site != "SITE\uFFFDA" {
		t.Errorf("texts: %q %q %q %q", e.Subject, e.Recipients[0].Name, e.Recipients[0].ORCPT, e.Trace[0].Site)
	}
	if len(e.Name) > maxText {
		t.Errorf("a name of %d octets", len(e.Name))
	}
	if !e.Sent.IsZero() || !e.NotAfter.IsZero() {
		t.Errorf("times beyond year 9999: %v, %v", e.Sent, e.NotAfter)
	}
	if e.Extra["mmff.priority"] != "line\nline" || e.Extra["bad\uFFFD"] != "bad\uFFFD" {
		t.Errorf("extra: %q", e.Extra)
	}
	for _, id := range []string{"a\nb", strings.Repeat("a", 33)} {
		w.Id = id
		if e, err := unpackEnvelope(w); err != nil || e.ID != "" {
			t.Errorf("id %q: got %q, %v; want none, so that the gateway makes one", id, e.ID, err)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*sitev1.Envelope)
	}{
		{"an unknown kind", func(w *sitev1.Envelope) { w.Kind = "telegram" }},
		{"a priority that nobody has", func(w *sitev1.Envelope) { w.Priority = 7 }},
		{"a recipient without an address", func(w *sitev1.Envelope) { w.Recipients[0].Address = nil }},
		{"a recipient that is the null originator", func(w *sitev1.Envelope) { w.Recipients[0].Address = &sitev1.Address{} }},
		{"a recipient of a strange type", func(w *sitev1.Envelope) { w.Recipients[0].Address.Type = "A:B" }},
		{"an originator with a line end", func(w *sitev1.Envelope) { w.Originator.Value = "A/B/C\r\n" }},
		{"a wish that nobody knows", func(w *sitev1.Envelope) { w.Recipients[0].Notify = []sitev1.Notify{99} }},
		{"a thousand wishes", func(w *sitev1.Envelope) { w.Recipients[0].Notify = make([]sitev1.Notify, 1000) }},
		{"a trace without end", func(w *sitev1.Envelope) { w.Trace = make([]*sitev1.Hop, maxHops+1) }},
		{"a recipient that is not there", func(w *sitev1.Envelope) { w.Recipients[0] = nil }},
	} {
		w := goodEnvelope()
		tt.change(w)
		if _, err := unpackEnvelope(w); err == nil {
			t.Errorf("%s was let through", tt.name)
		}
	}
}

// FuzzUnpackEnvelope looks for envelopes that break us, or that we would not send on as we took them.
func FuzzUnpackEnvelope(f *testing.F) {
	for _, w := range []*sitev1.Envelope{goodEnvelope(), {}, {Kind: "message", Recipients: []*sitev1.Recipient{nil}}} {
		b, err := proto.Marshal(w)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w sitev1.Envelope
		if proto.Unmarshal(b, &w) != nil {
			return
		}
		e, err := unpackEnvelope(&w)
		if err != nil {
			return
		}
		again, err := unpackEnvelope(packEnvelope(&e))
		if err != nil {
			t.Fatalf("taken, but refused when sent on: %v", err)
		}
		if d := cmp.Diff(e, again); d != "" {
			t.Fatalf("changed when sent on:\n%s", d)
		}
	})
}

// FuzzUnpackFailure looks for refusals that would break what the gateway relies on.
func FuzzUnpackFailure(f *testing.F) {
	b, err := proto.Marshal(packFailure(mail.NoRoute("no route")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("\"\x0540000")) // an enhanced code without dots
	f.Fuzz(func(t *testing.T, b []byte) {
		var w sitev1.Failure
		if proto.Unmarshal(b, &w) != nil {
			return
		}
		got := unpackFailure("SITEB", &w)
		first := "4"
		if got.Final() {
			first = "5"
		}
		if got.Class == mail.Local || got.Text == "" || strings.ContainsAny(got.Text+got.Peer, "\r\n") ||
			!strings.HasPrefix(fmt.Sprint(got.Code), first) || !strings.HasPrefix(got.Enhanced, first+".") || strings.Count(got.Enhanced, ".") != 2 || got.RetryAfter < 0 || got.RetryAfter > maxRetryAfter {
			t.Fatalf("%+v", got)
		}
	})
}

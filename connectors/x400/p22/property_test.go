package p22

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/gateway/address"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var (
	anyText = rapid.StringMatching(`[A-Za-z0-9][A-Za-zäéøß ,.()-]{0,20}[a-z]`)
	anyTime = rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(1, 2524607999).Draw(t, "time"), 0).UTC()
	})
	anyName = rapid.Custom(func(t *rapid.T) *p1.ORName {
		return &p1.ORName{Address: address.ORAddress{C: "US", A: " ", S: rapid.StringMatching(`[A-Z][a-z]{1,20}`).Draw(t, "surname")}}
	})
	anyIPMID = rapid.Custom(func(t *rapid.T) IPMID {
		id := IPMID{Local: rapid.StringMatching(`[A-Za-z0-9 '()+,./:=?-]{1,64}`).Draw(t, "local")}
		if rapid.Bool().Draw(t, "of a user") {
			id.User = anyName.Draw(t, "user")
		}
		return id
	})
	anyDescriptor = rapid.Custom(func(t *rapid.T) ORDescriptor {
		d := ORDescriptor{FreeForm: anyText.Draw(t, "free form"), Phone: rapid.StringMatching(`[0-9+]{0,12}`).Draw(t, "phone")}
		if rapid.Bool().Draw(t, "with its name") {
			d.Name = anyName.Draw(t, "name")
		}
		return d
	})
	anyRecipient = rapid.Custom(func(t *rapid.T) RecipientSpecifier {
		r := RecipientSpecifier{ORDescriptor: anyDescriptor.Draw(t, "recipient"), ReplyRequested: rapid.Bool().Draw(t, "reply")}
		if rapid.Bool().Draw(t, "notify") {
			r.Notify = ber.NewBits(3, rapid.IntRange(0, 2).Draw(t, "notification"))
		}
		return r
	})
	anyHeading = rapid.Custom(func(t *rapid.T) Heading {
		h := Heading{This: anyIPMID.Draw(t, "this"), Authorizing: rapid.SliceOfN(anyDescriptor, 0, 2).Draw(t, "authorizing"),
			Primary: rapid.SliceOfN(anyRecipient, 0, 3).Draw(t, "primary"), Copy: rapid.SliceOfN(anyRecipient, 0, 2).Draw(t, "copy"),
			Blind: rapid.SliceOfN(anyRecipient, 0, 1).Draw(t, "blind"), Obsoleted: rapid.SliceOfN(anyIPMID, 0, 2).Draw(t, "obsoleted"),
			Related: rapid.SliceOfN(anyIPMID, 0, 2).Draw(t, "related"), ReplyTo: rapid.SliceOfN(anyDescriptor, 0, 2).Draw(t, "reply to"),
			Subject: anyText.Draw(t, "subject"), Importance: rapid.Int64Range(0, 2).Draw(t, "importance"), Sensitivity: rapid.Int64Range(0, 3).Draw(t, "sensitivity"),
			AutoForwarded: rapid.Bool().Draw(t, "auto-forwarded")}
		if rapid.Bool().Draw(t, "from") {
			d := anyDescriptor.Draw(t, "originator")
			h.Originator = &d
		}
		if rapid.Bool().Draw(t, "an answer") {
			id := anyIPMID.Draw(t, "replied to")
			h.RepliedTo, h.Expiry, h.Reply = &id, anyTime.Draw(t, "expiry"), anyTime.Draw(t, "reply")
		}
		for range rapid.IntRange(0, 2).Draw(t, "extensions") {
			h.Extensions = append(h.Extensions, Extension{Type: rapid.SampledFrom([]ber.OID{"2.6.1.5.1", HeaderFields, PartFields}).Draw(t, "type"), Value: []byte{0x30, 0}})
		}
		return h
	})
	asRead = cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(p1.ORName{}, "Raw")}
)

func TestEveryMessageSurvivesWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		outer, inner := anyHeading.Draw(t, "heading"), anyHeading.Draw(t, "forwarded heading")
		text := anyText.Draw(t, "text")
		var b bytes.Buffer
		s := ber.NewStream(&b)
		WriteIPM(s, &outer, p1.Options{}, func() {
			PartMessage(s, &inner, p1.Options{}, func() { PartBilateral(s, strings.NewReader(text)) })
			PartFile(s, BodyPart{Filename: text}, strings.NewReader(text))
		})
		o, err := Parse(b.Bytes())
		if err != nil || s.Err() != nil || len(o.IPM.Body) != 2 {
			t.Fatal(o, err, s.Err())
		}
		if diff := cmp.Diff(outer, o.IPM.Heading, asRead); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(inner, o.IPM.Body[0].Message.Heading, asRead); diff != "" {
			t.Error(diff)
		}
		if got := o.IPM.Body[0].Message.Body[0].Data[0].Text(); got != text || o.IPM.Body[1].Filename != text {
			t.Errorf("%q became %q in a file of name %q", text, got, o.IPM.Body[1].Filename)
		}
	})
}

func TestEveryNotificationSurvivesWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := anyDescriptor.Draw(t, "originator")
		want := &IPN{Subject: anyIPMID.Draw(t, "subject"), Originator: &from, NonReceipt: rapid.Bool().Draw(t, "non-receipt"), DiscardReason: -1}
		if want.NonReceipt {
			want.Reason, want.DiscardReason = rapid.Int64Range(0, 1).Draw(t, "reason"), rapid.Int64Range(-1, 2).Draw(t, "discard reason")
			want.Comment = rapid.StringMatching(`[A-Za-z ]{0,30}`).Draw(t, "comment")
		} else {
			want.Received, want.Automatic = anyTime.Draw(t, "received"), rapid.Bool().Draw(t, "automatic")
			want.Supplementary = rapid.StringMatching(`[A-Za-z ]{0,30}`).Draw(t, "supplementary")
		}
		b, err := want.Encode(p1.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := Parse(b)
		if err != nil || o.IPN == nil {
			t.Fatal(o, err)
		}
		if diff := cmp.Diff(want, o.IPN, asRead); diff != "" {
			t.Error(diff)
		}
	})
}

package p22

import (
	"backbone/connectors/x400/golden/beginnings"
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/gateway/address"

	"github.com/google/go-cmp/cmp"
)

// captured is the content of the message that PP transferred in pp-e2e.pcap.
func captured(t testing.TB) []byte {
	b, err := os.ReadFile("../p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	a, err := p1.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return a.Message.Content.Octets()
}

func TestAnotherMTAsContentIsReadWhole(t *testing.T) {
	o, err := Parse(captured(t))
	if err != nil || o.IPM == nil {
		t.Fatal(o, err)
	}
	m := o.IPM
	if m.This.Local != "m1(a)testa.test" || m.Subject != "Hello over P1" || m.Importance != ImportanceNormal ||
		m.Originator.Name.Address.MIXER() != "/S=pp/O=OrgA/PRMD=TestA/ADMD=TEST/C=GB/" || len(m.Primary) != 1 || len(m.Copy) != 0 ||
		m.Primary[0].Name.Address.MIXER() != "/S=pp/O=OrgB/PRMD=TestB/ADMD=TEST/C=GB/" {
		t.Errorf("%+v", m.Heading)
	}
	if len(m.Body) != 1 || m.Body[0].Kind != IA5 || !strings.HasSuffix(m.Body[0].Data[0].Text(), "\r\n") {
		t.Errorf("%+v", m.Body)
	}
}

func TestTruncationAnywhereIsAnErrorAndNothingElse(t *testing.T) {
	whole := captured(t)
	beginnings.Fail(t, "message", whole, func(b []byte) error { _, err := Parse(b); return err })
}

func name(t testing.TB, s string) *p1.ORName {
	or, err := address.ParseORAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return &p1.ORName{Address: or}
}

func heading(t testing.TB) *Heading {
	fields, err := NewFields(HeaderFields, []string{"Date: Fri, 14 Mar 1997 09:30:00 +0000", "X-MMFF-Priority: 3"})
	if err != nil {
		t.Fatal(err)
	}
	return &Heading{
		This: IPMID{User: name(t, "c=US;a= ;p=N;s=A;"), Local: "m1"}, Originator: &ORDescriptor{Name: name(t, "c=US;a= ;p=N;s=A;"), FreeForm: "Zoë"},
		Authorizing: []ORDescriptor{{FreeForm: "B"}}, Primary: []RecipientSpecifier{{ORDescriptor: ORDescriptor{Name: name(t, "c=US;a= ;p=N;s=C;"), Phone: "1"},
			Notify: ber.NewBits(8, NotifyReceipt, NotifyNonReceipt), ReplyRequested: true}},
		Copy: []RecipientSpecifier{{ORDescriptor: ORDescriptor{FreeForm: "D"}}}, Blind: []RecipientSpecifier{{ORDescriptor: ORDescriptor{FreeForm: "E"}}},
		RepliedTo: &IPMID{Local: "m0"}, Obsoleted: []IPMID{{Local: "o"}}, Related: []IPMID{{Local: "r1"}, {Local: "r2"}}, Subject: "Grüße",
		Expiry: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Reply: time.Date(2026, 2, 2, 3, 4, 5, 0, time.UTC), ReplyTo: []ORDescriptor{{FreeForm: "F"}},
		Importance: ImportanceHigh, Sensitivity: CompanyConfidential, AutoForwarded: true, Extensions: []Extension{fields},
	}
}

// plain drops what only reading knows.
func plain(h *Heading) {
	for _, d := range []*ORDescriptor{h.Originator, &h.Primary[0].ORDescriptor} {
		d.Name.Raw = nil
	}
	h.This.User.Raw = nil
}

func TestAMessageWithPartsOfEachKindSurvives(t *testing.T) {
	big := strings.Repeat("0123456789", 10000) // goes in pieces
	var b bytes.Buffer
	s := ber.NewStream(&b)
	WriteIPM(s, heading(t), p1.Options{}, func() {
		PartIA5(s, strings.NewReader("Hello\r\n"))
		PartGeneral(s, []int64{1, 6, 100}, strings.NewReader("Gr\xfc\xdfe"))
		PartBilateral(s, strings.NewReader(big))
		PartFile(s, BodyPart{Filename: "Größe 1.TXT", Description: "a file"}, strings.NewReader(big))
		PartFile(s, BodyPart{}, strings.NewReader(""))
		PartMessage(s, heading(t), p1.Options{}, func() { PartIA5(s, strings.NewReader("inner")) })
		PartRaw(s, []byte{0xa3, 4, 0x31, 0, 0x30, 0}) // g3-facsimile
	})
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	o, err := Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	plain(&o.IPM.Heading)
	want := heading(t)
	if diff := cmp.Diff(*want, o.IPM.Heading); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, p := range o.IPM.Body {
		text := p.Kind.String() + " " + p.Filename + " " + p.Description + " " + p.Type
		for _, d := range p.Data {
			var c bytes.Buffer
			if err := d.WriteOctets(&c); err != nil {
				t.Fatal(err)
			}
			if c.String() == big {
				text += " BIG"
			} else {
				text += " " + c.String()
			}
		}
		got = append(got, text)
	}
	if diff := cmp.Diff([]string{"ia5-text   0 Hello\r\n", "general-text   2.6.1.4.11 Gr\xfc\xdfe", "bilaterally-defined   14 BIG", "file-transfer Größe 1.TXT a file 2.6.1.4.12 BIG",
		"file-transfer   2.6.1.4.12 ", "message   9", "opaque   3"}, got); diff != "" {
		t.Error(diff)
	}
	if inner := o.IPM.Body[5].Message; inner == nil || inner.Body[0].Data[0].Text() != "inner" || inner.Subject != "Grüße" {
		t.Errorf("%+v", inner)
	}
	if diff := cmp.Diff([]string{"Date: Fri, 14 Mar 1997 09:30:00 +0000", "X-MMFF-Priority: 3"}, o.IPM.Fields(HeaderFields)); diff != "" {
		t.Error(diff)
	}
}

func TestNotificationsSurvive(t *testing.T) {
	for _, want := range []*IPN{
		{Subject: IPMID{Local: "m1"}, Originator: &ORDescriptor{FreeForm: "A"}, Intended: &ORDescriptor{FreeForm: "B"}, DiscardReason: -1,
			Received: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Automatic: true, Supplementary: "read"},
		{Subject: IPMID{Local: "m1"}, NonReceipt: true, Reason: 1, DiscardReason: -1, Comment: "away"},
		{Subject: IPMID{Local: "m1"}, NonReceipt: true, DiscardReason: 0},
	} {
		b, err := want.Encode(p1.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, o.IPN); diff != "" {
			t.Error(diff)
		}
	}
}

func TestALongSubjectIsCutBetweenLetters(t *testing.T) {
	s := strings.Repeat("ü", 200)
	if b := teletex(s, maxSubject); len(b) != 128 || SubjectFits(s) || !SubjectFits("short") {
		t.Errorf("%d octets", len(b))
	}
	if b := teletex("x"+s, maxSubject); len(b) != 127 {
		t.Errorf("%d octets: an accent without its letter", len(b))
	}
}

func TestHalfAContentIsNoContent(t *testing.T) {
	whole := captured(t)
	for n := range whole {
		if o, err := Parse(whole[:n]); err == nil {
			t.Fatalf("%d octets of %d are %+v", n, len(whole), o)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(captured(f))
	var b bytes.Buffer
	s := ber.NewStream(&b)
	WriteIPM(s, heading(f), p1.Options{}, func() {
		PartFile(s, BodyPart{Filename: "A.TXT", Description: "a file"}, strings.NewReader("x"))
		PartGeneral(s, []int64{1, 6, 100}, strings.NewReader("x"))
	})
	f.Add(b.Bytes())
	n := &IPN{Subject: IPMID{Local: "m1"}, NonReceipt: true, DiscardReason: 0}
	if b, err := n.Encode(p1.Options{}); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Parse(b)
		if err != nil {
			return
		}
		if o.IPN != nil {
			if b, err := o.IPN.Encode(p1.Options{}); err == nil {
				if _, err := Parse(b); err != nil {
					t.Errorf("%x: %v", b, err)
				}
			}
			return
		}
		o.IPM.Fields(HeaderFields)
		var again bytes.Buffer
		s := ber.NewStream(&again)
		WriteIPM(s, &o.IPM.Heading, p1.Options{}, func() {
			for _, p := range o.IPM.Body {
				PartRaw(s, p.Raw)
			}
		})
		if s.Err() == nil {
			if _, err := Parse(again.Bytes()); err != nil {
				t.Errorf("%x: %v", again.Bytes(), err)
			}
		}
	})
}

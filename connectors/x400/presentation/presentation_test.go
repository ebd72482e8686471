package presentation

import (
	"backbone/connectors/x400/golden/beginnings"
	"bytes"
	"testing"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/golden"
	"backbone/connectors/x400/session"

	"github.com/google/go-cmp/cmp"
)

func TestTheCapturesConnectsAreReadWhole(t *testing.T) {
	p1Contexts := []Context{{1, "2.2.1.0.1", []ber.OID{BER}}, {3, "2.6.0.2.12", []ber.OID{BER}}, {5, "2.6.0.2.7", []ber.OID{BER}}}
	n := 0
	for _, s := range golden.P1(t) {
		if s.Type != session.CN && s.Type != session.AC && s.Type != session.RF {
			continue
		}
		n++
		refuse := s.Type == session.RF
		b := s.UserData
		got, err := ParseConnect(b, refuse)
		if err != nil {
			t.Errorf("%s: %s: %v", s.File, s.Type, err)
			continue
		}
		normal := s.File != "pp-ping88o.pcap" && s.File != "pp-ping84.pcap" && s.File != "pp-badpw-x410.pcap"
		if got.Normal != normal || normal == (got.X410 != nil) {
			t.Errorf("%s: %s: normal %v, X.410 %x", s.File, s.Type, got.Normal, got.X410)
		}
		if normal && s.Type == session.CN && s.File != "public-sample-x400-ping-success-rebuilt.pcap" {
			if diff := cmp.Diff(p1Contexts, got.Contexts); diff != "" {
				t.Errorf("%s: %s", s.File, diff)
			}
		}
		if normal && (len(got.UserData) != 1 || got.UserData[0].Context != 1) {
			t.Errorf("%s: %s: user data %+v", s.File, s.Type, got.UserData)
		}
		again, err := got.Append(refuse)
		if err != nil {
			t.Error(err)
		}
		if s.File == "public-sample-x400-ping-success-rebuilt.pcap" { // indefinite lengths: compare what is read
			second, err := ParseConnect(again, refuse)
			if diff := cmp.Diff(got, second); diff != "" || err != nil {
				t.Error(err, diff)
			}
		} else if !bytes.Equal(again, b) {
			t.Errorf("%s: %s: written as\n%x, want\n%x", s.File, s.Type, again, b)
		}
	}
	if n != 14 {
		t.Errorf("%d connects in the captures, want 14", n)
	}
}

func TestUserDataIsReadInEachForm(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want []PDV
	}{
		{"PP's segment, indefinite", []byte{0x61, 0x80, 0x30, 0x80, 2, 1, 3, 0xa0, 0x80, 4, 2, 'A', 'B', 0, 0, 0, 0, 0, 0}, []PDV{{Context: 3, Single: []byte{4, 2, 'A', 'B'}}}},
		{"octet-aligned", []byte{0x61, 8, 0x30, 6, 2, 1, 3, 0x81, 1, 'A'}, []PDV{{Context: 3, Octets: []byte{'A'}}}},
		{"arbitrary", []byte{0x61, 9, 0x30, 7, 2, 1, 3, 0x82, 2, 0, 'A'}, []PDV{{Context: 3, Octets: []byte{'A'}}}},
		{"simply encoded", []byte{0x40, 1, 'A'}, []PDV{{Octets: []byte{'A'}}}},
		{"with its transfer syntax", []byte{0x61, 12, 0x30, 10, 6, 2, 0x51, 1, 2, 1, 3, 0x81, 1, 'A'}, []PDV{{Transfer: BER, Context: 3, Octets: []byte{'A'}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseUserData(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, in := range map[string][]byte{"no values": {0x61, 0}, "a list without a value": {0x61, 5, 0x30, 3, 2, 1, 3}, "seven bits": {0x61, 9, 0x30, 7, 2, 1, 3, 0x82, 2, 1, 'A'}} {
		if got, err := ParseUserData(in); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func TestAbortsSurviveWritingAndReading(t *testing.T) {
	for _, want := range []Abort{
		{Reason: -1, UserData: []PDV{{Context: 1, Single: []byte{5, 0}}}}, {Reason: -1, X410: []byte{0x80, 1, 3}}, {Provider: true, Reason: 4}, {Provider: true, Reason: -1}, {Reason: -1},
	} {
		b, err := want.Append()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseAbort(b)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
}

func FuzzPresentation(f *testing.F) {
	for _, s := range golden.P1(f) {
		f.Add(s.UserData)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, refuse := range []bool{false, true} {
			got, err := ParseConnect(b, refuse)
			if err != nil {
				continue
			}
			again, err := got.Append(refuse)
			if err != nil {
				continue // an identifier that can't be written
			}
			if _, err := ParseConnect(again, refuse); err != nil && got.X410 == nil {
				t.Errorf("%x: written as %x: %v", b, again, err)
			}
		}
		if _, err := ParseUserData(b); err == nil && len(b) == 0 {
			t.Error("nothing was read as user data")
		}
		_, _ = ParseAbort(b) // must end, whatever it says
	})
}

func TestTruncationAnywhereIsNamed(t *testing.T) {
	for _, s := range golden.P1(t) {
		switch s.Type {
		case session.CN, session.AC, session.RF:
			if s.File != "pp-ping88o.pcap" { // the same as others
				beginnings.Fail(t, s.File+" "+s.Type.String(), s.UserData, func(b []byte) error { _, err := ParseConnect(b, s.Type == session.RF); return err })
			}
		case session.FN, session.DN:
			beginnings.Fail(t, s.File+" "+s.Type.String(), s.UserData, func(b []byte) error { _, err := ParseUserData(b); return err })
		}
	}
	for _, a := range []Abort{{Reason: -1, UserData: []PDV{{Context: 1, Single: []byte{5, 0}}}}, {Reason: -1, X410: []byte{0x80, 1, 3}}, {Provider: true, Reason: 4}} {
		b, err := a.Append()
		if err != nil {
			t.Fatal(err)
		}
		beginnings.Fail(t, "abort", b, func(b []byte) error { _, err := ParseAbort(b); return err })
	}
}

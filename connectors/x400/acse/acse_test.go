package acse

import (
	"backbone/connectors/x400/golden/beginnings"
	"bytes"
	"testing"

	"backbone/connectors/x400/golden"
	"backbone/connectors/x400/presentation"
	"backbone/connectors/x400/session"

	"github.com/google/go-cmp/cmp"
)

// apdus are the captures' association control APDUs.
func apdus(t testing.TB) [][]byte {
	var out [][]byte
	for _, s := range golden.P1(t) {
		var pdvs []presentation.PDV
		switch s.Type {
		case session.CN, session.AC, session.RF:
			c, err := presentation.ParseConnect(s.UserData, s.Type == session.RF)
			if err != nil {
				t.Fatal(err)
			}
			pdvs = c.UserData
		case session.FN, session.DN:
			if len(s.UserData) > 0 {
				var err error
				if pdvs, err = presentation.ParseUserData(s.UserData); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, p := range pdvs {
			out = append(out, p.Single)
		}
	}
	return out
}

func TestTheCapturesAPDUsAreReadAndWrittenBack(t *testing.T) {
	seen := map[string]int{}
	for _, b := range apdus(t) {
		got, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		seen[got.Kind.String()]++
		if (got.Kind == AARQ || got.Kind == AARE) && (got.Context != MTSTransfer || got.User == nil) {
			t.Errorf("%+v", got)
		}
		again, err := got.Append(presentation.BER)
		if err != nil {
			t.Error(err)
		}
		if second, err := Parse(again); err != nil || !cmp.Equal(got, second) {
			t.Errorf("%x: %v, %s", again, err, cmp.Diff(got, second))
		}
		if bytes.IndexByte(b, 0x80) != 1 && !bytes.Equal(again, b) && len(b) == len(again) {
			t.Errorf("written as\n%x, want\n%x", again, b)
		}
	}
	if diff := cmp.Diff(map[string]int{"AARQ": 4, "AARE": 4, "RLRQ": 2, "RLRE": 2}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestAPDUsSurviveWritingAndReading(t *testing.T) {
	for _, want := range []APDU{
		{Kind: AARQ, Context: MTSTransfer, Reason: -1, User: []byte{5, 0}, UserContext: 3},
		{Kind: AARE, Context: MTSTransfer, Reason: -1, Result: RejectedPermanent, Diagnostic: DiagnosticContextUnknown},
		{Kind: AARE, Context: MTSTransfer, Reason: -1, Result: RejectedTransient, Diagnostic: 1, ByProvider: true, User: []byte{5, 0}, UserContext: 7},
		{Kind: RLRQ, Reason: 0}, {Kind: RLRE, Reason: -1}, {Kind: ABRT, Reason: -1}, {Kind: ABRT, Reason: -1, ByProvider: true, User: []byte{5, 0}, UserContext: 3},
	} {
		for _, transfer := range []bool{true, false} {
			syntax := presentation.BER
			if !transfer {
				syntax = ""
			}
			b, err := want.Append(syntax)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(b)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range apdus(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err != nil {
			return
		}
		if again, err := got.Append(""); err == nil {
			if _, err := Parse(again); err != nil {
				t.Errorf("%x: written as %x: %v", b, again, err)
			}
		}
	})
}

func TestTruncationAnywhereIsNamed(t *testing.T) {
	abort, err := APDU{Kind: ABRT, Reason: -1, User: []byte{5, 0}, UserContext: 3}.Append("")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range append(apdus(t), abort) {
		beginnings.Fail(t, "APDU", b, func(b []byte) error { _, err := Parse(b); return err })
	}
}

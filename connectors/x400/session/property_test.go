package session

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// anySPDU makes one of each type with whatever its fields may hold.
func anySPDU(t *rapid.T, typ Type) *SPDU {
	octets := func(name string, most int) []byte { return rapid.SliceOfN(rapid.Byte(), 1, most).Draw(t, name) }
	s := &SPDU{Type: typ}
	ref := Ref{Calling: octets("calling", 64), Common: octets("common", 64), Additional: octets("additional", 4)}
	needs := Requirements(rapid.Uint16().Draw(t, "requirements")) | HalfDuplex
	switch typ {
	case CN:
		s.Ref, s.Versions, s.Requirements, s.Calling, s.Called = ref, Version2, &needs, octets("from", 16), octets("to", 16)
		s.MaxTSDU = [2]uint16{rapid.Uint16Min(1).Draw(t, "out"), rapid.Uint16().Draw(t, "in")}
		s.UserData = octets("user data", 600) // 512 and more go into another parameter
	case AC:
		s.Ref, s.Versions, s.Requirements, s.UserData = Ref{Called: ref.Calling, Common: ref.Common}, Version1, &needs, octets("user data", 600)
	case RF:
		s.Ref, s.Requirements, s.Transport, s.Reason, s.UserData = Ref{Called: ref.Calling}, &needs, new(byte), octets("reason", 1), octets("user data", 512)
	case FN, DN, AB:
		s.Transport, s.UserData = new(byte), octets("user data", 400)
	case NF:
		s.UserData = octets("user data", 400)
	case GT:
		s.Tokens = rapid.ByteRange(1, 255).Draw(t, "tokens")
	case PT:
		s.Tokens, s.UserData = rapid.ByteRange(1, 255).Draw(t, "tokens"), octets("user data", 20)
	case DT:
		s.UserData = octets("data", 300)
	case AS:
		s.ActivityID = octets("activity", 6)
	case AR:
		s.Ref, s.OldActivity, s.ActivityID, s.Serial = ref, octets("old", 6), octets("activity", 6), rapid.IntRange(1, 999999).Draw(t, "serial")
	case MIP:
		s.Serial, s.NoAck = rapid.IntRange(1, 999999).Draw(t, "serial"), rapid.Bool().Draw(t, "no ack")
	case MIA, AE, AEA:
		s.Serial = rapid.IntRange(1, 999999).Draw(t, "serial")
	case AI, AD, ED, ER:
		s.Reason = octets("reason", 1)
	}
	return s
}

func TestEverySPDUSurvivesWritingAndReading(t *testing.T) {
	for typ, name := range typeNames {
		if typ == AA {
			continue // has no parameters, and is not written: the connection is closed instead
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := anySPDU(t, typ)
				got, err := Parse(want.Append(nil))
				if err != nil || len(got) != 1 {
					t.Fatal(len(got), err)
				}
				if diff := cmp.Diff(want, got[0], cmp.AllowUnexported(SPDU{}), cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

package presentation

import (
	"testing"

	"backbone/connectors/x400/ber"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	anyOID = rapid.Custom(func(t *rapid.T) ber.OID {
		return ber.OID("2." + rapid.StringMatching(`[1-9][0-9]{0,4}(\.[1-9][0-9]{0,38}){0,3}`).Draw(t, "oid"))
	})
	anyPDV = rapid.Custom(func(t *rapid.T) PDV {
		p := PDV{Context: rapid.Int64Range(1, 127).Draw(t, "context")}
		if rapid.Bool().Draw(t, "with its transfer syntax") {
			p.Transfer = anyOID.Draw(t, "transfer")
		}
		octets := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "octets")
		if rapid.Bool().Draw(t, "single") {
			p.Single = append(ber.AppendHeader(nil, ber.OctetString, false, len(octets)), octets...)
		} else {
			p.Octets = octets
		}
		return p
	})
	anyConnect = rapid.Custom(func(t *rapid.T) Connect {
		selector := func(name string) []byte { return rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, name) }
		c := Connect{Normal: true, Calling: selector("calling"), Called: selector("called"), Respond: selector("responding")}
		for range rapid.IntRange(0, 4).Draw(t, "contexts") {
			c.Contexts = append(c.Contexts, Context{rapid.Int64().Draw(t, "id"), anyOID.Draw(t, "abstract"), []ber.OID{anyOID.Draw(t, "transfer")}})
			c.Results = append(c.Results, Result{rapid.Int64Range(0, 2).Draw(t, "result"), anyOID.Draw(t, "transfer"), rapid.Int64Range(-1, 3).Draw(t, "reason")})
		}
		c.UserData = rapid.SliceOfN(anyPDV, 1, 3).Draw(t, "user data")
		return c
	})
)

func TestEveryPPDUSurvivesWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, refuse := anyConnect.Draw(t, "connect"), rapid.Bool().Draw(t, "refuse")
		if refuse && rapid.Bool().Draw(t, "by the provider") {
			reason := rapid.Int64Range(0, 8).Draw(t, "provider's reason")
			want.Refused = &reason
		}
		if rapid.Bool().Draw(t, "X.410") {
			want = Connect{X410: []byte{0x80, 1, rapid.Byte().Draw(t, "member")}}
		}
		b, err := want.Append(refuse)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseConnect(b, refuse)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
		data, err := AppendUserData(want.UserData...)
		if err != nil || len(want.UserData) == 0 {
			return
		}
		pdvs, err := ParseUserData(data)
		if diff := cmp.Diff(want.UserData, pdvs); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
}

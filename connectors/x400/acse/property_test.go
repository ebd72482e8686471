package acse

import (
	"testing"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/presentation"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEveryAPDUSurvivesWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := APDU{Kind: Kind(rapid.Uint32Range(0, 4).Draw(t, "kind")), Reason: -1}
		switch want.Kind {
		case AARE:
			want.Result, want.Diagnostic = rapid.Int64Range(0, 2).Draw(t, "result"), rapid.Int64Range(0, 14).Draw(t, "diagnostic")
			want.ByProvider = rapid.Bool().Draw(t, "by the provider")
			fallthrough
		case AARQ:
			want.Context = rapid.SampledFrom([]ber.OID{MTSTransfer, "2.6.0.1.7", "2.25.329800735698586629295641978511506172918"}).Draw(t, "context")
		case RLRQ, RLRE:
			want.Reason = rapid.Int64Range(-1, 30).Draw(t, "reason")
		case ABRT:
			want.ByProvider = rapid.Bool().Draw(t, "by the provider")
		}
		if rapid.Bool().Draw(t, "with user information") {
			octets := rapid.SliceOf(rapid.Byte()).Draw(t, "user")
			want.User, want.UserContext = append(ber.AppendHeader(nil, ber.OctetString, false, len(octets)), octets...), rapid.Int64Range(1, 127).Draw(t, "user context")
		}
		b, err := want.Append(rapid.SampledFrom([]ber.OID{presentation.BER, ""}).Draw(t, "transfer syntax"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(b)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
}

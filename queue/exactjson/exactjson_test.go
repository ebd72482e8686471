package exactjson

import (
	"bytes"
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

func octets(t *rapid.T, what string) string {
	return rapid.OneOf(
		rapid.String(), rapid.SampledFrom([]string{"\x00", "\xff\xfe", "\U0010ff00", "\U0010ffff", "a\x80b", "\xed\xa0\x80", ""}),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	).Draw(t, what)
}

func TestTextIsUTF8WithoutNULAndComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := octets(t, "octets")
		text := Text(s)
		if !utf8.ValidString(text) || bytes.IndexByte([]byte(text), 0) >= 0 {
			t.Fatalf("%q became %q", s, text)
		}
		if back := Original(text); back != s {
			t.Fatalf("%q came back as %q", s, back)
		}
	})
}

func TestAnItemComesBackWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := queue.Item{
			ID: 7, Dest: queue.Dest{Connector: "internet", Host: octets(t, "host")}, Tries: map[string]int{octets(t, "connector"): 3},
			Last:   &mail.Failure{Class: mail.Transient, Peer: octets(t, "peer"), Diagnostic: -1},
			Reason: octets(t, "reason"), Next: time.Unix(0, 1234567890123456789).UTC(),
			Envelope: mail.Envelope{
				Subject: octets(t, "subject"), Originator: address.Address{Type: address.MS, Value: octets(t, "originator")},
				Recipients: []mail.Recipient{{Address: address.Address{Type: address.SMTP, Value: octets(t, "recipient")}}},
				Extra:      map[string]string{"x": octets(t, "extra")}, Trace: []mail.Hop{{Site: octets(t, "hop")}},
			},
		}
		subject, hop := want.Envelope.Subject, want.Envelope.Trace[0].Site
		b, err := Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if want.Envelope.Subject != subject || want.Envelope.Trace[0].Site != hop {
			t.Fatal("Marshal changed what it was given")
		}
		var got queue.Item
		if err := Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
}

func TestATimeThatJSONCannotSay(t *testing.T) {
	for _, c := range []struct {
		name string
		in   time.Time
		want time.Time
	}{
		{"a year of five digits", time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}},
		{"a zone of more than a day", time.Date(2026, 1, 3, 0, 0, 0, 0, time.FixedZone("", 30*3600)), time.Date(2026, 1, 1, 18, 0, 0, 0, time.UTC)},
		{"a zone of an hour", time.Date(2026, 1, 3, 0, 0, 0, 0, time.FixedZone("", 3600)), time.Date(2026, 1, 2, 23, 0, 0, 0, time.UTC)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := Marshal(mail.Envelope{Sent: c.in})
			if err != nil {
				t.Fatal(err)
			}
			var got mail.Envelope
			if err := Unmarshal(b, &got); err != nil || !got.Sent.Equal(c.want) {
				t.Fatalf("got %v, %v, want %v", got.Sent, err, c.want)
			}
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"id":"1A","envelope":{"subject":"\udbff\udf00"}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var it, again queue.Item
		if err := Unmarshal(b, &it); err != nil {
			return
		}
		out, err := Marshal(it)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(Unmarshal(out, &again)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(it, again); d != "" {
			t.Fatal(d)
		}
	})
}

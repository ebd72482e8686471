package queue

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func TestFilterMatch(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	item := func(change ...func(*Item)) Item {
		it := Item{
			ID: 7, Dest: Dest{"internet", "mx.Example.com"}, State: Ready, Created: now.Add(-2 * time.Hour),
			Body: BodyRef{Size: 4096}, Last: &mail.Failure{Class: mail.Transient},
			Envelope: mail.Envelope{
				ID: "SITEA-1", MessageID: "abc@example.org", Originator: address.Address{Type: address.MS, Value: "NET/PO1/ANNA"},
				Recipients: []mail.Recipient{{Address: address.Address{Type: address.SMTP, Value: "Bob@example.com"}}, {Address: address.Address{Type: address.MS, Value: "NET/PO2/CARL"}}},
			},
		}
		for _, c := range change {
			c(&it)
		}
		return it
	}
	trash := func(it *Item) { it.State = Trash }
	null := func(it *Item) { it.Envelope.Originator = address.Address{} }
	fresh := func(it *Item) { it.Last = nil }
	for _, c := range []struct {
		name string
		f    Filter
		it   Item
		want bool
	}{
		{"the zero filter selects what waits", Filter{}, item(), true},
		{"the zero filter leaves out the trash", Filter{}, item(trash), false},
		{"the trash when asked for", Filter{State: Trash}, item(trash), true},
		{"the trash when named by ID", Filter{IDs: []ID{7}}, item(trash), true},
		{"another ID", Filter{IDs: []ID{8}}, item(), false},
		{"one of several IDs", Filter{IDs: []ID{8, 7}}, item(), true},
		{"connector", Filter{Connector: "internet"}, item(), true},
		{"another connector", Filter{Connector: "intern"}, item(), false},
		{"host glob ignores case", Filter{Host: "*.example.COM"}, item(), true},
		{"host is matched as a whole", Filter{Host: "example"}, item(), false},
		{"originator with type", Filter{From: "ms:net/po1/*"}, item(), true},
		{"originator without type", Filter{From: "NET/PO%/ANNA"}, item(), true},
		{"null originator", Filter{From: "<>"}, item(null), true},
		{"an empty value is no originator", Filter{From: "%"}, item(null), false},
		{"any recipient", Filter{To: "*carl"}, item(), true},
		{"no recipient", Filter{To: "*dora"}, item(), false},
		{"held when it is ready", Filter{State: Held}, item(), false},
		{"older than its age", Filter{Older: 3 * time.Hour}, item(), false},
		{"older than less", Filter{Older: time.Hour}, item(), true},
		{"newer than its age", Filter{Newer: 3 * time.Hour}, item(), true},
		{"newer than less", Filter{Newer: time.Hour}, item(), false},
		{"exactly as old is neither", Filter{Older: 2 * time.Hour}, item(), false},
		{"larger", Filter{Larger: 4095}, item(), true},
		{"exactly as large is not larger", Filter{Larger: 4096}, item(), false},
		{"class of the last failure", Filter{Class: mail.Transient}, item(), true},
		{"class of no failure", Filter{Class: mail.Transient}, item(fresh), false},
		{"message by our identifier", Filter{Message: "SITEA-1"}, item(), true},
		{"message by Message-ID in brackets", Filter{Message: "<abc@example.org>"}, item(), true},
		{"another message", Filter{Message: "abc"}, item(), false},
		{"all fields must match", Filter{Connector: "internet", To: "*dora"}, item(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.f.Match(&c.it, now); got != c.want {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestGlobAgreesWithRegexp holds the matcher against the standard library's.
func TestGlobAgreesWithRegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[aAbé*%.]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[aAbé.]{0,10}`).Draw(t, "text")
		re := "(?is)^" + strings.NewReplacer(`\*`, ".*", "%", ".").Replace(regexp.QuoteMeta(p)) + "$"
		if got, want := glob(p, s), regexp.MustCompile(re).MatchString(s); got != want {
			t.Fatalf("glob(%q, %q) = %v, regexp says %v", p, s, got, want)
		}
	})
}

func TestGlobIsNotExponential(t *testing.T) {
	pattern, text := strings.Repeat("*a", 500)+"b", strings.Repeat("a", 5000)
	done := time.Now()
	if glob(pattern, text) {
		t.Fatal("matched")
	}
	if d := time.Since(done); d > 2*time.Second {
		t.Fatalf("took %v", d)
	}
}

package routing

import (
	"cmp"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"backbone/gateway/address"
)

// spaceGen draws spaces and addresses over a small alphabet, so that they meet.
var (
	patterns = map[address.Type]*rapid.Generator[string]{
		address.MS:   rapid.StringMatching(`([AB%*]{1,2}(/[AB%*]{1,2}(/[AB%*]{1,2})?)?)?`),
		address.SMTP: rapid.StringMatching(`[ab*%]{0,2}(@[ab*%.]{0,4})?`),
		address.X400: rapid.Custom(func(t *rapid.T) string { return orText(t, true) }),
		"FAX":        rapid.StringMatching(`[ab*%]{0,3}`),
		address.EX:   rapid.StringMatching(`(/[ab]{1,2}){0,2}`),
	}
	values = map[address.Type]*rapid.Generator[string]{
		address.MS:   rapid.StringMatching(`[AB]{1,2}/[AB]{1,2}/[AB]{1,2}`),
		address.SMTP: rapid.StringMatching(`[abAB]{1,2}@[ab]{1,2}(\.[ab])?`),
		address.X400: rapid.Custom(func(t *rapid.T) string { return orText(t, false) }),
		"FAX":        rapid.StringMatching(`[ab]{1,3}`),
		address.EX:   rapid.StringMatching(`(/[abA]{1,2}){1,3}`),
	}
	types = []address.Type{address.MS, address.SMTP, address.X400, "FAX", address.EX}
)

func orText(t *rapid.T, wild bool) string {
	value := func(name string) string {
		words := []string{"", "us", "US", "b"}
		if wild {
			words = append(words, "*", "u%")
		}
		return rapid.SampledFrom(words).Draw(t, name)
	}
	or := address.ORAddress{C: value("c"), P: value("p"), O: value("o"), S: value("s")}
	or.A = rapid.SampledFrom([]string{"", " ", "0", "mci"}).Draw(t, "a")
	or.OU[0] = value("ou1")
	return or.String()
}

// The index finds what a look at each space finds.
func TestTheIndexFindsWhatALinearSearchFinds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var es []Entry
		for range rapid.IntRange(1, 20).Draw(rt, "spaces") {
			typ := rapid.SampledFrom(types).Draw(rt, "type")
			es = append(es, Entry{Connector: rapid.SampledFrom([]string{"k1", "k2"}).Draw(rt, "connector"), Space: address.Space{Type: typ, Pattern: patterns[typ].Draw(rt, "pattern"), Cost: 1}})
		}
		tb := NewTable(es)
		typ := rapid.SampledFrom(types).Draw(rt, "type")
		to := newTarget(address.Address{Type: typ, Value: values[typ].Draw(rt, "to")})
		ix := tb.types[typ]
		if ix == nil {
			return
		}
		names := func(ss []*space) (out []string) {
			for _, s := range ss {
				out = append(out, s.Connector+" "+s.Space.String())
			}
			slices.SortFunc(out, cmp.Compare)
			return out
		}
		var got, want []*space
		for _, h := range ix.find(&to) {
			got = append(got, h.space)
		}
		for _, s := range ix.all {
			if m, _ := s.match(&to); m != NoMatch {
				want = append(want, s)
			}
		}
		if diff := gocmp.Diff(names(want), names(got)); diff != "" {
			rt.Fatalf("for %v: -linear +index:\n%s", to, diff)
		}
	})
}

// Whatever the table and the links: the order of the table's making does not matter, each candidate but the winner has
// a reason, the winner can send if any of its set can, and nothing that was ruled out wins.
func TestADecisionsInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		connectors := []string{"k1", "k2", "k3", "k4"}
		var es []Entry
		for range rapid.IntRange(1, 10).Draw(rt, "spaces") {
			es = append(es, Entry{
				Connector: rapid.SampledFrom(connectors).Draw(rt, "connector"), Local: rapid.Bool().Draw(rt, "local"),
				Space: address.Space{Type: address.MS, Pattern: rapid.SampledFrom([]string{"", "*", "A", "A/B", "A/B/C", "A/%", "A/B/*", "X"}).Draw(rt, "pattern"), Cost: rapid.IntRange(1, 3).Draw(rt, "cost")},
			})
		}
		states := map[string]State{}
		tries := map[string]int{}
		for _, c := range connectors {
			states[c] = rapid.SampledFrom([]State{Up, Up, OpenRetry, Scheduled, Suspended, Never, RemoteInitiated, Disabled}).Draw(rt, "state")
			tries[c] = rapid.IntRange(0, 3).Draw(rt, "tries")
		}
		req := Request{
			Recipient: address.Address{Type: address.MS, Value: "A/B/C"}, Tries: tries, MaxTries: 3, ArrivedOn: rapid.SampledFrom([]string{"", "k1"}).Draw(rt, "arrived"),
			Seed:    rapid.Uint64Range(0, 3).Draw(rt, "seed"),
			Options: Options{LeastCostOnly: rapid.Bool().Draw(rt, "lco"), FallbackLessSpecific: rapid.Bool().Draw(rt, "fallback")},
			Links:   func(c, _ string) LinkState { return LinkState{State: states[c]} },
		}
		d := Route(NewTable(es), req)
		slices.Reverse(es)
		if again := Route(NewTable(es), req); chosen(again) != chosen(d) {
			rt.Fatalf("the table's order matters: %s, then %s", chosen(d), chosen(again))
		}
		for i, c := range d.Candidates {
			if (c.Lost == "") != (i == 0 && d.Chosen != nil) {
				rt.Fatalf("candidate %d has the reason %q\n%s", i, c.Lost, explain(d))
			}
		}
		if (d.Chosen == nil) != (d.Failure != nil) {
			rt.Fatalf("chosen %v, failure %v", d.Chosen, d.Failure)
		}
		if d.Chosen == nil {
			return
		}
		if c := d.Chosen; c.Connector == req.ArrivedOn || tries[c.Connector] >= 3 || d.Wait == c.Link.CanSend() {
			rt.Fatalf("chosen against the rules\n%s", explain(d))
		}
		if d.Wait && !req.Options.LeastCostOnly {
			for _, c := range d.Candidates {
				if c.Space.Pattern == d.Chosen.Space.Pattern && c.Connector != req.ArrivedOn && tries[c.Connector] < 3 && states[c.Connector] == Up {
					rt.Fatalf("waits for %s while %s can send\n%s", d.Chosen.Connector, c.Connector, explain(d))
				}
			}
		}
	})
}

var update = flag.Bool("update", false, "write the golden files")

func TestExplainText(t *testing.T) {
	tb := table(t, "k1 | MS:NORTHWIND/PO2/MKUMAR | 50", "k2 | MS:NORTHWIND/PO% | 10", "k3 | MS:NORTHWIND/PO2 | 20", "k5 | MS:NORTHWIND/PO2 | 5", "k4 | MS:* | 1", "x4 | X400:c=* | 1")
	var b strings.Builder
	links := func(c, _ string) LinkState {
		if c == "k5" {
			return LinkState{State: OpenRetry, Since: noon, Until: noon.Add(600e9), Failures: 3, Why: "connection refused"}
		}
		return LinkState{State: Up}
	}
	for _, req := range []Request{
		{Recipient: addr(t, "MS:NORTHWIND/PO2/JLEE"), Links: links, All: true},
		{Recipient: addr(t, "MS:NORTHWIND/PO2/JLEE"), Links: links, Tries: map[string]int{"k3": 9}, MaxTries: 9},
		{Recipient: addr(t, "X400:c=US;a= ;p=Northwind;o=SITEB;dda:FAX=123")},
	} {
		if err := Route(tb, req).Explain(&b); err != nil {
			t.Fatal(err)
		}
	}
	golden := filepath.Join("testdata", "explain.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

package routing

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// table builds a table from "connector space cost" lines; a "remote" fourth word makes the connector another gateway's.
func table(t testing.TB, lines ...string) *Table {
	t.Helper()
	var es []Entry
	for _, l := range lines {
		f := strings.Split(l, " | ")
		if len(f) < 3 {
			t.Fatalf("table line %q", l)
		}
		s, err := address.ParseSpace(f[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range f[2] {
			s.Cost = s.Cost*10 + int(c-'0')
		}
		s.Origin = "config"
		es = append(es, Entry{Connector: f[0], Space: s, Local: len(f) < 4})
	}
	return NewTable(es)
}

func addr(t testing.TB, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func chosen(d Decision) string {
	if d.Chosen == nil {
		return ""
	}
	return d.Chosen.Connector
}

// The reference's worked table, its traps, and each KB case about which space wins.
func TestTheBestMatchWinsWhateverItCosts(t *testing.T) {
	worked := []string{"k1 | MS:NORTHWIND/PO2/MKUMAR | 50", "k2 | MS:NORTHWIND/PO% | 10", "k3 | MS:NORTHWIND/PO2 | 20", "k4 | MS:* | 1"}
	for _, tt := range []struct {
		name  string
		table []string
		to    string
		want  string // "" no route
		match Match
	}{
		{"worked table: an exact mailbox beats all, cost ignored", worked, "MS:NORTHWIND/PO2/MKUMAR", "k1", Exact},
		{"worked table: a literal post office beats a wildcard that leaves it open", worked, "MS:NORTHWIND/PO2/JLEE", "k3", Partial},
		{"worked table: the wildcard with most literals serves the rest of the network", worked, "MS:NORTHWIND/PO7/X", "k2", Wildcard},
		{"worked table: the catch-all serves other networks", worked, "MS:OTHER/HQ/Y", "k4", Wildcard},
		{"letter case does not matter", worked, "ms:northwind/po2/mkumar", "k1", Exact},
		{"PO2 does not match PO21", []string{"k | MS:NORTHWIND/PO2 | 1"}, "MS:NORTHWIND/PO21/X", "", ""},
		{"a network alone matches each of its post offices", []string{"k | MS:NORTHWIND | 1"}, "MS:NORTHWIND/PO21/X", "k", Partial},
		{"a network alone does not match a longer one", []string{"k | MS:NORTH | 1"}, "MS:NORTHWIND/PO1/X", "", ""},
		{"a wildcard mailbox inside a literal post office beats the post office", []string{"k1 | MS:NORTHWIND/PO2 | 1", "k2 | MS:NORTHWIND/PO2/M* | 99"}, "MS:NORTHWIND/PO2/MKUMAR", "k2", Wildcard},
		{"a wildcard network beats a literal network without post office (KB order)", []string{"k1 | MS:NORTHWIND | 1", "k2 | MS:NORTHWIND/* | 9"}, "MS:NORTHWIND/PO2/MKUMAR", "k2", Wildcard},
		{"a wildcard element does not reach over the slash", []string{"k | MS:N%/PO1 | 1"}, "MS:NORTHWIND/PO1/X", "", ""},
		{"the directory synchronisation box can be named", []string{"k1 | MS:NORTHWIND/PO2/$SYSTEM | 9", "k2 | MS:NORTHWIND/PO2 | 1"}, "MS:NORTHWIND/PO2/$SYSTEM", "k1", Exact},
		{"the star of *SPECIAL is itself", []string{"k1 | MS:NORTHWIND/PO2/*SPECIAL | 9", "k2 | MS:NORTHWIND/PO2 | 1"}, "MS:NORTHWIND/PO2/BIGSPECIAL", "k2", Partial},
		{"*SPECIAL matches the box of that name", []string{"k1 | MS:NORTHWIND/PO2/*SPECIAL | 9", "k2 | MS:NORTHWIND/PO2 | 1"}, "MS:NORTHWIND/PO2/*SPECIAL", "k1", Exact},
		{"a wildcard network with a literal post office", []string{"k | MS:*/PO2 | 1"}, "MS:NORTHWIND/PO2/JLEE", "k", Wildcard},
		{"MS: serves what nothing else does", []string{"k1 | MS: | 1", "k2 | MS:NORTHWIND | 100"}, "MS:NORTHWIND/PO1/X", "k2", Partial},

		{"SMTP:* beats SMTP: even when dearer (Q152471)", []string{"k1 | SMTP: | 1", "k2 | SMTP:* | 100"}, "SMTP:u@example.com", "k2", Wildcard},
		{"an exact SMTP address beats its domain", []string{"k1 | SMTP:*@example.com | 1", "k2 | SMTP:u@example.com | 9"}, "SMTP:U@Example.com", "k2", Exact},
		{"more literal characters win among wildcards (Q229961)", []string{"k1 | SMTP:*.com | 1", "k2 | SMTP:*@example.com | 9"}, "SMTP:u@example.com", "k2", Wildcard},
		{"a domain without wildcard matches nobody (Q229961)", []string{"k | SMTP:@example.com | 1"}, "SMTP:u@example.com", "", ""},
		{"no DNS logic: *@example.com leaves subdomains alone", []string{"k | SMTP:*@example.com | 1"}, "SMTP:u@eu.example.com", "", ""},
		{"one percent is one character", []string{"k1 | SMTP:*@example.c% | 1", "k2 | SMTP:* | 1"}, "SMTP:u@example.com", "k2", Wildcard},
		{"a prefix is a partial match", []string{"k1 | FAX:+49 | 9", "k2 | FAX: | 1"}, "FAX:+4930123", "k1", Partial},
		{"a wildcard beats a prefix", []string{"k1 | FAX:+49 | 1", "k2 | FAX:* | 9"}, "FAX:+4930123", "k2", Wildcard},
		{"a directory name ends at its slash", []string{"k | EX:/O=Northwind/OU=SITEB | 1"}, "EX:/o=Northwind/ou=SITEB2/cn=X", "", ""},
		{"a directory name matches beneath", []string{"k | EX:/O=Northwind/OU=SITEB | 1"}, "EX:/o=Northwind/ou=SITEB/cn=X", "k", Partial},
		{"another type is another world", []string{"k | SMTP:* | 1"}, "MS:NORTHWIND/PO1/X", "", ""},

		{"an O/R space matches all beneath", []string{"k | X400:c=US;a= ;p=Northwind | 1"}, "X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar", "k", Partial},
		{"the deeper O/R space wins", []string{"k1 | X400:c=US;a= ;p=Northwind | 1", "k2 | X400:c=US;a= ;p=Northwind;o=SITEB | 9"}, "X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar", "k2", Exact},
		{"a literal beats the catch-all c=*", []string{"k1 | X400:c=* | 1", "k2 | X400:c=US;a= ;p=Northwind | 9"}, "X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar", "k2", Partial},
		{"a wildcard attribute serves where the literal one does not", []string{"k1 | X400:c=US;a= ;p=Contoso | 1", "k2 | X400:c=US;a= ;p=* | 9"}, "X400:c=US;a= ;p=Northwind;s=Kumar", "k2", Wildcard},
		{"an absent ADMD is a blank one", []string{"k | X400:c=US;a= ;p=Northwind | 1"}, "X400:c=US;p=Northwind;s=Kumar", "k", Exact},
		{"a named ADMD is not a blank one", []string{"k | X400:c=US;a= ;p=Northwind | 1"}, "X400:c=US;a=mci;p=Northwind;s=Kumar", "", ""},
		{"an organization is not its prefix", []string{"k | X400:c=US;a= ;p=Northwind;o=SITE | 1"}, "X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar", "", ""},
		{"an O/R space may name a person", []string{"k1 | X400:c=US;a= ;p=Northwind;s=Kumar | 9", "k2 | X400:c=US;a= ;p=Northwind | 1"}, "X400:c=US;a= ;p=Northwind;s=Kumar", "k1", Exact},
		{"X400:* beats X400:", []string{"k1 | X400: | 1", "k2 | X400:* | 9"}, "X400:c=DE;a=x;s=Y", "k2", Wildcard},

		{"a typed attribute is routed by its own type first (Q262112)", []string{"k1 | X400:c=* | 1", "k2 | MS:NORTHWIND/PO2 | 50"}, "X400:c=US;a= ;p=Northwind;o=SITEA;dda:MS=NORTHWIND/PO2/MKUMAR", "k2", Partial},
		{"a typed attribute without route is not swallowed by c=* (Q262112)", []string{"k1 | X400:c=* | 1"}, "X400:c=US;a= ;p=Northwind;o=SITEA;dda:MS=NORTHWIND/PO2/MKUMAR", "", ""},
		{"doubled slashes are the same typed attribute (Q156355)", []string{"k2 | MS:NORTHWIND/PO2 | 50"}, "X400:c=US;a= ;p=Northwind;o=SITEA;dda:MS=NORTHWIND//PO2//MKUMAR", "k2", Partial},
		{"a person's private attribute is no address", []string{"k1 | X400:c=US | 1"}, "X400:c=US;a= ;p=Northwind;s=Kumar;dda:STAFF=123", "k1", Partial},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Route(table(t, tt.table...), Request{Recipient: addr(t, tt.to)})
			if got := chosen(d); got != tt.want {
				t.Fatalf("chosen %q, want %q\n%s", got, tt.want, explain(d))
			}
			if tt.want == "" {
				if d.Failure == nil || d.Failure.Enhanced != "5.4.4" || !d.NoMatch {
					t.Fatalf("failure %+v, no match %v: want 5.4.4 and true", d.Failure, d.NoMatch)
				}
				return
			}
			if d.Chosen.Match != tt.match {
				t.Errorf("match %q, want %q", d.Chosen.Match, tt.match)
			}
			if d.Failure != nil || d.Wait {
				t.Errorf("failure %v, wait %v with a connector chosen", d.Failure, d.Wait)
			}
			for _, c := range d.Candidates[1:] {
				if c.Lost == "" {
					t.Errorf("no reason why %s lost", c.Connector)
				}
			}
		})
	}
}

func explain(d Decision) string {
	var b strings.Builder
	if err := d.Explain(&b); err != nil {
		return err.Error()
	}
	return b.String()
}

var noon = time.Date(2025, 3, 4, 12, 0, 0, 0, time.UTC)

func TestSelectionAmongConnectorsOfOneSet(t *testing.T) {
	up, down := LinkState{State: Up}, LinkState{State: OpenRetry, Since: noon, Until: noon.Add(10 * time.Minute), Failures: 3, Why: "connection refused"}
	suspended := LinkState{State: Suspended, By: "kim", Why: "line works"}
	scheduled, never, remote := LinkState{State: Scheduled, Until: noon.Add(time.Hour)}, LinkState{State: Never}, LinkState{State: RemoteInitiated}
	for _, tt := range []struct {
		name  string
		table []string
		req   Request
		links map[string]LinkState
		want  string
		wait  bool
		lost  map[string]string // connector -> part of its reason
		fails string            // enhanced code
	}{
		{name: "the lowest cost wins", table: []string{"a | SMTP:* | 20", "b | SMTP:* | 10"}, want: "b", lost: map[string]string{"a": "cost 20, b costs 10"}},
		{name: "not back over the connector that it came from (Q251441)", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 10"}, req: Request{ArrivedOn: "a"}, want: "b", lost: map[string]string{"a": "straight back"}},
		{name: "bounce back when allowed", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 10"}, req: Request{ArrivedOn: "a", Options: Options{BounceBack: true}}, want: "a"},
		{name: "the only way leads back: a loop", table: []string{"a | SMTP:* | 1"}, req: Request{ArrivedOn: "a"}, fails: "5.4.6"},
		{name: "a connector at its maximum of retries is out", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 10"}, req: Request{Tries: map[string]int{"a": 144}, MaxTries: 144}, want: "b", lost: map[string]string{"a": "maximum of 144 open retries"}},
		{name: "all at their maximum: given up", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 10"}, req: Request{Tries: map[string]int{"a": 144, "b": 145}, MaxTries: 144}, fails: "5.4.1"},
		{name: "no maximum, no giving up", table: []string{"a | SMTP:* | 1"}, req: Request{Tries: map[string]int{"a": 1000}}, want: "a"},
		{name: "a dead link attracts nothing (Q238719)", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 100"}, links: map[string]LinkState{"a": down}, want: "b", lost: map[string]string{"a": "connection refused; b can send now"}},
		{name: "a dead link attracts nothing even when tried less often", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 100"}, req: Request{Tries: map[string]int{"b": 5}}, links: map[string]LinkState{"a": down}, want: "b"},
		{name: "a suspended link attracts nothing", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 100"}, links: map[string]LinkState{"a": suspended}, want: "b", lost: map[string]string{"a": "suspended by kim until resumed: line works"}},
		{name: "active before scheduled before never before remote-initiated", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 2", "c | SMTP:* | 3", "d | SMTP:* | 4"}, links: map[string]LinkState{"a": remote, "b": never, "c": scheduled, "d": up}, want: "d"},
		{name: "nothing active: wait for the scheduled one", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 2", "c | SMTP:* | 3"}, links: map[string]LinkState{"a": remote, "b": never, "c": scheduled}, want: "c", wait: true},
		{name: "never before remote-initiated", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 2"}, links: map[string]LinkState{"a": remote, "b": never}, want: "b", wait: true},
		{name: "all down: wait for the cheapest", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 2"}, links: map[string]LinkState{"a": down, "b": down}, want: "a", wait: true},
		{name: "all down or suspended: wait for the one that is retried", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 2"}, links: map[string]LinkState{"a": suspended, "b": down}, want: "b", wait: true},
		{name: "the only one is suspended: wait for it", table: []string{"a | SMTP:* | 1"}, links: map[string]LinkState{"a": suspended}, want: "a", wait: true},
		{name: "fewest attempts before cost", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 100"}, req: Request{Tries: map[string]int{"a": 1}}, want: "b", lost: map[string]string{"a": "tried 1 times"}},
		{name: "local before a remote bridgehead", table: []string{"a | SMTP:* | 1 | remote", "b | SMTP:* | 1"}, want: "b", lost: map[string]string{"a": "another gateway's"}},
		{name: "cost before local", table: []string{"a | SMTP:* | 1 | remote", "b | SMTP:* | 2"}, want: "a"},
		{name: "equal in all: the first by name", table: []string{"b | SMTP:* | 1", "a | SMTP:* | 1"}, want: "a", lost: map[string]string{"b": "share of the load"}},
		{name: "rerouting never falls back to a less specific space (Q229961)", table: []string{"a | SMTP:*@x.example | 1", "b | SMTP:* | 1"}, req: Request{Recipient: address.Address{Type: "SMTP", Value: "u@x.example"}}, links: map[string]LinkState{"a": down}, want: "a", wait: true, lost: map[string]string{"b": "less specific"}},
		{name: "unless that is wanted", table: []string{"a | SMTP:*@x.example | 1", "b | SMTP:* | 1"}, req: Request{Recipient: address.Address{Type: "SMTP", Value: "u@x.example"}, Options: Options{FallbackLessSpecific: true}}, links: map[string]LinkState{"a": down}, want: "b", lost: map[string]string{"a": "more specific, but it can't send now"}},
		{name: "fallback waits for the best when all are down", table: []string{"a | SMTP:*@x.example | 1", "b | SMTP:* | 1"}, req: Request{Recipient: address.Address{Type: "SMTP", Value: "u@x.example"}, Options: Options{FallbackLessSpecific: true}}, links: map[string]LinkState{"a": down, "b": down}, want: "a", wait: true},
		{name: "fallback when the best set is exhausted", table: []string{"a | SMTP:*@x.example | 1", "b | SMTP:* | 1"}, req: Request{Recipient: address.Address{Type: "SMTP", Value: "u@x.example"}, Options: Options{FallbackLessSpecific: true}, Tries: map[string]int{"a": 3}, MaxTries: 3}, want: "b"},
		{name: "least cost only: wait for the cheap link in open-retry (Q166567)", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 2"}, req: Request{Options: Options{LeastCostOnly: true}}, links: map[string]LinkState{"a": down}, want: "a", wait: true, lost: map[string]string{"b": "cost 2, a costs 1"}},
		{name: "least cost only: an inactive schedule gives way (Q166567)", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 2"}, req: Request{Options: Options{LeastCostOnly: true}}, links: map[string]LinkState{"a": scheduled}, want: "b"},
		{name: "least cost only: equally cheap ones avoid open-retry (Q186289)", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 1"}, req: Request{Options: Options{LeastCostOnly: true}}, links: map[string]LinkState{"a": down}, want: "b"},
		{name: "least cost only: cost before attempts", table: []string{"a | SMTP:* | 1", "b | SMTP:* | 2"}, req: Request{Options: Options{LeastCostOnly: true}, Tries: map[string]int{"a": 9}}, want: "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := tt.req
			req.Now = noon
			if req.Recipient.IsZero() {
				req.Recipient = addr(t, "SMTP:u@example.com")
			}
			if tt.links != nil {
				req.Links = func(c, _ string) LinkState { return tt.links[c] }
			}
			d := Route(table(t, tt.table...), req)
			if got := chosen(d); got != tt.want || d.Wait != tt.wait {
				t.Fatalf("chosen %q, wait %v; want %q, %v\n%s", got, d.Wait, tt.want, tt.wait, explain(d))
			}
			if tt.fails != "" && (d.Failure == nil || d.Failure.Enhanced != tt.fails || d.NoMatch) {
				t.Errorf("failure %+v, want %s for a space that matched", d.Failure, tt.fails)
			}
			for name, want := range tt.lost {
				found := false
				for _, c := range d.Candidates {
					found = found || c.Connector == name && strings.Contains(c.Lost, want)
				}
				if !found {
					t.Errorf("%s: no reason with %q in\n%s", name, want, explain(d))
				}
			}
		})
	}
}

func TestNextHopOfAConnectorThatCannotServeTheAddress(t *testing.T) {
	tb := table(t, "a | SMTP:* | 1", "b | SMTP:* | 2")
	refused := mail.Restricted("not over this connector")
	hops := func(c string, _ address.Address) (string, error) {
		if c == "a" {
			return "", refused
		}
		return "mx." + c, nil
	}
	d := Route(tb, Request{Recipient: addr(t, "SMTP:u@example.com"), NextHop: hops})
	if chosen(d) != "b" || d.Chosen.NextHop != "mx.b" {
		t.Errorf("chosen %q to %q, want b to mx.b", chosen(d), d.Chosen.NextHop)
	}
	var other error
	all := func(c string, _ address.Address) (string, error) {
		if c == "b" {
			return "", other
		}
		return hops(c, address.Address{})
	}
	other = mail.NoRoute("not configured")
	d = Route(tb, Request{Recipient: addr(t, "SMTP:u@example.com"), NextHop: all})
	if d.Failure != refused {
		t.Errorf("failure %v, want that of the cheaper connector a", d.Failure)
	}
	other = errors.New("table not read")
	d = Route(tb, Request{Recipient: addr(t, "SMTP:u@example.com"), NextHop: all})
	if d.Failure == nil || d.Failure.Final() || !errors.Is(d.Failure, other) {
		t.Errorf("failure %v, want b's, which may pass", d.Failure)
	}
}

func TestEqualConnectorsShareTheLoadBySeed(t *testing.T) {
	tb := table(t, "a | SMTP:* | 1", "b | SMTP:* | 1", "c | SMTP:* | 1")
	n := map[string]int{}
	for seed := uint64(1); seed <= 3000; seed++ {
		req := Request{Recipient: addr(t, "SMTP:u@example.com"), Seed: seed}
		first := chosen(Route(tb, req))
		if again := chosen(Route(tb, req)); again != first {
			t.Fatalf("seed %d chose %s, then %s", seed, first, again)
		}
		n[first]++
	}
	for _, c := range []string{"a", "b", "c"} {
		if n[c] < 800 || n[c] > 1200 {
			t.Errorf("%s got %d of 3000, want about a third", c, n[c])
		}
	}
}

func TestORFallThroughIsAnOption(t *testing.T) {
	tb := table(t, "x | X400:c=US | 1")
	to := addr(t, "X400:c=US;a= ;p=Northwind;o=SITEB;dda:MS=NORTHWIND/PO2/MKUMAR")
	d := Route(tb, Request{Recipient: to, Options: Options{ORFallThrough: true}})
	if chosen(d) != "x" {
		t.Errorf("chosen %q, want x by its O/R attributes", chosen(d))
	}
	d = Route(tb, Request{Recipient: to})
	if want := (address.Address{Type: "MS", Value: "NORTHWIND/PO2/MKUMAR"}); d.Native != want || !strings.Contains(d.Failure.Text, "inside") {
		t.Errorf("native %v, failure %v; want the typed address named", d.Native, d.Failure)
	}
}

func TestSpacesThatDoNotMatchAreListedOnlyWhenAskedFor(t *testing.T) {
	tb := table(t, "a | MS:NORTHWIND/PO1 | 1", "b | MS:NORTHWIND/PO2 | 1", "c | SMTP:* | 1")
	to := addr(t, "MS:NORTHWIND/PO1/X")
	if d := Route(tb, Request{Recipient: to}); len(d.Candidates) != 1 {
		t.Errorf("%d candidates, want 1", len(d.Candidates))
	}
	d := Route(tb, Request{Recipient: to, All: true})
	if len(d.Candidates) != 2 || d.Candidates[1].Match != NoMatch || !strings.Contains(d.Candidates[1].Lost, "does not match") {
		t.Errorf("candidates %+v, want the space of PO2 with its reason", d.Candidates)
	}
}

func TestTheNullAddressAndAnEmptyTableHaveNoRoute(t *testing.T) {
	for _, d := range []Decision{Route(nil, Request{Recipient: addr(t, "MS:A/B/C")}), Route(NewTable(nil), Request{})} {
		if d.Failure == nil || !d.NoMatch {
			t.Errorf("failure %v, no match %v", d.Failure, d.NoMatch)
		}
	}
}

func TestAnUnreadablePatternNeverMatches(t *testing.T) {
	tb := NewTable([]Entry{{Connector: "x", Space: address.Space{Type: address.X400, Pattern: "no attributes here", Cost: 1}}})
	d := Route(tb, Request{Recipient: addr(t, "X400:c=US;a= ;s=K"), All: true})
	if d.Chosen != nil || len(d.Candidates) != 1 || !strings.Contains(d.Candidates[0].Lost, "can't be read") {
		t.Errorf("decision %+v", d)
	}
}

func TestDecisionSurvivesJSON(t *testing.T) {
	d := Route(table(t, "a | SMTP:* | 1", "b | SMTP:* | 2"), Request{Recipient: addr(t, "SMTP:u@example.com"),
		Links: func(c, _ string) LinkState {
			return LinkState{State: OpenRetry, Since: noon, Until: noon.Add(time.Hour), Why: c}
		}})
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var got Decision
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, key := range []string{`"recipient"`, `"chosen":"a"`, `"candidates"`, `"connector"`, `"space":"SMTP:*"`, `"cost"`, `"match":"wildcard"`, `"link":{"state":"open-retry"`, `"lost"`, `"wait":true`} {
		if !strings.Contains(string(b), key) {
			t.Errorf("no %s in %s", key, b)
		}
	}
}

func TestTableEntrySurvivesJSON(t *testing.T) {
	want := table(t, "a | MS:NORTHWIND/PO1 | 7", "b | SMTP:* | 1 | remote").Entries()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got []Entry
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if text := string(b); !strings.Contains(text, `{"connector":"a","type":"MS","pattern":"NORTHWIND/PO1","cost":7,"origin":"config","local":true}`) {
		t.Errorf("field names in %s", text)
	}
}

func TestAConnectorWithTwoEquallyGoodSpacesCountsOnceAtItsLowerCost(t *testing.T) {
	d := Route(table(t, "a | SMTP:*@example.com | 9", "b | SMTP:*@example.com | 5", "a | SMTP:%*@example.com | 1"), Request{Recipient: addr(t, "SMTP:u@example.com")})
	if len(d.Candidates) != 2 || chosen(d) != "a" || d.Chosen.Space.Cost != 1 {
		t.Errorf("decision\n%s", explain(d))
	}
}

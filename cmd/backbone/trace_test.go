package main

import (
	"log/slog"
	"strings"
	"testing"

	"backbone/gateway/config"
	"backbone/gateway/tracking"
	"backbone/integration/loopback"
)

// A joined site may ask about what it handed over itself, and about nothing else.
func TestASiteLearnsOnlyOfItsOwnMessages(t *testing.T) {
	s := idleSite(t)
	for _, e := range []tracking.Event{
		{Type: tracking.Received, Site: "SITEA", ID: "THEIRS-1", Connector: "x400", Peer: "SITEB"},
		{Type: tracking.Delivered, Site: "SITEA", ID: "THEIRS-1", Connector: "msmail", Dest: "msmail:NET/PO1"},
		{Type: tracking.Report, Site: "SITEA", ID: "REPORT-1", About: "THEIRS-1"},
		{Type: tracking.Received, Site: "SITEA", ID: "OURS-1", Connector: "msmail", Peer: "NET/PO1"},
		{Type: tracking.Received, Site: "SITEA", ID: "CLAIMED-1", Connector: "imc", Peer: "SITEB"}, // a name that an SMTP client gave itself
	} {
		if err := s.track.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		site, id string
		events   int
	}{
		"what it handed over, with the report about it": {"SITEB", "THEIRS-1", 3},
		"another site's message":                        {"SITEC", "THEIRS-1", 0},
		"a message of ours":                             {"SITEB", "OURS-1", 0},
		"one that somebody sent in its name":            {"SITEB", "CLAIMED-1", 0},
		"one that there is not":                         {"SITEB", "NOBODYS-1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.service.AnswerTrace(t.Context(), c.site, c.id, []string{c.site})
			if len(got.Events) != c.events || (err == nil) != (c.events > 0) {
				t.Errorf("%d events, error %v; want %d", len(got.Events), err, c.events)
			}
			if err != nil && !strings.Contains(err.Error(), "no message of that name") {
				t.Errorf("error %v tells more than that there is nothing", err)
			}
		})
	}
}

// idleSite is the embedded default site on free ports, not served. The test's end closes it.
func idleSite(t *testing.T) *site {
	t.Helper()
	d := embeddedSite
	d.Control, d.SMTP, d.X400 = loopback.Port(t), loopback.Port(t), loopback.Port(t)
	p, err := writeSite(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(p, kinds)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSite(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Which gateway wrote what is worth a word only where there was more than one; JSON has it always.
func TestATraceNamesGatewaysWhereThereIsMoreThanOne(t *testing.T) {
	e := func(site, node string) tracking.Event {
		return tracking.Event{Type: tracking.Queued, Site: site, Node: node, ID: "A-1"}
	}
	for name, c := range map[string]struct {
		events []tracking.Event
		named  bool
	}{
		"two gateways of a site":    {[]tracking.Event{e("SITEA", "gw1"), e("SITEA", "gw2")}, true},
		"one gateway":               {[]tracking.Event{e("SITEA", "gw1"), e("SITEA", "gw1")}, false},
		"one gateway of each site":  {[]tracking.Event{e("SITEA", "gw1"), e("SITEB", "gw7"), e("SITEC", "")}, false},
		"gateways that are nowhere": {[]tracking.Event{e("SITEA", ""), e("SITEA", "")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var text, lines strings.Builder
			if err := (&app{out: &text}).printEvents(c.events); err != nil {
				t.Fatal(err)
			}
			if err := (&app{out: &lines, json: true}).printEvents(c.events); err != nil {
				t.Fatal(err)
			}
			if named := strings.Contains(text.String(), " on gw1 "); named != c.named {
				t.Errorf("a gateway is named: %v\n%s", named, &text)
			}
			if want := c.events[0].Node != ""; strings.Contains(lines.String(), `"node":"gw1"`) != want {
				t.Errorf("JSON has the node: %v\n%s", !want, &lines)
			}
		})
	}
	for node, head := range map[string]string{"gw2": "NODE", "gw1": "TIME"} {
		var text strings.Builder
		if err := (&app{out: &text}).printSearch([][]string{{"gw1", "t", "received", "A-1", "", "", ""}, {node, "t", "received", "A-2", "", "", ""}}); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(text.String(), head) {
			t.Errorf("a search with %s begins with %s", node, &text)
		}
	}
}

package control

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var descName = regexp.MustCompile(`fqName: "(backbone_[a-z_]+)", help: "([^"]*)"`)

// metrics are the names of all metrics there are, with their helps.
func metrics(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, d := range slices.Concat(allDescs, agentDescs) {
		m := descName.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("unreadable: %s", d)
		}
		out[m[1]] = m[2]
	}
	return out
}

var named = regexp.MustCompile(`backbone_[a-z_]+`)

// TestDashboardAndAlertsNameMetricsThatExist: a rule on a metric that is not there never fires, and nobody notices.
func TestDashboardAndAlertsNameMetricsThatExist(t *testing.T) {
	have := metrics(t)
	for _, f := range []string{"../../contrib/prometheus/backbone.rules.yml", "../../contrib/grafana/backbone.json"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, ".json") && !json.Valid(b) {
			t.Errorf("%s is not JSON", f)
		}
		found := named.FindAllString(string(b), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics only: the test looks at nothing", f, len(found))
		}
		for _, n := range found {
			if _, ok := have[strings.TrimSuffix(n, "_bucket")]; !ok {
				t.Errorf("%s names %s, which does not exist", f, n)
			}
		}
	}
}

// TestNamesFollowTheConventions: base units as the last word, _total for counters only, lower case, a help that is a sentence.
func TestNamesFollowTheConventions(t *testing.T) {
	counters := []*regexp.Regexp{regexp.MustCompile(`since the daemon's start`)}
	for name, help := range metrics(t) {
		counts := slices.ContainsFunc(counters, func(re *regexp.Regexp) bool { return re.MatchString(help) })
		if counts != strings.HasSuffix(name, "_total") {
			t.Errorf("%s counts: %v", name, counts)
		}
		for _, unit := range []string{"_ms", "_millis", "_minutes", "_kb", "_mb", "_octets"} {
			if strings.HasSuffix(name, unit) {
				t.Errorf("%s is not in a base unit", name)
			}
		}
		if !strings.HasSuffix(help, ".") {
			t.Errorf("%s: help %q", name, help)
		}
	}
}

package config

import (
	"strings"
	"testing"

	"backbone/connectors"

	"github.com/google/go-cmp/cmp"
)

const before = `[site]
name = "SITEA"
domains = ["sitea.example"]
[connector.k]
type = "kind"
password = "old"
`

// secretive is a kind with what a diff must see and must not show.
type secretive struct {
	connectors.Common
	Password connectors.Secret `toml:"password"`
	Doors    []door            `toml:"door"`
}

type door struct {
	Name string            `toml:"name"`
	Pin  connectors.Secret `toml:"pin"`
}

func (*secretive) Check() []connectors.Problem { return nil }

func TestDiffNamesWhatARunningDaemonCanChange(t *testing.T) {
	kinds := []connectors.Kind{{Type: "kind", NewConfig: func() connectors.Config { return &secretive{} }}}
	for name, c := range map[string]struct {
		now  string
		want []Change
	}{
		"nothing": {before, nil},
		"a setting that is live, written where a default was": {before + "[limits]\nhops = 9\n",
			[]Change{{"[limits] hops", "32", "9", true}}},
		"a default that is written down is no change": {before + "[limits]\nhops = 32\n", nil},
		"a setting that needs a restart":              {strings.Replace(before, "SITEA", "SITEB", 1), []Change{{"[site] name", `"SITEA"`, `"SITEB"`, false}}},
		"a secret, without showing it":                {strings.Replace(before, `"old"`, `"new"`, 1), []Change{{"[connector.k] password", `"***"`, `"***"`, false}}},
		"address spaces are live": {before + "space = [ { address = \"MS:A/B\" } ]\n",
			[]Change{{"[connector.k] space", "[]", `[{ address = "MS:A/B" }]`, true}}},
		"an empty list is no list": {before + "space = []\n", nil},
		"a secret in a list":       {before + "door = [ { name = \"d\", pin = \"1\" } ]\n", []Change{{"[connector.k] door", "[]", `[{ name = "d", pin = "***" }]`, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			old, err := Parse("old", t.TempDir(), []byte(before), kinds)
			if err != nil {
				t.Fatal(err)
			}
			now, err := Parse("now", old.Dir(), []byte(c.now), kinds)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, Diff(old, now)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDiffOfAConnectorThatCameOrWentNeedsARestart(t *testing.T) {
	kinds := []connectors.Kind{{Type: "kind", NewConfig: func() connectors.Config { return &secretive{} }}}
	one, err := Parse("one", t.TempDir(), []byte(before), kinds)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Parse("two", one.Dir(), []byte(before+"[connector.l]\ntype = \"kind\"\n"), kinds)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range [][]Change{Diff(one, two), Diff(two, one)} {
		if len(d) == 0 {
			t.Error("no difference")
		}
		for _, c := range d {
			if c.Live || !strings.HasPrefix(c.Key, "[connector.l]") {
				t.Errorf("%+v: want settings of [connector.l] that need a restart", c)
			}
		}
	}
}

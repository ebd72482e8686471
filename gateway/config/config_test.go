package config

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"backbone/connectors"

	"github.com/google/go-cmp/cmp"
)

// pipeConfig is a kind of connector that only these tests know.
type pipeConfig struct {
	connectors.Common
	Listen   []string            `toml:"listen" doc:"where to listen"`
	Idle     connectors.Duration `toml:"idle" doc:"idle time"`
	Password connectors.Secret   `toml:"password" doc:"shared secret"`
	Ends     []struct {
		Address  string `toml:"address" doc:"where it ends"`
		Codepage int    `toml:"codepage" doc:"its code page"`
	} `toml:"end" doc:"the pipe's ends"`
}

func (c *pipeConfig) Check() []connectors.Problem {
	var out []connectors.Problem
	for i, e := range c.Ends {
		if e.Codepage == 13 {
			out = append(out, connectors.Problem{Key: "end[" + string(rune('0'+i)) + "].codepage", Text: "13 is no code page: write 850"})
		}
	}
	return out
}

var testKinds = []connectors.Kind{{Type: "pipe", NewConfig: func() connectors.Config { return &pipeConfig{Idle: connectors.Duration(5e9)} }}}

const good = `
[site]
name = "SITEA"
domains = ["sitea.example"]
ms = "NORTHWIND/SITEA"
x400 = "c=US;a= ;p=Northwind;o=SITEA"

[connector.zulu]
type = "pipe"
space = [ { address = "MS:NORTHWIND/PO2", cost = 3 } ]
password = "hunter2"

[connector.alpha]
type = "pipe"
idle = "2d"
[[connector.alpha.end]]
address = "X"
[[connector.alpha.end]]
codepage = 437
`

func TestParse(t *testing.T) {
	c, err := Parse("backbone.toml", "/etc/backbone", []byte(good), testKinds)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Site.Data, "/etc/backbone/data"; got != want {
		t.Errorf("data folder: got %s, want %s", got, want)
	}
	var names []string
	for _, k := range c.Connectors {
		names = append(names, k.Base().Name)
	}
	if diff := cmp.Diff([]string{"zulu", "alpha"}, names); diff != "" {
		t.Errorf("connectors in the order of the file (-want +got):\n%s", diff)
	}
	a := c.Connectors[1].(*pipeConfig)
	if a.Idle.String() != "2d" || len(a.Ends) != 2 || a.Ends[1].Codepage != 437 {
		t.Errorf("alpha: %+v", a)
	}
	if z := c.Connectors[0].(*pipeConfig); z.Idle.String() != "5s" || len(z.Spaces) != 1 {
		t.Errorf("a default of the kind must survive: %+v", z)
	}
	if c.Retry.OpenRetries != 144 || c.Retry.Normal.String() != "7d" {
		t.Errorf("Exchange's defaults: %+v", c.Retry)
	}
}

func TestMistakesHavePlaceAndAdvice(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"an unknown key names the nearest one", "[site]\nnam = 'A'\ndomains = ['a.example']\n", `f.toml:2:1: site.nam: unknown key: did you mean "name"?`},
		{"an unknown key inside an inline table has its own column", good + "[connector.c]\ntype='pipe'\nspace=[{address='SMTP:*', cots=3}]\n", `f.toml:22:27: connector.c.space.cots: unknown key: did you mean "cost"?`},
		{"an unknown section is an unknown key", good + "[limmits]\nhops = 3\n", `limmits: unknown key: did you mean "limits"?`},
		{"a number where a text belongs says so without Go's types", "[site]\nname = 3\n", `f.toml:2:8: site.name: is a TOML integer, but a quoted text is expected here`},
		{"a bad time says how to write one", good + "[retry]\nopen_interval = 'soon'\n", `retry.open_interval: "soon" is not a time: write it like 90s, 15m, 4h or 7d`},
		{"a connector without a type lists the types", "[connector.x]\nlisten=['a']\n", `f.toml:1:2: connector.x.type: missing: write type = one of pipe`},
		{"an unknown type lists the types", "[connector.x]\ntype = 'pip'\n", `f.toml:2:1: connector.x.type: "pip" is no kind of connector: write one of pipe`},
		{"a connector's own check is placed at the key", good + "[connector.c]\ntype='pipe'\n[[connector.c.end]]\n[[connector.c.end]]\ncodepage = 13\n", `connector.c.end[1].codepage: 13 is no code page: write 850`},
		{"a cost out of range is placed inside the list", good + "[connector.c]\ntype='pipe'\nspace=[{address='SMTP:*'},\n {address='MS:A/B', cost=101}]\n", `connector.c.space[1].cost: 101 is outside 1..100`},
		{"an address space that can't be parsed", good + "[connector.c]\ntype='pipe'\nspace=[{address='MS:NORTHWIND/TOOLONGNAME1'}]\n", `connector.c.space[0].address`},
		{"a missing site name", "[site]\ndomains=['a.example']\n", `site.name: "": a site name is 1 to 32`},
		{"a syntax error has its place", "[site\nname='x'\n", `f.toml:1:6`},
		{"a domain that is none", "[site]\nname='A'\ndomains=['a example']\n", `f.toml:3:10: site.domains[0]: "a example" is not a domain name`},
		{"a schedule that is none", good + "[connector.c]\ntype='pipe'\nschedule='sometimes'\n", `connector.c.schedule: "sometimes": write always, never or remote`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f.toml", "/", []byte(tt.text), testKinds)
			var errs *Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v, want *Errors", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got:\n%v\nwant it to contain:\n%s", err, tt.want)
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnceInOrder(t *testing.T) {
	_, err := Parse("f.toml", "/", []byte("[site]\nname='!'\ndomains=[]\n[log]\nlevel='loud'\n[limits]\nhops=0\n"), testKinds)
	var errs *Errors
	if !errors.As(err, &errs) || len(errs.List) != 4 {
		t.Fatalf("got %v, want four mistakes", err)
	}
	for i := 1; i < len(errs.List); i++ {
		if errs.List[i].Pos.Line < errs.List[i-1].Pos.Line {
			t.Errorf("not in the order of the file:\n%v", err)
		}
	}
}

func TestShowReadsBackTheSameAndHidesSecrets(t *testing.T) {
	c, err := Parse("f.toml", "/etc", []byte(good), testKinds)
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := Show(&first, c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(first.String(), "hunter2") {
		t.Error("the secret is shown")
	}
	again, err := Parse("f.toml", "/etc", first.Bytes(), testKinds)
	if err != nil {
		t.Fatalf("Show's text does not parse: %v\n%s", err, first.String())
	}
	if err := Show(&second, again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.String(), second.String()); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
}

func TestReferenceNamesEveryKeyOnceWithItsMeaning(t *testing.T) {
	var b bytes.Buffer
	if err := Reference(&b, testKinds); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[site]", "open_retries = 144", "[connector.NAME]", "[[connector.NAME.end]]", "codepage = 0", "idle = \"5s\"", "[[connector.NAME.space]]"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, b.String())
		}
	}
	for i, line := range strings.Split(b.String(), "\n") {
		if strings.Contains(line, " = ") && len(strings.Fields(line)) < 4 {
			t.Errorf("line %d has no meaning: %q", i+1, line)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("[connector.x]\ntype='pipe'\n"))
	f.Add([]byte("a.b.c = [{x=[1,{y=2}]}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("f.toml", "/", b, testKinds)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
	})
}

func TestTheSharedQueueNeedsADatabase(t *testing.T) {
	for _, c := range []struct{ name, queue, wrong string }{
		{"the embedded queue by default", ``, ""},
		{"a database", "store = \"postgres\"\ndsn = \"postgres://q:secret@db/queue\"\nnode = \"gw1\"", ""},
		{"no database", `store = "postgres"`, "queue.dsn: is missing"},
		{"a database for the embedded queue", `dsn = "postgres://db/queue"`, "queue.dsn: dsn and node are for"},
		{"another engine", `store = "kafka"`, `"kafka": write "bolt" or "postgres"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Parse("x.toml", "", []byte("[site]\nname = \"A\"\ndomains = [\"a.example\"]\n[queue]\n"+c.queue+"\n"), nil)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Fatalf("got %v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var shown strings.Builder
			if err := Show(&shown, cfg); err != nil || strings.Contains(shown.String(), "secret") {
				t.Errorf("%v, shown:\n%s", err, shown.String())
			}
		})
	}
}

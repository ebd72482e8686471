package msmail

import (
	"reflect"
	"strings"
	"testing"

	"backbone/connectors"
	"backbone/gateway/address"
)

func TestCheckNamesEachWrongValue(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		key    string // "" = nothing is wrong
		text   string
	}{
		{"the defaults", func(*Config) {}, "", ""},
		{"no post office", func(c *Config) { c.PostOffices = nil }, "postoffice", "no post office"},
		{"a name of eleven characters", func(c *Config) { c.PostOffices[0].Address = "NORTHWIND/POSTOFFICE1" }, "postoffice[0].address", "more than 10 characters"},
		{"a mailbox for a post office", func(c *Config) { c.PostOffices[0].Address = "NORTHWIND/PO1/X" }, "postoffice[0].address", "write NETWORK/POSTOFFICE"},
		{"a reserved network", func(c *Config) { c.PostOffices[0].Address = "SMTP/PO1" }, "postoffice[0].address", "Q175978"},
		{"a post office twice", func(c *Config) { c.PostOffices[1].Address = "northwind/po1" }, "postoffice[1].address", "is postoffice[0] already"},
		{"a folder twice", func(c *Config) { c.PostOffices[1].Dir = "shadow/NORTHWIND.PO1" }, "postoffice[1].dir", "is the folder of postoffice[0] already"},
		{"no folder", func(c *Config) { c.Dir = ""; c.PostOffices[0].Dir = "x" }, "postoffice[1].dir", "no folder"},
		{"an unknown code page", func(c *Config) { c.PostOffices[0].CodePage = 851 }, "postoffice[0].codepage", "851 is not known: write 437"},
		{"an unknown line end", func(c *Config) { c.PostOffices[0].LineEnds = "unix" }, "postoffice[0].line_ends", "write crlf, cr or lf"},
		{"an unknown zone", func(c *Config) { c.PostOffices[0].TimeZone = "Berlin" }, "postoffice[0].timezone", "Europe/Berlin"},
		{"MS as a gateway", func(c *Config) { c.PostOffices[0].Gateways = []string{"SMTP", "MS"} }, "postoffice[0].gateways[1]", "write the address type of a gateway"},
		{"an unknown policy", func(c *Config) { c.PostOffices[0].RichText = "never" }, "postoffice[0].rich_text", "write keep, foreign or strip"},
		{"a subject of nothing", func(c *Config) { c.PostOffices[0].MaxSubject = 3 }, "postoffice[0].max_subject", "outside 8..255"},
		{"a narrow screen", func(c *Config) { c.PostOffices[0].Wrap = 10 }, "postoffice[0].wrap", "outside 20..255"},
		{"user lists for nobody", func(c *Config) { c.PostOffices[0].Special = "bounce" }, "postoffice[0].special", "write delete, administrator"},
		{"user lists in a circle", func(c *Config) { c.PostOffices[0].Special = "MS:NORTHWIND/PO1/*SPECIAL" }, "postoffice[0].special", "in a circle"},
		{"user lists for a person", func(c *Config) { c.PostOffices[0].Special = "SMTP:admin@example.org" }, "", ""},
		{"a space at the connector", func(c *Config) { c.Spaces = []connectors.Space{{Address: "SMTP:*"}} }, "space", "under its [[postoffice]]"},
		{"a space behind a post office", func(c *Config) { c.PostOffices[0].Spaces = []connectors.Space{{Address: "MS:NORTHWIND/PO3"}} }, "", ""},
		{"a bad space behind a post office", func(c *Config) {
			c.PostOffices[1].Spaces = []connectors.Space{{Address: "MS:NORTHWIND/PO3", Cost: 101}}
		}, "postoffice[1].space[0].cost", "outside 1..100"},
		{"a post office that calls", func(c *Config) { c.Schedule = "remote" }, "schedule", "never calls"},
		{"a poll without rest", func(c *Config) { c.Poll = 0 }, "poll", "too short"},
		{"a memory shorter than a retry", func(c *Config) { c.Keep = connectors.Duration(3600e9) }, "keep", "at least 1d"},
		{"no batch", func(c *Config) { c.Batch = 0 }, "batch", "outside 1..1000"},
		{"a negative size", func(c *Config) { c.PostOffices[0].MaxSize = -1 }, "postoffice[0].max_size", "write a number of octets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewConfig()
			c.Name, c.Dir = "po", "shadow"
			c.PostOffices = []PostOffice{{Address: "NORTHWIND/PO1"}, {Address: "NORTHWIND/PO2"}}
			tt.change(c)
			bad := c.Check()
			switch {
			case tt.key == "" && len(bad) == 0:
			case len(bad) != 1:
				t.Errorf("got %v, want one problem with %q", bad, tt.key)
			case bad[0].Key != tt.key || !strings.Contains(bad[0].Text, tt.text):
				t.Errorf("got %v, want %s: %s", bad[0], tt.key, tt.text)
			}
		})
	}
}

func TestEveryKeyHasItsLineInTheReference(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[PostOffice]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if !f.Anonymous && (f.Tag.Get("toml") == "" || f.Tag.Get("doc") == "") {
				t.Errorf("%s.%s lacks a toml or doc tag", typ.Name(), f.Name)
			}
		}
	}
}

func TestNextHopIsThePostOfficeThatFitsBest(t *testing.T) {
	s := open(t, func(c *Config) {
		c.PostOffices[0].Spaces = []connectors.Space{{Address: "MS:NORTHWIND"}, {Address: "SMTP:*@example.org", Cost: 5}, {Address: "SNADS:"}}
		c.PostOffices[1].Spaces = []connectors.Space{{Address: "MS:NORTHWIND/PO3"}, {Address: "SMTP:*@example.org", Cost: 2}, {Address: "SMTP:ann@example.org", Cost: 9},
			{Address: "X400:c=US;a= ;p=Fabrikam;"}, {Address: "MS:CONTOSO/P*"}}
	})
	defer s.close()
	tests := []struct {
		name string
		to   address.Address
		want string // "" = nobody
	}{
		{"its own mailbox", ms("NORTHWIND/PO1/ASMITH"), "NORTHWIND/PO1"},
		{"the other's mailbox, though a wider space fits too", ms("NORTHWIND/PO2/MKUMAR"), "NORTHWIND/PO2"},
		{"an indirect post office", ms("NORTHWIND/PO3/X"), "NORTHWIND/PO2"},
		{"the rest of the network", ms("NORTHWIND/PO31/X"), "NORTHWIND/PO1"},
		{"a pattern with a wildcard", ms("CONTOSO/P9/X"), "NORTHWIND/PO2"},
		{"a pattern that does not fit", ms("CONTOSO/Q9/X"), ""},
		{"the cheaper of two equal spaces", smtp("ben@example.org"), "NORTHWIND/PO2"},
		{"the longer pattern, dear as it is", smtp("ann@example.org"), "NORTHWIND/PO2"},
		{"another domain", smtp("ben@example.net"), ""},
		{"an O/R address with the attributes asked for", address.Address{Type: address.X400, Value: "c=US;a= ;p=Fabrikam;o=SITEB;s=Lee;"}, "NORTHWIND/PO2"},
		{"an O/R address of another PRMD", address.Address{Type: address.X400, Value: "c=US;a= ;p=Contoso;o=SITEB;s=Lee;"}, ""},
		{"a whole foreign type", address.Address{Type: "SNADS", Value: "GW/DGN/DEN"}, "NORTHWIND/PO1"},
		{"a type that nobody serves", address.Address{Type: "FAX", Value: "1"}, ""},
		{"nobody", address.Address{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.NextHop(tt.to)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	spaces := s.Spaces()
	if got := spaces[0]; got != (address.Space{Type: address.MS, Pattern: "NORTHWIND/PO1", Cost: 1, Scope: "organization", Origin: "post office NORTHWIND/PO1"}) || len(spaces) != 10 {
		t.Errorf("%d spaces, the first %+v", len(spaces), got)
	}
}

func TestTwoSectionsCantShareAPostOffice(t *testing.T) {
	section := func(name string) *Config {
		c := NewConfig()
		c.Name, c.Dir, c.PostOffices = name, t.TempDir(), []PostOffice{{Address: "NORTHWIND/PO1"}}
		return c
	}
	env := connectors.Env{Site: connectors.Site{Name: "SITEA"}}
	_, err := Open(env, []connectors.Config{section("a"), section("b")})
	if err == nil || !strings.Contains(err.Error(), `NORTHWIND/PO1 belongs to connector "a" already`) {
		t.Errorf("got %v", err)
	}
}

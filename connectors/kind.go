package connectors

import (
	"fmt"

	"backbone/gateway/address"
)

// Kind is one sort of connector. cmd's registry holds one line for each.
type Kind struct {
	// Type is the word in `type = "..."`: "smtp", "x400", "site", "msmail".
	Type string
	// NewConfig returns a pointer to a configuration struct with its defaults set. The struct embeds Common, its
	// fields carry `toml:"name"` and `doc:"one line for the reference"` tags.
	NewConfig func() Config
	// Open builds all connectors of this kind at once, so that they can share a listener. It must not block on a
	// peer and must not accept mail: that begins with Source.Serve.
	Open func(env Env, cfgs []Config) (Opened, error)
}

// Opened is what a kind built. Close is called once, after every Serve and Deliver has returned.
type Opened struct {
	Connectors []Connector
	Sources    []Source
	Close      func() error
}

// Config is one connector's section of the configuration.
type Config interface {
	Base() *Common
	// Check returns what is wrong with the values, each with the key's path inside the section ("listen",
	// "postoffice[1].codepage"), after decoding and before Open. It touches neither disk nor network.
	Check() []Problem
}

// Problem is one wrong value.
type Problem struct {
	Key  string // path inside the connector's section
	Text string // what is wrong and what to write instead
}

// Common is what every connector's section has.
type Common struct {
	Name     string  `toml:"-"`
	Type     string  `toml:"type" doc:"kind of connector: smtp, x400, site, msmail"`
	Spaces   []Space `toml:"space" live:"true" doc:"address spaces that this connector serves"`
	MaxSize  int64   `toml:"max_size" doc:"largest message in octets that goes this way; 0 = the site's limit. Refusal is final, mail is not rerouted"`
	Parallel int     `toml:"parallel" live:"true" doc:"transfers at once to one destination"`
	Disabled bool    `toml:"disabled" doc:"keep the section but do not open the connector"`
	// Schedule of activation states is the link's, not the message's: see routing.
	Schedule string `toml:"schedule" live:"true" doc:"always, never, or remote (only when the peer calls); default always"`
}

// Base makes Common satisfy half of Config for the struct that embeds it.
func (c *Common) Base() *Common { return c }

// Space is an address space as the configuration writes it: { address = "MS:NORTHWIND/PO2", cost = 1 }.
type Space struct {
	Address string `toml:"address" doc:"TYPE:pattern; an empty pattern claims the whole type; * any run, % one character"`
	Cost    int    `toml:"cost" doc:"1 (preferred) to 100 (last resort); default 1"`
	Scope   string `toml:"scope" doc:"organization (default), site or location"`
}

// AddressSpaces parses the configured spaces.
func (c *Common) AddressSpaces() ([]address.Space, []Problem) {
	var out []address.Space
	var bad []Problem
	for i, s := range c.Spaces {
		sp, err := address.ParseSpace(s.Address)
		if err != nil {
			bad = append(bad, Problem{fmt.Sprintf("space[%d].address", i), err.Error()})
			continue
		}
		sp.Cost, sp.Scope, sp.Origin = s.Cost, s.Scope, "config"
		if sp.Cost == 0 {
			sp.Cost = 1
		}
		if sp.Cost < 1 || sp.Cost > 100 {
			bad = append(bad, Problem{fmt.Sprintf("space[%d].cost", i), fmt.Sprintf("%d is outside 1..100", s.Cost)})
		}
		switch sp.Scope {
		case "":
			sp.Scope = "organization"
		case "organization", "site", "location":
		default:
			bad = append(bad, Problem{fmt.Sprintf("space[%d].scope", i), fmt.Sprintf("%q: write organization, site or location", s.Scope)})
		}
		out = append(out, sp)
	}
	return out, bad
}

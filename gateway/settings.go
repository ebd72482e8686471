package gateway

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/routing"
	"backbone/queue"
)

// Settings are the rules that can change while the gateway runs. What is under way ends by the former ones.
type Settings struct {
	Policy queue.Policy
	// MaxSize in octets, MaxRecipients of one message, MaxHops between gateways, Poison: identical unexpected failures
	// after which a transfer is held.
	MaxSize       int64
	MaxRecipients int
	MaxHops       int
	Poison        int
	// OpenRetries is how often a next hop may fail to open before its connector is given up for the mail that
	// waited through all of them (KB Q157630).
	OpenRetries int
	Selection   routing.Options
	ReplyRoutes time.Duration // 0: none are learned or used
	// ReportsPerOriginator and ReportsPerDestination are how many reports an hour we make for one originator, and over one
	// destination; 0: no bound. Further ones wait for their turn in the queue. Over a destination, the reports within their
	// originator's bound and those beyond it are counted apart.
	ReportsPerOriginator  int
	ReportsPerDestination int
}

// inForce is what each decision looks at: replaced as a whole, never changed.
type inForce struct {
	settings Settings
	members  map[string]Member
}

func (g *Gateway) settings() *Settings        { return &g.force.Load().settings }
func (g *Gateway) members() map[string]Member { return g.force.Load().members }

// Apply puts new settings in force, and of the named connectors their address spaces, their parallel transfers and their
// schedule. Spaces that follow from a connector's nature stay. The routing table is calculated anew, and
// mail that waits for a link looks for a better way. The error says that links names a connector that there is not: then nothing changed.
func (g *Gateway) Apply(s Settings, links []connectors.Common) error {
	members := maps.Clone(g.members())
	for _, c := range links {
		m, ok := members[c.Name]
		if !ok {
			return fmt.Errorf("gateway: %w", NoConnector(c.Name))
		}
		spaces, bad := c.AddressSpaces()
		if len(bad) > 0 {
			return fmt.Errorf("gateway: connector %s: %s: %s", c.Name, bad[0].Key, bad[0].Text)
		}
		own := slices.DeleteFunc(m.Connector.Spaces(), func(s address.Space) bool { return s.Origin == "config" })
		m.claims = append(own, spaces...)
		m.Common.Spaces, m.Schedule = c.Spaces, c.Schedule
		if m.Parallel = c.Parallel; m.Parallel <= 0 {
			m.Parallel = DefaultParallel
		}
		members[c.Name] = m
	}
	g.force.Store(&inForce{s, members})
	g.Recalculate()
	g.look(look{})
	return nil
}

// Spaces are the address spaces in force for a connector.
func (g *Gateway) Spaces(connector string) []address.Space {
	m, ok := g.members()[connector]
	switch {
	case !ok:
		return nil
	case m.claims != nil:
		return slices.Clone(m.claims)
	}
	return m.Connector.Spaces()
}

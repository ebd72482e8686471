package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/routing"
)

// publish writes this site's connectors into the directory with the address spaces that they were opened with.
func (a *Agent) publish() error {
	return a.Publish(func(c connectors.Connector) []address.Space { return c.Spaces() })
}

// Publish writes this site's connectors into the directory, for the others to route by: each with its address spaces of
// scope organization. One that leads to a joined site says that instead: that site speaks for what lies behind it. Call it
// when the spaces have changed.
func (a *Agent) Publish(spaces func(connectors.Connector) []address.Space) error {
	leads := map[string]directory.Entry{}
	for _, p := range a.o.Partners {
		for i, name := range p.Connectors {
			leads[name] = directory.Entry{Leads: p.Site, Cost: p.Cost + i}
		}
	}
	var es []directory.Entry
	for _, c := range a.joined {
		e := leads[c.Name()]
		e.Name = c.Name()
		if e.Leads == "" {
			for _, s := range spaces(c) {
				if s.Scope == "" || s.Scope == "organization" {
					e.Spaces = append(e.Spaces, address.Space{Type: s.Type, Pattern: s.Pattern, Cost: s.Cost})
				}
			}
		}
		if e.Leads != "" || len(e.Spaces) > 0 {
			es = append(es, e)
		}
	}
	return a.d.SetConnectors(es)
}

// way is how a site is reached.
type way struct {
	connectors []string
	cost       int
	by         string // the joined site at the beginning of the way
}

// ways finds the cheapest way to each site over the connectors that are known (Dijkstra over a handful of sites).
func (a *Agent) ways(known []directory.Entry) map[string]way {
	best := map[string]way{}
	for _, p := range a.o.Partners {
		best[p.Site] = way{p.Connectors, p.Cost, p.Site}
	}
	done := map[string]bool{a.o.Site.Name: true}
	for {
		site := ""
		for _, s := range slices.Sorted(maps.Keys(best)) {
			if !done[s] && (site == "" || best[s].cost < best[site].cost) {
				site = s
			}
		}
		if site == "" {
			return best
		}
		done[site] = true
		for _, c := range known {
			if c.Leads == "" || !strings.EqualFold(c.Site, site) || done[c.Leads] {
				continue
			}
			cost := best[site].cost + c.Cost
			if have, ok := best[c.Leads]; !ok || cost < have.cost {
				best[c.Leads] = way{best[site].connectors, cost, best[site].by}
			}
		}
	}
}

// Routes are the routing entries that follow from replication: each address space of each other site's connectors, by the
// cheapest way to that site; and the way to partners whose agents get mail.
func (a *Agent) Routes() []routing.Entry {
	var out []routing.Entry
	for _, p := range a.o.Partners {
		if p.Address.IsZero() {
			continue
		}
		for i, c := range p.Connectors {
			out = append(out, routing.Entry{Connector: c, Local: true, Space: address.Space{Type: p.Address.Type, Pattern: p.Address.Value,
				Cost: min(p.Cost+i, 100), Scope: "organization", Origin: "agent of replication partner " + p.Site}})
		}
	}
	known := a.d.Connectors()
	ways := a.ways(known)
	for _, e := range known {
		w, ok := ways[e.Site]
		if !ok || strings.EqualFold(e.Site, a.o.Site.Name) {
			continue
		}
		origin := fmt.Sprintf("directory: %s, version %d of %s", e.ID(), e.Version, e.Changed.UTC().Format(time.DateOnly))
		if w.by != e.Site {
			origin += ", by way of " + w.by
		}
		for _, s := range e.Spaces {
			for i, c := range w.connectors {
				out = append(out, routing.Entry{Connector: c, Local: true, Space: address.Space{Type: s.Type, Pattern: s.Pattern,
					Cost: min(s.Cost+w.cost+i, 100), Scope: "organization", Origin: origin}})
			}
		}
	}
	return out
}

package gateway

import (
	"fmt"
	"time"

	"backbone/gateway/routing"
)

// Unserved is an address space none of whose connectors may send: mail for it waits for an operator.
type Unserved struct {
	Space     string            `json:"space"`
	Connector string            `json:"connector"` // the first that has it
	Link      routing.LinkState `json:"link"`
}

func (u Unserved) String() string {
	return fmt.Sprintf("%s is served by nobody: connector %s is %s", u.Space, u.Connector, u.Link)
}

// Unserved lists them. A link that is down, or waits for its time or for its peer's call, serves: no operator is needed.
func (g *Gateway) Unserved(now time.Time) []Unserved {
	var out []Unserved
	served, listed := map[string]bool{}, map[string]bool{}
	entries := g.Table().Entries()
	for _, e := range entries {
		switch g.memberState(e.Connector, "", now).State {
		case routing.Suspended, routing.Never, routing.Disabled:
		default:
			served[e.Space.String()] = true
		}
	}
	for _, e := range entries {
		if name := e.Space.String(); !served[name] && !listed[name] {
			listed[name] = true
			out = append(out, Unserved{Space: name, Connector: e.Connector, Link: g.memberState(e.Connector, "", now)})
		}
	}
	return out
}

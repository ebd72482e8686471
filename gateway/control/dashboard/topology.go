package dashboard

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/agent"
	"backbone/gateway/control"
	"backbone/gateway/monitor"
	"backbone/queue"
)

// The map's measures, in the SVG's own units.
const (
	boxHeight = 46
	rowHeight = 64
	mapTop    = 44
	poX       = 8
	poWidth   = 168
	siteX     = 272
	siteWidth = 136
	connX     = 506
	connWidth = 184
	spaceX    = 816
	spaceWide = 236
	mapWidth  = spaceX + spaceWide + 8
)

// siteMap is the topology, laid out.
type siteMap struct {
	Width, Height int
	Nodes         []node
	Edges         []edge
	Heads         []label
}

// node is a box: Kind is po, site, connector or space, State up, down, partly, suspended or idle.
type node struct {
	X, Y, W, H  int
	Kind, State string
	Title, Sub  string
	Href        string
}

// Mid and the text lines, for the template.
func (n node) Mid() int   { return n.Y + n.H/2 }
func (n node) TextX() int { return n.X + 14 }
func (n node) Line1() int { return n.Y + 20 }
func (n node) Line2() int { return n.Y + 36 }
func (n node) Right() int { return n.X + n.W - 16 }

// Text1 and Text2 are title and sub, cut to the box.
func (n node) Text1() string { return n.cut(n.Title, 7.9) }
func (n node) Text2() string { return n.cut(n.Sub, 6.4) }

// Tag is the label's left edge.
func (e edge) Tag() int { return e.LX - e.LW/2 }

// edge is a line between boxes. Label stands on it: a cost or a flow.
type edge struct {
	Path, State, Label string
	LX, LY, LW         int // label's middle, and its width
	Busy               bool
}

type label struct {
	X    int
	Text string
}

// curve joins two boxes, leaving to the right and coming in from the left.
func curve(x1, y1, x2, y2 int) string {
	m := (x1 + x2) / 2
	return fmt.Sprintf("M%d %d C%d %d %d %d %d %d", x1, y1, m, y1, m, y2, x2, y2)
}

func newEdge(x1, y1, x2, y2 int, state, text string, share float64) edge {
	e := edge{Path: curve(x1, y1, x2, y2), State: state, Label: text}
	// The point of the curve at share: a Bézier's, whose inner points lie halfway across.
	a, b := share, 1-share
	mid := float64(x1+x2) / 2
	e.LX = int(b*b*b*float64(x1) + 3*a*b*mid + a*a*a*float64(x2))
	e.LY = y1 + int((3*a*a-2*a*a*a)*float64(y2-y1))
	e.LW = labelWidth(text)
	return e
}

func labelWidth(text string) int { return 7*len([]rune(text)) + 14 }

// cut shortens a text to what fits a box.
func (n node) cut(s string, perChar float64) string {
	return short(max(4, int(float64(n.W-40)/perChar)), s)
}

type mapView struct {
	Map     siteMap
	Rows    []connectorRow
	Stats   queueNumbers
	Ages    []control.AgeRow
	Bounds  []string
	Links   int
	Susp    int
	Sharers []queue.Node // the gateways that share the queue
	Trouble []trouble
}

type queueNumbers struct{ Waiting, Leased, Held, Trash int }

// trouble is a line of "what needs looking at".
type trouble struct{ What, Why, Href string }

func (d *Dashboard) mapPage(v *visit) error {
	rows, err := d.connectorRows(v, "")
	if err != nil {
		return err
	}
	st, err := d.s.Status(v.r.Context())
	if err != nil {
		return err
	}
	q := st.Queue
	view := mapView{
		Map: layMap(st.Site, rows, d.spaceLinks()), Rows: rows, Stats: queueNumbers{q.Ready, q.Leased, q.Held, q.Trash}, Ages: st.Ages,
		Bounds: ageHeads(), Links: len(st.Links), Susp: len(st.Suspensions), Sharers: st.Gateways,
	}
	for _, n := range st.Gateways {
		if n.Silent {
			view.Trouble = append(view.Trouble, trouble{"A gateway is silent: " + n.Name, "it is down or cut off from the database; the others carry its mail", "#gateways"})
		}
	}
	view.Trouble = append(view.Trouble, d.troubles(v, rows, q.Held)...)
	return d.show(v, 200, "map", "Map", view)
}

// troubles lists what an operator should look at, worst first.
func (d *Dashboard) troubles(v *visit, rows []connectorRow, held int) (out []trouble) {
	for _, c := range rows {
		for _, x := range c.Dests {
			if x.State == "down" {
				why := ""
				if x.Last != nil {
					why = x.Last.Error()
				}
				out = append(out, trouble{x.Dest.String() + " is down, " + num(x.Ready) + " waiting", why, "/destinations?" + string(query("connector", c.Name))})
			}
		}
	}
	if d.s.Monitor != nil {
		for _, m := range d.s.Monitor.Status() {
			if m.State == monitor.Warning || m.State == monitor.Alert {
				why := "the ping to " + m.To + " came back late"
				if !m.Oldest.IsZero() {
					why = "a ping to " + m.To + " has been out for " + span(time.Since(m.Oldest))
				}
				out = append(out, trouble{"Link monitor: " + m.Name + " is in the " + string(m.State) + " state", why, "/destinations"})
			}
		}
	}
	if held > 0 {
		out = append(out, trouble{num(held) + " " + entries(held) + " held", "by an operator or as poison; only a release ends it", "/queue?state=held"})
	}
	if list, err := d.s.Quarantined(v.r.Context()); err != nil {
		out = append(out, trouble{"The quarantine can't be listed", err.Error(), "/quarantine"})
	} else if n := len(list); n > 0 {
		out = append(out, trouble{num(n) + " in quarantine", list[n-1].ID + ": " + list[n-1].Reason, "/quarantine"})
	}
	for _, s := range d.s.Store.Suspensions() {
		why := s.Reason + " (" + s.By + ")"
		if !s.Until.IsZero() {
			why += ", until " + s.Until.UTC().Format("2006-01-02 15:04") + " UTC"
		}
		out = append(out, trouble{title(destText(s.Dest)) + " is suspended", why, "/destinations"})
	}
	return out
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// spaceLink is an address space of a connector.
type spaceLink struct {
	Connector string
	Space     address.Space
}

func (d *Dashboard) spaceLinks() (out []spaceLink) {
	for _, e := range d.s.Gateway.Table().Entries() {
		out = append(out, spaceLink{e.Connector, e.Space})
	}
	return out
}

// maxSpaces bounds the boxes of the last column; the routes page lists all.
const maxSpaces = 24

// layMap places post offices on the left, the site in the middle, then connectors and what they lead to. It is a pure
// function: the same site gives the same drawing.
func layMap(site string, rows []connectorRow, spaces []spaceLink) siteMap {
	var pos, conns []node
	connAt := map[string]int{}
	for _, c := range rows {
		if c.Type == "msmail" {
			pos = append(pos, postOffices(c)...)
			continue
		}
		if c.Type == "postmaster" || c.Type == agent.Name || c.Type == monitor.Name { // they lead nowhere
			continue
		}
		connAt[c.Name] = len(conns)
		conns = append(conns, node{
			X: connX, W: connWidth, H: boxHeight, Kind: "connector", State: stateClass(c.State), Title: c.Name, Sub: connectorSub(c),
			Href: "/destinations?" + string(query("connector", c.Name)),
		})
	}
	var ends []node
	endAt := map[string]int{}
	more := 0
	for _, s := range spaces {
		if _, ok := connAt[s.Connector]; !ok {
			continue
		}
		name := s.Space.String()
		if _, ok := endAt[name]; ok {
			continue
		}
		if len(ends) == maxSpaces {
			more++
			continue
		}
		endAt[name] = len(ends)
		ends = append(ends, node{X: spaceX, W: spaceWide, H: boxHeight, Kind: "space", State: "plain", Title: name, Sub: spaceSub(s.Space), Href: "/routes"})
	}
	if more > 0 {
		ends = append(ends, node{X: spaceX, W: spaceWide, H: boxHeight, Kind: "space", State: "plain", Title: fmt.Sprintf("and %d more", more), Sub: "see the routing table", Href: "/routes"})
	}
	m := siteMap{Width: mapWidth, Heads: []label{{poX, "Post offices"}, {siteX, "This site"}, {connX, "Connectors"}, {spaceX, "Lead to"}}}
	tall := max(len(pos), len(conns), len(ends), 1)
	m.Height = mapTop + tall*rowHeight
	column := func(ns []node) {
		top := mapTop + (tall-len(ns))*rowHeight/2
		for i := range ns {
			ns[i].Y = top + i*rowHeight
		}
	}
	hub := []node{{X: siteX, W: siteWidth, H: boxHeight + 12, Kind: "site", State: "up", Title: site, Sub: "queue", Href: "/queue"}}
	column(pos)
	column(conns)
	column(ends)
	column(hub)
	for _, p := range pos {
		m.Edges = append(m.Edges, newEdge(p.X+p.W, p.Mid(), hub[0].X, hub[0].Mid(), p.State, "", 0.5))
	}
	for _, c := range conns {
		m.Edges = append(m.Edges, newEdge(hub[0].X+hub[0].W, hub[0].Mid(), c.X, c.Mid(), c.State, "", 0.5))
	}
	for _, s := range spaces {
		i, ok := connAt[s.Connector]
		j, drawn := endAt[s.Space.String()]
		if ok && drawn {
			m.Edges = append(m.Edges, newEdge(connX+connWidth, conns[i].Mid(), spaceX, ends[j].Mid(), conns[i].State, fmt.Sprint(s.Space.Cost), 0.62))
		}
	}
	flows(m.Edges[:len(pos)], rows, pos, true)
	flows(m.Edges[len(pos):len(pos)+len(conns)], rows, conns, false)
	m.Nodes = append(append(append(append(m.Nodes, pos...), hub...), conns...), ends...)
	return m
}

// flows writes on the edges what moved in the last ten minutes.
func flows(edges []edge, rows []connectorRow, to []node, po bool) {
	for i := range edges {
		n := 0
		for _, c := range rows {
			for _, x := range c.Dests {
				if po && c.Type == "msmail" && x.Dest.Host == to[i].Title || !po && c.Name == to[i].Title {
					n += x.Recent
				}
			}
		}
		if n > 0 {
			edges[i].Label, edges[i].Busy = num(n), true
			edges[i].LW = labelWidth(edges[i].Label)
		}
	}
}

// postOffices are the boxes of a MS Mail connector: the NET/PO that it claims, and whatever waits for others.
func postOffices(c connectorRow) (out []node) {
	seen := map[string]bool{}
	add := func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		n := node{X: poX, W: poWidth, H: boxHeight, Kind: "po", State: "up", Title: name, Sub: "nothing waits", Href: "/destinations?" + string(query("connector", c.Name))}
		for _, x := range c.Dests {
			if x.Dest.Host == name {
				n.State, n.Sub = stateClass(x.State), destSub(x)
			}
		}
		if c.State == "suspended" {
			n.State, n.Sub = "suspended", "suspended"
		}
		out = append(out, n)
	}
	for _, s := range c.Spaces {
		if s.Type == address.MS && strings.Count(s.Pattern, "/") >= 1 {
			parts := strings.SplitN(s.Pattern, "/", 3)
			add(parts[0] + "/" + parts[1])
		}
	}
	var hosts []string
	for _, x := range c.Dests {
		hosts = append(hosts, x.Dest.Host)
	}
	sort.Strings(hosts)
	for _, h := range hosts {
		add(h)
	}
	return out
}

func destSub(x destRow) string {
	s := "nothing waits"
	if n := x.Ready + x.Leased + x.Held; n > 0 {
		s = num(n) + " waiting"
	}
	if x.State != "up" {
		s = x.State + ", " + s
	}
	return s
}

func connectorSub(c connectorRow) string {
	s := c.Type
	if c.State != "up" {
		s = c.State
	}
	if n := c.Ready + c.Leased + c.Held; n > 0 {
		return s + ", " + num(n) + " waiting"
	}
	return s
}

func spaceSub(s address.Space) string {
	if s.Scope == "" || s.Scope == "organization" {
		return "address space"
	}
	return "address space, scope " + s.Scope
}

func stateClass(s string) string { return strings.ReplaceAll(s, " ", "-") }

func ageHeads() []string {
	var out []string
	for _, b := range control.AgeBounds {
		out = append(out, "< "+span(b))
	}
	return append(out, "older")
}

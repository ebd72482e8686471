package dashboard

import (
	"slices"
	"sort"
	"strings"
	"time"

	"backbone/gateway"
	"backbone/gateway/control"
	"backbone/gateway/mail"
	"backbone/gateway/monitor"
	"backbone/queue"
)

type destinationsView struct {
	Connectors []connectorRow
	Monitor    []monitor.Status
	Filter     string // only this connector
	Return     string
}

type connectorRow struct {
	control.ConnectorStatus
	Parallel int // the window: transfers at once to one destination
	Dests    []destRow
}

type destRow struct {
	control.DestStatus
	State  string // up, down, suspended
	Recent int    // recipients delivered in the last ten minutes
	Last   *mail.Failure
	// LastItem is the entry from which Last comes, when it is not the link's.
	LastItem string
}

func (d *Dashboard) destinationsPage(v *visit) error {
	view := destinationsView{Filter: v.r.URL.Query().Get("connector"), Return: v.r.URL.RequestURI()}
	if d.s.Monitor != nil {
		view.Monitor = d.s.Monitor.Status()
	}
	var err error
	if view.Connectors, err = d.connectorRows(v, view.Filter); err != nil {
		return err
	}
	return d.show(v, 200, "destinations", "Destinations", view)
}

// connectorRows lists connectors with their destinations; only is the name of one, or "".
func (d *Dashboard) connectorRows(v *visit, only string) ([]connectorRow, error) {
	ctx := v.r.Context()
	conns, err := d.s.Connectors(ctx)
	if err != nil {
		return nil, err
	}
	dests, err := d.s.Dests(ctx)
	if err != nil {
		return nil, err
	}
	sort.Slice(dests, func(i, j int) bool { return dests[i].Dest.String() < dests[j].Dest.String() })
	var out []connectorRow
	for _, c := range conns {
		if only != "" && c.Name != only {
			continue
		}
		row := connectorRow{ConnectorStatus: c}
		for _, m := range d.s.Members {
			if m.Connector.Name() == c.Name {
				if row.Parallel = m.Parallel; row.Parallel <= 0 {
					row.Parallel = gateway.DefaultParallel
				}
			}
		}
		for _, ds := range dests {
			if ds.Dest.Connector != c.Name {
				continue
			}
			r := destRow{DestStatus: ds, State: "up", Recent: d.recent(ds.Dest)}
			if ds.Link != nil {
				r.State, r.Last = "down", ds.Link.Last
			}
			if ds.Suspension != nil || c.Suspension != nil {
				r.State = "suspended"
			}
			if r.Last == nil && ds.Ready+ds.Held > 0 {
				if r.Last, r.LastItem, err = d.lastError(v, ds.Dest); err != nil {
					return nil, err
				}
			}
			row.Dests = append(row.Dests, r)
		}
		for _, sus := range d.s.Store.Suspensions() { // suspended, and nothing waits
			if sus.Dest.Connector == c.Name && sus.Dest.Host != "" && !slices.ContainsFunc(row.Dests, func(r destRow) bool { return r.Dest == sus.Dest }) {
				row.Dests = append(row.Dests, destRow{DestStatus: control.DestStatus{DestStat: queue.DestStat{Dest: sus.Dest, Suspension: &sus}}, State: "suspended"})
			}
		}
		out = append(out, row)
	}
	return out, nil
}

func (d *Dashboard) recent(dest queue.Dest) int {
	if d.s.Flow == nil {
		return 0
	}
	return d.s.Flow.Recent(dest.String())
}

// lastError is the latest failure among the oldest entries that wait for a destination.
func (d *Dashboard) lastError(v *visit, dest queue.Dest) (*mail.Failure, string, error) {
	items, _, err := d.s.Store.List(v.r.Context(), queue.Filter{Connector: dest.Connector, Host: dest.Host}, "", 20)
	for _, it := range items {
		if it.Last != nil {
			return it.Last, it.ID.String(), err
		}
	}
	return nil, "", err
}

// destOf reads which destination or connector a form is about.
func (d *Dashboard) destOf(v *visit) (queue.Dest, error) {
	dest := queue.Dest{Connector: v.r.PostFormValue("connector"), Host: v.r.PostFormValue("host")}
	for _, m := range d.s.Members {
		if m.Connector.Name() == dest.Connector {
			return dest, nil
		}
	}
	return dest, badRequest("There is no connector %q.", dest.Connector)
}

func (d *Dashboard) suspend(v *visit) error {
	dest, err := d.destOf(v)
	if err != nil {
		return err
	}
	req := control.SuspendRequest{Dest: dest, Reason: strings.TrimSpace(v.r.PostFormValue("reason")), By: v.by()}
	if req.Reason == "" {
		return &control.Error{Status: 422, Text: "Say why: the reason shows in every listing until it is resumed."}
	}
	if when := strings.TrimSpace(v.r.PostFormValue("until")); when != "" {
		if req.Until, err = parseWhen(when, time.Now()); err != nil {
			return err
		}
	}
	if _, err := d.s.Suspend(v.ctx(), req); err != nil {
		return err
	}
	text := "Suspended " + destText(dest)
	if !req.Until.IsZero() {
		text += " until " + req.Until.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	return d.done(v, v.r.PostFormValue("return"), flash{Text: text + ". Its mail takes another way if there is one, and waits otherwise."})
}

func (d *Dashboard) resume(v *visit) error {
	dest, err := d.destOf(v)
	if err != nil {
		return err
	}
	if _, err := d.s.Resume(v.ctx(), control.SuspendRequest{Dest: dest, By: v.by(), Reason: strings.TrimSpace(v.r.PostFormValue("reason"))}); err != nil {
		return err
	}
	return d.done(v, v.r.PostFormValue("return"), flash{Text: "Resumed " + destText(dest) + "; what waited is tried at once."})
}

func destText(d queue.Dest) string {
	if d.Host == "" {
		return "connector " + d.Connector
	}
	return d.String()
}

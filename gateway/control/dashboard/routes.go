package dashboard

import (
	"strings"

	"backbone/gateway"
	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/routing"
)

type routesView struct {
	Asked   string
	Error   string
	Explain *gateway.Explanation
	Steps   []string
	Table   []routing.Entry
}

// routesPage explains where mail for an address would go now, and lists the routing table.
func (d *Dashboard) routesPage(v *visit) error {
	view := routesView{Asked: strings.TrimSpace(v.r.URL.Query().Get("address")), Table: d.s.Gateway.Table().Entries()}
	if view.Asked != "" {
		a, err := address.Parse(view.Asked)
		if err != nil {
			view.Error = err.Error()
		} else {
			x := d.s.Gateway.Explain(a)
			view.Explain = &x
			if res, err := d.s.Directory.Resolve(d.s.Directory.Native(a)); err == nil {
				view.Steps = res.Steps
			}
		}
	}
	return d.show(v, 200, "routes", "Routes", view)
}

type directoryView struct {
	Text    string
	Size    int
	Entries []directory.Entry
	Next    string
}

func (d *Dashboard) directoryPage(v *visit) error {
	q := v.r.URL.Query()
	view := directoryView{Text: strings.TrimSpace(q.Get("text")), Size: d.s.Directory.Size()}
	var next string
	var err error
	if view.Entries, next, err = d.s.Directory.List(directory.Filter{Text: view.Text}, q.Get("after"), pageLength); err != nil {
		return err
	}
	if next != "" {
		view.Next = "/directory?" + string(query("text", view.Text, "after", next))
	}
	return d.show(v, 200, "directory", "Directory", view)
}

func (d *Dashboard) entryPage(v *visit) error {
	e, err := d.s.Directory.Get(v.r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	return d.show(v, 200, "entry", short(80, e.Name), e)
}

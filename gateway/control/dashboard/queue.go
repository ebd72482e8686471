package dashboard

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"backbone/gateway/control"
	"backbone/queue"
)

type queueView struct {
	Filter     filterForm
	Error      string
	Stats      queue.Stats
	Items      []queue.Item
	Next       string // the next page's query
	First      bool
	Connectors []string
	Verbs      []verb
	Return     string
	Shared     bool // with other gateways: each entry under way says which has it
}

// verb is one of `backbone queue`'s.
type verb struct {
	Name, Label, Does string
	Danger            bool
}

var (
	verbs = []verb{
		{"retry", "Retry now", "tried now, whatever they wait for", false},
		{"hold", "Hold", "held until they are released", false},
		{"release", "Release", "released and tried at once", false},
		{"schedule", "Schedule", "tried at the given time", false},
		{"reroute", "Reroute", "routed anew as things are now", false},
		{"bounce", "Bounce", "given back to their originators with a non-delivery report", true},
		{"delete", "Delete", "moved to the trash without any report; for seven days they can be restored", true},
	}
	trashVerbs = []verb{
		{"restore", "Restore", "brought back from the trash", false},
		{"purge", "Purge", "removed for good", true},
	}
)

func findVerb(name string) (verb, bool) {
	for _, v := range append(append([]verb(nil), verbs...), trashVerbs...) {
		if v.Name == name {
			return v, true
		}
	}
	return verb{}, false
}

const pageLength = 100

func (d *Dashboard) queuePage(v *visit) error {
	q := v.r.URL.Query()
	view := queueView{Stats: d.s.Store.Stats(), Verbs: verbs, First: q.Get("after") == "", Return: v.r.URL.RequestURI()}
	_, view.Shared = d.s.Store.(control.Shared)
	for _, m := range d.s.Members {
		view.Connectors = append(view.Connectors, m.Connector.Name())
	}
	f, form, err := parseFilter(q)
	if view.Filter = form; err != nil {
		view.Error = err.Error()
		return d.show(v, 400, "queue", "Queue", view)
	}
	if f.State == queue.Trash {
		view.Verbs = trashVerbs
	}
	items, next, err := d.s.Store.List(v.r.Context(), f, queue.Cursor(q.Get("after")), pageLength)
	if err != nil {
		return err
	}
	if view.Items = items; next != "" {
		more := form.values()
		more.Set("after", string(next))
		view.Next = "/queue?" + more.Encode()
	}
	return d.show(v, 200, "queue", "Queue", view)
}

type reviewView struct {
	Verb       verb
	Count      int
	Scope      string
	Sample     []queue.Item
	Filter     filterForm
	IDs        []string
	Reason     string
	At         string
	Via        string
	Connectors []string
	Return     string
	Error      string
}

// maxSelected bounds a selection by ids: it is what one page shows, several times.
const maxSelected = 1000

// chosen reads what a bulk form is about: the ticked entries, or all that the filter selects.
func (d *Dashboard) chosen(v *visit) (req control.ChangeRequest, view reviewView, err error) {
	p := v.r.PostForm
	verb, ok := findVerb(p.Get("verb"))
	if !ok {
		return req, view, badRequest("Choose what to do with the entries.")
	}
	view = reviewView{Verb: verb, Reason: strings.TrimSpace(p.Get("reason")), Via: p.Get("via"), At: p.Get("at"), Return: ownPath(p.Get("return"))}
	q := url.Values{}
	if p.Get("scope") == "filter" {
		q, err = url.ParseQuery(p.Get("filter"))
		if err != nil {
			return req, view, badRequest("The filter can't be read: %v.", err)
		}
		view.Scope = "filter"
	} else {
		if view.IDs = p["id"]; len(view.IDs) == 0 {
			return req, view, badRequest("Tick the entries that it is about, or choose all that the filter selects.")
		}
		if len(view.IDs) > maxSelected {
			return req, view, badRequest("At most %d entries can be ticked; use the filter for more.", maxSelected)
		}
		q["id"] = view.IDs
	}
	f, form, err := parseFilter(q)
	if err != nil {
		return req, view, badRequest("The filter can't be read: %v.", err)
	}
	view.Filter = form
	req = control.ChangeRequest{Filter: f, Connector: view.Via, Reason: view.Reason, By: v.by()}
	if verb.Name == "schedule" {
		if req.At, err = parseWhen(view.At, time.Now()); err != nil {
			return req, view, badRequest("Schedule: %v.", err)
		}
	}
	return req, view, nil
}

// reviewPage is the dry run: how many and which entries a verb would touch, before it does.
func (d *Dashboard) reviewPage(v *visit) error {
	req, view, err := d.chosen(v)
	if err != nil {
		return err
	}
	return d.review(v, 200, req, view)
}

func (d *Dashboard) review(v *visit, status int, req control.ChangeRequest, view reviewView) error {
	req.DryRun = true
	c, err := d.s.Change(v.ctx(), view.Verb.Name, req)
	if err != nil {
		return err
	}
	view.Count = c.Changed
	f := req.Filter
	if view.Verb.Name == "restore" || view.Verb.Name == "purge" {
		f.State = queue.Trash
	}
	if view.Sample, _, err = d.s.Store.List(v.r.Context(), f, "", 20); err != nil {
		return err
	}
	for _, m := range d.s.Members {
		view.Connectors = append(view.Connectors, m.Connector.Name())
	}
	return d.show(v, status, "review", view.Verb.Label, view)
}

// apply does what the review showed.
func (d *Dashboard) apply(v *visit) error {
	req, view, err := d.chosen(v)
	if err != nil {
		return err
	}
	if view.Reason == "" && view.Verb.Name != "restore" {
		view.Error = "Say why: the reason stays with the entries, on their timeline and in the audit log."
		return d.review(v, 422, req, view)
	}
	c, err := d.s.Change(v.ctx(), view.Verb.Name, req)
	if err != nil {
		return err
	}
	f := flash{Text: strconv.Itoa(c.Changed) + " " + entries(c.Changed) + " " + past(view.Verb.Name) + "."}
	if view.Verb.Name == "delete" && len(view.IDs) > 0 {
		f.Undo, f.IDs = "restore", view.IDs
	}
	if view.Verb.Name == "delete" && len(view.IDs) == 0 {
		f.Text += " They are in the trash for seven days: filter by state trash to restore them."
	}
	return d.done(v, view.Return, f)
}

func entries(n int) string {
	if n == 1 {
		return "entry"
	}
	return "entries"
}

func past(verb string) string {
	return map[string]string{
		"retry": "due now", "hold": "held", "release": "released", "schedule": "scheduled", "reroute": "rerouted", "bounce": "bounced",
		"delete": "moved to the trash", "restore": "restored", "purge": "purged",
	}[verb]
}

// parseWhen reads a moment, as a form's datetime-local gives it (UTC), in RFC 3339, or as a time from now ("2h", "+2h").
func parseWhen(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			if !t.After(now) {
				return t, badRequest("%s UTC is in the past", t.UTC().Format("2006-01-02 15:04"))
			}
			return t, nil
		}
	}
	var dur duration
	if err := dur.UnmarshalText([]byte(strings.TrimPrefix(s, "+"))); err != nil || dur.D() <= 0 {
		return time.Time{}, badRequest("%q is no time: write 2h or 1d from now, or 2026-01-31 18:00 (UTC)", s)
	}
	return now.Add(dur.D()), nil
}

package dashboard

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/control"
	"backbone/gateway/tracking"
	"backbone/queue"
)

type duration = connectors.Duration

type messageView struct {
	Key      string
	Head     tracking.Event // what is known of the message
	Received time.Time
	Items    []queue.Item // what still waits of it
	Events   []timelineEvent
	Verdict  string
	Verbs    []verb
	Return   string
	Others   []string // connectors that a reroute may name
	Missing  []string // what a site that the message went on to said instead of an answer
	Nodes    bool     // more than one gateway wrote the timeline
	Shared   bool     // the queue, with other gateways
	None     bool     // nothing has this name
}

// timelineEvent is a line of the timeline; Gap is set when long enough has passed since the one before.
type timelineEvent struct {
	tracking.Event
	Gap    time.Duration
	Tone   string // good, bad, warn or ""
	NewDay bool
}

// askSites bounds how long a page waits for what other sites know.
const askSites = 3 * time.Second

// messagePage is everything about a message: what waits of it here, and its one timeline over all sites that a site link leads to.
func (d *Dashboard) messagePage(v *visit) error {
	key := strings.Trim(strings.TrimSpace(v.r.URL.Query().Get("key")), "<>")
	view := messageView{Key: key, Verbs: verbs, Return: v.r.URL.RequestURI()}
	_, view.Shared = d.s.Store.(control.Shared)
	for _, m := range d.s.Members {
		view.Others = append(view.Others, m.Connector.Name())
	}
	if key == "" {
		view.None = true
		return d.show(v, 200, "message", "Find a message", view)
	}
	ctx := v.r.Context()
	ask, stop := context.WithTimeout(ctx, askSites)
	defer stop()
	all, err := d.s.Timeline(ask, key)
	if err != nil && !errors.Is(err, tracking.ErrNotFound) {
		return err
	}
	view.Events, view.Missing = timeline(all.Events), all.Missing
	view.Nodes = tracking.SeveralNodes(all.Events)
	own := d.s.Gateway.Site().Name
	events := slices.DeleteFunc(slices.Clone(all.Events), func(e tracking.Event) bool { return e.Site != own })
	if view.Items, err = d.waiting(v, key, events); err != nil {
		return err
	}
	if len(events) == 0 && len(view.Items) == 0 {
		view.None = true
		return d.show(v, 404, "message", "Find a message", view)
	}
	for _, e := range events {
		if e.Type == tracking.Received && view.Received.IsZero() {
			view.Head, view.Received = e, e.Time
		}
	}
	if view.Head.ID == "" && len(events) > 0 {
		view.Head = events[0]
	}
	if view.Head.ID == "" {
		it := view.Items[0]
		view.Head = tracking.Event{ID: it.Envelope.ID, MessageID: it.Envelope.MessageID, Subject: it.Envelope.Subject, Originator: it.Envelope.Originator.String()}
		view.Received = it.Envelope.Arrived
		for _, r := range it.Envelope.Recipients {
			view.Head.Recipients = append(view.Head.Recipients, r.Address.String())
		}
	}
	view.Verdict = joinVerdicts(verdict(view.Head.ID, events, view.Items), verdictThere(view.Head.ID, own, all.Events))
	title := view.Head.Subject
	if title == "" {
		title = "Message " + view.Head.ID
	}
	return d.show(v, 200, "message", short(80, title), view)
}

// waiting lists the queue entries of a message: of the one that key names, and of those on its timeline.
func (d *Dashboard) waiting(v *visit, key string, events []tracking.Event) (out []queue.Item, err error) {
	seen := map[queue.ID]bool{}
	add := func(f queue.Filter) error {
		items, _, err := d.s.Store.List(v.r.Context(), f, "", 200)
		for _, it := range items {
			if !seen[it.ID] {
				seen[it.ID] = true
				out = append(out, it)
			}
		}
		return err
	}
	if id, err := queue.ParseID(key); err == nil {
		if err := add(queue.Filter{IDs: []queue.ID{id}}); err != nil {
			return nil, err
		}
	}
	ids, last := map[queue.ID]bool{}, queue.Filter{}
	for _, e := range events {
		if id, err := queue.ParseID(e.Item); err == nil && e.Item != "" && !ids[id] && len(ids) < maxSelected {
			ids[id] = true
			last.IDs = append(last.IDs, id)
		}
	}
	if len(last.IDs) > 0 {
		err = add(last)
	}
	return out, err
}

func timeline(events []tracking.Event) []timelineEvent {
	out := make([]timelineEvent, len(events))
	for i, e := range events {
		t := timelineEvent{Event: e}
		switch e.Type {
		case tracking.Delivered, tracking.Relayed, tracking.Restored, tracking.Released:
			t.Tone = "good"
		case tracking.Failed, tracking.Expired, tracking.Deleted, tracking.Quarantined, tracking.ReportDiscarded:
			t.Tone = "bad"
		case tracking.Deferred, tracking.Held, tracking.Rerouted, tracking.Duplicate:
			t.Tone = "warn"
		}
		if i > 0 {
			if gap := e.Time.Sub(events[i-1].Time); gap >= 10*time.Second {
				t.Gap = gap
			}
			t.NewDay = e.Time.UTC().YearDay() != events[i-1].Time.UTC().YearDay()
		} else {
			t.NewDay = true
		}
		out[i] = t
	}
	return out
}

// verdict says in a sentence how the message stands; what became of reports about it does not count.
func verdict(id string, events []tracking.Event, items []queue.Item) string {
	for _, it := range items {
		switch it.State {
		case queue.Held:
			return "Held: " + it.Reason
		case queue.Leased:
			return "Under delivery to " + it.Dest.String()
		case queue.Trash:
			return "In the trash: " + it.Reason
		}
	}
	if len(items) > 0 {
		text := "Waits for " + items[0].Dest.String()
		if items[0].Last != nil {
			text += ": " + items[0].Last.Error()
		}
		return text
	}
	count := map[tracking.Type]int{}
	for _, e := range events {
		if e.ID == id {
			count[e.Type] += max(1, len(e.Recipients))
		}
	}
	switch {
	case count[tracking.Failed] > 0 && count[tracking.Delivered]+count[tracking.Relayed] > 0:
		return "Done: some recipients have it, others failed"
	case count[tracking.Failed]+count[tracking.Expired] > 0:
		return "Failed; the originator was told"
	case count[tracking.Delivered] > 0:
		return "Delivered"
	case count[tracking.Relayed] > 0:
		return "Handed on to a system that gives no delivery reports"
	}
	return ""
}

func joinVerdicts(here, there string) string {
	if here == "" || there == "" {
		return here + there
	}
	return here + ". " + there
}

// verdictThere is how the message stands at the site that heard of it last; "" when no other site has said anything.
func verdictThere(id, own string, events []tracking.Event) string {
	last := ""
	for _, e := range events {
		if e.ID == id && e.Site != own {
			last = e.Site
		}
	}
	if last == "" {
		return ""
	}
	there := verdict(id, slices.DeleteFunc(slices.Clone(events), func(e tracking.Event) bool { return e.Site != last }), nil)
	if there == "" {
		there = "Not done yet"
	}
	return "At " + last + ": " + strings.ToLower(there[:1]) + there[1:]
}

// maxContent bounds what of a message's content a browser is shown.
const maxContent = 1 << 20

// content is an entry's stored content, as a text that no browser interprets. Each look is on the audit log.
func (d *Dashboard) content(v *visit) error {
	id, err := queue.ParseID(v.r.URL.Query().Get("id"))
	if err != nil {
		return badRequest("%v", err)
	}
	if d.s.Audit != nil {
		if err := d.s.Audit.Append(control.Record{By: v.by(), Via: "dashboard", Verb: "look at content", What: id.String()}); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	err = d.s.Raw(v.r.Context(), id, &capped{&b, maxContent})
	if err != nil && !errors.Is(err, errCapped) {
		return err
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": id.String() + ".txt"}))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	if errors.Is(err, errCapped) {
		b.WriteString("\n\n[cut here: `backbone queue raw " + id.String() + "` gives all of it]\n")
	}
	v.w.WriteHeader(http.StatusOK)
	if _, err := b.WriteTo(v.w); err != nil {
		d.log.Debug("content not sent", "item", id.String(), "err", err)
	}
	return nil
}

var errCapped = errors.New("longer than a browser is shown")

// capped takes so many octets and then refuses.
type capped struct {
	b    *bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if len(p) > c.left {
		n, _ := c.b.Write(p[:c.left]) // a bytes.Buffer never fails
		c.left = 0
		return n, errCapped
	}
	c.left -= len(p)
	return c.b.Write(p)
}

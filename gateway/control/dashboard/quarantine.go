package dashboard

import (
	"fmt"
	"sort"
	"strings"

	"backbone/connectors"
	"backbone/gateway/control"
)

type quarantineView struct {
	Entries []connectors.Quarantined
}

func (d *Dashboard) quarantinePage(v *visit) error {
	list, err := d.s.Quarantined(v.r.Context())
	if err != nil {
		return err
	}
	sort.Slice(list, func(i, j int) bool { return list[i].At.After(list[j].At) })
	return d.show(v, 200, "quarantine", "Quarantine", quarantineView{list})
}

type quarantinedView struct {
	connectors.Quarantined
	Hex  []hexLine
	Text []textLine
	// Line and Column of the offset, from 1; 0 when it is not known or not shown.
	Line, Column int
	Edit         string // the whole file in escaped text; "" when it is too large to edit here
	Cut          bool   // Hex and Text begin or end inside the file
}

// maxEdit bounds what can be edited in a browser, in octets.
const maxEdit = 128 << 10

// quarantinedPage shows an entry around the place where the parser stopped. Message content can stand there: it needs
// the role operate and is on the audit log.
func (d *Dashboard) quarantinedPage(v *visit) error {
	id := v.r.URL.Query().Get("id")
	q, err := d.s.QuarantinedEntry(v.r.Context(), id)
	if err != nil {
		return err
	}
	if d.s.Audit != nil {
		if err := d.s.Audit.Append(control.Record{By: v.by(), Via: "dashboard", Verb: "look at content", What: "quarantine " + id}); err != nil {
			return err
		}
	}
	view := quarantinedView{Quarantined: q.Quarantined}
	view.Hex, view.Cut = hexAround(q.Bytes, q.Offset)
	view.Text, view.Line, view.Column = textAround(q.Bytes, q.Offset)
	if int64(len(q.Bytes)) == q.Size && len(q.Bytes) <= maxEdit {
		view.Edit = escape(q.Bytes)
	}
	return d.show(v, 200, "quarantined", short(60, q.ID), view)
}

func (d *Dashboard) replay(v *visit) error {
	p := v.r.PostForm
	req := control.QuarantineRequest{ID: p.Get("id"), By: v.by(), Reason: strings.TrimSpace(p.Get("reason"))}
	if req.Reason == "" {
		return &control.Error{Status: 422, Text: "Say why: the reason goes into the audit log."}
	}
	if p.Has("edited") {
		b, err := unescape(p.Get("edited"))
		if err != nil {
			return &control.Error{Status: 422, Text: "The edited copy was not replayed: " + err.Error()}
		}
		req.Replacement = b
	}
	if _, err := d.s.ChangeQuarantined(v.ctx(), "replay", req); err != nil {
		return err
	}
	return d.done(v, "/quarantine", flash{Text: fmt.Sprintf("%s was put back into its drop. If it can't be read again, it comes back here.", req.ID)})
}

func (d *Dashboard) discard(v *visit) error {
	req := control.QuarantineRequest{ID: v.r.PostFormValue("id"), By: v.by(), Reason: strings.TrimSpace(v.r.PostFormValue("reason"))}
	if req.Reason == "" {
		return &control.Error{Status: 422, Text: "Say why: nobody will see this file again."}
	}
	if _, err := d.s.ChangeQuarantined(v.ctx(), "discard", req); err != nil {
		return err
	}
	return d.done(v, "/quarantine", flash{Text: req.ID + " was discarded."})
}

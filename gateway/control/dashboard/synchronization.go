package dashboard

import (
	"fmt"
	"strings"

	"backbone/gateway/agent"
	"backbone/gateway/control"
)

type syncView struct {
	agent.Status
	Known bool // there is an agent to ask
}

// syncPage shows directory synchronization with post offices, and replication with joined sites, as `backbone dirsync status` does.
func (d *Dashboard) syncPage(v *visit) error {
	view := syncView{Known: d.s.Agent != nil}
	if view.Known {
		var err error
		if view.Status, err = d.s.Agent.Status(); err != nil {
			return err
		}
	}
	return d.show(v, 200, "synchronization", "Synchronization", view)
}

// sync runs a cycle now: with one post office, or with one site.
func (d *Dashboard) sync(v *visit) error {
	p := v.r.PostForm
	req := control.SyncRequest{PostOffice: p.Get("postoffice"), Site: p.Get("site"), By: v.by(), Reason: strings.TrimSpace(p.Get("reason"))}
	if d.s.Agent == nil || req.PostOffice == "" && req.Site == "" {
		return badRequest("Nothing to synchronize with.")
	}
	if _, err := d.s.RunDirsync(v.ctx(), req); err != nil {
		return err
	}
	text := fmt.Sprintf("%s was sent what is new. Its answer comes by mail.", req.PostOffice)
	if req.Site != "" {
		text = fmt.Sprintf("%s was asked for what is new.", req.Site)
	}
	return d.done(v, "/synchronization", flash{Text: text})
}

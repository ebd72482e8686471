package control

import (
	"fmt"
	"net/http"
	"sort"
	"time"
)

// metrics writes the queue's figures in Prometheus' text form.
func (s *Service) metrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	st := s.Store.Stats()
	line := func(name, kind, help string, v int64) {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", name, help, name, kind, name, v)
	}
	line("backbone_queue_ready", "gauge", "Transfers that wait, due or not.", int64(st.Ready))
	line("backbone_queue_leased", "gauge", "Transfers under delivery.", int64(st.Leased))
	line("backbone_queue_held", "gauge", "Transfers held by an operator or as poison.", int64(st.Held))
	line("backbone_queue_trash", "gauge", "Deleted transfers that can be restored.", int64(st.Trash))
	line("backbone_queue_bytes", "gauge", "Octets of content that waits.", st.Bytes)
	line("backbone_queue_index_bytes", "gauge", "Octets of the queue's index on disk.", st.IndexBytes)
	line("backbone_queue_body_bytes", "gauge", "Octets of stored bodies on disk.", st.BodyBytes)
	line("backbone_queue_free_bytes", "gauge", "Octets free on the queue's filesystem.", st.FreeBytes)
	line("backbone_queue_puts_total", "counter", "Messages stored since start.", st.Puts)
	line("backbone_queue_commits_total", "counter", "Group commits since start.", st.Commit)
	line("backbone_queue_syncs_total", "counter", "Sync calls since start.", st.Syncs)
	dests, err := s.Dests(r.Context())
	if err != nil {
		fmt.Fprintf(w, "# destinations not listed: %v\n", err)
		return
	}
	sort.Slice(dests, func(i, j int) bool { return dests[i].Dest.String() < dests[j].Dest.String() })
	fmt.Fprintf(w, "# HELP backbone_link_up Whether the last attempt opened the link.\n# TYPE backbone_link_up gauge\n")
	for _, d := range dests {
		up := 1
		if d.Link != nil {
			up = 0
		}
		fmt.Fprintf(w, "backbone_link_up{connector=%q,dest=%q} %d\n", d.Dest.Connector, d.Dest.Host, up)
	}
	fmt.Fprintf(w, "# HELP backbone_dest_oldest_seconds Age of the oldest message that waits for a destination.\n# TYPE backbone_dest_oldest_seconds gauge\n")
	for _, d := range dests {
		if !d.Oldest.IsZero() {
			fmt.Fprintf(w, "backbone_dest_oldest_seconds{connector=%q,dest=%q} %.0f\n", d.Dest.Connector, d.Dest.Host, time.Since(d.Oldest).Seconds())
		}
	}
}

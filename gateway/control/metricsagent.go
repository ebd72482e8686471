package control

import "github.com/prometheus/client_golang/prometheus"

// What directory synchronization and replication say of themselves.
var (
	dSyncSent     = desc("dirsync_last_sent_timestamp_seconds", "When a post office was last sent changes, since the epoch; 0 when never.", "postoffice", "role")
	dSyncReceived = desc("dirsync_last_received_timestamp_seconds", "When a post office's changes were last taken, since the epoch; 0 when never.", "postoffice", "role")
	dSyncBehind   = desc("dirsync_behind", "Changes of our list that a post office which asks us does not have yet.", "postoffice", "role")
	dSyncRefused  = desc("dirsync_refused", "Changes refused in the last message that was taken.", "postoffice", "role")
	dSyncFailed   = desc("dirsync_failed", "1 when the last exchange with a post office failed.", "postoffice", "role")
	dReplDone     = desc("replication_last_done_timestamp_seconds", "When replication from a joined site was last complete, since the epoch; 0 when never.", "site")
	dReplBehind   = desc("replication_behind", "Changes of a joined site that are not here yet, as far as was heard.", "site")
	dReplFailed   = desc("replication_failed", "1 when the last exchange with a joined site failed.", "site")

	agentDescs = []*prometheus.Desc{dSyncSent, dSyncReceived, dSyncBehind, dSyncRefused, dSyncFailed, dReplDone, dReplBehind, dReplFailed}
)

func (c *collector) agent(gauge func(*prometheus.Desc, float64, ...string)) error {
	if c.s.Agent == nil {
		return nil
	}
	st, err := c.s.Agent.Status()
	if err != nil {
		return err
	}
	is := map[bool]float64{true: 1}
	for _, p := range st.PostOffices {
		sent, received := 0.0, 0.0
		if !p.LastSent.IsZero() {
			sent = float64(p.LastSent.Unix())
		}
		if !p.LastReceived.IsZero() {
			received = float64(p.LastReceived.Unix())
		}
		gauge(dSyncSent, sent, p.PostOffice, p.Role)
		gauge(dSyncReceived, received, p.PostOffice, p.Role)
		if p.Role == "requestor" && st.Changes > p.SrvSync {
			gauge(dSyncBehind, float64(st.Changes-p.SrvSync), p.PostOffice, p.Role)
		} else if p.Role == "requestor" {
			gauge(dSyncBehind, 0, p.PostOffice, p.Role)
		}
		gauge(dSyncRefused, float64(p.Applied.Refused), p.PostOffice, p.Role)
		gauge(dSyncFailed, is[p.Error != ""], p.PostOffice, p.Role)
	}
	for _, p := range st.Replication {
		done, behind := 0.0, 0.0
		if !p.LastDone.IsZero() {
			done = float64(p.LastDone.Unix())
		}
		if p.Head.USN > p.Cursor.USN {
			behind = float64(p.Head.USN - p.Cursor.USN)
		}
		gauge(dReplDone, done, p.Site)
		gauge(dReplBehind, behind, p.Site)
		gauge(dReplFailed, is[p.Error != ""], p.Site)
	}
	return nil
}

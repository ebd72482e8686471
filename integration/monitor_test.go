package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"backbone/gateway/control"
	"backbone/gateway/monitor"
)

// watched is the state of the one way that a site watches.
func (s *site) watched() (out monitor.Status) {
	s.t.Helper()
	var st control.Status
	if err := json.Unmarshal([]byte(s.backbone("status", "--json")), &st); err != nil {
		s.t.Fatal(err)
	}
	if len(st.Monitor) != 1 {
		s.t.Fatalf("%d ways are watched", len(st.Monitor))
	}
	return st.Monitor[0]
}

// TestTheLinkMonitorSeesALinkGoAndComeBack: pings to PO2 and the reports on them, over X.400 and the site link, with
// Exchange's hours cut to seconds.
func TestTheLinkMonitorSeesALinkGoAndComeBack(t *testing.T) {
	for name, link := range map[string]func(self, peer *site, selfName, peerName, peerPO string) string{"site link": overSite(t), "x400": overX400} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, link)
			a.stop()
			a.rewrite(func(s string) string {
				return strings.Replace(s, "[control]", "ms = \"NET/SITEA\"\n[monitor]\ninterval = \"300ms\"\ncritical = \"300ms\"\nwarning = \"1s\"\nalert = \"2s\"\n[[monitor.link]]\nname = \"po2\"\nto = \"MS:NET/PO2/NOBODY\"\n[control]", 1)
			})
			a.start()
			until(t, 20*time.Second, "pings come back", func() bool { w := a.watched(); return w.State == monitor.Normal && w.RoundTrip > 0 })
			b.stop()
			until(t, 20*time.Second, "the alert state", func() bool { return a.watched().State == monitor.Alert })
			b.start()
			until(t, 30*time.Second, "it is normal again", func() bool { return a.watched().State == monitor.Normal })
		})
	}
}

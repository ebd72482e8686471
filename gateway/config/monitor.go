package config

import (
	"fmt"

	"backbone/connectors"
	"backbone/gateway/address"
)

// Monitor configures the link monitor.
type Monitor struct {
	Interval connectors.Duration `toml:"interval" doc:"time between pings over a way that works"`
	Critical connectors.Duration `toml:"critical" doc:"time between pings over a way that is in the warning or alert state"`
	Warning  connectors.Duration `toml:"warning" doc:"a ping that is out for this long puts the way into the warning state"`
	Alert    connectors.Duration `toml:"alert" doc:"a ping that is out for this long puts the way into the alert state"`
	Links    []MonitoredLink     `toml:"link" doc:"the watched ways"`
}

// MonitoredLink is a watched way.
type MonitoredLink struct {
	Name string `toml:"name" doc:"as status, dashboard and metrics name it"`
	To   string `toml:"to" doc:"where pings go: a joined site's LINKMON mailbox (MS:NET/SITEB/LINKMON), or in another system an address that is reported on, existing or not"`
}

// checkMonitor checks the link monitor's section.
func (c *Config) checkMonitor(at func(key, format string, args ...any)) {
	m := &c.Monitor
	for _, d := range []struct {
		key string
		v   connectors.Duration
	}{{"interval", m.Interval}, {"critical", m.Critical}, {"warning", m.Warning}, {"alert", m.Alert}} {
		if d.v <= 0 {
			at("monitor."+d.key, "%s: write a time above 0", d.v)
		}
	}
	if m.Warning >= m.Alert {
		at("monitor.warning", "%s is not before alert, %s", m.Warning, m.Alert)
	}
	if len(m.Links) > 0 && c.Site.MS == "" {
		at("monitor.link", "needs site.ms: pings come from the mailbox LINKMON of this site's shadow post office")
	}
	seen := map[string]bool{}
	for i, l := range m.Links {
		key := fmt.Sprintf("monitor.link[%d]", i)
		if l.Name == "" || seen[l.Name] {
			at(key+".name", "%q: write a name that no other watched way has", l.Name)
		}
		seen[l.Name] = true
		if _, err := address.Parse(l.To); err != nil {
			at(key+".to", "%v", err)
		}
	}
}

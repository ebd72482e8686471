package main

import (
	"fmt"
	"log/slog"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/config"
	"backbone/gateway/control"
	"backbone/gateway/monitor"
)

// openMonitor makes the link monitor of what the configuration watches.
func openMonitor(cfg *config.Config, log *slog.Logger) (*monitor.Monitor, error) {
	var links []monitor.Link
	for _, l := range cfg.Monitor.Links {
		to, err := address.Parse(l.To)
		if err != nil {
			return nil, fmt.Errorf("monitor.link %s: %w", l.Name, err)
		}
		links = append(links, monitor.Link{
			Name: l.Name, To: to, Interval: cfg.Monitor.Interval.D(), Critical: cfg.Monitor.Critical.D(), Warning: cfg.Monitor.Warning.D(), Alert: cfg.Monitor.Alert.D(),
		})
	}
	return monitor.New(cfg.SiteIdentity().MS, links, log), nil
}

// watchedWays prints what the link monitor knows.
func (a *app) watchedWays(st control.Status) error {
	if len(st.Monitor) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	t := a.table("WATCHED WAY", "STATE", "ROUND TRIP", "CAME BACK", "OLDEST OUT", "LAST TROUBLE")
	for _, m := range st.Monitor {
		trip, back, out := "-", "never", "-"
		if !m.Back.IsZero() {
			trip, back = m.RoundTrip.Round(time.Millisecond).String(), age(st.Time.Sub(m.Back))
		}
		if !m.Oldest.IsZero() {
			out = age(st.Time.Sub(m.Oldest))
		}
		cells := []string{m.Name, string(m.State), trip, back, out, cut(m.Why, 80)}
		if m.State == monitor.Alert {
			t.painted(red, cells...)
		} else {
			t.row(cells...)
		}
	}
	return t.flush()
}

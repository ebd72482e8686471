package main

import (
	"fmt"
	"time"

	"backbone/gateway/control"

	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	var every time.Duration
	c := &cobra.Command{Use: "status", Short: "Show the site at a glance: links, destinations, queue by age, last errors", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.with(func(c *control.Client) error {
			show := func() error {
				var st control.Status
				if err := c.Get(cmd.Context(), "/v1/status", nil, &st); err != nil {
					return err
				}
				if a.json {
					return a.printJSON(st)
				}
				return a.status(st)
			}
			if watch {
				return a.repeat(cmd.Context(), every, show)
			}
			return show()
		})
	}}
	c.Flags().BoolVar(&watch, "watch", false, "again and again until Ctrl-C")
	c.Flags().DurationVar(&every, "every", 2*time.Second, "time between looks")
	return c
}

func (a *app) status(st control.Status) error {
	fmt.Fprintf(a.out, "site %s, up %s, version %s\n", a.paint(bold, st.Site), age(st.Time.Sub(st.Started)), st.Version)
	fmt.Fprintf(a.out, "queue: %d waiting, %d under delivery, %d held, %d in the trash; %d stored since start\n\n", st.Queue.Ready, st.Queue.Leased, st.Queue.Held, st.Queue.Trash, st.Queue.Puts)
	t := a.table("CONNECTOR", "KIND", "STATE", "WAITING", "HELD")
	for _, c := range st.Connectors {
		state := c.State
		if c.Suspension != nil {
			state = suspensionText(c.Suspension)
		}
		t.painted(stateColour(c.State), c.Name, c.Type, state, fmt.Sprint(c.Ready), fmt.Sprint(c.Held))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(st.Links) > 0 {
		fmt.Fprintln(a.out)
		t = a.table("LINK DOWN", "SINCE", "FAILURES", "NEXT TRY", "LAST WORD")
		for _, l := range st.Links {
			last := ""
			if l.Last != nil {
				last = cut(l.Last.Error(), 90)
			}
			t.painted(red, l.Dest.String(), age(st.Time.Sub(l.Since)), fmt.Sprint(l.Failures), age(max(l.Until.Sub(st.Time), 0)), last)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if err := a.gateways(st); err != nil {
		return err
	}
	if err := a.watchedWays(st); err != nil {
		return err
	}
	if len(st.Ages) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	head := []string{"WAITING FOR", "TOTAL"}
	for _, b := range control.AgeBounds {
		head = append(head, "<"+age(b))
	}
	t = a.table(append(head, "OLDER", "LAST ERROR")...)
	for _, r := range st.Ages {
		row := []string{r.Dest, fmt.Sprint(r.Total)}
		for _, n := range r.Buckets {
			row = append(row, fmt.Sprint(n))
		}
		t.row(append(row, cut(r.Last, 90))...)
	}
	return t.flush()
}

// gateways lists those that share the queue.
func (a *app) gateways(st control.Status) error {
	if len(st.Gateways) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	t := a.table("GATEWAY", "STATE", "UNDER DELIVERY")
	for _, g := range st.Gateways {
		state, colour := "up", ""
		if g.Silent {
			state, colour = "silent for "+age(max(st.Time.Sub(g.Until), 0)), red
		}
		t.painted(colour, g.Name, state, fmt.Sprint(g.Leases))
	}
	return t.flush()
}

// stateColour is a connector's colour: what needs no attention has none.
func stateColour(state string) string {
	switch state {
	case "up":
		return ""
	case "down":
		return red
	}
	return yellow
}

package main

import (
	"fmt"
	"time"

	"backbone/gateway/control"
	"backbone/queue"

	"github.com/spf13/cobra"
)

func (a *app) destCommand() *cobra.Command {
	c := &cobra.Command{Use: "dest", Short: "See, suspend and resume destinations (next hops)"}
	list := &cobra.Command{Use: "list", Short: "List destinations with waiting mail and links that are down", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.with(func(c *control.Client) error {
			var ds []control.DestStatus
			if err := c.Get(cmd.Context(), "/v1/dests", nil, &ds); err != nil {
				return err
			}
			t := a.table("DESTINATION", "READY", "LEASED", "HELD", "OLDEST", "STATE")
			for _, d := range ds {
				if a.json {
					if err := a.printJSON(d); err != nil {
						return err
					}
					continue
				}
				oldest := ""
				if !d.Oldest.IsZero() {
					oldest = age(time.Since(d.Oldest))
				}
				t.row(d.Dest.String(), fmt.Sprint(d.Ready), fmt.Sprint(d.Leased), fmt.Sprint(d.Held), oldest, destState(d))
			}
			if a.json {
				return nil
			}
			return t.flush()
		})
	}}
	c.AddCommand(list, a.suspendVerb("suspend", true), a.suspendVerb("resume", true))
	return c
}

func destState(d control.DestStatus) string {
	switch {
	case d.Suspension != nil:
		return suspensionText(d.Suspension)
	case d.Link != nil:
		s := fmt.Sprintf("down for %s, %d failures, next try in %s", age(time.Since(d.Link.Since)), d.Link.Failures, age(max(time.Until(d.Link.Until), 0)))
		if d.Link.Last != nil {
			s += ": " + cut(d.Link.Last.Error(), 80)
		}
		return s
	}
	return "up"
}

func suspensionText(s *queue.Suspension) string {
	out := "suspended by " + s.By
	if !s.Until.IsZero() {
		out += " until " + s.Until.Local().Format("2006-01-02 15:04")
	}
	if s.Reason != "" {
		out += ": " + s.Reason
	}
	return out
}

func (a *app) connectorCommand() *cobra.Command {
	c := &cobra.Command{Use: "connector", Short: "See, suspend and resume connectors"}
	list := &cobra.Command{Use: "list", Short: "List connectors", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.with(func(c *control.Client) error {
			var cs []control.ConnectorStatus
			if err := c.Get(cmd.Context(), "/v1/connectors", nil, &cs); err != nil {
				return err
			}
			t := a.table("CONNECTOR", "KIND", "READY", "LEASED", "HELD", "STATE", "SPACES")
			for _, k := range cs {
				if a.json {
					if err := a.printJSON(k); err != nil {
						return err
					}
					continue
				}
				state := k.State
				if k.Suspension != nil {
					state = suspensionText(k.Suspension)
				}
				spaces := ""
				for _, s := range k.Spaces {
					spaces += fmt.Sprintf("%s(%d) ", s, s.Cost)
				}
				t.row(k.Name, k.Type, fmt.Sprint(k.Ready), fmt.Sprint(k.Leased), fmt.Sprint(k.Held), state, cut(spaces, 100))
			}
			if a.json {
				return nil
			}
			return t.flush()
		})
	}}
	c.AddCommand(list, a.suspendVerb("suspend", false), a.suspendVerb("resume", false))
	return c
}

// suspendVerb is suspend or resume, for destinations or connectors.
func (a *app) suspendVerb(verb string, dest bool) *cobra.Command {
	var req control.SuspendRequest
	var until string
	use, short, what := "CONNECTOR", "a connector", "connector "
	if dest {
		use, short, what = "CONNECTOR:HOST", "a destination", "destination "
	}
	c := &cobra.Command{Use: verb + " " + use, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		req.Dest = queue.Dest{Connector: args[0]}
		if dest {
			d, err := queue.ParseDest(args[0])
			if err != nil {
				return err
			}
			if d.Host == "" {
				return fmt.Errorf("%q names no destination: write CONNECTOR:HOST as `backbone dest list` does, or `backbone connector %s %s` for all of them", args[0], verb, args[0])
			}
			req.Dest = d
		}
		if until != "" {
			t, err := parseTime(until)
			if err != nil {
				return err
			}
			req.Until = t
		}
		req.By = me()
		return a.with(func(c *control.Client) error {
			var out control.Changed
			if err := c.Post(cmd.Context(), "/v1/"+verb, req, &out); err != nil {
				return err
			}
			return a.changed(verb, out, what+args[0])
		})
	}}
	c.Flags().BoolVar(&req.DryRun, "dry-run", false, "only say what would change")
	if verb == "suspend" {
		c.Short = "Stop sending to " + short + "; its mail waits or takes another way"
		c.Flags().StringVar(&req.Reason, "reason", "", "why; shown in every listing")
		c.Flags().StringVar(&until, "until", "", "resume by itself then: 2026-01-31 18:00, or +2h")
	} else {
		c.Short = "Send to " + short + " again"
		c.Flags().StringVar(&req.Reason, "reason", "", "why; kept on the audit log")
	}
	return c
}

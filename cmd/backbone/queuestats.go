package main

import (
	"context"
	"fmt"

	"backbone/gateway/control"
	"backbone/queue"

	"github.com/spf13/cobra"
)

func (a *app) queueStats() *cobra.Command {
	var f filterFlags
	c := &cobra.Command{Use: "stats [ID...]", Short: "Print the queue's figures, or those of the entries that a filter selects", RunE: func(cmd *cobra.Command, args []string) error {
		flt, err := f.filter(args)
		if err != nil {
			return err
		}
		return a.with(func(c *control.Client) error {
			if !isZero(flt) || f.limit > 0 {
				return a.someStats(cmd.Context(), c, flt, f.limit)
			}
			var st control.Status
			if err := c.Get(cmd.Context(), "/v1/status", nil, &st); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(st.Queue)
			}
			t := a.table("FIGURE", "VALUE")
			q := st.Queue
			for _, r := range []struct {
				name string
				v    any
			}{{"ready", q.Ready}, {"leased", q.Leased}, {"held", q.Held}, {"trash", q.Trash}, {"destinations", q.Dests}, {"content octets", q.Bytes},
				{"stored since start", q.Puts}, {"commits", q.Commit}, {"syncs", q.Syncs}, {"index octets", q.IndexBytes}, {"body octets", q.BodyBytes}, {"free octets", q.FreeBytes}} {
				if r.name == "free octets" && q.FreeBytes < 0 {
					continue // the disk is the database's
				}
				t.row(r.name, fmt.Sprint(r.v))
			}
			return t.flush()
		})
	}}
	f.add(c, 0)
	return c
}

// someStats counts what a filter selects.
func (a *app) someStats(ctx context.Context, c *control.Client, f queue.Filter, limit int) error {
	states, dests := map[queue.State]int{}, map[queue.Dest]bool{}
	var octets int64
	n := 0
	if err := c.Queue(ctx, f, limit, func(it queue.Item) error {
		n++
		states[it.State]++
		dests[it.Dest] = true
		octets += it.Body.Size
		return nil
	}); err != nil {
		return err
	}
	if n == 0 {
		return errNothing
	}
	if a.json {
		return a.printJSON(map[string]any{"ready": states[queue.Ready], "leased": states[queue.Leased], "held": states[queue.Held], "trash": states[queue.Trash], "dests": len(dests), "bytes": octets})
	}
	t := a.table("FIGURE", "VALUE")
	for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Held, queue.Trash} {
		t.row(string(s), fmt.Sprint(states[s]))
	}
	t.row("destinations", fmt.Sprint(len(dests)))
	t.row("content octets", fmt.Sprint(octets))
	return t.flush()
}

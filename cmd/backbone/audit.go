package main

import (
	"fmt"
	"net/url"
	"strconv"

	"backbone/gateway/control"

	"github.com/spf13/cobra"
)

func (a *app) auditCommand() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "audit", Short: "List who changed what and why, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(c *control.Client) error {
				var out []control.Record
				if err := c.Get(cmd.Context(), "/v1/audit", url.Values{"limit": {strconv.Itoa(limit)}}, &out); err != nil {
					return err
				}
				if len(out) == 0 {
					return errNothing
				}
				return a.audit(out)
			})
		},
	}
	c.Flags().IntVar(&limit, "limit", 100, "at most so many, 1 to 1000")
	return c
}

func (a *app) audit(rs []control.Record) error {
	if a.json {
		for _, r := range rs {
			if err := a.printJSON(r); err != nil {
				return err
			}
		}
		return nil
	}
	t := a.table("WHEN", "WHO", "VIA", "DID", "TO WHAT", "WHY", "OUTCOME")
	for _, r := range rs {
		end := "-"
		switch {
		case r.Error != "":
			end = r.Error
		case r.Begun:
			end = "end not known"
		case r.Changed > 0:
			end = fmt.Sprintf("%d changed", r.Changed)
		}
		t.row(r.Time.UTC().Format("2006-01-02 15:04:05"), r.By, r.Via, r.Verb, r.What, r.Reason, end)
	}
	return t.flush()
}

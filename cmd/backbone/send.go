package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"backbone/gateway/address"
	"backbone/gateway/control"

	"github.com/spf13/cobra"
)

func (a *app) sendCommand() *cobra.Command {
	var from, subject, file, notify string
	var dry bool
	var to []string
	c := &cobra.Command{
		Use: "send --from A --to A", Short: "Submit a message through the daemon, from stdin or a file", Args: cobra.NoArgs,
		Long:    "Submit a message through the daemon.\n\nThe content is a complete message (header, empty line, body) or bare text, to which a header is added.",
		Example: "  echo Hello | backbone send --from MS:NORTHWIND/PO1/ASMITH --to MS:NORTHWIND/PO2/MKUMAR --subject Test",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dry {
				return a.with(func(c *control.Client) error { return a.wouldSend(cmd.Context(), c, from, to) })
			}
			in := a.in
			if file != "" && file != "-" {
				f, err := os.Open(file)
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			q := url.Values{"from": {from}, "to": to, "subject": {subject}}
			if notify != "" {
				q.Set("notify", notify)
			}
			return a.with(func(c *control.Client) error {
				var out control.Submitted
				if err := c.Upload(cmd.Context(), "/v1/send", q, io.NopCloser(in), &out); err != nil {
					return err
				}
				if a.json {
					return a.printJSON(out)
				}
				_, err := fmt.Fprintln(a.out, out.ID)
				return err
			})
		},
	}
	fl := c.Flags()
	fl.StringVar(&from, "from", "", "originator: MS:NET/PO/MBX, user@host, X400:...")
	fl.StringArrayVar(&to, "to", nil, "recipient (repeatable)")
	fl.StringVar(&subject, "subject", "", "subject, when the content brings no header")
	fl.StringVar(&file, "file", "", "content (default: stdin)")
	fl.BoolVar(&dry, "dry-run", false, "only check the addresses and show each one's way; no content is read")
	fl.StringVar(&notify, "notify", "", "success: ask for a delivery report too")
	for _, f := range []string{"from", "to"} {
		if err := c.MarkFlagRequired(f); err != nil {
			panic(err) // the flag was defined three lines above
		}
	}
	return c
}

// wouldSend shows where a message would go. A recipient without a way is what a report would come back for.
func (a *app) wouldSend(ctx context.Context, c *control.Client, from string, to []string) error {
	if _, err := address.Parse(from); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	lost := 0
	for _, r := range to {
		if err := a.explain(ctx, c, r); errors.Is(err, errNothing) {
			lost++
		} else if err != nil {
			return err
		}
	}
	switch lost {
	case 0:
		return nil
	case len(to):
		return errNothing
	}
	return partly{fmt.Sprintf("%d of %d recipients have no way", lost, len(to))}
}

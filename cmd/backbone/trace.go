package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"backbone/gateway/control"
	"backbone/gateway/tracking"

	"github.com/spf13/cobra"
)

func (a *app) traceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "trace ID|MESSAGE-ID|FILE", Short: "Print everything that happened to a message, in order", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(func(c *control.Client) error { return a.trace(cmd.Context(), c, args[0]) })
		},
	}
}

func (a *app) trace(ctx context.Context, c *control.Client, key string) error {
	var es []tracking.Event
	if err := c.Get(ctx, "/v1/trace", url.Values{"key": {strings.Trim(key, "<>")}}, &es); err != nil {
		return err
	}
	if len(es) == 0 {
		return errNothing
	}
	for _, e := range es {
		if a.json {
			if err := a.printJSON(e); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprint(a.out, printLines(e.String())); err != nil {
			return err
		}
	}
	return nil
}

// printLines makes text of several lines harmless on a terminal.
func printLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n") + "\n"
}

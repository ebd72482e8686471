package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"backbone/gateway/control"
	"backbone/gateway/tracking"

	"github.com/spf13/cobra"
)

func (a *app) watchCommand() *cobra.Command {
	var t trackFlags
	var after string
	c := &cobra.Command{
		Use: "watch", Short: "Print each event as it happens, until Ctrl-C", Args: cobra.NoArgs,
		Long: "Print each event of the tracking log as it happens, until Ctrl-C.\n\n" +
			"With --json each line has a cursor: a program that keeps the last one goes on after it with --after, across restarts of\n" +
			"its own and the daemon's, and misses nothing. --after start begins with the oldest event that is kept.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, _, err := t.filter()
			if err != nil {
				return err
			}
			q := control.TrackingQuery(f)
			if after != "" {
				q.Set("after", after)
			}
			return a.with(func(c *control.Client) error {
				r, w := io.Pipe()
				ended := make(chan error, 1)
				go func() {
					err := c.Text(cmd.Context(), "/v1/events", q, w)
					ended <- errors.Join(err, w.CloseWithError(io.EOF))
				}()
				perr := a.printStream(r)
				if cerr := r.CloseWithError(perr); cerr != nil && perr == nil {
					perr = cerr
				}
				err := <-ended
				if cmd.Context().Err() != nil {
					return nil // Ctrl-C is how it ends
				}
				return errors.Join(perr, err)
			})
		},
	}
	t.add(c)
	c.Flags().StringVar(&after, "after", "", "go on after this cursor; start: with the oldest event; default: from now on")
	return c
}

func (a *app) printStream(r io.Reader) error {
	dec := json.NewDecoder(r)
	for {
		var e tracking.Entry
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("event stream: %w", err)
		}
		if err := a.printEvent(e.Event, e); err != nil {
			return err
		}
	}
}

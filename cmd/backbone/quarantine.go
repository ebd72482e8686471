package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"backbone/connectors"
	"backbone/gateway/control"

	"github.com/spf13/cobra"
)

func (a *app) quarantineCommand() *cobra.Command {
	c := &cobra.Command{Use: "quarantine", Short: "See and replay input that could not be taken"}
	list := &cobra.Command{Use: "list", Short: "List quarantined files with their reasons", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.with(func(c *control.Client) error {
			var qs []connectors.Quarantined
			if err := c.Get(cmd.Context(), "/v1/quarantine", nil, &qs); err != nil {
				return err
			}
			t := a.table("ID", "SIZE", "AGE", "REASON")
			for _, q := range qs {
				if a.json {
					if err := a.printJSON(q); err != nil {
						return err
					}
					continue
				}
				t.row(q.ID, size(q.Size), age(time.Since(q.At)), q.Reason)
			}
			if a.json {
				return nil
			}
			return t.flush()
		})
	}}
	var raw bool
	show := &cobra.Command{Use: "show ID", Short: "Show a quarantined file: reason, and its octets around the mistake", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.with(func(c *control.Client) error {
			var q control.QuarantineBytes
			if err := c.Get(cmd.Context(), "/v1/quarantine/show", url.Values{"id": args}, &q); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(q)
			}
			if raw {
				_, err := a.out.Write(q.Bytes)
				return err
			}
			return a.showQuarantined(q)
		})
	}}
	show.Flags().BoolVar(&raw, "raw", false, "the file's own octets, to edit and replay")
	var file string
	replay := a.quarantineVerb("replay", "Offer a quarantined file again, as it is or from an edited copy", func(req *control.QuarantineRequest) error {
		if file == "" {
			return nil
		}
		b, err := readFileOr(a.in, file)
		req.Replacement = b
		return err
	})
	replay.Flags().StringVar(&file, "file", "", "replay this edited copy instead (- for stdin)")
	discard := a.quarantineVerb("discard", "Remove a quarantined file for good", func(*control.QuarantineRequest) error { return nil })
	c.AddCommand(list, show, replay, discard)
	return c
}

func (a *app) quarantineVerb(verb, short string, fill func(*control.QuarantineRequest) error) *cobra.Command {
	var req control.QuarantineRequest
	c := &cobra.Command{Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		req.ID, req.By = args[0], me()
		if err := fill(&req); err != nil {
			return err
		}
		return a.with(func(c *control.Client) error {
			var out control.Changed
			if err := c.Post(cmd.Context(), "/v1/quarantine/"+verb, req, &out); err != nil {
				return err
			}
			return a.changed(verb, out, "file "+args[0])
		})
	}}
	c.Flags().BoolVar(&req.DryRun, "dry-run", false, "only say what would change")
	c.Flags().StringVar(&req.Reason, "reason", "", "why; logged")
	return c
}

func (a *app) showQuarantined(q control.QuarantineBytes) error {
	fmt.Fprintf(a.out, "%s  %d octets, since %s\n%s\n", printable(q.ID), q.Size, q.At.Local().Format(time.DateTime), printable(q.Reason))
	from := int64(0)
	if q.Offset > 64 {
		from = (q.Offset - 64) &^ 15
	}
	if from > int64(len(q.Bytes)) {
		from = 0
	}
	if q.Offset >= 0 {
		fmt.Fprintf(a.out, "mistake at octet %d; from octet %d:\n", q.Offset, from)
	}
	b := q.Bytes[from:]
	if len(b) > 512 {
		b = b[:512]
	}
	_, err := fmt.Fprint(a.out, hex.Dump(b))
	return err
}

// readFileOr reads a file, or in when its name is "-".
func readFileOr(in io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(name)
}

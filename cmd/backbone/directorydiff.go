package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"backbone/gateway/control"

	"github.com/spf13/cobra"
)

func (a *app) directorySearch() *cobra.Command {
	return &cobra.Command{Use: "search TEXT", Short: "Find custom recipients of all sites by a part of any name or address", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.with(func(c *control.Client) error { return a.listDirectory(cmd.Context(), c, url.Values{"text": args}) })
	}}
}

// difference is one entry that two exports do not have alike.
type difference struct {
	Name   string            `json:"name"`
	Change string            `json:"change"` // added, removed or changed, from the first to the second
	From   map[string]string `json:"from,omitempty"`
	To     map[string]string `json:"to,omitempty"`
}

func (a *app) directoryDiff() *cobra.Command {
	c := &cobra.Command{Use: "diff FILE [FILE]", Short: "Compare an export file with the directory, or two files", Args: cobra.RangeArgs(1, 2),
		Long: "Compare an export file (CSV) with the directory as it is, or two files: yesterday's with today's, or two sites'\nexports with --all-sites. Lines begin with + (only in the second), - (only in the first) or ~ (changed).",
		RunE: func(cmd *cobra.Command, args []string) error {
			was, err := readExport(args[0])
			if err != nil {
				return err
			}
			var is map[string]map[string]string
			if len(args) == 2 {
				is, err = readExport(args[1])
			} else {
				is, err = a.currentExport(cmd.Context())
			}
			if err != nil {
				return err
			}
			return a.printDifferences(differences(was, is))
		}}
	return c
}

func (a *app) currentExport(ctx context.Context) (out map[string]map[string]string, err error) {
	err = a.with(func(c *control.Client) error {
		var b bytes.Buffer
		if err := c.Text(ctx, "/v1/directory/export", url.Values{"all_sites": {"1"}}, &b); err != nil {
			return err
		}
		out, err = parseExport(&b)
		return err
	})
	return out, err
}

func readExport(name string) (map[string]map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out, err := parseExport(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// parseExport reads an export file: by directory name, each column that says something.
func parseExport(r io.Reader) (map[string]map[string]string, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	records, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff")))).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(records) == 0 || !strings.EqualFold(records[0][0], "Obj-Class") {
		return nil, errors.New("this is no export of a directory: its first column is not Obj-Class")
	}
	name := slices.IndexFunc(records[0], func(h string) bool { return strings.EqualFold(h, "Directory Name") })
	if name < 0 {
		return nil, errors.New("the column Directory Name is missing")
	}
	out := map[string]map[string]string{}
	for _, rec := range records[1:] {
		e := map[string]string{}
		for i, v := range rec {
			if i != name && v != "" && !strings.EqualFold(records[0][i], "Mode") {
				e[records[0][i]] = v
			}
		}
		out[rec[name]] = e
	}
	return out, nil
}

func differences(was, is map[string]map[string]string) []difference {
	var out []difference
	names := maps.Clone(was)
	maps.Copy(names, is)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		w, before := was[name]
		i, after := is[name]
		d := difference{Name: name, From: w, To: i}
		switch {
		case !before:
			d.Change = "added"
		case !after:
			d.Change = "removed"
		case maps.Equal(w, i):
			continue
		default:
			d.Change = "changed"
			d.From, d.To = maps.Clone(w), maps.Clone(i)
			for k, v := range w {
				if i[k] == v {
					delete(d.From, k)
					delete(d.To, k)
				}
			}
		}
		out = append(out, d)
	}
	return out
}

func (a *app) printDifferences(ds []difference) error {
	for _, d := range ds {
		if a.json {
			if err := a.printJSON(d); err != nil {
				return err
			}
			continue
		}
		switch d.Change {
		case "added":
			fmt.Fprintf(a.out, "+ %s  %s\n", printable(d.Name), printable(d.To["E-mail Address"]))
		case "removed":
			fmt.Fprintf(a.out, "- %s  %s\n", printable(d.Name), printable(d.From["E-mail Address"]))
		default:
			fmt.Fprintf(a.out, "~ %s\n", printable(d.Name))
			columns := maps.Clone(d.From)
			maps.Copy(columns, d.To)
			for _, k := range slices.Sorted(maps.Keys(columns)) {
				fmt.Fprintf(a.out, "    %s: %q -> %q\n", k, d.From[k], d.To[k])
			}
		}
	}
	if len(ds) == 0 {
		return errNothing
	}
	return nil
}

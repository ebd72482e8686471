package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/control"
	"backbone/gateway/directory"

	"github.com/spf13/cobra"
)

func (a *app) directoryCommand() *cobra.Command {
	c := &cobra.Command{Use: "directory", Short: "Custom recipients: who exists, where their mail goes"}
	c.AddCommand(a.directoryList(), a.directorySearch(), a.directoryDiff(), a.directoryShow(), a.directoryAdd(), a.directoryRemove(), a.directoryImport(), a.directoryExport(), a.directoryResolve())
	return c
}

func (a *app) directoryList() *cobra.Command {
	var addr string
	c := &cobra.Command{Use: "list [TEXT]", Short: "List custom recipients, those with TEXT in a name or address", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.with(func(c *control.Client) error {
			return a.listDirectory(cmd.Context(), c, url.Values{"text": {strings.Join(args, "")}, "address": {addr}})
		})
	}}
	c.Flags().StringVar(&addr, "address", "", "target or proxy, with * and %: MS:NORTHWIND/PO2/*")
	return c
}

func (a *app) listDirectory(ctx context.Context, c *control.Client, q url.Values) error {
	t := a.table("NAME", "DISPLAY NAME", "TARGET", "PROXIES", "SITE")
	n := 0
	for {
		var p control.Page[directory.Entry]
		if err := c.Get(ctx, "/v1/directory", q, &p); err != nil {
			return err
		}
		for _, e := range p.Items {
			n++
			if a.json {
				if err := a.printJSON(e); err != nil {
					return err
				}
				continue
			}
			t.row(e.Name, e.Display, e.Target.String(), joined(e.Proxies), e.Site)
		}
		if p.Next == "" {
			break
		}
		q.Set("after", p.Next)
	}
	if n == 0 {
		return errNothing
	}
	if a.json {
		return nil
	}
	return t.flush()
}

func joined(as []address.Address) string {
	out := make([]string, len(as))
	for i, x := range as {
		out[i] = x.String()
	}
	return strings.Join(out, " ")
}

func (a *app) directoryShow() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "Show one custom recipient", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.with(func(c *control.Client) error {
			var e directory.Entry
			if err := c.Get(cmd.Context(), "/v1/directory/entry", url.Values{"name": args}, &e); err != nil {
				return err
			}
			return a.showEntry(e)
		})
	}}
}

func (a *app) showEntry(e directory.Entry) error {
	if a.json {
		return a.printJSON(e)
	}
	t := a.table("Directory name", e.Name)
	t.row("Display name", e.Display)
	t.row("Alias", e.Alias)
	t.row("Target address", e.Target.String())
	t.row("Proxies", joined(e.Proxies))
	t.row("Secondary proxies", joined(e.Secondary))
	t.row("Site", e.Site)
	t.row("Changed", e.Changed.Local().Format("2006-01-02 15:04"))
	return t.flush()
}

func (a *app) directoryAdd() *cobra.Command {
	var req control.EntryRequest
	var target string
	var proxies []string
	c := &cobra.Command{
		Use: "add NAME --target ADDRESS", Short: "Add a custom recipient", Args: cobra.ExactArgs(1),
		Example: "  backbone directory add MKUMAR --display 'Kumar, Mira' --target MS:NORTHWIND/PO2/MKUMAR --proxy SMTP:mira.kumar@northwind.example",
		RunE: func(cmd *cobra.Command, args []string) error {
			e := &req.Entry
			e.Name, req.By = args[0], me()
			var err error
			if e.Target, err = address.Parse(target); err != nil {
				return fmt.Errorf("--target: %w", err)
			}
			for _, p := range proxies {
				x, err := address.Parse(p)
				if err != nil {
					return fmt.Errorf("--proxy: %w", err)
				}
				e.Proxies = append(e.Proxies, x)
			}
			return a.with(func(c *control.Client) error {
				var out directory.Entry
				if err := c.Post(cmd.Context(), "/v1/directory/add", req, &out); err != nil {
					return err
				}
				return a.showEntry(out)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&target, "target", "", "where the recipient's mail goes")
	f.StringVar(&req.Entry.Display, "display", "", "display name")
	f.StringVar(&req.Entry.Alias, "alias", "", "alias, from which proxies are made")
	f.StringArrayVar(&proxies, "proxy", nil, "address under which the recipient is known (repeatable, one a type)")
	f.BoolVar(&req.DryRun, "dry-run", false, "only check and show")
	f.StringVar(&req.Reason, "reason", "", "why; kept on the audit log")
	return c
}

func (a *app) directoryRemove() *cobra.Command {
	var req control.EntryRequest
	c := &cobra.Command{Use: "remove NAME", Short: "Remove a custom recipient", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		req.Entry.Name, req.By = args[0], me()
		return a.with(func(c *control.Client) error {
			var out control.Changed
			if err := c.Post(cmd.Context(), "/v1/directory/remove", req, &out); err != nil {
				return err
			}
			return a.changed("remove", out, "custom recipient "+args[0])
		})
	}}
	c.Flags().BoolVar(&req.DryRun, "dry-run", false, "only say what would change")
	c.Flags().StringVar(&req.Reason, "reason", "", "why; kept on the audit log")
	return c
}

func (a *app) directoryImport() *cobra.Command {
	var dry, all bool
	var results, reason string
	c := &cobra.Command{Use: "import FILE", Short: "Import Exchange's directory import file (CSV); - reads stdin", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		in, total := a.in, int64(0)
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			st, err := f.Stat()
			if err != nil {
				return err
			}
			in, total = f, st.Size()
		}
		bar := a.progress("importing", total)
		q := url.Values{"by": {me()}, "reason": {reason}}
		if dry {
			q.Set("dry_run", "1")
		}
		if all {
			q.Set("all_or_nothing", "1")
		}
		return a.with(func(c *control.Client) error {
			var out control.Imported
			defer bar.end()
			if err := c.Upload(cmd.Context(), "/v1/directory/import", q, bar.reader(in), &out); err != nil {
				return err
			}
			bar.end()
			if results != "" {
				if err := os.WriteFile(results, []byte(out.Results), 0o600); err != nil {
					return err
				}
			}
			if err := a.imported(out); err != nil {
				return err
			}
			if out.Errors > 0 {
				return partly{fmt.Sprintf("%d of %d lines were not taken", out.Errors, out.Lines)}
			}
			return nil
		})
	}}
	c.Flags().BoolVar(&dry, "dry-run", false, "check the file and change nothing")
	c.Flags().BoolVar(&all, "all-or-nothing", false, "take no line when one has an error")
	c.Flags().StringVar(&reason, "reason", "", "why; kept on the audit log")
	c.Flags().StringVar(&results, "results", "", "write a line for each result to this file")
	return c
}

func (a *app) imported(out control.Imported) error {
	if a.json {
		return a.printJSON(out.Summary)
	}
	for _, p := range out.Problems {
		fmt.Fprintf(a.err, "backbone: %s\n", printable(fmt.Sprintf("line %d, column %d: %s: %s (event %d): %s", p.Line, p.Column, p.Object, p.Status, p.Event, p.Message)))
	}
	_, err := fmt.Fprintf(a.out, "lines %d: created %d, modified %d, deleted %d, unchanged %d, skipped %d, warnings %d, errors %d\n",
		out.Lines, out.Created, out.Modified, out.Deleted, out.Unchanged, out.Skipped, out.Warnings, out.Errors)
	return err
}

func (a *app) directoryExport() *cobra.Command {
	var addr, site string
	var all bool
	c := &cobra.Command{Use: "export", Short: "Write custom recipients as Exchange's import file (CSV)", Args: cobra.NoArgs,
		Long: "Write custom recipients as Exchange's import file (CSV): those of this site, or of another or all sites.\nOne post office's users: --address 'MS:NORTHWIND/PO2/*'. `backbone dirsync export` writes IMPORT.EXE's text.\n" +
			"With --json an entry a line, as `backbone directory list` has it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"address": {addr}, "site": {site}}
			if all {
				q.Set("all_sites", "1")
			}
			if a.json {
				list := url.Values{"address": {addr}, "site": {site}}
				if site == "" && !all {
					list.Set("own", "1")
				}
				return a.with(func(c *control.Client) error { return a.listDirectory(cmd.Context(), c, list) })
			}
			bar := a.progress("exporting", 0)
			if a.onTerminal() {
				bar.w = nil // the entries themselves show how far it is
			}
			defer bar.end()
			return a.with(func(c *control.Client) error {
				return c.Text(cmd.Context(), "/v1/directory/export", q, bar.writer(a.out))
			})
		}}
	c.Flags().StringVar(&addr, "address", "", "only entries with such a target or proxy, with * and %: MS:NORTHWIND/PO2/*")
	c.Flags().StringVar(&site, "site", "", "entries of another site; they can be imported there, or compared")
	c.Flags().BoolVar(&all, "all-sites", false, "entries of all sites")
	return c
}

func (a *app) directoryResolve() *cobra.Command {
	return &cobra.Command{Use: "resolve ADDRESS", Short: "Show where an address leads: proxy, custom recipient, target", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.with(func(c *control.Client) error {
			var out control.Resolved
			if err := c.Get(cmd.Context(), "/v1/directory/resolve", url.Values{"address": args}, &out); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(out)
			}
			for _, s := range out.Steps {
				fmt.Fprintln(a.out, "  "+printable(s))
			}
			_, err := fmt.Fprintf(a.out, "%s -> %s %s\n", printable(out.Asked.String()), printable(out.Target.String()), printable(out.Name))
			return err
		})
	}}
}

package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"backbone/gateway/agent"
	"backbone/gateway/control"
	"backbone/gateway/directory/dirsync"

	"github.com/spf13/cobra"
)

func (a *app) dirsyncCommand() *cobra.Command {
	c := &cobra.Command{Use: "dirsync", Short: "Directory synchronization with post offices, and replication with joined sites",
		Long: "Directory synchronization with post offices, and replication with joined sites.\n\n" +
			"Requestors send their changes to the server at T1, the server answers at T2, the answers are due at T3.\n" +
			"`backbone dirsync run` does not wait for the schedule."}
	c.AddCommand(a.dirsyncStatus(), a.dirsyncRun(), a.dirsyncExport(), a.dirsyncImport())
	return c
}

func (a *app) dirsyncStatus() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show each partner's last cycle: sent, received, refused and why", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.with(func(c *control.Client) error {
			var s agent.Status
			if err := c.Get(cmd.Context(), "/v1/dirsync", nil, &s); err != nil {
				return err
			}
			return a.printDirsync(s)
		})
	}}
}

func (a *app) printDirsync(s agent.Status) error {
	if a.json {
		return a.printJSON(s)
	}
	if s.Mailbox != "" {
		fmt.Fprintf(a.out, "%s  list at change %d  next T1 %s  T2 %s  T3 %s\n", printable(s.Mailbox), s.Changes, when(s.NextT1), when(s.NextT2), when(s.NextT3))
	}
	if len(s.PostOffices) > 0 {
		t := a.table("POST OFFICE", "ROLE", "R", "S", "SENT", "CHANGES", "RECEIVED", "CHANGES", "ADDED", "MODIFIED", "DELETED", "REFUSED")
		for _, p := range s.PostOffices {
			out := fmt.Sprint(p.Out)
			if p.OutWhole {
				out += " (whole list)"
			}
			t.row(p.PostOffice, p.Role, fmt.Sprint(p.ReqSync), fmt.Sprint(p.SrvSync), when(p.LastSent), out, when(p.LastReceived), fmt.Sprint(p.In),
				fmt.Sprint(p.Applied.Added), fmt.Sprint(p.Applied.Modified), fmt.Sprint(p.Applied.Deleted), fmt.Sprint(p.Applied.Refused))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	for _, p := range s.PostOffices {
		if p.Error != "" {
			fmt.Fprintf(a.out, "%s: %s\n", printable(p.PostOffice), printable(p.Error))
		}
		for _, x := range p.Problems {
			fmt.Fprintf(a.out, "%s: refused: %s\n", printable(p.PostOffice), printable(x.String()))
		}
		for _, x := range p.Told {
			fmt.Fprintf(a.out, "%s says of ours: %s\n", printable(p.PostOffice), printable(x.String()))
		}
	}
	if len(s.Replication) == 0 {
		return nil
	}
	t := a.table("SITE", "BY", "LAST DONE", "AT", "OF", "TAKEN", "SENT", "LAST NEWS", "ERROR")
	for _, p := range s.Replication {
		t.row(p.Site, p.By, when(p.LastDone), fmt.Sprint(p.Cursor.USN), fmt.Sprint(p.Head.USN), fmt.Sprint(p.Taken), fmt.Sprint(p.Sent), when(p.LastNews), p.Error)
	}
	return t.flush()
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func (a *app) dirsyncRun() *cobra.Command {
	var req control.SyncRequest
	c := &cobra.Command{Use: "run [NET/PO]", Short: "Synchronize now: with one post office, or all", Args: cobra.MaximumNArgs(1),
		Example: "  backbone dirsync run\n  backbone dirsync run NORTHWIND/PO1 --full\n  backbone dirsync run --site SITEB",
		RunE: func(cmd *cobra.Command, args []string) error {
			req.PostOffice, req.By = strings.Join(args, ""), me()
			return a.with(func(c *control.Client) error {
				var out control.SyncRun
				if err := c.Post(cmd.Context(), "/v1/dirsync/run", req, &out); err != nil {
					return err
				}
				if !req.DryRun {
					return a.printDirsync(out.Status)
				}
				if a.json {
					return a.printJSON(out)
				}
				t := a.table("WOULD GO TO", "SUBJECT")
				for _, p := range out.Planned {
					t.row(p.PostOffice, p.Subject)
				}
				return t.flush()
			})
		}}
	f := c.Flags()
	f.StringVar(&req.Site, "site", "", "replicate from this joined site instead")
	f.BoolVar(&req.Full, "full", false, "ask for the whole list, and send ours")
	f.BoolVar(&req.DryRun, "dry-run", false, "only say what would be sent")
	f.StringVar(&req.Reason, "reason", "", "why; kept on the audit log")
	f.BoolVar(&req.AcceptDeletes, "accept-deletes", false, "take the next whole list even if it deletes more than directory.delete_guard percent")
	return c
}

func (a *app) dirsyncExport() *cobra.Command {
	return &cobra.Command{Use: "export [NET/PO]", Short: "Write the address list for a post office as IMPORT.EXE reads it", Args: cobra.MaximumNArgs(1),
		Long: "Write the address list for a post office as IMPORT.EXE reads it: all that it would get by directory\nsynchronization. Without a post office, all there is. `backbone directory export` writes Exchange's CSV.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(func(c *control.Client) error {
				if !a.json {
					return c.Text(cmd.Context(), "/v1/dirsync/export", url.Values{"postoffice": args}, a.out)
				}
				var text bytes.Buffer
				if err := c.Text(cmd.Context(), "/v1/dirsync/export", url.Values{"postoffice": args}, &text); err != nil {
					return err
				}
				ts, _ := dirsync.ParseImport(text.String()) // what we wrote ourselves
				for _, t := range ts {
					if err := a.printJSON(struct {
						Op string `json:"op"` // the letter that IMPORT.EXE reads
						dirsync.Transaction
					}{string(rune(t.Op)), t}); err != nil {
						return err
					}
				}
				return nil
			})
		}}
}

func (a *app) dirsyncImport() *cobra.Command {
	var dry bool
	var reason string
	c := &cobra.Command{Use: "import NET/PO FILE", Short: "Take a post office's list, IMPORT.EXE's text, as if it had sent it; - reads stdin", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		in := a.in
		if args[1] != "-" {
			f, err := os.Open(args[1])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		q := url.Values{"postoffice": args[:1], "by": {me()}, "reason": {reason}}
		if dry {
			q.Set("dry_run", "1")
		}
		return a.with(func(c *control.Client) error {
			var out control.ListImported
			if err := c.Upload(cmd.Context(), "/v1/dirsync/import", q, in, &out); err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(out); err != nil {
					return err
				}
			} else {
				for _, p := range out.Problems {
					fmt.Fprintf(a.err, "backbone: %s\n", printable(p.String()))
				}
				fmt.Fprintf(a.out, "added %d, modified %d, deleted %d, unchanged %d, refused %d\n", out.Added, out.Modified, out.Deleted, out.Same, out.Refused)
			}
			if out.Refused > 0 {
				return partly{fmt.Sprintf("%d records were not taken", out.Refused)}
			}
			return nil
		})
	}}
	c.Flags().BoolVar(&dry, "dry-run", false, "check and change nothing")
	c.Flags().StringVar(&reason, "reason", "", "why; kept on the audit log")
	return c
}

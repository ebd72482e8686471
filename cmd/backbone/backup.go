package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"backbone/gateway/control"
	"backbone/gateway/directory"
	"backbone/queue"

	"github.com/spf13/cobra"
)

func (a *app) backupCommand() *cobra.Command {
	c := &cobra.Command{Use: "backup", Short: "Save waiting mail and the directory to a file, verify such a file, bring them back",
		Long: "Save waiting mail, and the directory with what replication and synchronization know of their partners, to a file while\n" +
			"the daemon runs; verify such a file; bring one message or all back, or the directory.\n\n" +
			"Not in it: the configuration with what it refers to (keys, passwords), the tracking log, the audit log. Copy those files."}
	c.AddCommand(a.backupCreate(), a.backupVerify(), a.backupRestore())
	return c
}

func (a *app) backupCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create FILE", Short: "Save all waiting and held mail and the directory to FILE, which must not exist", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			tmp := args[0] + ".part"
			if _, err := os.Stat(args[0]); err == nil {
				return fmt.Errorf("%s is there already", args[0])
			}
			f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			var end savedEnd
			err = a.with(func(c *control.Client) error {
				var st control.Status
				if err := c.Get(cmd.Context(), "/v1/status", nil, &st); err != nil {
					return err
				}
				bar := a.progress("saving", st.Queue.Bytes)
				defer bar.end()
				end, err = writeBackup(cmd.Context(), c, f, bar)
				return err
			})
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return errors.Join(err, os.Remove(tmp))
			}
			if err := os.Rename(tmp, args[0]); err != nil {
				return err
			}
			if err := syncFolder(filepath.Dir(args[0])); err != nil {
				return err
			}
			return a.backupDone("saved", end)
		},
	}
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (a *app) backupDone(verb string, end savedEnd) error {
	if a.json {
		return a.printJSON(map[string]any{verb: end.Entries, "directory": end.Directory != "", "at": end.At})
	}
	directory := "and the directory"
	if end.Directory == "" {
		directory = "no directory"
	}
	_, err := fmt.Fprintf(a.out, "%s: %d entries, %s\n", verb, end.Entries, directory)
	return err
}

func (a *app) backupVerify() *cobra.Command {
	return &cobra.Command{Use: "verify FILE", Short: "Read a backup to its end and compare every digest", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		end, err := a.readBackup(args[0], "verifying", nil, nil)
		if err != nil {
			return err
		}
		return a.backupDone("sound", end)
	}}
}

func (a *app) backupRestore() *cobra.Command {
	var dryRun, dir bool
	var reason string
	c := &cobra.Command{
		Use: "restore FILE [ID...]", Short: "Bring messages back from a backup: those named, or all", Args: cobra.MinimumNArgs(1),
		Long: "Bring messages back into the queue from a backup: those named, or all. What still waits in the queue is passed over.\n" +
			"What was delivered since the backup was made is delivered again: name the messages you miss.\n\n" +
			"With --directory it is the directory that comes back, and no mail; the daemon must not run. The directory that is there is\n" +
			"kept under another name. Joined sites and post offices notice, and send what this one has forgotten. Where gateways share\n" +
			"the directory, the one that is brought back only catches up with it: restore the database, or `directory import`.",
		RunE: func(cmd *cobra.Command, args []string) error {
			want := map[queue.ID]bool{}
			for _, arg := range args[1:] {
				id, err := queue.ParseID(arg)
				if err != nil {
					return err
				}
				want[id] = true
			}
			end, err := a.readBackup(args[0], "verifying", nil, nil)
			if err != nil {
				return err // nothing is brought back from a damaged one unseen
			}
			if dir {
				return a.restoreDirectory(args, end, dryRun)
			}
			restored := 0
			err = a.with(func(c *control.Client) error {
				_, err := a.readBackup(args[0], "restoring", func(it queue.Item, body *os.File) error {
					if len(want) > 0 && !want[it.ID] {
						return nil
					}
					if dryRun {
						restored++
						return nil
					}
					line, err := json.Marshal(it)
					if err != nil {
						return err
					}
					var out control.Reinstated
					if err := c.Upload(cmd.Context(), "/v1/reinstate", url.Values{"by": {me()}, "reason": {reason}}, io.MultiReader(bytes.NewReader(append(line, '\n')), body), &out); err != nil {
						return err
					}
					if out.Restored {
						restored++
					}
					return nil
				}, nil)
				return err
			})
			if err != nil {
				return err
			}
			return a.changed("restore", control.Changed{Changed: restored, DryRun: dryRun}, "entries")
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only count what the file has")
	c.Flags().BoolVar(&dir, "directory", false, "bring back the directory instead of mail; the daemon must not run")
	c.Flags().StringVar(&reason, "reason", "", "why; kept on each message's timeline")
	return c
}

// restoreDirectory puts a backup's directory in the place of the stopped daemon's.
func (a *app) restoreDirectory(args []string, end savedEnd, dryRun bool) error {
	if len(args) > 1 {
		return errors.New("--directory brings back the whole directory: name no messages")
	}
	if end.Directory == "" {
		return fmt.Errorf("%s has no directory: it was made by an earlier version", args[0])
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	done := control.Changed{Changed: 1, DryRun: dryRun}
	if dryRun {
		return a.changed("restore", done, "directory")
	}
	if err := os.MkdirAll(cfg.Site.Data, 0o700); err != nil {
		return fmt.Errorf("site.data: %w", err)
	}
	aside := ""
	if _, err := a.readBackup(args[0], "restoring", nil, func(r io.Reader) error {
		aside, err = directory.Replace(filepath.Join(cfg.Site.Data, directoryFile), r)
		return err
	}); err != nil {
		return err
	}
	if aside != "" {
		fmt.Fprintf(a.err, "backbone: the directory that was there is %s\n", aside)
	}
	if cfg.Queue.Store != "bolt" {
		fmt.Fprintln(a.err, "backbone: the gateways share one directory, with which this copy will catch up at the start; to go back, restore the database or use `backbone directory import`")
	}
	return a.changed("restore", done, "directory")
}

package main

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"backbone/gateway/control"
	"backbone/queue/boltqueue"

	"github.com/spf13/cobra"
)

func (a *app) queueCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Verify the index and every stored message", Args: cobra.NoArgs,
		Long: "Verify the queue's index against what is stored, and read every body. It works while the daemon runs, and on the\n" +
			"files themselves with --offline. Exit code 1 when something is wrong. Then, with the daemon stopped, `backbone queue\n" +
			"salvage` makes a new index of an embedded queue; where gateways share one in a database, that one's own tools and\n" +
			"backups repair its tables.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(c *control.Client) error {
				var bad []string
				if err := c.Get(cmd.Context(), "/v1/check", nil, &bad); err != nil {
					return err
				}
				if a.json {
					for _, b := range bad {
						if err := a.printJSON(map[string]string{"problem": b}); err != nil {
							return err
						}
					}
				} else {
					for _, b := range bad {
						if _, err := fmt.Fprintln(a.out, printable(b)); err != nil {
							return err
						}
					}
				}
				if len(bad) > 0 {
					return fmt.Errorf("the queue has %d problems: `backbone queue check --help` says what mends it", len(bad))
				}
				if a.json {
					return a.printJSON(map[string]bool{"sound": true})
				}
				_, err := fmt.Fprintln(a.out, "the queue is sound")
				return err
			})
		},
	}
}

func (a *app) queueSalvage() *cobra.Command {
	return &cobra.Command{
		Use: "salvage", Short: "Make a new index from the log and the stored bodies", Args: cobra.NoArgs,
		Long: "Make a new index from the log and the bodies beside it, for when the old one is lost or can't be read. The daemon\n" +
			"must not run. The old index is kept under another name. Messages that had been delivered may come back: each\n" +
			"entry is marked as one whose last attempt's outcome is unknown. Suspensions may be lost.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			if cfg.Queue.Store != "bolt" {
				return fmt.Errorf("queue.store is %q: its tables are repaired with the database's own tools", cfg.Queue.Store)
			}
			dir := filepath.Join(cfg.Site.Data, "queue")
			log := slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
			found, err := boltqueue.Salvage(dir, boltqueue.Options{Reserve: cfg.Queue.Reserve, TrashFor: cfg.Queue.Trash.D(), Log: log})
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(found)
			} else {
				_, err = fmt.Fprintf(a.out, "%d entries are in the new index\n", found.Entries)
				if err == nil && found.Aside != "" {
					_, err = fmt.Fprintf(a.out, "the old index is %s\n", found.Aside)
				}
				for _, d := range found.Damaged {
					fmt.Fprintln(a.err, printable(d))
				}
			}
			if err == nil && len(found.Damaged) > 0 {
				err = partly{fmt.Sprintf("%d parts could not be read; `backbone backup restore` brings messages back from a backup", len(found.Damaged))}
			}
			return err
		},
	}
}

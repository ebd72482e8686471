package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"backbone/queue"
	"backbone/queue/archive"
	"backbone/queue/pgqueue"

	"github.com/spf13/cobra"
)

func (a *app) queueExport() *cobra.Command {
	return &cobra.Command{
		Use: "export FILE", Short: "Write the whole queue to FILE, to be read into another store", Args: cobra.ExactArgs(1),
		Long: "Write the whole queue to FILE, which must not exist: waiting and held mail, the trash, the suspensions and what is known\n" +
			"of messages that have gone, as a tar file with a folder a message. The daemon must not run, nor any other gateway that shares the queue. Set queue.store to\n" +
			"where the mail shall be, then `backbone queue import FILE`.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); err == nil {
				return fmt.Errorf("%s is there already", args[0])
			}
			tmp := args[0] + ".part"
			f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			var n archive.Counts
			err = a.onQueue(func(s queue.Store) (err error) {
				if err := tellRunning(cmd.Context(), a.err, s); err != nil {
					return err
				}
				n, err = archive.Export(cmd.Context(), s, f)
				return err
			})
			err = errors.Join(err, f.Sync(), f.Close())
			if err != nil {
				return errors.Join(err, os.Remove(tmp))
			}
			if err := errors.Join(os.Rename(tmp, args[0]), syncFolder(filepath.Dir(args[0]))); err != nil {
				return err
			}
			return a.printCounts("written", n)
		},
	}
}

func (a *app) queueImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Read what `queue export` wrote into the queue that the configuration names", Args: cobra.ExactArgs(1),
		Long: "Read what `backbone queue export` wrote into the queue that the configuration names; - is stdin. What is in it stays. The\n" +
			"daemon of an embedded queue must not run; gateways that share one may. Entries get new ids. Reading the same file\n" +
			"again stores nothing twice, so that an import that was broken off is simply repeated.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				r = f
			}
			var n archive.Counts
			err := a.onQueue(func(s queue.Store) (err error) {
				n, err = archive.Import(cmd.Context(), s, r)
				return err
			})
			if err != nil {
				return err
			}
			return a.printCounts("read", n)
		},
	}
}

// tellRunning warns of gateways that share the queue and have not been silent long enough to be taken for stopped.
func tellRunning(ctx context.Context, w io.Writer, s queue.Store) error {
	shared, ok := s.(interface {
		Gateways(context.Context) ([]queue.Node, error)
	})
	if !ok {
		return nil
	}
	all, err := shared.Gateways(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, n := range all {
		if !n.Silent && !strings.Contains(n.Name, commandMark) {
			names = append(names, n.Name)
		}
	}
	if len(names) > 0 {
		_, err = fmt.Fprintf(w, "backbone: %s ran a moment ago: what they still deliver goes out a second time where this archive is read\n", strings.Join(names, ", "))
	}
	return err
}

// onQueue opens the store alone, without the site around it.
func (a *app) onQueue(do func(queue.Store) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	s, err := openQueue(cfg, pgqueue.Options{Log: slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn}))}, false)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

func (a *app) printCounts(done string, n archive.Counts) error {
	if a.json {
		return a.printJSON(n)
	}
	text := fmt.Sprintf("%d messages with %d entries and %d remembered keys %s", n.Messages, n.Entries, n.Keys, done)
	if n.Known > 0 {
		text += fmt.Sprintf("; %d of them were there already", n.Known)
	}
	_, err := fmt.Fprintln(a.out, text)
	return err
}

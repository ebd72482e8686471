package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"backbone/gateway/control"
	"backbone/queue"

	"github.com/spf13/cobra"
)

// A backup is a tar file: for each entry its content as ID.eml and then, as ID.json, the entry as `queue list --json` has it;
// last of all the file "complete" with the number of entries. Nothing but tar is needed to look into it.
const backupEnd = "complete"

// savedEnd is the last file's content.
type savedEnd struct {
	Entries int       `json:"entries"`
	At      time.Time `json:"at"`
}

func (a *app) backupCommand() *cobra.Command {
	c := &cobra.Command{Use: "backup", Short: "Save waiting mail to a file, verify such a file, bring messages back",
		Long: "Save waiting mail to a file while the daemon runs, verify such a file, bring one message or all back.\n\n" +
			"Beside the queue, keep copies of the configuration and of `backbone directory export`."}
	c.AddCommand(a.backupCreate(), a.backupVerify(), a.backupRestore())
	return c
}

func (a *app) backupCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create FILE", Short: "Save all waiting and held mail to FILE, which must not exist", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			tmp := args[0] + ".part"
			if _, err := os.Stat(args[0]); err == nil {
				return fmt.Errorf("%s is there already", args[0])
			}
			f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			var n int
			err = a.with(func(c *control.Client) error {
				n, err = saveQueue(cmd.Context(), c, f)
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
			return a.backupDone("saved", n)
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

func (a *app) backupDone(verb string, n int) error {
	if a.json {
		return a.printJSON(map[string]int{verb: n})
	}
	_, err := fmt.Fprintf(a.out, "%s: %d entries\n", verb, n)
	return err
}

// saveQueue writes a backup. An entry that ends while it is read has been dealt with and is left out.
func saveQueue(ctx context.Context, c *control.Client, w io.Writer) (n int, err error) {
	t := tar.NewWriter(w)
	add := func(name string, b []byte) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Size: int64(len(b)), Mode: 0o600, ModTime: time.Now(), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err := t.Write(b)
		return err
	}
	err = c.Queue(ctx, queue.Filter{}, 0, func(it queue.Item) error {
		id := it.ID.String()
		body, err := os.CreateTemp("", "backbone-backup")
		if err != nil {
			return err
		}
		defer os.Remove(body.Name()) //nolint:errcheck // a left-over temporary file is the system's to clean
		defer body.Close()
		err = c.Text(ctx, control.Path("v1", "queue", id, "raw"), nil, body)
		if control.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		size, err := body.Seek(0, io.SeekEnd)
		if err == nil {
			_, err = body.Seek(0, io.SeekStart)
		}
		if err != nil {
			return err
		}
		if size != it.Body.Size {
			return fmt.Errorf("entry %s: %d octets of its content came, it has %d", id, size, it.Body.Size)
		}
		if err := t.WriteHeader(&tar.Header{Name: id + ".eml", Size: size, Mode: 0o600, ModTime: it.Envelope.Arrived, Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := io.Copy(t, body); err != nil {
			return err
		}
		line, err := json.Marshal(it)
		if err != nil {
			return err
		}
		n++
		return add(id+".json", line)
	})
	if err != nil {
		return n, err
	}
	end, err := json.Marshal(savedEnd{n, time.Now()})
	if err != nil {
		return n, err
	}
	return n, errors.Join(add(backupEnd, end), t.Close())
}

// readBackup hands over each entry with its content, whose digest has been compared, and demands the end.
func readBackup(name string, each func(queue.Item, *os.File) error) (n int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	body, err := os.CreateTemp("", "backbone-backup")
	if err != nil {
		return 0, err
	}
	defer os.Remove(body.Name()) //nolint:errcheck // as above
	defer body.Close()
	t, held, sum := tar.NewReader(f), "", ""
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return n, fmt.Errorf("%s is cut short: its end is missing", name)
		}
		if err != nil {
			return n, fmt.Errorf("%s: %w", name, err)
		}
		id, kind, _ := strings.Cut(path.Base(h.Name), ".")
		switch {
		case h.Name == backupEnd:
			var end savedEnd
			if err := json.NewDecoder(t).Decode(&end); err != nil || end.Entries != n {
				return n, fmt.Errorf("%s has %d entries, its end says %d (%v)", name, n, end.Entries, err)
			}
			return n, nil
		case kind == "eml":
			digest := sha256.New()
			if err := errors.Join(body.Truncate(0), rewind(body)); err != nil {
				return n, err
			}
			if _, err := io.Copy(io.MultiWriter(body, digest), t); err != nil {
				return n, fmt.Errorf("%s: %s: %w", name, h.Name, err)
			}
			held, sum = id, hex.EncodeToString(digest.Sum(nil))
		case kind == "json":
			var it queue.Item
			if err := json.NewDecoder(t).Decode(&it); err != nil {
				return n, fmt.Errorf("%s: %s: %w", name, h.Name, err)
			}
			if held != id || sum != it.Body.SHA256 {
				return n, fmt.Errorf("%s: the content of entry %s is missing or damaged", name, id)
			}
			if err := errors.Join(rewind(body), each(it, body)); err != nil {
				return n, err
			}
			n++
		default:
			return n, fmt.Errorf("%s: %s does not belong into a backup", name, h.Name)
		}
	}
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

func (a *app) backupVerify() *cobra.Command {
	return &cobra.Command{Use: "verify FILE", Short: "Read a backup to its end and compare every digest", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		n, err := readBackup(args[0], func(queue.Item, *os.File) error { return nil })
		if err != nil {
			return err
		}
		return a.backupDone("sound", n)
	}}
}

func (a *app) backupRestore() *cobra.Command {
	var dryRun bool
	var reason string
	c := &cobra.Command{
		Use: "restore FILE [ID...]", Short: "Bring messages back from a backup: those named, or all", Args: cobra.MinimumNArgs(1),
		Long: "Bring messages back into the queue from a backup: those named, or all. What still waits in the queue is passed over.\n" +
			"What was delivered since the backup was made is delivered again: name the messages you miss.",
		RunE: func(cmd *cobra.Command, args []string) error {
			want := map[queue.ID]bool{}
			for _, arg := range args[1:] {
				id, err := queue.ParseID(arg)
				if err != nil {
					return err
				}
				want[id] = true
			}
			if _, err := readBackup(args[0], func(queue.Item, *os.File) error { return nil }); err != nil {
				return err // nothing is brought back from a damaged one unseen
			}
			restored := 0
			err := a.with(func(c *control.Client) error {
				_, err := readBackup(args[0], func(it queue.Item, body *os.File) error {
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
				})
				return err
			})
			if err != nil {
				return err
			}
			return a.changed("restore", control.Changed{Changed: restored, DryRun: dryRun}, "entries")
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only count what the file has")
	c.Flags().StringVar(&reason, "reason", "", "why; kept on each message's timeline")
	return c
}

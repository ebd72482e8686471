package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"backbone/gateway/control"
	"backbone/queue"
)

// A backup is a tar file: first the directory as it lies on disk; for each entry of the queue its content as ID.eml and then,
// as ID.json, the entry as `queue list --json` has it; last of all the file "complete". Nothing but tar is needed to look into it.
const (
	directoryFile = "directory.db"
	backupEnd     = "complete"
)

// savedEnd is the last file's content.
type savedEnd struct {
	Entries   int       `json:"entries"`
	Directory string    `json:"directory_sha256,omitempty"` // "": there is none
	At        time.Time `json:"at"`
}

// backupWriter writes the files of a backup, and shows how far it is.
type backupWriter struct {
	*tar.Writer
	bar *progress
}

func (w backupWriter) add(name string, size int64, at time.Time, r io.Reader) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: at, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := io.Copy(w.Writer, r)
	return err
}

// fetched adds what the daemon answers, by way of a temporary file: its size stands before it. wanted is that size, -1: any.
func (w backupWriter) fetched(ctx context.Context, c *control.Client, call, name string, wanted int64, at time.Time) (sum string, err error) {
	body, err := os.CreateTemp("", "backbone-backup")
	if err != nil {
		return "", err
	}
	defer os.Remove(body.Name()) //nolint:errcheck // a left-over temporary file is the system's to clean
	defer body.Close()
	if err := c.Text(ctx, call, nil, body); err != nil {
		return "", err
	}
	size, err := body.Seek(0, io.SeekEnd)
	if err == nil {
		err = rewind(body)
	}
	if err != nil {
		return "", err
	}
	if wanted >= 0 && size != wanted {
		return "", fmt.Errorf("%s: %d octets came, it has %d", name, size, wanted)
	}
	digest := sha256.New()
	if err := w.add(name, size, at, io.TeeReader(body, digest)); err != nil {
		return "", err
	}
	if wanted >= 0 {
		w.bar.add(int(size))
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// writeBackup writes a backup. An entry that ends while it is read has been dealt with and is left out.
func writeBackup(ctx context.Context, c *control.Client, f io.Writer, bar *progress) (end savedEnd, err error) {
	w := backupWriter{tar.NewWriter(f), bar}
	end.At = time.Now()
	if end.Directory, err = w.fetched(ctx, c, control.Path("v1", "backup", "directory"), directoryFile, -1, end.At); err != nil {
		return end, fmt.Errorf("the directory: %w", err)
	}
	err = c.Queue(ctx, queue.Filter{}, 0, func(it queue.Item) error {
		id := it.ID.String()
		_, err := w.fetched(ctx, c, control.Path("v1", "queue", id, "raw"), id+".eml", it.Body.Size, it.Envelope.Arrived)
		if control.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("entry %s: %w", id, err)
		}
		line, err := json.Marshal(it)
		if err != nil {
			return err
		}
		end.Entries++
		return w.add(id+".json", int64(len(line)), end.At, strings.NewReader(string(line)))
	})
	if err != nil {
		return end, err
	}
	line, err := json.Marshal(end)
	if err != nil {
		return end, err
	}
	return end, errors.Join(w.add(backupEnd, int64(len(line)), end.At, strings.NewReader(string(line))), w.Close())
}

// readBackup hands over each entry with its content, whose digest has been compared, and the directory, whose digest is
// compared at the end; nil callbacks take nothing. It demands the end. label stands before the progress.
func (a *app) readBackup(name, label string, entry func(queue.Item, *os.File) error, dir func(io.Reader) error) (end savedEnd, err error) {
	f, err := os.Open(name)
	if err != nil {
		return end, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return end, err
	}
	bar := a.progress(label, st.Size())
	defer bar.end()
	body, err := os.CreateTemp("", "backbone-backup")
	if err != nil {
		return end, err
	}
	defer os.Remove(body.Name()) //nolint:errcheck // as above
	defer body.Close()
	t, held, sum, dirSum, n := tar.NewReader(bar.reader(f)), "", "", "", 0
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return end, fmt.Errorf("%s is cut short: its end is missing", name)
		}
		if err != nil {
			return end, fmt.Errorf("%s: %w", name, err)
		}
		id, kind, _ := strings.Cut(path.Base(h.Name), ".")
		switch {
		case h.Name == backupEnd:
			if err := json.NewDecoder(t).Decode(&end); err != nil || end.Entries != n {
				return end, fmt.Errorf("%s has %d entries, its end says %d (%v)", name, n, end.Entries, err)
			}
			if end.Directory != dirSum {
				return end, fmt.Errorf("%s: the directory is missing or damaged", name)
			}
			return end, nil
		case h.Name == directoryFile:
			digest := sha256.New()
			in := io.TeeReader(t, digest)
			if dir != nil {
				if err := dir(in); err != nil {
					return end, err
				}
			}
			if _, err := io.Copy(io.Discard, in); err != nil {
				return end, fmt.Errorf("%s: %s: %w", name, h.Name, err)
			}
			dirSum = hex.EncodeToString(digest.Sum(nil))
		case kind == "eml":
			digest := sha256.New()
			if err := errors.Join(body.Truncate(0), rewind(body)); err != nil {
				return end, err
			}
			if _, err := io.Copy(io.MultiWriter(body, digest), t); err != nil {
				return end, fmt.Errorf("%s: %s: %w", name, h.Name, err)
			}
			held, sum = id, hex.EncodeToString(digest.Sum(nil))
		case kind == "json":
			var it queue.Item
			if err := json.NewDecoder(t).Decode(&it); err != nil {
				return end, fmt.Errorf("%s: %s: %w", name, h.Name, err)
			}
			if held != id || sum != it.Body.SHA256 {
				return end, fmt.Errorf("%s: the content of entry %s is missing or damaged", name, id)
			}
			if entry != nil {
				if err := errors.Join(rewind(body), entry(it, body)); err != nil {
					return end, err
				}
			}
			n++
		default:
			return end, fmt.Errorf("%s: %s does not belong into a backup", name, h.Name)
		}
	}
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

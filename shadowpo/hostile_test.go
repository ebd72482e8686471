package shadowpo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"backbone/shadowpo/droptest"
	"backbone/shadowpo/mmff"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestHostileFilesGoToBadmailAndTheirNeighboursArrive(t *testing.T) {
	var told []Entry
	var mu sync.Mutex
	var log syncBuffer
	d, dir := newDrop(t, func(o *Options) {
		o.External = true
		o.Stable, o.Incomplete = 30*time.Millisecond, 100*time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		o.Quarantined = func(e Entry) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e)
		}
	})
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, submitDir, "LINK.TXT")))
	names := map[string]int{}
	for i, h := range droptest.Hostile {
		name := fmt.Sprintf("BAD%02d.MSG", i)
		names[name] = i
		put(t, dir, fmt.Sprintf("A%02d.MSG", i), message(fmt.Sprintf("before %02d", i)))
		h.Make(t, filepath.Join(dir, submitDir, name))
		put(t, dir, fmt.Sprintf("Z%02d.MSG", i), message(fmt.Sprintf("after %02d", i)))
	}
	var s sink
	serve(t, d, s.take)
	eventually(t, "all neighbours taken", func() bool { return len(s.got()) == 2*len(droptest.Hostile) })
	eventually(t, "only the link left", func() bool { return slices.Equal(files(t, dir, submitDir), []string{"LINK.TXT"}) })
	list, err := d.Quarantine(context.Background())
	must(t, err)
	if len(list) != len(droptest.Hostile) {
		t.Errorf("badmail has %d entries, want %d", len(list), len(droptest.Hostile))
	}
	seen := map[string]string{}
	for _, e := range list {
		i, ok := names[e.File]
		if !ok {
			t.Errorf("unknown entry %+v", e)
			continue
		}
		h := droptest.Hostile[i]
		raw, err := os.ReadFile(filepath.Join(dir, badmailDir, e.Name+".ERR"))
		must(t, err)
		if !strings.HasPrefix(string(raw), h.Reason) || e.Reasons[0] == "" {
			t.Errorf("%s: reason %q, want %q", h.Name, raw, h.Reason)
		}
		for _, r := range e.Reasons {
			if _, ok := mmff.ParseError(r); !ok {
				t.Errorf("%s: reason %q is not in FFAPI's form", h.Name, r)
			}
		}
		seen[h.Name] = e.Reasons[0]
	}
	for _, h := range droptest.Hostile {
		if seen[h.Name] == "" {
			t.Errorf("%s: not in badmail", h.Name)
		}
	}
	eventually(t, "all told of", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == len(droptest.Hostile) })
	for _, subject := range s.got() {
		if !strings.HasPrefix(subject, "before ") && !strings.HasPrefix(subject, "after ") {
			t.Errorf("took %q", subject)
		}
	}
	for _, r := range log.String() {
		if r < ' ' && r != '\n' || r == 0x7f {
			t.Fatalf("log has the control character %q", r)
		}
	}
	// Odd entries hold nothing to read, and all can be discarded.
	for _, e := range list {
		_, r, err := d.Quarantined(context.Background(), e.Name)
		if (e.Odd != "") != errors.Is(err, ErrNoOctets) {
			t.Errorf("%s: %v", e.File, err)
		}
		if err == nil {
			must(t, r.Close())
		}
		if _, err := d.Replay(context.Background(), e.Name, nil); e.Odd != "" && !errors.Is(err, ErrNoOctets) {
			t.Errorf("%s: replay: %v", e.File, err)
		} else if e.Odd == "" && err != nil {
			t.Errorf("%s: replay: %v", e.File, err)
		}
	}
	// What was replayed comes back with the same reason.
	eventually(t, "all back in badmail", func() bool {
		again, err := d.Quarantine(context.Background())
		return err == nil && len(again) == len(droptest.Hostile) && slices.Equal(files(t, dir, submitDir), []string{"LINK.TXT"})
	})
	again, err := d.Quarantine(context.Background())
	must(t, err)
	for _, e := range again {
		must(t, d.Discard(context.Background(), e.Name))
	}
	if left := files(t, dir, badmailDir); len(left) != 0 {
		t.Errorf("badmail has %v", left)
	}
	if _, err := os.Stat(filepath.Join(dir, "outside"+fmt.Sprintf("BAD%02d.MSG", slices.IndexFunc(droptest.Hostile, func(h droptest.File) bool {
		return strings.HasPrefix(h.Name, "a hard link")
	})))); err != nil {
		t.Errorf("the file outside: %v", err)
	}
}

func TestAFileOfBadMessagesMakesFewEntries(t *testing.T) {
	d, dir := newDrop(t, nil)
	var s sink
	put(t, dir, "MANY.MSG", message("first")+strings.Repeat(bad("x"), 1000)+message("last"))
	serve(t, d, s.take)
	eventually(t, "an empty folder", func() bool { return len(files(t, dir, submitDir)) == 0 })
	list, err := d.Quarantine(context.Background())
	must(t, err)
	size := int64(0)
	for _, e := range list {
		size += e.Size
	}
	if want := int64(1000*len(bad("x")) + len(message("last"))); len(list) != maxBad+1 || size != want || !slices.Equal(s.got(), []string{"first"}) {
		t.Errorf("%d entries of %d octets, want %d; took %v", len(list), size, want, s.got())
	}
}

// Names of files reach logs, reasons and callers only in a form that shows.
func TestHostileNamesAreShownHarmlessly(t *testing.T) {
	var log syncBuffer
	d, dir := newDrop(t, func(o *Options) {
		o.TextLogs = true
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	names := []string{"CON.MSG", "con.msg", "A .MSG", " .MSG", ".MSG", "trailing..MSG", "a:b.MSG", "\x1b[2J\x07.MSG", "x\ny.MSG", "a\u202Egsm.MSG", "\xff\xfe.MSG",
		"-rf *.MSG", "<script>.MSG", strings.Repeat("L", 250) + ".MSG", "$(reboot).MSG", "日本.MSG", "O'Brien;--.MSG"}
	var mu sync.Mutex
	var shown []string
	for i, n := range names {
		put(t, dir, n, message(fmt.Sprint("good ", i)))
	}
	serve(t, d, func(_ context.Context, in *Inbound) error {
		mu.Lock()
		defer mu.Unlock()
		shown = append(shown, in.File)
		return nil
	})
	eventually(t, "all taken", func() bool { mu.Lock(); defer mu.Unlock(); return len(shown) == len(names) })
	for i, n := range names {
		eventually(t, "its name to be free", func() bool {
			_, err := os.Lstat(filepath.Join(dir, submitDir, withExt(n, extClaimed)))
			return errors.Is(err, fs.ErrNotExist)
		})
		put(t, dir, n, bad(fmt.Sprint("bad ", i)))
	}
	eventually(t, "all put aside", func() bool {
		list, err := d.Quarantine(context.Background())
		return err == nil && len(list) == len(names)
	})
	check := func(where, s string) {
		for _, r := range s {
			if r < ' ' && r != '\n' && r != '\r' || r == 0x7f || r == '\u202E' || r == '\uFFFD' {
				t.Errorf("%s has %q: %q", where, r, s)
				return
			}
		}
	}
	for _, s := range shown {
		check("Inbound.File", s)
	}
	list, err := d.Quarantine(context.Background())
	must(t, err)
	for _, e := range list {
		if !mmff.Plain83(e.Name) {
			t.Errorf("badmail name %q", e.Name)
		}
		raw, err := os.ReadFile(filepath.Join(dir, badmailDir, e.Name+extReason))
		must(t, err)
		check("reason file", string(raw))
	}
	must(t, d.Close())
	for _, n := range []string{"RECV.LOG", "SYSTEM.LOG"} {
		raw, err := os.ReadFile(filepath.Join(dir, logDir, n))
		must(t, err)
		check(n, string(raw))
	}
	check("log", log.String())
}

func TestALinkIsNotFollowedThoughItAppearsAfterTheLook(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "NORTHWIND.PO1")
	must(t, Create(dir, po1))
	tr, _, err := openDisk(dir)
	must(t, err)
	defer tr.Close()
	submit := tr.Folder(submitDir)
	path := filepath.Join(dir, submitDir, "A.MSG")
	must(t, os.WriteFile(filepath.Join(dir, submitDir, "SECRET.TXT"), []byte("secret"), 0o666))
	must(t, os.Symlink("SECRET.TXT", path)) // within the folder: os.Root alone would follow it
	if h, err := submit.Open("A.MSG"); err == nil {
		b, rerr := io.ReadAll(h)
		t.Errorf("opened a link: %q, %v", b, rerr)
	}
	must(t, syscall.Mkfifo(filepath.Join(dir, submitDir, "FIFO.MSG"), 0o666))
	if _, err := submit.Open("FIFO.MSG"); !errors.Is(err, errOdd) {
		t.Errorf("opened a FIFO: %v", err)
	}
	for _, name := range []string{"../.backbone", "..", ".", "", "a/b", "A\x00.MSG"} {
		if _, err := submit.Open(name); err == nil {
			t.Errorf("opened %q", name)
		}
		if _, err := submit.Create(name); err == nil {
			t.Errorf("created %q", name)
		}
		if err := submit.Rename("A.MSG", submit, name); err == nil {
			t.Errorf("renamed to %q", name)
		}
		if err := submit.Remove(name); err == nil {
			t.Errorf("removed %q", name)
		}
	}
}

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

	"golang.org/x/sys/unix"

	"backbone/shadowpo/mmff"
)

// hostile are files that no drop should see. Each goes to badmail with a reason of its own, and none of them keeps a
// neighbour from being taken, opens anything outside the folder, or waits for anybody.
var hostile = []struct {
	name   string
	make   func(t *testing.T, path string) // path ends in NAME.MSG
	reason string                          // the reason file begins with it
}{
	{"an unknown token", text(strings.Replace(message("x"), "SUBJECT", "COLOUR", 1)), "141-001-004 cannot match token \"COLOUR\""},
	{"a CC token", text(strings.Replace(message("x"), "SUBJECT:x", "CC:CSI:A/B/C", 1)), "141-001-004 cannot match token CC"},
	{"no VERSION line", text(strings.TrimPrefix(message("x"), "VERSION:3.00\r\n")), "141-001-001 a message begins with VERSION"},
	{"a VERSION from the future", text(strings.Replace(message("x"), "3.00", "7.00", 1)), "143-001-001 version"},
	{"an address of eleven characters", text(strings.Replace(message("x"), "MKUMAR", "ELEVENCHARS", 1)), "142-001-002 bad address"},
	{"an address type of DirSync", text(strings.Replace(message("x"), "TO:CSI", "TO:PCM", 1)), "151-001-002 bad address"},
	{"no recipient", text(strings.Replace(message("x"), "TO:CSI:NORTHWIND/PO2/MKUMAR\r\n", "", 1)), "142-001-000 no TO line"},
	{"no originator", text(strings.Replace(message("x"), "FROM:CSI:NORTHWIND/PO1/ASMITH\r\n", "", 1)), "142-001-000 no FROM line"},
	{"two originators", text(strings.Replace(message("x"), "SUBJECT:x", "FROM:CSI:A/B/C", 1)), "143-001-004 FROM occurs twice"},
	{"a line without token", text(strings.Replace(message("x"), "SUBJECT:x", "SUBJECT x", 1)), "144-001-004 cannot split"},
	{"mixed line ends", text(strings.Replace(message("x"), "SUBJECT:x\r\n", "SUBJECT:x\n", 1)), "144-001-004 cannot split line \"SUBJECT:x\\n\""},
	{"another system's line ends throughout but in the first line", text("VERSION:3.00\n" + strings.TrimPrefix(message("x"), "VERSION:3.00\r\n")), "144-001-002"},
	{"a text that is cut short", text(message("x")[:len(message("x"))-1]), "143-001-000 the sizes of TEXT and attachments reach beyond"},
	{"a header that is cut short", text(message("x")[:60]), "144-001-003 cannot split line"},
	{"a text size that overflows", text(strings.Replace(message("x"), "TEXT:", "TEXT:99999999999999999999", 1)), "143-001-005 TEXT has no size"},
	{"attachment sizes that overflow", text(strings.Replace(message("x"), "TEXT:", "ATTACHMENT:A 9223372036854775807\r\nATTACHMENT:B 9223372036854775807\r\nTEXT:", 1)), "143-001-000 the sizes"},
	{"a file name outside in XTEXT", text(strings.Replace(message("x"), "TEXT:", "XTEXT:..\\..\\SECRET", 1)), "146-001-005"},
	{"a file name outside in XATTACH", text(strings.Replace(message("x"), "TEXT:", "XATTACH:/etc/passwd\r\nTEXT:", 1)), "146-001-005"},
	{"another message's file in XATTACH", text(strings.Replace(message("x"), "TEXT:", "XATTACH:GOOD1.MSG\r\nTEXT:", 1)), "146-001-005 \"GOOD1.MSG\": this file must not be read: it is part of the drop's own working"},
	{"a link in XATTACH", text(strings.Replace(message("x"), "TEXT:", "XATTACH:LINK.TXT\r\nTEXT:", 1)), "146-001-005 \"LINK.TXT\": this file must not be read: it is a symbolic link"},
	{"an empty file", text(""), "143-001-000 the file is empty"},
	{"a file of zeros", text(strings.Repeat("\x00", 70000)), "144-001-000 no line end"},
	{"a line of a megabyte", text("VERSION:3.00\r\nSUBJECT:" + strings.Repeat("x", 1<<20)), "144-001-002 cannot split line"},
	{"100,000 recipients", text("VERSION:3.00\nFROM:A/B/C\n" + strings.Repeat("TO:A/B/D\n", 100000) + "TEXT:0\n"), "020-001-5003 more than 5000 recipients"},
	{"100,000 attachments", text("VERSION:3.00\nFROM:A/B/C\nTO:A/B/D\n" + strings.Repeat("ATTACHMENT:A 0\n", 60000) + "TEXT:0\n"), "143-001-2004 more than 2000 attachments"},
	{"a program", text("MZ\x90\x00\x03\n\x00\x00\x00\x04" + strings.Repeat("\xff\n", 5000)), "144-001-001"},
	{"a symbolic link to a file outside", func(t *testing.T, path string) { must(t, os.Symlink("/etc/passwd", path)) }, "052-000-000 is a symbolic link"},
	{"a symbolic link to a neighbour", func(t *testing.T, path string) { must(t, os.Symlink("GOOD1.MSG", path)) }, "052-000-000 is a symbolic link"},
	{"a symbolic link to nowhere", func(t *testing.T, path string) { must(t, os.Symlink("gone", path)) }, "052-000-000 is a symbolic link"},
	{"a FIFO that nobody writes to", func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o666)) }, "052-000-000 is a FIFO"},
	{"a folder with files in it", func(t *testing.T, path string) {
		must(t, os.Mkdir(path, 0o777))
		must(t, os.WriteFile(filepath.Join(path, "GOOD.MSG"), []byte(message("inside a folder")), 0o666))
	}, "052-000-000 is a folder"},
	{"a socket", func(t *testing.T, path string) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		must(t, err)
		must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
		must(t, unix.Close(fd))
	}, "052-000-000 is a socket"},
	{"a hard link to a file outside", func(t *testing.T, path string) {
		outside := filepath.Join(filepath.Dir(filepath.Dir(path)), "outside"+filepath.Base(path))
		must(t, os.WriteFile(outside, []byte(message("somebody else's")), 0o666))
		must(t, os.Link(outside, path))
	}, "052-000-000 has a second name (hard link)"},
	{"a terabyte of holes", func(t *testing.T, path string) {
		must(t, os.WriteFile(path, []byte(message("x")), 0o666))
		must(t, os.Truncate(path, 1<<40))
	}, "052-000-000 is larger than a file here may be"},
	{"a gigabyte of holes", func(t *testing.T, path string) {
		must(t, os.WriteFile(path, []byte(message("x")), 0o666))
		must(t, os.Truncate(path, 1<<30))
	}, "052-000-000 is almost all holes (sparse)"},
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func text(s string) func(*testing.T, string) {
	return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(s), 0o666)) }
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
	for i, h := range hostile {
		name := fmt.Sprintf("BAD%02d.MSG", i)
		names[name] = i
		put(t, dir, fmt.Sprintf("A%02d.MSG", i), message(fmt.Sprintf("before %02d", i)))
		h.make(t, filepath.Join(dir, submitDir, name))
		put(t, dir, fmt.Sprintf("Z%02d.MSG", i), message(fmt.Sprintf("after %02d", i)))
	}
	var s sink
	serve(t, d, s.take)
	eventually(t, "all neighbours taken", func() bool { return len(s.got()) == 2*len(hostile) })
	eventually(t, "only the link left", func() bool { return slices.Equal(files(t, dir, submitDir), []string{"LINK.TXT"}) })
	list, err := d.Quarantine(context.Background())
	must(t, err)
	if len(list) != len(hostile) {
		t.Errorf("badmail has %d entries, want %d", len(list), len(hostile))
	}
	seen := map[string]string{}
	for _, e := range list {
		i, ok := names[e.File]
		if !ok {
			t.Errorf("unknown entry %+v", e)
			continue
		}
		h := hostile[i]
		raw, err := os.ReadFile(filepath.Join(dir, badmailDir, e.Name+".ERR"))
		must(t, err)
		if !strings.HasPrefix(string(raw), h.reason) || e.Reasons[0] == "" {
			t.Errorf("%s: reason %q, want %q", h.name, raw, h.reason)
		}
		for _, r := range e.Reasons {
			if _, ok := mmff.ParseError(r); !ok {
				t.Errorf("%s: reason %q is not in FFAPI's form", h.name, r)
			}
		}
		seen[h.name] = e.Reasons[0]
	}
	for _, h := range hostile {
		if seen[h.name] == "" {
			t.Errorf("%s: not in badmail", h.name)
		}
	}
	eventually(t, "all told of", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == len(hostile) })
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
		return err == nil && len(again) == len(hostile) && slices.Equal(files(t, dir, submitDir), []string{"LINK.TXT"})
	})
	again, err := d.Quarantine(context.Background())
	must(t, err)
	for _, e := range again {
		must(t, d.Discard(context.Background(), e.Name))
	}
	if left := files(t, dir, badmailDir); len(left) != 0 {
		t.Errorf("badmail has %v", left)
	}
	if _, err := os.Stat(filepath.Join(dir, "outside"+fmt.Sprintf("BAD%02d.MSG", slices.IndexFunc(hostile, func(h struct {
		name   string
		make   func(t *testing.T, path string)
		reason string
	}) bool {
		return strings.HasPrefix(h.name, "a hard link")
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

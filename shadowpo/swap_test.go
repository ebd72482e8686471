package shadowpo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"backbone/gateway/mail"
)

// TestAFolderThatBecomesALinkIsNotEntered: while the drop is in use, each of its folders in turn is replaced by a link to a
// folder elsewhere. Nothing is taken from there, nothing is put there, and the drop goes on when its own folder is back.
func TestAFolderThatBecomesALinkIsNotEntered(t *testing.T) {
	for _, name := range []string{submitDir, deliverDir, badmailDir, stateDir, logDir} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, dir := newDrop(t, func(o *Options) { o.TextLogs = true })
			var s sink
			serve(t, d, s.take)
			put(t, dir, "A.MSG", message("one"))
			eventually(t, "one", func() bool { return slices.Equal(s.got(), []string{"one"}) })
			_, err := d.Deliver(context.Background(), Outbound{Key: "k1", Write: content("x")})
			must(t, err)
			outside := t.TempDir()
			must(t, os.WriteFile(filepath.Join(outside, "SECRET.MSG"), []byte(message("secret")), 0o600))
			must(t, os.Symlink(outside, filepath.Join(dir, name+".away")))
			swap := func() {
				must(t, unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, name), unix.AT_FDCWD, filepath.Join(dir, name+".away"), unix.RENAME_EXCHANGE))
			}
			swap()
			if name != submitDir {
				put(t, dir, "BAD.MSG", bad("x"))
			}
			eventually(t, "trouble", func() bool {
				_, err := d.Check(context.Background())
				_, derr := d.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")})
				if err == nil || derr == nil {
					return false
				}
				if f := mail.AsFailure(derr); f.Final() {
					t.Fatalf("final: %v", derr)
				}
				return true
			})
			if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
				t.Errorf("outside are %v, %v", list, err)
			}
			swap()
			put(t, dir, "B.MSG", message("two"))
			eventually(t, "two", func() bool { return slices.Equal(s.got(), []string{"one", "two"}) })
			eventually(t, "a delivery", func() bool {
				_, err := d.Deliver(context.Background(), Outbound{Key: "k2", Write: content("x")})
				return err == nil
			})
			if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
				t.Errorf("outside are %v, %v", list, err)
			}
		})
	}
}

// TestFilesOfOursAreWrittenUnderTheirOwnNamesOnly: where others can write, what stands under the name of a log, a journal or a
// lock may be a link to a file elsewhere.
func TestFilesOfOursAreWrittenUnderTheirOwnNamesOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "NORTHWIND.PO1")
	must(t, Create(dir, po1))
	tr, _, err := openDisk(dir)
	must(t, err)
	defer tr.Close()
	victim := filepath.Join(filepath.Dir(dir), "victim")
	inside := filepath.Join(dir, deliverDir, "VICTIM")
	plant := map[string]func(path string) error{
		"a hard link":                    func(p string) error { return os.Link(victim, p) },
		"a symbolic link":                func(p string) error { return os.Symlink(victim, p) },
		"a symbolic link within":         func(p string) error { return os.Symlink("../"+deliverDir+"/VICTIM", p) },
		"a symbolic link in the folder":  func(p string) error { return os.Symlink("OTHER", p) },
		"a FIFO":                         func(p string) error { return syscall.Mkfifo(p, 0o666) },
		"a folder":                       func(p string) error { return os.Mkdir(p, 0o777) },
		"a hard link to a file within":   func(p string) error { return os.Link(inside, p) },
		"a symbolic link that leads out": func(p string) error { return os.Symlink("../../victim", p) },
	}
	for what, how := range plant {
		t.Run(what, func(t *testing.T) {
			must(t, os.WriteFile(victim, []byte("precious"), 0o600))
			must(t, os.WriteFile(inside, []byte("precious"), 0o600))
			for folder, write := range map[string]func() error{
				logDir: func() error {
					f, err := tr.Folder(logDir).Append("NAME")
					if err == nil {
						_, err = f.Write([]byte("x"))
						err = errors.Join(err, f.Close())
					}
					return err
				},
				stateDir: func() error {
					l, err := tr.Lock("NAME", "holder")
					if err == nil {
						err = l.Close()
					}
					return err
				},
			} {
				path := filepath.Join(dir, folder, "NAME")
				must(t, os.WriteFile(filepath.Join(dir, folder, "OTHER"), []byte("precious"), 0o600))
				must(t, how(path))
				if err := write(); err == nil {
					t.Errorf("%s was written", folder)
				}
				must(t, os.Remove(path))
				if err := write(); err != nil {
					t.Errorf("its own file in %s: %v", folder, err)
				}
				must(t, os.Remove(path))
				for _, p := range []string{victim, inside, filepath.Join(dir, folder, "OTHER")} {
					if b, err := os.ReadFile(p); err != nil || string(b) != "precious" {
						t.Errorf("%s: %q, %v", p, b, err)
					}
				}
			}
		})
	}
}

// TestAShareThatTakesNoWritesIsTrouble, though nobody has anything to write: mail of the post office must not wait unnoticed.
func TestAShareThatTakesNoWritesIsTrouble(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "NORTHWIND.PO1")
	must(t, Create(dir, po1))
	var log syncBuffer
	var readOnly atomic.Bool
	d, err := openWith(dir, Options{PostOffice: po1, Stable: -1, Poll: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))}, func(path string) (tree, identity, error) {
		tr, id, err := openDisk(path)
		if err == nil {
			real := tr.writable
			tr.writable = func(f *os.File) error {
				if readOnly.Load() {
					return syscall.EROFS
				}
				return real(f)
			}
		}
		return tr, id, err
	})
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	var s sink
	serve(t, d, s.take)
	put(t, dir, "A.MSG", message("one"))
	eventually(t, "one", func() bool { return len(s.got()) == 1 })
	if _, err := d.Check(context.Background()); err != nil {
		t.Errorf("a drop that takes writes: %v", err)
	}
	readOnly.Store(true)
	eventually(t, "the log to say so", func() bool { return strings.Contains(log.String(), "read-only file system") })
	_, err = d.Check(context.Background())
	if f := mail.AsFailure(err); err == nil || f.Class != mail.Transient || !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v, want a link that is down", err)
	}
	readOnly.Store(false)
	put(t, dir, "B.MSG", message("two"))
	eventually(t, "two", func() bool { return slices.Equal(s.got(), []string{"one", "two"}) })
}

func TestWhatIsNotAPlainFileIsOdd(t *testing.T) {
	dir := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Symlink("fifo", filepath.Join(dir, "link")))
	must(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 100), 0o600))
	must(t, os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "second")))
	must(t, os.WriteFile(filepath.Join(dir, "plain"), make([]byte, 100), 0o600))
	for path, want := range map[string]string{
		"/dev/null": "is a device", dir: "is a folder", dir + "/fifo": "is a FIFO", dir + "/link": "is a symbolic link",
		dir + "/file": "has a second name (hard link)", dir + "/plain": "",
	} {
		i, err := os.Lstat(path)
		must(t, err)
		if got := oddity(i, math.MaxInt64); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	i, err := os.Lstat(dir + "/plain")
	must(t, err)
	if got := oddity(i, 99); got != "is larger than a file here may be" {
		t.Errorf("over the bound: %q", got)
	}
	if got := kindOf(fs.ModeDevice); got != "a device" {
		t.Error(got)
	}
}

// TestNamesThatClashAndNamesThatAreFull: two names that a DOS client takes for one go one after the other, and a name of 255
// octets has no room for anything more.
func TestNamesThatClashAndNamesThatAreFull(t *testing.T) {
	d, dir := newDrop(t, nil)
	names := []string{"MAIL.MSG", "mail.msg", "Mail.Msg", "mail.MSG", strings.Repeat("L", 251) + ".MSG", strings.Repeat("l", 251) + ".msg", strings.Repeat("é", 125) + ".msg"}
	for i, n := range names {
		put(t, dir, n, message(fmt.Sprint("good ", i)))
	}
	var s sink
	serve(t, d, s.take)
	eventually(t, "all", func() bool { return len(s.got()) == len(names) })
	eventually(t, "an empty folder", func() bool { return len(files(t, dir, submitDir)) == 0 })
}

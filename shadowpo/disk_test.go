package shadowpo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func TestCreateMakesADropOnceAndNeverTakesAnothers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shadow", "NORTHWIND.PO1")
	must(t, Create(dir, po1))
	before, err := os.ReadFile(filepath.Join(dir, sentinelFile))
	must(t, err)
	must(t, Create(dir, po1))
	after, err := os.ReadFile(filepath.Join(dir, sentinelFile))
	must(t, err)
	if string(before) != string(after) {
		t.Error("a second Create made another instance")
	}
	if err := Create(dir, address.MSMail{Net: "NORTHWIND", PO: "PO2"}); err == nil {
		t.Error("took another post office's drop")
	}
	if err := Create(t.TempDir(), address.MSMail{Net: "NORTHWIND", PO: "ELEVENCHARS"}); err == nil {
		t.Error("made a drop for a name that no post office has")
	}
	other := filepath.Join(t.TempDir(), "x")
	must(t, Create(other, po1))
	second, err := os.ReadFile(filepath.Join(other, sentinelFile))
	must(t, err)
	if string(second) == string(before) {
		t.Error("two drops have one instance")
	}
	d := openDrop(t, dir, func(o *Options) { o.PostOffice = address.MSMail{Net: "NORTHWIND", PO: "PO2"} })
	if _, err := d.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "belongs to post office NORTHWIND/PO1") {
		t.Errorf("the wrong post office's drop: %v", err)
	}
}

func TestMissingFoldersAreMadeAgainButOnlyInADrop(t *testing.T) {
	d, dir := newDrop(t, nil)
	var s sink
	serve(t, d, s.take)
	put(t, dir, "A.MSG", message("one"))
	eventually(t, "one", func() bool { return len(s.got()) == 1 })
	must(t, os.RemoveAll(filepath.Join(dir, submitDir)))
	must(t, os.RemoveAll(filepath.Join(dir, deliverDir)))
	eventually(t, "submit made again", func() bool { _, err := os.Stat(filepath.Join(dir, submitDir)); return err == nil })
	put(t, dir, "B.MSG", message("two"))
	eventually(t, "two", func() bool { return len(s.got()) == 2 })
	_, err := d.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")})
	must(t, err)

	empty := t.TempDir() // a mount point without its share
	e := openDrop(t, empty, nil)
	serve(t, e, s.take)
	_, err = e.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")})
	if f := mail.AsFailure(err); err == nil || f.Class != mail.Transient || f.Scope != mail.ScopeLink {
		t.Errorf("got %v", err)
	}
	if _, err := e.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "not mounted") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) != 0 {
		t.Errorf("made %v over an unmounted share, %v", left, err)
	}
	gone := openDrop(t, filepath.Join(empty, "nowhere"), nil)
	if _, err := gone.Check(context.Background()); err == nil {
		t.Error("a missing folder is fine")
	}
}

// A share that is unmounted and mounted again is, to a path, a folder that is exchanged and comes back.
func TestExchangedFolderIsNoticedAndItsReturnToo(t *testing.T) {
	d, dir := newDrop(t, nil)
	var s sink
	serve(t, d, s.take)
	put(t, dir, "A.MSG", message("one"))
	eventually(t, "one", func() bool { return len(s.got()) == 1 })
	first, err := d.Deliver(context.Background(), Outbound{Key: "k1", Write: content("x")})
	must(t, err)

	away := dir + ".unmounted"
	must(t, os.Rename(dir, away))
	must(t, os.Mkdir(dir, 0o777))
	must(t, os.Mkdir(filepath.Join(dir, submitDir), 0o777))
	must(t, os.WriteFile(filepath.Join(dir, submitDir, "WRONG.MSG"), []byte(message("under the mount")), 0o666))
	eventually(t, "trouble", func() bool {
		_, err := d.Deliver(context.Background(), Outbound{Key: "k2", Write: content("x")})
		return err != nil
	})
	pause := time.NewTimer(100 * time.Millisecond) // several polls
	<-pause.C
	if got := s.got(); len(got) != 1 {
		t.Errorf("took %v from a folder that is no drop", got)
	}
	must(t, os.RemoveAll(dir))
	must(t, os.Rename(away, dir))
	put(t, dir, "B.MSG", message("two"))
	eventually(t, "two", func() bool { return slices.Equal(s.got(), []string{"one", "two"}) })
	again, err := d.Deliver(context.Background(), Outbound{Key: "k1", Write: content("x")})
	if err != nil || !again.Duplicate || again.File != first.File {
		t.Errorf("got %+v, %v", again, err)
	}

	must(t, os.Rename(dir, away)) // another share of the same post office takes its place
	must(t, Create(dir, po1))
	put(t, dir, "C.MSG", message("three"))
	eventually(t, "three", func() bool { return len(s.got()) == 3 })
	eventually(t, "a delivery there", func() bool {
		_, err := d.Deliver(context.Background(), Outbound{Key: "k3", Write: content("x")})
		return err == nil && len(files(t, dir, deliverDir)) == 1
	})
}

func TestManyDeliverersShareADropAndAKey(t *testing.T) {
	d, dir := newDrop(t, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	written, duplicates := 0, 0
	for i := range 40 {
		for range 4 { // the same key four times at once
			wg.Go(func() {
				got, err := d.Deliver(context.Background(), Outbound{Key: fmt.Sprint(i), Write: content(message(fmt.Sprint(i)))})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if got.Duplicate {
					duplicates++
				} else {
					written++
				}
			})
		}
	}
	wg.Wait()
	if written != 40 || duplicates != 120 || len(files(t, dir, deliverDir)) != 40 {
		t.Errorf("%d written, %d duplicates, %d files", written, duplicates, len(files(t, dir, deliverDir)))
	}
}

func TestWriteErrorsAreTheCallersAndLeaveNothing(t *testing.T) {
	d, dir := newDrop(t, nil)
	mine := mail.BadContent("cannot be written in MMFF", errors.New("no recipients"))
	_, err := d.Deliver(context.Background(), Outbound{Key: "k", Write: func(w io.Writer) error {
		if _, err := w.Write([]byte("half a mess")); err != nil {
			return err
		}
		return mine
	}})
	if !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	if left := files(t, dir, deliverDir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if _, err := d.Deliver(context.Background(), Outbound{Key: "a b", Write: content("x")}); mail.AsFailure(err).Final() || err == nil {
		t.Errorf("a key with a blank: %v", err)
	}
	got, err := d.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")})
	if err != nil || got.Duplicate {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRenameNeverReplaces(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "NORTHWIND.PO1")
	must(t, Create(dir, po1))
	tr, _, err := openDisk(dir)
	must(t, err)
	defer tr.Close()
	deliver := tr.Folder(deliverDir).(*diskFolder)
	for name, rename := range map[string]func(from, to string) error{
		"renameat2":   func(from, to string) error { return deliver.Rename(from, deliver, to) },
		"link-unlink": func(from, to string) error { return deliver.renameByLink(from, deliver, to) },
	} {
		must(t, os.WriteFile(filepath.Join(dir, deliverDir, "A.WRT"), []byte("new"), 0o666))
		must(t, os.WriteFile(filepath.Join(dir, deliverDir, "A.MSG"), []byte("old"), 0o666))
		if err := rename("A.WRT", "A.MSG"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := rename("NONE.WRT", "B.MSG"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
		must(t, rename("A.WRT", "B.MSG"))
		if got := files(t, dir, deliverDir); !slices.Equal(got, []string{"A.MSG", "B.MSG"}) {
			t.Errorf("%s: got %v", name, got)
		}
		must(t, os.Remove(filepath.Join(dir, deliverDir, "B.MSG")))
	}
}

func TestLockIsHeldByOneAndFreeWhenItsHolderIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "NORTHWIND.PO1")
	must(t, Create(dir, po1))
	open := func() *disk {
		tr, _, err := openDisk(dir)
		must(t, err)
		t.Cleanup(func() { must(t, tr.Close()) })
		return tr
	}
	a, b := open(), open()
	l, err := a.Lock("SUBMIT.0LK", "first\x1b[2J")
	must(t, err)
	_, err = b.Lock("SUBMIT.0LK", "second")
	var held *heldError
	if !errors.As(err, &held) || held.holder != "first?[2J" {
		t.Errorf("got %v", err)
	}
	other, err := b.Lock("DELIVER.0LK", "second")
	must(t, err)
	must(t, other.Close())
	must(t, l.Close())
	again, err := b.Lock("SUBMIT.0LK", "second") // the file is still there and names the first
	must(t, err)
	must(t, again.Close())
}

func TestStatusCountsWhatWaits(t *testing.T) {
	d, dir := newDrop(t, nil)
	_, err := d.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")})
	must(t, err)
	put(t, dir, "A.MSG", message("a"))
	must(t, os.WriteFile(filepath.Join(dir, submitDir, "B.WRT"), nil, 0o666))
	must(t, os.WriteFile(filepath.Join(dir, badmailDir, "C.MSG"), nil, 0o666))
	s, err := d.Check(context.Background())
	if err != nil || s.Submitted != 1 || s.Waiting != 1 || s.Quarantine != 1 || time.Since(s.Oldest) > time.Minute {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestFilesBesideTheMessageComeFromSubmitOnly(t *testing.T) {
	d, dir := newDrop(t, func(o *Options) { o.External = true })
	must(t, os.WriteFile(filepath.Join(dir, submitDir, "BODY.TXT"), []byte("the body\r\n"), 0o666))
	must(t, os.WriteFile(filepath.Join(dir, submitDir, "PIC.GIF"), []byte("GIF89a"), 0o666))
	got := make(chan string, 1)
	put(t, dir, "A.MSG", strings.Replace(message("ext"), "TEXT:", "XATTACH:PIC.GIF,my picture.gif\r\nXTEXT:BODY.TXT\r\nXXXX:", 1)[:strings.Index(message("ext"), "TEXT:")]+"XATTACH:PIC.GIF,my picture.gif\r\nXTEXT:BODY.TXT\r\n")
	serve(t, d, func(_ context.Context, in *Inbound) error {
		text := ""
		for _, c := range []mail.Content{in.Message.Text, in.Message.Attachments[0].Content} {
			r, err := c.Open()
			if err != nil {
				return err
			}
			b := make([]byte, c.Size())
			n, rerr := r.Read(b)
			if err := errors.Join(rerr, r.Close()); err != nil {
				return err
			}
			text += string(b[:n]) + "|"
		}
		got <- text + in.Message.Attachments[0].Name
		return nil
	})
	if s := <-got; s != "the body\r\n|GIF89a|my picture.gif" {
		t.Errorf("got %q", s)
	}
	eventually(t, "the message gone and its files left", func() bool { return slices.Equal(files(t, dir, submitDir), []string{"BODY.TXT", "PIC.GIF"}) })
}

func TestSystemAndSpecialMailIsMarked(t *testing.T) {
	d, dir := newDrop(t, nil)
	got := make(chan [2]bool, 3)
	for i, box := range []string{"$system", "*SPECIAL", "MKUMAR"} {
		put(t, dir, fmt.Sprintf("A%d.MSG", i), strings.Replace(message("x"), "MKUMAR", box, 1))
	}
	d.opt.Parallel = 1
	serve(t, d, func(_ context.Context, in *Inbound) error {
		got <- [2]bool{in.System, in.Special}
		if sum, err := in.SHA256(); err != nil || len(sum) != 64 {
			t.Errorf("hash %q, %v", sum, err)
		}
		return nil
	})
	for _, want := range [][2]bool{{true, false}, {false, true}, {false, false}} {
		if g := <-got; g != want {
			t.Errorf("got %v, want %v", g, want)
		}
	}
}

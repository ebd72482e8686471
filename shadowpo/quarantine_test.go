package shadowpo

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backbone/gateway/mail"
)

func TestQuarantinedMessageIsShownMendedAndReplayed(t *testing.T) {
	d, dir := newDrop(t, nil)
	var s sink
	put(t, dir, "MMFF7.MSG", message("good")+bad("to be mended")+message("also good"))
	serve(t, d, s.take)
	eventually(t, "two messages", func() bool { return len(s.got()) == 2 })
	ctx := context.Background()
	var list []Entry
	eventually(t, "an entry", func() bool {
		var err error
		list, err = d.Quarantine(ctx)
		return err == nil && len(list) == 1
	})
	e := list[0]
	if e.Name != "MMFF7" || e.File != "MMFF7.MSG" || e.From != "NORTHWIND/PO1/ASMITH" || e.Subject != "to be mended" ||
		e.Offset != int64(len("VERSION:3.00\r\n")) || e.Size != int64(len(bad("to be mended"))) || time.Since(e.At) > time.Minute ||
		!strings.HasPrefix(e.Reasons[0], "151-002-002 bad address") || !strings.HasSuffix(e.Key, "/2") || !strings.HasPrefix(e.Key, "NORTHWIND/PO1/") {
		t.Errorf("got %+v", e)
	}
	_, r, err := d.Quarantined(ctx, "mmff7")
	must(t, err)
	b, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	if string(b) != bad("to be mended") {
		t.Errorf("got %q", b)
	}
	mended := strings.Replace(string(b), "TO:PCM:", "TO:CSI:", 1)
	file, err := d.Replay(ctx, e.Name, strings.NewReader(mended))
	must(t, err)
	if len(file) != 12 || !strings.HasSuffix(file, ".MSG") {
		t.Errorf("replayed as %q", file)
	}
	eventually(t, "the mended message", func() bool { return slices.Contains(s.got(), "to be mended") })
	if left := files(t, dir, badmailDir); len(left) != 0 {
		t.Errorf("badmail has %v", left)
	}
	for _, name := range []string{"MMFF7", "", "..", "../submit/X", "A.MSG", "nosuch", "A\x00B"} {
		if _, _, err := d.Quarantined(ctx, name); !errors.Is(err, ErrNoEntry) {
			t.Errorf("read %q: %v", name, err)
		}
		if _, err := d.Replay(ctx, name, nil); !errors.Is(err, ErrNoEntry) {
			t.Errorf("replay %q: %v", name, err)
		}
		if err := d.Discard(ctx, name); !errors.Is(err, ErrNoEntry) {
			t.Errorf("discard %q: %v", name, err)
		}
	}
}

func TestEntriesOfOneNameAreKeptApart(t *testing.T) {
	d, dir := newDrop(t, nil)
	var s sink
	serve(t, d, s.take)
	for n := 1; n <= 3; n++ {
		put(t, dir, "MMFF1.MSG", bad("x")+bad("y"))
		eventually(t, "both put aside and the name free", func() bool {
			list, err := d.Quarantine(context.Background())
			return err == nil && len(list) == 2*n && len(files(t, dir, submitDir)) == 0
		})
	}
	if got, want := files(t, dir, badmailDir), []string{"MMFF1.ERR", "MMFF1.MSG", "MMFF1001.ERR", "MMFF1001.MSG", "MMFF1002.ERR", "MMFF1002.MSG",
		"MMFF1003.ERR", "MMFF1003.MSG", "MMFF1004.ERR", "MMFF1004.MSG", "MMFF1005.ERR", "MMFF1005.MSG"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestFinallyRefusedMessageKeepsItsSideFileInBadmailAndOnReplay(t *testing.T) {
	d, dir := newDrop(t, nil)
	refuse := true
	sides := make(chan string, 10)
	put(t, dir, "ONE.X", sideFile("ID7"))
	put(t, dir, "ONE.MSG", message("one"))
	stop := serve(t, d, func(_ context.Context, in *Inbound) error {
		if refuse {
			return mail.TooLarge("message is larger than 1 octet")
		}
		sides <- in.Side.Get(SideID)
		return nil
	})
	eventually(t, "an entry", func() bool {
		list, err := d.Quarantine(context.Background())
		return err == nil && len(list) == 1 && strings.HasPrefix(list[0].Reasons[0], "201-001-000 552 5.3.4 message is larger")
	})
	stop()
	if got := files(t, dir, badmailDir); !slices.Equal(got, []string{"ONE.ERR", "ONE.MSG", "ONE.X"}) {
		t.Fatalf("badmail has %v", got)
	}
	refuse = false
	_, err := d.Replay(context.Background(), "ONE", nil)
	must(t, err)
	serve(t, d, func(_ context.Context, in *Inbound) error {
		sides <- in.Side.Get(SideID)
		return nil
	})
	if got := <-sides; got != "ID7" {
		t.Errorf("side data after the replay: %q", got)
	}
	if got := files(t, dir, badmailDir); len(got) != 0 {
		t.Errorf("badmail has %v", got)
	}
}

func TestFileThatIsWrittenWhileItIsTakenIsKept(t *testing.T) {
	d, dir := newDrop(t, nil)
	var s sink
	path := filepath.Join(dir, submitDir, "OPEN.MSG")
	s.err = func(*Inbound) error {
		h, err := os.OpenFile(filepath.Join(dir, submitDir, "OPEN.BSY"), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = h.WriteString(message("appended late"))
			err = errors.Join(err, h.Close())
		}
		return err
	}
	must(t, os.WriteFile(path, []byte(message("first")), 0o666))
	serve(t, d, s.take)
	eventually(t, "an entry", func() bool {
		list, err := d.Quarantine(context.Background())
		return err == nil && len(list) == 1 && strings.Contains(list[0].Reasons[0], "was changed while its messages were taken")
	})
	b, err := os.ReadFile(filepath.Join(dir, badmailDir, "OPEN.MSG"))
	must(t, err)
	if got := s.got(); !slices.Equal(got, []string{"first"}) || string(b) != message("first")+message("appended late") {
		t.Errorf("took %v, kept %q", got, b)
	}
}

func TestForeignFileInBadmailIsListed(t *testing.T) {
	d, dir := newDrop(t, nil)
	must(t, os.WriteFile(filepath.Join(dir, badmailDir, "BYHAND.MSG"), []byte(message("x")), 0o666))
	list, err := d.Quarantine(context.Background())
	if err != nil || len(list) != 1 || list[0].Name != "BYHAND" || !strings.HasPrefix(list[0].Reasons[0], "reason unknown") {
		t.Fatalf("got %+v, %v", list, err)
	}
	_, err = d.Replay(context.Background(), "BYHAND", nil)
	must(t, err)
}

func TestReasonFileSaysWhatTheEntryDid(t *testing.T) {
	e := Entry{File: "A.MSG", At: time.Unix(1e9, 0).UTC(), Reasons: []string{"141-001-004 no (octet 9)", "142-001-005 no (octet 19)"},
		Offset: 9, Key: "N/P/T/1", From: "A/B/C", Subject: "hello ; world", Odd: ""}
	got := parseReason(e.reasonFile())
	if len(got.Reasons) != 2 || got.Reasons[1] != e.Reasons[1] || got.File != e.File || !got.At.Equal(e.At) || got.Offset != 9 || got.Key != e.Key || got.Subject != e.Subject {
		t.Errorf("got %+v", got)
	}
	if !strings.HasPrefix(e.reasonFile(), "141-001-004 no (octet 9)\r\n142-001-005") {
		t.Errorf("got %q", e.reasonFile())
	}
}

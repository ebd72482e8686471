package shadowpo

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTextLogsHaveTheirOldLayout(t *testing.T) {
	d, dir := newDrop(t, func(o *Options) { o.TextLogs = true })
	var s sink
	put(t, dir, "MMFF1.MSG", message("one"))
	put(t, dir, "MMFF2.MSG", bad("two"))
	stop := serve(t, d, s.take)
	eventually(t, "all done", func() bool { return len(s.got()) == 1 && len(files(t, dir, badmailDir)) == 2 })
	stop()
	_, err := d.Deliver(context.Background(), Outbound{Key: "k", Write: content("12345"), From: "NET/PO2/A", To: []string{"NET/PO1/A", "NET/PO1/B"}, ID: "0000008A"})
	must(t, err)
	must(t, d.Close())
	for name, want := range map[string]string{
		"RECV.LOG":   `^DATE     RECEIVED   SIZE  FROM TO\r\n\d\d/\d\d/\d\d \d\d:\d\d  \d+  NORTHWIND/PO1/ASMITH NORTHWIND/PO2/MKUMAR\r\n\* MMFF1\.MSG\r\n$`,
		"SENT.LOG":   `^DATE     SENT       SIZE  SENDER TO\r\n\d\d/\d\d/\d\d \d\d:\d\d  5  NET/PO2/A NET/PO1/A NET/PO1/B\r\n0000008A [0-9A-Z]{8}\.MSG\r\n$`,
		"SYSTEM.LOG": `^-{78}\r\nSystem log entry on: \d\d-\d\d-\d\d \d\d:\d\d\r\nBackbone drop NORTHWIND/PO1\r\nMessage data:\r\nFrom: NORTHWIND/PO1/ASMITH\r\nSubject: two\r\nFile: MMFF2\.MSG, kept as BADMAIL/MMFF2\.MSG\r\n\[029\] 151-001-002 .*\r\n$`,
	} {
		b, err := os.ReadFile(filepath.Join(dir, logDir, name))
		must(t, err)
		if !regexp.MustCompile(want).Match(b) {
			t.Errorf("%s:\n%s", name, b)
		}
	}
}

func TestTextLogsAreBoundedAndNeverInTheWay(t *testing.T) {
	d, dir := newDrop(t, func(o *Options) { o.TextLogs = true })
	path := filepath.Join(dir, logDir, "SENT.LOG")
	must(t, os.WriteFile(path, []byte(strings.Repeat("x", maxLog+1)), 0o666))
	must(t, os.Mkdir(filepath.Join(dir, logDir, "RECV.LOG"), 0o777)) // cannot be written
	var s sink
	put(t, dir, "A.MSG", message("one"))
	stop := serve(t, d, s.take)
	eventually(t, "taken", func() bool { return len(s.got()) == 1 })
	stop()
	_, err := d.Deliver(context.Background(), Outbound{Key: "k", Write: content("12345")})
	must(t, err)
	must(t, d.Close())
	if i, err := os.Stat(filepath.Join(dir, logDir, "SENT.OLD")); err != nil || i.Size() <= maxLog {
		t.Errorf("not moved away: %v", err)
	}
}

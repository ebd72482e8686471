package control

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheAuditLogShowsWhatHappenedToItself: a change whose end is not known, a line torn by a crash, a line that somebody
// has damaged.
func TestTheAuditLogShowsWhatHappenedToItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	open := func() *Audit {
		t.Helper()
		a, err := OpenAudit(path)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := open()
	var journal bytes.Buffer
	s := &Service{Audit: a, Log: slog.New(slog.NewTextHandler(&journal, nil))}
	if _, err := s.audited(t.Context(), Record{By: "kim", Verb: "queue hold", Reason: "why"}, func() (Changed, error) { return Changed{Changed: 3}, nil }); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("no such entry")
	if _, err := s.audited(Via(t.Context(), "dashboard"), Record{By: "lee", Verb: "resume"}, func() (Changed, error) { return Changed{Changed: 1}, boom }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if err := a.Append(Record{By: "kim", Verb: "queue delete", Op: "X", Begun: true}); err != nil { // and then the daemon was killed
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time":"2026-`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a = open()
	defer a.Close()
	if err := a.Append(Record{By: "kim", Verb: "after the crash"}); err != nil {
		t.Fatal(err)
	}
	rs, more, err := a.Latest(0)
	if err != nil || more || len(rs) != 5 {
		t.Fatalf("%d records, more %v, %v: %+v", len(rs), more, err, rs)
	}
	if rs[0].Verb != "after the crash" || !strings.Contains(rs[1].Error, "unreadable line") || !rs[2].Begun || rs[2].Verb != "queue delete" {
		t.Errorf("the newest: %+v", rs[:3])
	}
	if r := rs[3]; r.By != "lee" || r.Via != "dashboard" || r.Error != "no such entry" || r.Changed != 0 {
		t.Errorf("the change that failed: %+v", r)
	}
	if r := rs[4]; r.Begun || r.Changed != 3 || r.Via != "socket" || r.Reason != "why" {
		t.Errorf("the change that was made: %+v", r)
	}
	if rs, more, err := a.Latest(2); err != nil || !more || len(rs) != 2 {
		t.Errorf("the latest two: %d, more %v, %v", len(rs), more, err)
	}
	// The journal has a second copy of each change, under the same number.
	for _, r := range rs[3:] {
		if !strings.Contains(journal.String(), "by="+r.By) || !strings.Contains(journal.String(), "op="+r.Op) {
			t.Errorf("%+v is not in the daemon's log:\n%s", r, journal.String())
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}

// TestTheAuditLogIsOnlyAppendedTo: whatever is done with it, what stood there stands there still.
func TestTheAuditLogIsOnlyAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	before := []byte("{\"by\":\"kim\",\"verb\":\"queue delete\"}\nsomebody wrote this\n{\"torn")
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		a, err := OpenAudit(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.Latest(1); err != nil {
			t.Error(err)
		}
		if err := errors.Join(a.Append(Record{By: "lee"}), a.Close()); err != nil {
			t.Fatal(err)
		}
		now, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(now, before) || len(now) <= len(before) {
			t.Errorf("%q is no longer at the beginning of %q", before, now)
		}
		before = now
	}
	// Two that write at once (a daemon, and --offline) do not write over each other.
	a, err := OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Append(Record{By: "one"}), b.Append(Record{By: "two"}), a.Append(Record{By: "three"}), b.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(now, before) || bytes.Count(now, []byte("\n")) != bytes.Count(before, []byte("\n"))+3 {
		t.Errorf("%v: %q", err, now)
	}
}

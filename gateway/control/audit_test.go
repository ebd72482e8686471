package control

import (
	"errors"
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
	s := &Service{Audit: a}
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
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}

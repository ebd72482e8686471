package tracking

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/mail"
)

func TestSearch(t *testing.T) {
	l := open(t, Options{Subjects: true})
	at := time.Date(2025, 3, 4, 12, 0, 0, 0, time.UTC)
	if now := time.Now(); now.Year() > 2024 {
		at = now.UTC().Truncate(time.Second)
	}
	put(t, l,
		Event{Time: at, Type: Received, ID: "1", Originator: "MS:NORTHWIND/PO1/MKUMAR", Recipients: []string{"SMTP:ann@example.com", "SMTP:bob@example.org"}, Subject: "Budget 2025", Connector: "po1"},
		Event{Time: at.Add(time.Second), Type: Deferred, ID: "1", Originator: "MS:NORTHWIND/PO1/MKUMAR", Recipients: []string{"SMTP:ann@example.com"}, Class: mail.Transient, Connector: "smtp"},
		Event{Time: at.Add(2 * time.Second), Type: Received, ID: "2", Recipients: []string{"MS:NORTHWIND/PO1/MKUMAR"}, Subject: "Undeliverable: Budget", Connector: "smtp"},
		Event{Time: at.Add(3 * time.Second), Type: Received, ID: "3", Originator: "SMTP:Åsa@example.com", Recipients: []string{"MS:NORTHWIND/PO2/\x1b"}, Subject: "<b> & \"x\"", Connector: "smtp"},
	)
	for _, tt := range []struct {
		name string
		f    Filter
		want string
	}{
		{"nothing set finds all", Filter{}, "1 1 2 3"},
		{"sender without type", Filter{Sender: "northwind/po1/mkumar"}, "1 1"},
		{"sender with type and wildcard", Filter{Sender: "MS:NORTHWIND/*"}, "1 1"},
		{"the null sender", Filter{Sender: "<>"}, "2"},
		{"a sender outside ASCII", Filter{Sender: "åsa@example.com"}, "3"},
		{"any of the recipients", Filter{Recipient: "*@example.org"}, "1"},
		{"part of a subject", Filter{Subject: "budget"}, "1 2"},
		{"a subject that JSON escapes", Filter{Subject: `<b> & "X"`}, "3"},
		{"type", Filter{Types: []Type{Deferred, Delivered}}, "1"},
		{"class", Filter{Class: mail.Transient}, "1"},
		{"connector", Filter{Connector: "SMTP"}, "1 2 3"},
		{"from is inclusive, to is not", Filter{From: at.Add(time.Second), To: at.Add(3 * time.Second)}, "1 2"},
		{"fields are ANDed", Filter{Sender: "*mkumar", Types: []Type{Received}}, "1"},
		{"an id", Filter{ID: "<2>"}, "2"},
		{"nobody", Filter{Sender: "nobody"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			es, _, err := l.Search(context.Background(), tt.f, "", 100)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, e := range es {
				ids = append(ids, e.ID)
			}
			if got := strings.Join(ids, " "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSearchPages(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 25 {
			put(t, l, Event{Type: Queued, ID: fmt.Sprintf("M%d", i)}, Event{Type: Delivered, ID: fmt.Sprintf("M%d", i)})
			<-time.After(5 * time.Hour)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	l := openAt(t, dir, Options{})
	var got []string
	pages := 0
	for cur := Cursor(""); ; pages++ {
		es, next, err := l.Search(context.Background(), Filter{Types: []Type{Delivered}}, cur, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			got = append(got, e.ID)
		}
		if cur = next; cur == "" {
			break
		}
	}
	if len(got) != 25 || got[0] != "M0" || got[24] != "M24" || pages != 2 {
		t.Errorf("%d events in %d pages: %v", len(got), pages+1, got)
	}
	for _, bad := range []Cursor{"x", "20000101:1", "20000101:-1", "20000101:99999", "20000101"} {
		if _, _, err := l.Search(context.Background(), Filter{}, bad, 1); !errors.Is(err, ErrCursor) {
			t.Errorf("cursor %q: %v, want ErrCursor", bad, err)
		}
	}
}

func TestSearchEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 5000)
	l := openAt(t, dir, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := l.Search(ctx, Filter{Sender: "nobody at all"}, "", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestFollowMissesAndRepeatsNothingAcrossRestartsAndDays(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		var cursor Cursor
		for round := range 3 {
			l, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				for e, err := range l.Follow(context.Background(), cursor) {
					if err != nil {
						done <- err
						return
					}
					got, cursor = append(got, e.ID), e.Cursor
					if round == 1 && len(got) == 30 {
						break // a reader that leaves early comes back for the rest
					}
				}
				done <- nil
			}()
			for i := range 20 {
				put(t, l, Event{Type: Queued, ID: fmt.Sprintf("M%d-%d", round, i)})
				<-time.After(3 * time.Hour)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		var want []string
		for round := range 3 {
			for i := range 20 {
				want = append(want, fmt.Sprintf("M%d-%d", round, i))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestFollowEndsWithItsContextAndStartsAtTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{})
		put(t, l, Event{Type: Queued, ID: "before"})
		ctx, cancel := context.WithCancel(context.Background())
		var got []string
		done := make(chan struct{})
		tail := l.Tail()
		go func() {
			defer close(done)
			for e, err := range l.Follow(ctx, tail) {
				if err != nil {
					t.Error(err)
				}
				got = append(got, e.ID)
			}
		}()
		synctest.Wait()
		put(t, l, Event{Type: Queued, ID: "after"})
		synctest.Wait()
		cancel()
		<-done
		if !cmp.Equal(got, []string{"after"}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestFollowGoesOnWithTheOldestWhenItsFileIsGone(t *testing.T) {
	dir := t.TempDir()
	for _, s := range []string{"20250301", "20250302"} {
		if err := os.WriteFile(filepath.Join(dir, s+".log"), []byte(`{"time":"2025-03-01T00:00:00Z","type":"queued","id":"`+s+`"}`+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := openAt(t, dir, Options{})
	for e, err := range l.Follow(context.Background(), "20250101:100") {
		if err != nil || e.ID != "20250301" {
			t.Errorf("first event %q, %v", e.ID, err)
		}
		break
	}
}

func TestExchangeFormat(t *testing.T) {
	l := open(t, Options{})
	at := time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)
	put(t, l,
		Event{Time: at, Type: Received, ID: "SITEA-1", MessageID: "m@x", Connector: "po1", Peer: "NORTHWIND/PO1", Originator: "MS:NORTHWIND/PO1/A", Priority: mail.Urgent, Size: 100, Recipients: []string{"SMTP:u@example.com", "SMTP:v@example.com"}},
		Event{Time: at, Type: Queued, ID: "SITEA-1", Connector: "imc", Dest: "imc:mx.example.com", Recipients: []string{"SMTP:u@example.com"}},
		Event{Time: at, Type: Attempt, ID: "SITEA-1"},
		Event{Time: at, Type: Delivered, ID: "SITEA-1", Connector: "imc", Dest: "imc:mx.example.com", Recipients: []string{"SMTP:u@example.com"}},
		Event{Time: at, Type: Report, ID: "SITEA-1", About: "SITEA-2", Connector: "po1", Recipients: []string{"MS:NORTHWIND/PO1/A"}},
		Event{Time: at, Type: Delivered, ID: "SITEA-2", About: "SITEA-1", Kind: mail.KindReport, Connector: "po1", Dest: "po1:NORTHWIND/PO1", Recipients: []string{"MS:NORTHWIND/PO1/A"}},
		Event{Time: at, Type: Received, ID: "X\t1\r\n\x1b", Connector: "toB"},
	)
	kinds := map[string]string{"po1": "msmail", "imc": "smtp", "toB": "site"}
	var b strings.Builder
	if err := l.WriteExchange(context.Background(), &b, Filter{}, func(c string) string { return kinds[c] }); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"SITEA-1\t1004\t2025.03.04 05:06:07\tpo1\tNORTHWIND/PO1\tm@x\tMS:NORTHWIND/PO1/A\t1\t100\t0\t1\t\t2", "SMTP:u@example.com\t", "SMTP:v@example.com\t",
		"SITEA-1\t1010\t2025.03.04 05:06:07\timc\tmx.example.com\t\t\t0\t0\t0\t1\t\t1", "SMTP:u@example.com\t",
		"SITEA-1\t1011\t2025.03.04 05:06:07\timc\tmx.example.com\t\t\t0\t0\t0\t1\t\t1", "SMTP:u@example.com\t",
		"SITEA-1\t1007\t2025.03.04 05:06:07\tpo1\t\t\t\t0\t0\t0\t1\tSITEA-2\t1", "MS:NORTHWIND/PO1/A\t0",
		"SITEA-2\t1006\t2025.03.04 05:06:07\tpo1\tNORTHWIND/PO1\t\t\t0\t0\t0\t1\tSITEA-1\t1", "MS:NORTHWIND/PO1/A\t0",
		`X 1  \x1b` + "\t1001\t2025.03.04 05:06:07\ttoB\t\t\t\t0\t0\t0\t1\t\t0", "",
	}, "\r\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPrintingStripsWhatATerminalWouldObey(t *testing.T) {
	for in, want := range map[string]string{
		"plain Ünïcode ✓": "plain Ünïcode ✓", "\x1b]0;owned\a": `\x1b]0;owned\a`, "a\nb\tc": `a\nb\tc`, "\u202eexe.txt": `\u202eexe.txt`,
		"bad \xff byte": `bad \xff byte`, "\u009b31m": `\u009b31m`, "real \uFFFD": "real \uFFFD",
	} {
		if got := Plain(in); got != want {
			t.Errorf("Plain(%q) = %q, want %q", in, got, want)
		}
	}
	e := Event{Type: "x\x1b", ID: "i\x1b", Peer: "p\x1b", Text: "t\x1b", Recipients: []string{"r\x1b"}, Source: "s\x1b", Subject: "s\x1b", Notes: []mail.Note{{Field: "f\x1b", Detail: "d\x1b"}}, Route: []Candidate{{Lost: "l\x1b"}}}
	printed := e.String()
	if strings.Contains(printed, "\x1b") {
		t.Errorf("escape in %q", printed)
	}
	for _, part := range []string{"p", "t", "r", "s", "f", "d", "l"} {
		if !strings.Contains(printed, part+`\x1b`) {
			t.Errorf("%s is missing in\n%s", part, printed)
		}
	}
}

func FuzzReadingForeignLines(f *testing.F) {
	f.Add([]byte(`{"time":"2025-03-01T00:00:00Z","type":"queued","id":"M1"}` + "\n"))
	f.Add([]byte("\n\n{}\nnull\n[1]\n{\"time\":3}\n"))
	f.Add([]byte(`{"id":"M1","recipients":"x"}` + "\n" + `{"id":"M1","source":"a/b#c"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "20250301.log"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		l := openAt(t, dir, Options{})
		trace(t, l, "M1")
		es, _, err := l.Search(context.Background(), Filter{}, "", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			if s := e.String(); s != "" && strings.ContainsAny(s, "\x1b\r\x00") {
				t.Fatalf("printed %q", s)
			}
		}
		put(t, l, Event{Type: Queued, ID: "M-fresh"})
		if n := len(trace(t, l, "M-fresh")); n != 1 {
			t.Fatalf("%d events, want the fresh one", n)
		}
	})
}

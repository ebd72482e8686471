package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/bench/mta"
	"backbone/bench/report"
)

func TestMain(m *testing.M) {
	mta.Hold()
	os.Exit(m.Run())
}

// TestASmallRun measures a few messages of nearly every kind and looks whether each row has something to say. It is what
// keeps the program from rotting; the figures mean nothing.
func TestASmallRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	docs := t.TempDir()
	page := filepath.Join(docs, "performance.md")
	if err := os.WriteFile(page, []byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	err := run(ctx, []string{"-rounds", "1", "-scale", "0.01", "-rows", "1m,sync,outage,idle,drop,list", "-docs", docs}, &out, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	f, err := os.Open(filepath.Join(docs, "performance.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := report.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]report.Row{}
	for _, r := range table.Rows {
		rows[r.ID] = r
		if len(r.Rounds) != 1 || r.Median() <= 0 {
			t.Errorf("row %s has no figure: %v", r.ID, r.Rounds)
		}
	}
	for _, id := range []string{"1m", "1m-cpu", "1m-memory", "sync-10", "sync-1", "intake", "drain", "idle", "drop", "list-page", "list-json"} {
		if _, ok := rows[id]; !ok {
			t.Errorf("row %s is missing", id)
		}
	}
	// One message at a time is never answered before a sync, and costs little more than one.
	if n := rows["sync-1"].Median(); n < 1 || n > 4 {
		t.Errorf("%.2f sync calls a message over one session", n)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); !strings.HasPrefix(s, "before\n") || !strings.HasSuffix(s, "after\n") || strings.Contains(s, "old") || !strings.Contains(s, "| 1 MB, 10 sessions: rate |") {
		t.Errorf("the page is now:\n%s", s)
	}
	if svg, err := os.ReadFile(filepath.Join(docs, "img", "performance.svg")); err != nil || !bytes.HasPrefix(svg, []byte("<svg ")) {
		t.Errorf("chart: %v", err)
	}
}

func TestWhatCannotBeMeasuredIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a group of rows that there is not": {[]string{"-rows", "4k,nothing"}, `no group is named "nothing"`},
		"words that mean nothing":           {[]string{"fast"}, "what is"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, log bytes.Buffer
			err := run(context.Background(), c.args, &out, &log)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

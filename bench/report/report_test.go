package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func sample() *Table {
	return &Table{Command: "go run ./bench/relay", Machine: "2 processors", Rows: []Row{
		{ID: "4k-10", Work: "4 KB, 10 sessions: rate", Against: "postfix", Wanted: 5, Rounds: []float64{4, 6, 5.5}},
		{ID: "4k-10-cpu", Work: "CPU a message", Against: "postfix", Wanted: 0.15, Less: true, Rounds: []float64{0.2, 0.1}},
		{ID: "drop", Work: "drop <to> drop", Against: "bound", Wanted: 1, Rounds: []float64{0.05}},
		{ID: "sync", Work: "sync calls", Against: "1", Rounds: []float64{1}},
	}}
}

func TestMedianMinAndMax(t *testing.T) {
	for name, c := range map[string]struct {
		rounds           []float64
		median, low, top float64
	}{
		"an odd number of rounds":  {[]float64{3, 1, 2}, 2, 1, 3},
		"an even number of rounds": {[]float64{4, 1, 2, 3}, 2.5, 1, 4},
		"none":                     {nil, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := Row{Rounds: c.rounds}
			if r.Median() != c.median || r.Min() != c.low || r.Max() != c.top {
				t.Errorf("%v %v %v", r.Median(), r.Min(), r.Max())
			}
		})
	}
}

func TestReachedGoesByTheMedian(t *testing.T) {
	for name, c := range map[string]struct {
		row  Row
		want bool
	}{
		"more is better, and it is more":  {Row{Wanted: 5, Rounds: []float64{1, 5, 9}}, true},
		"more is better, and it is less":  {Row{Wanted: 5, Rounds: []float64{1, 4.9, 9}}, false},
		"less is better, and it is less":  {Row{Wanted: 0.15, Less: true, Rounds: []float64{0.15}}, true},
		"less is better, and it is more":  {Row{Wanted: 0.15, Less: true, Rounds: []float64{0.16}}, false},
		"nothing was wanted":              {Row{Rounds: []float64{0}}, true},
		"something was wanted, not tried": {Row{Wanted: 5}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.row.Reached(); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestOutputs(t *testing.T) {
	for name, write := range map[string]func(*Table, io.Writer) error{
		"table.txt": (*Table).Text, "table.md": (*Table).Markdown, "table.json": (*Table).JSON, "chart.svg": (*Table).Chart,
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(sample(), &b); err != nil {
				t.Fatal(err)
			}
			p := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(p, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChartIsWellFormed(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Chart(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(&b)
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestJSONIsReadBackAndALaterRunReplacesItsRowsOnly(t *testing.T) {
	var b strings.Builder
	if err := sample().JSON(&b); err != nil {
		t.Fatal(err)
	}
	old, err := Read(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), old); diff != "" {
		t.Fatal(diff)
	}
	old.Merge(&Table{Command: "later", Rows: []Row{
		{ID: "drop", Against: "bound", Rounds: []float64{2}}, {ID: "4k-10", Against: "exim", Rounds: []float64{9}},
	}})
	want := sample()
	want.Command, want.Machine = "later", ""
	want.Rows[2] = Row{ID: "drop", Against: "bound", Rounds: []float64{2}}
	want.Rows = append(want.Rows, Row{ID: "4k-10", Against: "exim", Rounds: []float64{9}})
	if diff := cmp.Diff(want, old); diff != "" {
		t.Error(diff)
	}
}

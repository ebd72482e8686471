// Package report turns measurements into what people read: a table as text, Markdown and JSON, and a chart. It knows nothing
// of how they were made.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Row is one line of the table: a figure of this gateway as a multiple of something measured beside it, or of a bound.
type Row struct {
	ID   string `json:"id"`
	Work string `json:"work"`
	// Against is what the figure is divided by: a peer's name, "bound" for a number of ours, "limit" for what the machine
	// could do.
	Against string `json:"against"`
	// Wanted is the ratio to reach, 0 for none. Less tells that smaller is better.
	Wanted float64 `json:"wanted,omitempty"`
	Less   bool    `json:"less,omitempty"`
	// Rounds are the ratios, one from each round.
	Rounds []float64 `json:"rounds"`
	Note   string    `json:"note,omitempty"`
}

// Median, Min and Max of the rounds; 0 without any.
func (r Row) Median() float64 {
	if len(r.Rounds) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(r.Rounds))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func (r Row) Min() float64 {
	if len(r.Rounds) == 0 {
		return 0
	}
	return slices.Min(r.Rounds)
}

func (r Row) Max() float64 {
	if len(r.Rounds) == 0 {
		return 0
	}
	return slices.Max(r.Rounds)
}

// Reached tells whether the median is as good as wanted. A row without a wish has reached it.
func (r Row) Reached() bool {
	switch {
	case r.Wanted == 0:
		return true
	case r.Less:
		return r.Median() <= r.Wanted
	}
	return r.Median() >= r.Wanted
}

func (r Row) wish() string {
	switch {
	case r.Wanted == 0:
		return "-"
	case r.Less:
		return "at most " + number(r.Wanted)
	}
	return "at least " + number(r.Wanted)
}

func (r Row) verdict() string {
	switch {
	case r.Wanted == 0:
		return "-"
	case r.Reached():
		return "yes"
	}
	return "no"
}

func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0.1:
		return fmt.Sprintf("%.3f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// Table is a run's result.
type Table struct {
	Command string `json:"command"`
	Machine string `json:"machine"` // processors and operating system, nothing that names it
	Rows    []Row  `json:"rows"`
}

// Text writes it for a terminal.
func (t *Table) Text(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "WORK\tAGAINST\tMEDIAN\tMIN\tMAX\tROUNDS\tWANTED\tREACHED")
	for _, r := range t.Rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", r.Work, r.Against, number(r.Median()), number(r.Min()), number(r.Max()), len(r.Rounds), r.wish(), r.verdict())
	}
	return tw.Flush()
}

// Markdown writes it for docs/performance.md.
func (t *Table) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| work | against | median | min | max | wanted | reached |\n|---|---|---|---|---|---|---|\n")
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.Work, r.Against, number(r.Median()), number(r.Min()), number(r.Max()), r.wish(), r.verdict())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON writes it for programs: Read reads it back.
func (t *Table) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(t)
}

// Read reads what JSON wrote.
func Read(r io.Reader) (*Table, error) {
	var t Table
	return &t, json.NewDecoder(r).Decode(&t)
}

// Merge takes over the rows of a later run: they replace those of the same ID and Against, in their place.
func (t *Table) Merge(later *Table) {
	for _, r := range later.Rows {
		i := slices.IndexFunc(t.Rows, func(o Row) bool { return o.ID == r.ID && o.Against == r.Against })
		if i < 0 {
			t.Rows = append(t.Rows, r)
		} else {
			t.Rows[i] = r
		}
	}
	t.Machine, t.Command = later.Machine, later.Command
}

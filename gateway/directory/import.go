package directory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ImportOptions say how a file is read and what it may do.
type ImportOptions struct {
	Format
	// DryRun checks the file against the directory and changes nothing.
	DryRun bool
	// AllOrNothing takes no line when one has an error.
	AllOrNothing bool
	// DeleteGuard refuses a file that would delete more than this percent of the site's entries. 0: no guard.
	DeleteGuard int
	// Results, when set, gets a line for each result: line,column,status,code,object,message, with a header.
	Results io.Writer
}

// Status of one line.
type Status string

const (
	Created   Status = "created"
	Modified  Status = "modified"
	Deleted   Status = "deleted"
	Unchanged Status = "unchanged"
	Skipped   Status = "skipped" // an object class that has no place here: mailbox, distribution list
	Warning   Status = "warning"
	Failed    Status = "error"
)

// Result is what became of a line, or a warning about it.
type Result struct {
	Line    int    `json:"line"`
	Column  int    `json:"column,omitempty"`
	Status  Status `json:"status"`
	Event   int    `json:"event,omitempty"` // Exchange's number
	Object  string `json:"object,omitempty"`
	Message string `json:"message,omitempty"`
}

// Summary counts an import.
type Summary struct {
	Lines     int `json:"lines"` // of data
	Created   int `json:"created"`
	Modified  int `json:"modified"`
	Deleted   int `json:"deleted"`
	Unchanged int `json:"unchanged"`
	Skipped   int `json:"skipped"`
	Warnings  int `json:"warnings"`
	Errors    int `json:"errors"`
	// Applied is false when nothing was written: a dry run, a refused file.
	Applied bool `json:"applied"`
	// Problems are the first errors and warnings; Results has all.
	Problems []Result `json:"problems,omitempty"`
}

// maxProblems is how many problems a Summary holds.
const maxProblems = 50

// Import reads a file in Exchange's directory import format (KB Q146304). Each line is taken or refused by itself, in
// order, as the entries before it have left the directory; what is taken becomes durable and visible together, in one
// transaction. The error, an *ImportError, speaks of the file as a whole; what is wrong with lines is in the Summary.
func (d *Directory) Import(ctx context.Context, r io.Reader, o ImportOptions) (Summary, error) {
	if d.shared != nil { // others must not wait for a slow reader
		file, err := io.ReadAll(r)
		if err != nil {
			return Summary{}, &ImportError{Event: EventRead, Text: err.Error()}
		}
		r = bytes.NewReader(file)
	}
	if err := d.begin(ctx); err != nil {
		return Summary{}, err
	}
	defer d.end()
	im := &importer{d: d, o: o, b: d.newBatch()}
	if o.Results != nil {
		im.results = bufio.NewWriter(o.Results)
		im.report([]string{"line", "column", "status", "code", "object", "message"})
	}
	err := im.read(ctx, r)
	if err == nil {
		err = im.permitted()
	}
	if err == nil && !o.DryRun {
		if err = im.b.commit(); err == nil {
			im.sum.Applied = true
		}
	}
	if im.results != nil {
		if ferr := im.results.Flush(); ferr != nil && im.resultsErr == nil {
			im.resultsErr = ferr
		}
	}
	if im.resultsErr != nil {
		err = errors.Join(err, fmt.Errorf("directory import: result file: %w", im.resultsErr))
	}
	return im.sum, err
}

// importer is one run.
type importer struct {
	d          *Directory
	o          ImportOptions
	b          *batch
	sum        Summary
	columns    []column
	hasTarget  bool
	results    *bufio.Writer
	resultsErr error
}

// read goes through the file.
func (im *importer) read(ctx context.Context, r io.Reader) error {
	text, err := im.o.decoder(r)
	if err != nil {
		return &ImportError{Text: err.Error()}
	}
	br := bufio.NewReader(text)
	if im.o.Column == 0 {
		im.o.Column = sniff(br)
	}
	im.o.Format = im.o.defaults()
	c := newCSVReader(br, im.o.Format)
	if err := im.header(c); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return fmt.Errorf("directory import: %w", ctx.Err())
		}
		rec, err := c.next()
		var q *quoteError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &q):
			im.fail(rec, "", problem{event: EventQuotes, at: q.at, text: q.text})
			continue
		case errors.Is(err, errLong):
			im.fail(rec, "", problem{event: EventRead, text: err.Error()})
			continue
		case err != nil:
			return &ImportError{Line: c.line, Event: EventRead, Text: err.Error()}
		}
		if len(rec.fields) == 1 && rec.fields[0].text == "" {
			continue // a blank line
		}
		im.line(rec)
	}
}

// sniff finds the separator: what stands behind the first header.
func sniff(br *bufio.Reader) byte {
	const first = "Obj-Class"
	head, err := br.Peek(len(first) + 4)
	if err != nil && len(head) <= len(first) {
		return 0
	}
	at := len(first)
	for at < len(head) && (head[at] == '"' || head[at] == ' ') {
		at++
	}
	if head[0] == '"' && at < len(head) && head[at] == '"' {
		at++
	}
	if at < len(head) && (head[at] == ',' || head[at] == ';' || head[at] == '\t' || head[at] == '|') {
		return head[at]
	}
	return 0
}

func (im *importer) header(c *csvReader) error {
	rec, err := c.next()
	var q *quoteError
	switch {
	case errors.Is(err, io.EOF):
		return &ImportError{Line: 1, Column: 1, Event: EventFirstColumn, Text: "the file is empty: its first line must be a header that begins with Obj-Class"}
	case errors.As(err, &q):
		return &ImportError{Line: rec.line, Column: rec.column(q.at), Event: EventHeaderQuotes, Text: "header: " + q.text}
	case err != nil:
		return &ImportError{Line: c.line, Event: EventRead, Text: err.Error()}
	}
	im.columns, err = readHeader(rec, im.o.Format, func(p problem) { im.warn(rec, "", p) })
	for _, col := range im.columns {
		im.hasTarget = im.hasTarget || col.kind == columnTarget
	}
	return err
}

// permitted applies the bounds on what a file may do.
func (im *importer) permitted() error {
	if im.o.AllOrNothing && im.sum.Errors > 0 {
		return &ImportError{Text: fmt.Sprintf("%d of %d lines have errors; nothing was imported", im.sum.Errors, im.sum.Lines)}
	}
	if g := im.o.DeleteGuard; g > 0 && im.sum.Deleted > 0 {
		own := 0
		for _, e := range im.d.entries {
			if e.Class == Recipient && fold(e.Site) == fold(im.d.o.Site.Name) {
				own++
			}
		}
		if im.sum.Deleted*100 > g*own {
			return &ImportError{Text: fmt.Sprintf("the file deletes %d of %d entries, more than %d percent; nothing was imported", im.sum.Deleted, own, g)}
		}
	}
	return nil
}

func (im *importer) fail(rec record, object string, p problem) {
	im.sum.Lines++
	im.sum.Errors++
	im.result(Result{Line: rec.line, Column: rec.column(p.at), Status: Failed, Event: p.event, Object: object, Message: p.text})
}

func (im *importer) warn(rec record, object string, p problem) {
	im.sum.Warnings++
	im.result(Result{Line: rec.line, Column: rec.column(p.at), Status: Warning, Event: p.event, Object: object, Message: p.text})
}

func (im *importer) result(r Result) {
	if (r.Status == Failed || r.Status == Warning) && len(im.sum.Problems) < maxProblems {
		im.sum.Problems = append(im.sum.Problems, r)
	}
	if im.results == nil {
		return
	}
	column, code := "", ""
	if r.Column > 0 {
		column = strconv.Itoa(r.Column)
	}
	if r.Event > 0 {
		code = strconv.Itoa(r.Event)
	}
	im.report([]string{strconv.Itoa(r.Line), column, string(r.Status), code, r.Object, r.Message})
}

func (im *importer) report(fields []string) {
	if im.resultsErr == nil {
		im.resultsErr = Format{}.defaults().writeRecord(im.results, fields)
	}
}

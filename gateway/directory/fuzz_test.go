package directory

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzImport(f *testing.F) {
	f.Add([]byte("Obj-Class,Mode,Directory Name,E-mail Address,E-mail Addresses\nRemote,Create,A,MS:N/P/A,SMTP:a@example.com%X400:c=US;a= ;s=A\nRemote,Delete,A,,\n"))
	f.Add([]byte("Obj-Class;Directory Name;Display Name;Target-Address\r\nRemote;\"A;\"\"B\";\"two\r\nlines\";FAX:x\r\n\"Remote"))
	f.Add([]byte("\xff\xfeO\x00b\x00j\x00"))
	f.Add([]byte("Obj-Class,Directory Name,E-mail Addresses\nRemote,A,~DEL\nRemote,B,~del<SMTP:x@y>%\\%\\\\\n"))
	d, err := Open(filepath.Join(f.TempDir(), "d.db"), Options{Site: siteA})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { closeAll(f, d) })
	f.Fuzz(func(t *testing.T, b []byte) {
		var results bytes.Buffer
		s, err := d.Import(context.Background(), bytes.NewReader(b), ImportOptions{DryRun: true, Results: &results})
		var ie *ImportError
		if err != nil && !errors.As(err, &ie) {
			t.Fatalf("%T %v", err, err)
		}
		if s.Applied || s.Lines != s.Created+s.Modified+s.Deleted+s.Unchanged+s.Skipped+s.Errors+gone(s) {
			t.Fatalf("the sum does not add up: %+v", s)
		}
		if _, err := csv.NewReader(&results).ReadAll(); err != nil {
			t.Fatalf("result file: %v", err)
		}
	})
}

// gone counts the deletions of nobody, which are warnings and nothing else.
func gone(s Summary) (n int) {
	for _, p := range s.Problems {
		if p.Event == EventGone {
			n++
		}
	}
	return n
}

// FuzzCSV: what the writer writes the reader reads back, and no text makes the reader lose count of its lines.
func FuzzCSV(f *testing.F) {
	f.Add("a", "b,\"c\"", " d\r\ne ", byte(','), byte('"'))
	f.Add("", "'", "x\ty", byte('\t'), byte('\''))
	f.Fuzz(func(t *testing.T, a, b, c string, column, quote byte) {
		if column >= 0x80 || quote >= 0x80 || column < ' ' && column != '\t' || quote <= ' ' || column == quote || strings.ContainsRune("\r\n", rune(column)) {
			return // not a format that anybody could ask for
		}
		for _, s := range []string{a, b, c} {
			if !strings.EqualFold(strings.ToValidUTF8(s, ""), s) || strings.Contains(s, "\r") || strings.Count(s, "\n") > 20 {
				return // no text of an entry
			}
		}
		format := Format{Column: column, Quote: quote}.defaults()
		var buf bytes.Buffer
		w := newBuffered(&buf)
		want := []string{"x" + a, b, c}
		if err := format.writeRecord(w, want); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		text := buf.String()
		r := newCSVReader(&buf, format)
		rec, err := r.next()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var got []string
		for _, fd := range rec.fields {
			got = append(got, fd.text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: -want +got:\n%s", text, diff)
		}
		if _, err := r.next(); !errors.Is(err, io.EOF) || r.line != strings.Count(text, "\n") {
			t.Fatalf("%q: line %d, %v", text, r.line, err)
		}
	})
}

func newBuffered(w io.Writer) *bufio.Writer { return bufio.NewWriter(w) }

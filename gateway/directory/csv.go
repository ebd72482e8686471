package directory

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxRecord bounds one object's text, in octets, and maxFolded the lines that it may stretch over (Exchange writes
// street addresses and notes with line ends inside quotation marks).
const (
	maxRecord = 1 << 20
	maxFolded = 50
)

// record is one object's line.
type record struct {
	line   int // of the file, from 1
	text   string
	fields []field
}

type field struct {
	text string // UTF-8, without quotation marks
	at   int    // offset in record.text
}

// column is the place of an offset as a person counts: characters from 1.
func (r *record) column(at int) int {
	at = min(at, len(r.text))
	if i := strings.LastIndexByte(r.text[:at], '\n'); i >= 0 {
		return utf8.RuneCountInString(r.text[i+1:at]) + 1
	}
	return utf8.RuneCountInString(r.text[:at]) + 1
}

// quoteError says that quotation marks are wrong: Exchange's event 220, 227 in the header.
type quoteError struct {
	at   int
	text string
}

func (e *quoteError) Error() string { return e.text }

// errLong says that a line is too long to be an object.
var errLong = errors.New("the line is longer than any object can be")

// csvReader reads records. After an error other than io.EOF and read errors it goes on with the next line.
type csvReader struct {
	r      *bufio.Reader
	f      Format
	line   int       // of the last line read
	queued []csvLine // read ahead for nothing
}

// csvLine is a line as it was read.
type csvLine struct {
	text string
	err  error
}

func newCSVReader(r io.Reader, f Format) *csvReader {
	return &csvReader{r: bufio.NewReaderSize(r, 64<<10), f: f.defaults()}
}

// next returns the next record; with a *quoteError or errLong the record has its line and text only.
func (c *csvReader) next() (record, error) {
	l := c.readLine()
	rec := record{line: c.line, text: l.text}
	if l.err != nil {
		return rec, l.err
	}
	open, err := rec.split(c.f)
	var ahead []csvLine
	for open && err == nil && len(ahead) < maxFolded && len(rec.text) < maxRecord {
		l := c.readLine()
		if errors.Is(l.err, io.EOF) {
			break
		}
		if ahead = append(ahead, l); l.err != nil {
			break
		}
		rec.text += "\n" + l.text
		if strings.IndexByte(l.text, c.f.Quote) >= 0 { // nothing else can close it
			open, err = rec.split(c.f)
		}
	}
	if err == nil && !open {
		return rec, nil
	}
	// The lines that an open quotation mark swallowed are given back, so that it costs no more than its own line.
	rec.text, rec.fields = l.text, nil
	c.queued = append(ahead, c.queued...)
	c.line -= len(ahead)
	if len(ahead) > 0 || err == nil {
		err = &quoteError{at: strings.LastIndexByte(rec.text, c.f.Quote), text: "a quotation mark is not closed, or not before a separator"}
	}
	return rec, err
}

// readLine counts each line that there is, be it too long or unreadable; io.EOF is none.
func (c *csvReader) readLine() csvLine {
	if len(c.queued) > 0 {
		l := c.queued[0]
		c.queued = c.queued[1:]
		c.line++
		return l
	}
	var b []byte
	long := false
	for {
		part, err := c.r.ReadSlice('\n')
		if long = long || len(b)+len(part) > maxRecord; !long {
			b = append(b, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(b) == 0 && !long:
			return csvLine{err: io.EOF}
		}
		c.line++
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return csvLine{err: err}
		case long:
			return csvLine{err: errLong}
		}
		return csvLine{text: text(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))}
	}
}

// split cuts the record's text into fields. Open means that a quotation mark is not closed yet. Blanks around values do
// not count, as in Exchange's own samples (KB Q152854); a doubled quotation mark inside quotation marks is one.
func (r *record) split(f Format) (open bool, err error) {
	r.fields = r.fields[:0]
	s, i := r.text, 0
	blanks := f.Column != ' '
	for {
		for blanks && i < len(s) && s[i] == ' ' {
			i++
		}
		start := i
		var value string
		if f.Quote != f.Column && i < len(s) && s[i] == f.Quote {
			var ok bool
			if value, i, ok = quoted(s, i+1, f.Quote); !ok {
				return true, nil
			}
			for blanks && i < len(s) && s[i] == ' ' {
				i++
			}
			if i < len(s) && s[i] != f.Column {
				return false, &quoteError{at: i, text: fmt.Sprintf("%q stands between a closing quotation mark and the separator", s[i])}
			}
		} else {
			if n := strings.IndexByte(s[i:], f.Column); n >= 0 {
				value, i = s[i:i+n], i+n
			} else {
				value, i = s[i:], len(s)
			}
			if q := strings.IndexByte(value, f.Quote); q >= 0 && f.Quote != f.Column {
				return false, &quoteError{at: start + q, text: "a quotation mark stands inside a value that does not begin with one"}
			}
			if blanks {
				value = strings.TrimRight(value, " ")
			}
		}
		r.fields = append(r.fields, field{value, start})
		if i >= len(s) {
			return false, nil
		}
		i++ // the separator
	}
}

// quoted reads to the closing quotation mark.
func quoted(s string, i int, quote byte) (value string, end int, ok bool) {
	var b strings.Builder
	for {
		n := strings.IndexByte(s[i:], quote)
		if n < 0 {
			return "", len(s), false
		}
		b.WriteString(s[i : i+n])
		if i += n + 1; i >= len(s) || s[i] != quote {
			return b.String(), i, true
		}
		b.WriteByte(quote)
		i++
	}
}

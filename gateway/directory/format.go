package directory

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Format is how an import or export file is written (KB Q152472). The zero Format is Exchange's: comma (or, reading, what
// stands behind the first header), quotation mark, percent sign. Characters are ASCII.
type Format struct {
	Column byte // between columns
	Quote  byte // around a value with separators in it; equal to Column: no quoting
	Multi  byte // between the values of one column
	// Charset is the IANA name of the file's code page ("windows-1252", "IBM850"). "": UTF-8, and Windows-1252 for what is
	// not UTF-8. A byte order mark overrules it.
	Charset string
}

func (f Format) defaults() Format {
	if f.Column == 0 {
		f.Column = ','
	}
	if f.Quote == 0 {
		f.Quote = '"'
	}
	if f.Multi == 0 {
		f.Multi = '%'
	}
	return f
}

// decoder turns the file into UTF-8 text, as far as the whole file has one code page.
func (f Format) decoder(r io.Reader) (io.Reader, error) {
	fallback := encoding.Nop
	if f.Charset != "" {
		e, err := ianaindex.IANA.Encoding(f.Charset)
		if err != nil || e == nil {
			return nil, fmt.Errorf("directory import: code page %q is not known; write an IANA name like windows-1252 or IBM850", f.Charset)
		}
		fallback = e
	}
	return transform.NewReader(r, unicode.BOMOverride(fallback.NewDecoder())), nil
}

// text takes what is not UTF-8 for Windows-1252, Exchange's code page.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	d, err := charmap.Windows1252.NewDecoder().String(s)
	if err != nil {
		return strings.ToValidUTF8(s, "?")
	}
	return d
}

// writeRecord writes one line, CRLF at its end. Each value that could be misread is quoted.
func (f Format) writeRecord(w *bufio.Writer, values []string) error {
	for i, v := range values {
		if i > 0 {
			if err := w.WriteByte(f.Column); err != nil {
				return err
			}
		}
		if strings.IndexByte(v, f.Column) >= 0 || strings.ContainsAny(v, "\r\n") || strings.IndexByte(v, f.Quote) >= 0 || strings.Trim(v, " ") != v {
			q := string(f.Quote)
			v = q + strings.ReplaceAll(v, q, q+q) + q
		}
		if _, err := w.WriteString(v); err != nil {
			return err
		}
	}
	_, err := w.WriteString("\r\n")
	return err
}

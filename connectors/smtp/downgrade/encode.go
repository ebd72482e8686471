package downgrade

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
)

// encoder writes the body of one leaf. What it is given are texts and line ends; a line end that turns out to belong to
// the boundary behind it is never given.
type encoder interface {
	text(p []byte) error
	end(e lineEnd) error
	close() error // leaves the output at the end of a line's text
}

// plain copies.
type plain struct{ w io.Writer }

func (e plain) text(p []byte) error { _, err := e.w.Write(p); return err }
func (e plain) end(n lineEnd) error { _, err := io.WriteString(e.w, n.String()); return err }
func (e plain) close() error        { return nil }

// quoted encodes text: any line end, also a bare CR inside a line, becomes CRLF.
type quoted struct{ w *quotedprintable.Writer }

func (e quoted) text(p []byte) error { _, err := e.w.Write(p); return err }
func (e quoted) end(n lineEnd) error { _, err := io.WriteString(e.w, n.String()); return err }
func (e quoted) close() error        { return e.w.Close() }

// base encodes octets, line ends as they are.
type base struct{ w io.WriteCloser }

func newBase(w io.Writer) base { return base{base64.NewEncoder(base64.StdEncoding, &wrapped{w: w})} }

func (e base) text(p []byte) error { _, err := e.w.Write(p); return err }
func (e base) end(n lineEnd) error { _, err := io.WriteString(e.w, n.String()); return err }
func (e base) close() error        { return e.w.Close() }

// wrapped breaks what is written to it into lines of 76 octets.
type wrapped struct {
	w      io.Writer
	column int
}

func (w *wrapped) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if w.column == 76 {
			if _, err := io.WriteString(w.w, "\r\n"); err != nil {
				return 0, err
			}
			w.column = 0
		}
		k := min(76-w.column, len(p))
		if _, err := w.w.Write(p[:k]); err != nil {
			return 0, err
		}
		w.column += k
		p = p[k:]
	}
	return n, nil
}

// rewrapped mends base64 whose lines are too long or hold what does not belong there.
type rewrapped struct{ w *wrapped }

func (e rewrapped) text(p []byte) error {
	keep := p[:0:0]
	for _, c := range p {
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=' {
			keep = append(keep, c)
		}
	}
	_, err := e.w.Write(keep)
	return err
}
func (e rewrapped) end(lineEnd) error { return nil }
func (e rewrapped) close() error      { return nil }

// requoted mends quoted-printable whose lines are too long or hold raw octets, without decoding it.
type requoted struct {
	w      io.Writer
	column int
	escape int // octets of an =XX still to come
}

func (e *requoted) text(p []byte) error {
	var out []byte
	for _, c := range p {
		if c == '\r' {
			out = append(out, "\r\n"...)
			e.column, e.escape = 0, 0
			continue
		}
		if e.column >= 72 && e.escape == 0 {
			out = append(out, "=\r\n"...)
			e.column = 0
		}
		switch {
		case e.escape > 0:
			e.escape--
		case c == '=':
			e.escape = 2
		}
		if c >= 0x80 || c < ' ' && c != '\t' {
			out = fmt.Appendf(out, "=%02X", c)
			e.column += 3
			e.escape = 0
			continue
		}
		out = append(out, c)
		e.column++
	}
	_, err := e.w.Write(out)
	return err
}

func (e *requoted) end(lineEnd) error {
	e.column, e.escape = 0, 0
	_, err := io.WriteString(e.w, "\r\n")
	return err
}
func (e *requoted) close() error { return nil }

// mended is for what may not be encoded: octets that can't go out as they are become question marks, long lines are
// broken.
type mended struct {
	w        io.Writer
	sevenBit bool
	column   int
}

func (e *mended) text(p []byte) error {
	out := make([]byte, 0, len(p)+16)
	for _, c := range p {
		if e.column >= MaxLine-1 {
			out = append(out, "\r\n"...)
			e.column = 0
		}
		switch {
		case c == '\r':
			out = append(out, "\r\n"...)
			e.column = 0
			continue
		case c == 0, c >= 0x80 && e.sevenBit:
			c = '?'
		}
		out = append(out, c)
		e.column++
	}
	_, err := e.w.Write(out)
	return err
}

func (e *mended) end(lineEnd) error {
	e.column = 0
	_, err := io.WriteString(e.w, "\r\n")
	return err
}
func (e *mended) close() error { return nil }

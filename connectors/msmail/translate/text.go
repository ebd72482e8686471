package translate

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"backbone/shadowpo/mmff"
)

// chunk bounds how much of a line is held at once.
const chunk = 16 << 10

// textEncoder reads UTF-8 text as a post office writes it: its code page, its line end, and, when asked, lines of at most
// wrap columns.
type textEncoder struct {
	br   *bufio.Reader
	page *mmff.CodePage
	end  string
	wrap int
	// exact keeps single CRs and LFs and control characters: the text was a post office's own. Otherwise each is a line
	// end, and a control character a question mark.
	exact    bool
	controls int // that became question marks
	loss     mmff.Loss

	line []byte // UTF-8 of the line so far
	out  []byte
	err  error
}

func (e *textEncoder) Read(p []byte) (int, error) {
	for len(e.out) == 0 && e.err == nil {
		e.fill()
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	if n == 0 {
		return 0, e.err
	}
	return n, nil
}

// fill reads to the end of a line, of a chunk or of the text.
func (e *textEncoder) fill() {
	e.out = e.out[:0]
	for {
		e.plain()
		if len(e.line) >= chunk {
			break
		}
		r, _, err := e.br.ReadRune()
		if err != nil {
			e.err = err
			if errors.Is(err, io.EOF) {
				e.flush(true)
			}
			return
		}
		end := r == '\n' && !e.exact
		if r == '\r' {
			next, err := e.br.Peek(1)
			if err != nil && !errors.Is(err, io.EOF) {
				e.err = err
				return
			}
			if end = len(next) == 1 && next[0] == '\n' || !e.exact; len(next) == 1 && next[0] == '\n' {
				if _, err := e.br.Discard(1); err != nil {
					e.err = err
					return
				}
			}
		}
		if end {
			e.flush(true)
			e.out = append(e.out, e.end...)
			return
		}
		e.line = utf8.AppendRune(e.line, r)
	}
	e.flush(false)
}

// plain takes what stands in the reader's buffer as it is, up to the first octet that needs a look: most text needs none.
func (e *textEncoder) plain() {
	b, err := e.br.Peek(min(e.br.Buffered(), chunk-len(e.line)))
	if err != nil {
		return // ReadRune finds it too
	}
	n := 0
	for n < len(b) && b[n] >= ' ' && b[n] < utf8.RuneSelf {
		n++
	}
	e.line = append(e.line, b[:n]...)
	if _, err := e.br.Discard(n); err != nil {
		return // not when that much is buffered
	}
}

// flush encodes the line so far. Unless the line is at its end, a rest that is still to be wrapped stays.
func (e *textEncoder) flush(whole bool) {
	s := string(e.line)
	e.line = e.line[:0]
	if e.wrap <= 0 {
		e.out = e.encode(e.out, s)
		return
	}
	for {
		cut := e.breakAt(s)
		if cut == 0 {
			break
		}
		e.out = e.encode(e.out, strings.TrimRight(s[:cut], " "))
		e.out = append(e.out, e.end...)
		s = s[cut:]
	}
	if whole {
		e.out = e.encode(e.out, s)
	} else {
		e.line = append(e.line, s...)
	}
}

// breakAt is where a line must be broken to fit: after the last blank that fits, else in the middle of the word; 0 when
// it fits. A Chinese, Japanese or Korean character takes two
// columns, as on a DOS screen.
func (e *textEncoder) breakAt(s string) int {
	columns, blank := 0, 0
	for i, r := range s {
		width := 1
		if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) {
			width = 2
		}
		if columns += width; columns > e.wrap && r != ' ' {
			if blank > 0 {
				return blank
			}
			return max(i, 1)
		}
		if r == ' ' {
			blank = i + 1
		}
	}
	return 0
}

// encode appends s in the code page. Control characters of foreign text become question marks: an ESC must not reach an
// ANSI.SYS.
func (e *textEncoder) encode(out []byte, s string) []byte {
	if !e.exact {
		s = strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\f' || r == 0x7f {
				e.controls++
				return '?'
			}
			return r
		}, s)
	}
	out, loss := e.page.Append(out, s)
	e.loss.Changed += loss.Changed
	e.loss.Lost += loss.Lost
	return out
}

package downgrade

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// piece is a line, or part of one that is longer than the buffer.
type piece struct {
	text  []byte // without the line end; valid until the next piece
	end   lineEnd
	start bool // the line begins here
}

// lineEnd is how a line ended.
type lineEnd uint8

const (
	none lineEnd = iota // the line goes on in the next piece, or the message ends without a line end
	crlf
	lf
)

func (e lineEnd) String() string { return [...]string{"", "\r\n", "\n"}[e] }

// lines reads a message piece by piece and knows where the open multiparts have their boundaries.
type lines struct {
	r          *bufio.Reader
	boundaries []string // innermost last
	start      bool     // the next piece begins a line
	back       piece    // read but not used yet
	held       bool
	err        error // io.EOF, or the reader's
}

const bufferSize = 16 << 10

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, bufferSize), start: true} }

// next gives the next piece, false at the end or on error.
func (l *lines) next() (piece, bool) {
	if l.held {
		l.held = false
		return l.back, true
	}
	if l.err != nil {
		return piece{}, false
	}
	b, err := l.r.ReadSlice('\n')
	p := piece{text: b, start: l.start}
	switch {
	case err == nil && bytes.HasSuffix(b, []byte("\r\n")):
		p.text, p.end = b[:len(b)-2], crlf
	case err == nil:
		p.text, p.end = b[:len(b)-1], lf
	case errors.Is(err, bufio.ErrBufferFull):
		if b[len(b)-1] == '\r' { // its LF must not be parted from it
			p.text = b[:len(b)-1]
			if uerr := l.r.UnreadByte(); uerr != nil {
				l.err = uerr
				return piece{}, false
			}
		}
	default:
		l.err = err
		if len(b) == 0 {
			return piece{}, false
		}
	}
	l.start = p.end != none
	return p, true
}

// unread gives p back: it is the next piece again.
func (l *lines) unread(p piece) { l.back, l.held = p, true }

// boundary tells whether p is a boundary line of an open multipart: its index from the outermost, and whether it is the
// closing one.
func (l *lines) boundary(p piece) (index int, closing, ok bool) {
	if !p.start || len(p.text) < 3 || p.text[0] != '-' || p.text[1] != '-' {
		return 0, false, false
	}
	text := bytes.TrimRight(p.text[2:], " \t")
	for i := len(l.boundaries) - 1; i >= 0; i-- {
		rest, found := bytes.CutPrefix(text, []byte(l.boundaries[i]))
		if found && len(rest) == 0 {
			return i, false, true
		}
		if found && string(rest) == "--" {
			return i, true, true
		}
	}
	return 0, false, false
}

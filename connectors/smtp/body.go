package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// body reads the data of one message off the wire: it undoes dot-stuffing, ends at CRLF "." CRLF and at nothing else
// (RFC 5321 4.1.1.4), and lets no bare CR or LF through, since servers that disagree on what a line end is see different
// messages in the same octets (SMTP smuggling: CVE-2023-51764 and its kin, VU#302671).
//
// Policy reject: Read fails with errBareLineEnd at the first one. Policy normalise: each bare LF, and each run of CR with
// what follows it, becomes one CRLF; the end of data is still CRLF "." CRLF on the wire and nothing else. What comes
// out has CRLF line ends only, either way.
//
// After an error of the wire the session can't go on. After any other error Drain finds the end.
type body struct {
	g         *gate
	max       int64 // octets to take; 0: no limit
	normalise bool

	n      int64 // octets given
	state  bodyState
	lf     bool  // the LF of a CRLF still to give
	err    error // sticks
	wire   bool  // err is the wire's
	mended int   // bare CR and LF so far
}

// bodyState is what the octets before mean for the next one.
type bodyState uint8

const (
	lineStart bodyState = iota // CRLF, or the beginning
	inLine
	afterCR   // a CR that was not given yet
	afterDot  // the dot of CRLF "."; it is never given
	afterDCR  // CRLF "." CR
	endOfData // CRLF "." CRLF
)

var (
	errBareLineEnd = errors.New("bare CR or LF in message data")
	errTooLarge    = errors.New("message data over the size limit")
)

// Read gives message octets with CRLF line ends.
func (b *body) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && b.err == nil {
		if b.lf {
			p[n], b.lf = '\n', false
			n++
			continue
		}
		g := b.g
		if g.r == g.w {
			if n > 0 {
				break
			}
			if err := g.fill(false); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				b.err, b.wire = fmt.Errorf("message data broke off: %w", err), true
				break
			}
		}
		switch b.state {
		case inLine:
			n += b.run(p[n:])
		case endOfData:
			b.err = io.EOF
		default:
			n += b.step(p[n:], g.buf[g.r])
		}
		if b.state == endOfData {
			b.err = io.EOF
		}
	}
	if b.n += int64(n); b.max > 0 && b.n > b.max && (b.err == nil || b.err == io.EOF) {
		b.err = errTooLarge
	}
	if n > 0 && (b.err == nil || b.err == io.EOF) {
		return n, nil
	}
	return 0, b.err
}

// run gives octets of one line up to its end.
func (b *body) run(p []byte) int {
	g := b.g
	w := g.buf[g.r:g.w]
	if len(w) > len(p) {
		w = w[:len(p)]
	}
	end := bytes.IndexByte(w, '\n')
	if end >= 0 {
		w = w[:end]
	}
	if cr := bytes.IndexByte(w, '\r'); cr >= 0 {
		n := copy(p, w[:cr])
		g.r += cr + 1
		b.state = afterCR
		return n
	}
	n := copy(p, w)
	g.r += n
	if n == 0 { // w begins with LF
		g.r++
		return b.bare(p)
	}
	return n
}

// step takes one octet where its meaning hangs on those before. It gives at most one octet.
func (b *body) step(p []byte, c byte) int {
	g := b.g
	switch b.state {
	case lineStart:
		b.state = inLine
		if c == '.' {
			g.r++
			b.state = afterDot
		}
	case afterDot:
		b.state = inLine
		if c == '\r' {
			g.r++
			b.state = afterDCR
		}
	case afterDCR:
		if c == '\n' {
			g.r++
			b.state = endOfData
			return 0
		}
		b.state = afterCR // the dot is gone as at each line's start, the CR counts
	case afterCR:
		switch c {
		case '\n':
			g.r++
			b.state, b.lf = lineStart, true
			p[0] = '\r'
			return 1
		case '\r': // CR CR: one of the run is enough
			g.r++
			b.refuse()
		default:
			b.state = inLine
			return b.bare(p)
		}
	}
	return 0
}

// bare deals with a line end that is none.
func (b *body) bare(p []byte) int {
	if b.refuse(); b.err != nil {
		return 0
	}
	p[0], b.lf = '\r', true
	return 1
}

func (b *body) refuse() {
	if b.mended++; !b.normalise {
		b.err = errBareLineEnd
	}
}

// Drain reads on to the end of data, so that the session can go on after the message was refused. It fails when the
// wire does, and when the client sends far more than it may: then the session is over.
func (b *body) Drain() error {
	if b.wire {
		return b.err
	}
	if b.state == endOfData {
		return nil
	}
	limit := b.n + max(b.max, 64<<20)
	b.err, b.normalise, b.max = nil, true, limit
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{b}); err != nil {
		return err
	}
	return nil
}

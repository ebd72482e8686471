// Package downgrade makes a message fit for an SMTP peer that lacks an extension (RFC 6152 3, RFC 6531 3.5) or for SMTP
// itself: octets above 127 become quoted-printable or base64, lines over 998 octets are re-encoded, bare CR and LF
// become line ends, raw 8-bit header fields become encoded words.
//
// It owns the rewriting of MIME entities and nothing of the protocol. It never looks at more than one line, one field
// and the open boundaries at a time, whatever the message is; what is too deep, too many or too broken to be
// understood is carried as it is, with octets above 127 replaced where nothing else is allowed. It fails only when a
// reader or writer fails.
package downgrade

import (
	"bytes"
	"encoding/binary"
)

// MaxLine is the longest line that SMTP carries, without its CRLF (RFC 5321 4.5.3.1.6).
const MaxLine = 998

// Facts tell what a message asks of a peer. They are gathered by writing the message to them; then End.
type Facts struct {
	EightBitHeader bool // octets above 127 in the message's own header
	EightBitBody   bool
	LongLine       bool
	BareLineEnd    bool // CR or LF alone
	NUL            bool

	inBody bool
	line   int  // octets of the present line so far
	cr     bool // the octet before was CR
}

// EightBit tells octets above 127 anywhere.
func (f *Facts) EightBit() bool { return f.EightBitHeader || f.EightBitBody }

// Malformed tells what no SMTP peer may be sent.
func (f *Facts) Malformed() bool { return f.LongLine || f.BareLineEnd || f.NUL }

// Write takes the next octets. It never fails.
func (f *Facts) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		seg := p
		if i >= 0 {
			seg = p[:i]
		}
		f.segment(seg)
		if i < 0 {
			break
		}
		f.lineEnd()
		p = p[i+1:]
	}
	return n, nil
}

// segment is part of a line.
func (f *Facts) segment(seg []byte) {
	if len(seg) == 0 {
		return
	}
	if cr := bytes.IndexByte(seg, '\r'); f.cr || cr >= 0 && cr < len(seg)-1 {
		f.BareLineEnd = true
	}
	f.cr = seg[len(seg)-1] == '\r'
	f.line += len(seg)
	high, nul := octets(seg)
	f.NUL = f.NUL || nul
	if high && f.inBody {
		f.EightBitBody = true
	} else if high {
		f.EightBitHeader = true
	}
}

func (f *Facts) lineEnd() {
	if f.cr {
		f.line--
	} else {
		f.BareLineEnd = true
	}
	f.LongLine = f.LongLine || f.line > MaxLine
	f.inBody = f.inBody || f.line == 0
	f.line, f.cr = 0, false
}

// End closes the last line.
func (f *Facts) End() {
	f.BareLineEnd = f.BareLineEnd || f.cr
	f.LongLine = f.LongLine || f.line > MaxLine
}

// octets tells whether p has octets above 127, or NULs, eight at a time.
func octets(p []byte) (high, nul bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(p) >= 8; p = p[8:] {
		w := binary.LittleEndian.Uint64(p)
		high = high || w&highs != 0
		nul = nul || (w-ones)&^w&highs != 0
	}
	for _, c := range p {
		high = high || c >= 0x80
		nul = nul || c == 0
	}
	return high, nul
}

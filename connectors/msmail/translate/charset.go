package translate

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
)

// toUTF8 reads text in a charset that a message names. known is false when nobody knows the name: then, as for text that
// names none or lies, what is valid UTF-8 is taken for it and the rest for Windows 1252, in which mail without a label
// mostly was.
func toUTF8(label string, r io.Reader) (u io.Reader, known bool) {
	switch label = strings.ToLower(strings.Trim(label, ` "'`)); label {
	case "", "us-ascii", "ascii", "utf-8", "utf8":
		return newGuess(r), true
	case "unknown-8bit", "x-unknown", "unknown", "8bit":
		return newGuess(r), false
	case "iso-8859-1", "latin1", "l1", "iso_8859-1":
		return charmap.Windows1252.NewDecoder().Reader(r), true // its C1 controls are never meant (WHATWG Encoding)
	case "cp932", "ms932", "windows-31j", "x-sjis", "ms_kanji":
		return japanese.ShiftJIS.NewDecoder().Reader(r), true
	case "utf-7", "unicode-1-1-utf-7":
		return &utf7{br: bufio.NewReader(r)}, true
	}
	if u, err := charset.Reader(label, r); err == nil {
		return u, true
	}
	return newGuess(r), false
}

// guess passes UTF-8 through and takes each octet that is none for Windows 1252.
type guess struct {
	br  *bufio.Reader
	out []byte
	err error
}

func newGuess(r io.Reader) io.Reader { return &guess{br: bufio.NewReader(r)} }

func (g *guess) Read(p []byte) (int, error) {
	for len(g.out) == 0 {
		if g.err != nil {
			return 0, g.err
		}
		var b []byte
		if _, g.err = g.br.Peek(utf8.UTFMax); g.err != nil && !errors.Is(g.err, io.EOF) {
			continue
		}
		if b, _ = g.br.Peek(g.br.Buffered()); len(b) == 0 {
			continue
		}
		n := 0
		g.out = g.out[:0]
		for n < len(b) && (utf8.FullRune(b[n:]) || g.err != nil) {
			r, size := utf8.DecodeRune(b[n:])
			if r == utf8.RuneError && size == 1 {
				r = charmap.Windows1252.DecodeByte(b[n])
			}
			g.out = utf8.AppendRune(g.out, r)
			n += size
		}
		if _, err := g.br.Discard(n); err != nil {
			g.err = err
		}
	}
	n := copy(p, g.out)
	g.out = g.out[n:]
	return n, nil
}

// utf7 is RFC 2152's encoding, which old Exchange servers sent and no library of ours knows.
type utf7 struct {
	br  *bufio.Reader
	out []byte
	err error
}

func (u *utf7) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		u.out = u.out[:0]
		var c byte
		if c, u.err = u.br.ReadByte(); u.err != nil {
			continue
		}
		switch {
		case c == '+':
			u.shifted()
		case c < utf8.RuneSelf:
			u.out = append(u.out, c)
		default:
			u.out = utf8.AppendRune(u.out, utf8.RuneError)
		}
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

// shifted reads base64 of UTF-16 up to the octet that ends it; a '-' there is taken with it. A long run comes in pieces
// of whole characters, bounded by the buffer.
func (u *utf7) shifted() {
	var in []byte
	for {
		c, err := u.br.ReadByte()
		if err != nil {
			u.err = err
			break
		}
		if !isBase64(c) {
			switch {
			case c == '-' && len(in) == 0:
				u.out = append(u.out, '+')
			case c != '-':
				u.err = u.br.UnreadByte()
			}
			break
		}
		if in = append(in, c); len(in) > maxToken {
			u.err = syntax("a UTF-7 run longer than %d octets", maxToken)
			return
		}
	}
	b := make([]byte, base64.RawStdEncoding.DecodedLen(len(in)))
	n, _ := base64.RawStdEncoding.Decode(b, in) // what precedes a mistake counts
	units := make([]uint16, 0, n/2)
	for i := 0; i+1 < n; i += 2 {
		units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
	}
	u.out = append(u.out, string(utf16.Decode(units))...)
}

// decodeWords decodes RFC 2047's encoded words, whatever their charset, and raw octets above 127, which are not allowed
// and everywhere. A word that can't be decoded stays as it is.
func decodeWords(s string) string {
	d := mime.WordDecoder{CharsetReader: func(label string, r io.Reader) (io.Reader, error) {
		u, _ := toUTF8(label, r)
		return u, nil
	}}
	if out, err := d.DecodeHeader(s); err == nil {
		s = out
	}
	if utf8.ValidString(s) {
		return s
	}
	b, err := io.ReadAll(newGuess(strings.NewReader(s)))
	if err != nil {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	return string(b)
}

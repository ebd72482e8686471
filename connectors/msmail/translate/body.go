package translate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

const (
	// maxPlain is the longest line that goes out unencoded; SMTP allows 998 octets (RFC 5321 4.5.3.1.6).
	maxPlain = 900
	// maxLine is the longest line of a body that is looked at as text. *Ours.*
	maxLine = 64 << 10
)

// bodyForm says how a post office's body travels as MIME text so that its octets come back.
type bodyForm struct {
	charset  string // "us-ascii", "utf-8", or the code page's own label when UTF-8 could not give back every octet
	encoding string // "7bit", "quoted-printable", "base64"
	// exact asks the way back to keep single CRs and LFs and control characters as they are.
	exact  bool
	atLine bool // the text is empty or ends with a line end
}

// examine reads a body once to choose its form. alone says that the body is the whole message, not one part of several:
// then a text that does not end with a line end must say so, since SMTP would add one.
func examine(page *mmff.CodePage, end mmff.LineEnd, body mail.Content, alone bool) (bodyForm, error) {
	f := bodyForm{charset: "us-ascii", encoding: "7bit", atLine: true}
	if body == nil {
		return f, nil
	}
	src, err := body.Open()
	if err != nil {
		return f, fmt.Errorf("open body: %w", err)
	}
	defer src.Close()
	s := survey{page: page, reversible: true}
	lines := newLineReader(src, end, body.Size())
	for {
		text, ended, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return f, fmt.Errorf("read body: %w", err)
		}
		s.line(text)
		f.atLine = ended
	}
	f.exact = s.lone || s.controls > 0
	switch {
	case !s.reversible:
		f.charset, f.encoding, f.exact = mimeLabel(page), "base64", true
		return f, nil
	case s.high > 0:
		f.charset = "utf-8"
	}
	switch {
	case s.lone, s.high+s.controls > s.total/4:
		f.encoding = "base64" // quoted-printable can't hold a single CR or LF beside line ends
	case s.high+s.controls > 0, s.longest > maxPlain, s.fragile, alone && !f.atLine:
		f.encoding = "quoted-printable"
		if s.from { // whose lines break anywhere, also before "From "
			f.encoding = "base64"
		}
	}
	return f, nil
}

// survey counts what decides how a text can travel.
type survey struct {
	page                           *mmff.CodePage
	total, high, controls, longest int
	lone                           bool // a CR or LF that is no line end
	fragile                        bool // a line that some relay on the way is known to change
	from                           bool // "From ", before which mailbox files put a > at the beginning of a line
	reversible                     bool // every octet comes back from UTF-8
}

func (s *survey) line(text []byte) {
	before := s.high
	for _, c := range text {
		switch {
		case c >= utf8.RuneSelf:
			s.high++
		case c == '\r' || c == '\n':
			s.lone = true
		case c < ' ' && c != '\t', c == 0x7f:
			s.controls++
		}
	}
	s.total += len(text)
	s.longest = max(s.longest, len(text))
	s.from = s.from || bytes.Contains(text, []byte("From "))
	switch {
	case bytes.HasPrefix(text, []byte("From ")), bytes.HasPrefix(text, []byte("--=_")): // the latter are our own boundaries
		s.fragile = true
	case len(text) > 0 && (text[len(text)-1] == ' ' || text[len(text)-1] == '\t'):
		s.fragile = true
	}
	switch {
	case len(text) >= maxLine:
		s.reversible = false // it may be cut within a character
	case s.high > before:
		u, lost := s.page.Decode(text)
		back, loss := s.page.Encode(u)
		s.reversible = s.reversible && lost == 0 && loss == mmff.Loss{} && bytes.Equal(back, text)
	}
}

// mimeLabel is the code page's name in MIME.
func mimeLabel(page *mmff.CodePage) string {
	switch n := page.String(); n {
	case "874":
		return "windows-874"
	case "932":
		return "shift_jis"
	case "936":
		return "gbk"
	case "949":
		return "euc-kr"
	case "950":
		return "big5"
	default:
		if strings.HasPrefix(n, "125") {
			return "windows-" + n
		}
		return "ibm" + n
	}
}

// lineReader reads a body line by line, its line end being one of the three.
type lineReader struct {
	br  *bufio.Reader
	end string
}

// newLineReader reads a body of size octets.
func newLineReader(r io.Reader, end mmff.LineEnd, size int64) *lineReader {
	if end == "" {
		end = mmff.CRLF
	}
	return &lineReader{bufio.NewReaderSize(r, int(min(size+1, maxLine))), string(end)}
}

// next gives a line without its end, valid until the next call. A line longer than maxLine comes in pieces, of which only
// the last is ended. io.EOF comes alone.
func (l *lineReader) next() (text []byte, ended bool, err error) {
	delim := l.end[len(l.end)-1]
	b, err := l.br.ReadSlice(delim)
	if l.end == "\r\n" && err == nil && len(b) >= 2 && b[len(b)-2] == '\r' {
		return b[:len(b)-2], true, nil
	}
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return b, false, nil
	case err != nil && (len(b) == 0 || !errors.Is(err, io.EOF)):
		return nil, false, err
	case err != nil:
		return b, false, nil
	case l.end == "\r\n":
		return b, false, nil // ended by a single LF: part of a line that goes on
	}
	return b[:len(b)-1], true, nil
}

// canonicalText is a body with CRLF for each of its line ends, in UTF-8 when the form says so, else in its own octets.
type canonicalText struct {
	lines *lineReader
	page  *mmff.CodePage // nil: octets as they are
	out   []byte
	rest  []byte
	err   error
}

func (c *canonicalText) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		var text []byte
		var ended bool
		if text, ended, c.err = c.lines.next(); c.err != nil {
			continue
		}
		c.out = c.out[:0]
		if c.page == nil {
			c.out = append(c.out, text...)
		} else {
			s, _ := c.page.Decode(text)
			c.out = append(c.out, s...)
		}
		if ended {
			c.out = append(c.out, "\r\n"...)
		}
		c.rest = c.out
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

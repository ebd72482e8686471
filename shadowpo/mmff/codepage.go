package mmff

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/transform"
)

// CodePage maps the octets of one post office's text to Unicode and back. MMFF has no label for it: it is the
// operator's knowledge (KB Q87432). ASCII, control characters included, is the same in all of them.
type CodePage struct {
	number int
	enc    encoding.Encoding
}

// CP850 is the code page of Microsoft Mail's own database and templates (KB Q87432, Q120449).
var CP850 = &CodePage{850, charmap.CodePage850}

var codePages = []*CodePage{
	{437, charmap.CodePage437},     // United States
	{737, cp737},                   // Greek
	CP850,                          // Western Europe
	{852, charmap.CodePage852},     // Central Europe
	{855, charmap.CodePage855},     // Cyrillic, Balkans
	{857, cp857},                   // Turkish
	{860, charmap.CodePage860},     // Portuguese
	{862, charmap.CodePage862},     // Hebrew
	{863, charmap.CodePage863},     // Canadian French
	{865, charmap.CodePage865},     // Nordic
	{866, charmap.CodePage866},     // Cyrillic, Russia
	{869, cp869},                   // Greek, modern
	{874, charmap.Windows874},      // Thai
	{932, japanese.ShiftJIS},       // Japanese
	{936, simplifiedchinese.GBK},   // simplified Chinese
	{949, korean.EUCKR},            // Korean, with the extension of UHC
	{950, traditionalchinese.Big5}, // traditional Chinese
	{1250, charmap.Windows1250},    // Windows: Central Europe
	{1251, charmap.Windows1251},    // Cyrillic
	{1252, charmap.Windows1252},    // Western Europe
	{1253, charmap.Windows1253},    // Greek
	{1254, charmap.Windows1254},    // Turkish
	{1255, charmap.Windows1255},    // Hebrew
	{1256, charmap.Windows1256},    // Arabic
	{1257, charmap.Windows1257},    // Baltic
}

// LookupCodePage finds a code page by number; the error lists the known ones.
func LookupCodePage(number int) (*CodePage, error) {
	var known []string
	for _, p := range codePages {
		if p.number == number {
			return p, nil
		}
		known = append(known, p.String())
	}
	return nil, fmt.Errorf("code page %d is not known: write %s", number, strings.Join(known, ", "))
}

// String is the number.
func (p *CodePage) String() string { return strconv.Itoa(p.number) }

// Loss counts characters that did not survive a conversion as they were.
type Loss struct {
	Changed int // became similar ones: typographic quotes, a letter without its accent
	Lost    int // became '?' on the way out, U+FFFD on the way in
}

// Decode makes UTF-8 of octets of the code page. lost counts octets, or runs of them in a double-byte page, that mean
// nothing there and became U+FFFD.
func (p *CodePage) Decode(b []byte) (s string, lost int) {
	if ascii(b) {
		return string(b), 0
	}
	out, err := p.enc.NewDecoder().Bytes(b)
	if err != nil { // decoders replace, they do not fail
		return strings.Repeat("\uFFFD", len(b)), len(b)
	}
	return string(out), strings.Count(string(out), "\uFFFD")
}

// Encode makes octets of the code page of UTF-8. A character that the page lacks becomes the nearest that it has, or
// '?' (KB Q167639); the Loss is for the ledger.
func (p *CodePage) Encode(s string) ([]byte, Loss) {
	return p.Append(make([]byte, 0, len(s)), s)
}

// Append is Encode that appends to out.
func (p *CodePage) Append(out []byte, s string) ([]byte, Loss) {
	if ascii(s) {
		return append(out, s...), Loss{}
	}
	e := encoder{page: p}
	for _, r := range s {
		out = e.rune(out, r)
	}
	return e.flush(out), e.loss
}

// encoder keeps one character back, since a combining accent may follow it.
type encoder struct {
	page *CodePage
	enc  *encoding.Encoder
	held rune // 0: none
	loss Loss
}

func (e *encoder) rune(out []byte, r rune) []byte {
	if r < utf8.RuneSelf {
		out = e.flush(out)
		if r == 0 {
			return append(out, 0)
		}
		e.held = r
		return out
	}
	if e.held != 0 {
		if c, ok := compose(e.held, r); ok {
			if _, ok := e.one(c); ok {
				e.held = c
				return out
			}
		}
	}
	out = e.flush(out)
	e.held = r
	return out
}

func (e *encoder) flush(out []byte) []byte {
	r := e.held
	e.held = 0
	switch {
	case r == 0:
		return out
	case r < utf8.RuneSelf:
		return append(out, byte(r))
	}
	if b, ok := e.one(r); ok {
		return append(out, b...)
	}
	if near, ok := e.near(r); ok {
		e.loss.Changed++
		return append(out, near...)
	}
	e.loss.Lost++
	return append(out, '?')
}

// one is the page's own octets for r.
func (e *encoder) one(r rune) ([]byte, bool) {
	if r == utf8.RuneError {
		return nil, false
	}
	if m, ok := e.page.enc.(*charmap.Charmap); ok {
		b, ok := m.EncodeRune(r)
		return []byte{b}, ok
	}
	if e.enc == nil {
		e.enc = e.page.enc.NewEncoder()
	}
	e.enc.Reset()
	b, err := e.enc.Bytes([]byte(string(r)))
	return b, err == nil
}

// near is a spelling of r in characters that the page has.
func (e *encoder) near(r rune) ([]byte, bool) {
	var out []byte
	s := similar(r)
	for _, c := range s {
		if c < utf8.RuneSelf {
			out = append(out, byte(c))
			continue
		}
		b, ok := e.one(c)
		if !ok {
			return nil, false
		}
		out = append(out, b...)
	}
	return out, s != ""
}

func ascii[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// TextReader gives a body as UTF-8 with CRLF line ends.
type TextReader struct {
	r  io.Reader
	in *inbound
}

// NewReader reads a body in the code page. Every kind of line end in it becomes CRLF: the body's own may differ from
// its header's.
func (p *CodePage) NewReader(r io.Reader) *TextReader {
	in := &inbound{}
	return &TextReader{transform.NewReader(r, transform.Chain(p.enc.NewDecoder(), in)), in}
}

func (t *TextReader) Read(b []byte) (int, error) { return t.r.Read(b) }

// Lost counts what became U+FFFD so far.
func (t *TextReader) Lost() int { return t.in.lost }

// inbound makes CRLF of CR, LF and CRLF, and counts U+FFFD.
type inbound struct {
	cr   bool // the last octet was a CR, whose CRLF is already written
	lost int
	seen int // octets of U+FFFD seen
}

func (t *inbound) Reset() { *t = inbound{} }

func (t *inbound) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	const replacement = "\uFFFD"
	for ; nSrc < len(src); nSrc++ {
		c := src[nSrc]
		if c == '\n' && t.cr {
			t.cr = false
			continue
		}
		if c == '\r' || c == '\n' {
			if len(dst)-nDst < 2 {
				return nDst, nSrc, transform.ErrShortDst
			}
			dst[nDst], dst[nDst+1] = '\r', '\n'
			nDst += 2
		} else {
			if nDst == len(dst) {
				return nDst, nSrc, transform.ErrShortDst
			}
			dst[nDst] = c
			nDst++
		}
		t.cr = c == '\r'
		switch c {
		case replacement[t.seen]:
			t.seen++
		case replacement[0]:
			t.seen = 1
		default:
			t.seen = 0
		}
		if t.seen == len(replacement) {
			t.lost, t.seen = t.lost+1, 0
		}
	}
	return nDst, nSrc, nil
}

// TextWriter takes UTF-8 text and writes it as octets of the code page.
type TextWriter struct {
	w    io.Writer
	enc  encoder
	end  string
	cr   bool
	part []byte // beginning of a character whose rest is not here yet
	out  []byte
	n    int64
	err  error
}

// NewWriter writes text with any line ends as octets of the code page with line ends of one kind. Close it: a
// character may be held back.
func (p *CodePage) NewWriter(w io.Writer, end LineEnd) *TextWriter {
	return &TextWriter{w: w, enc: encoder{page: p}, end: end.or()}
}

func (t *TextWriter) Write(b []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	t.out = t.out[:0]
	src := b
	if len(t.part) > 0 {
		src = append(t.part, b...)
		t.part = nil
	}
	for len(src) > 0 {
		if src[0] >= utf8.RuneSelf && !utf8.FullRune(src) {
			t.part = append([]byte(nil), src...)
			break
		}
		r, n := utf8.DecodeRune(src)
		src = src[n:]
		switch {
		case r == '\n' && t.cr:
			t.cr = false
			continue
		case r == '\r' || r == '\n':
			t.out = append(t.enc.flush(t.out), t.end...)
		default:
			t.out = t.enc.rune(t.out, r)
		}
		t.cr = r == '\r'
	}
	if err := t.put(); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (t *TextWriter) put() error {
	n, err := t.w.Write(t.out)
	t.n += int64(n)
	t.err = err
	return err
}

// Close writes what was held back. It does not close the writer below.
func (t *TextWriter) Close() error {
	if t.err != nil {
		return t.err
	}
	t.out = t.enc.flush(t.out[:0])
	if len(t.part) > 0 {
		t.out, t.part = append(t.out, '?'), nil
		t.enc.loss.Lost++
	}
	return t.put()
}

// Size is the octets written: what TEXT has to say, once the writer is closed.
func (t *TextWriter) Size() int64 { return t.n }

// Loss counts what the code page lacked so far.
func (t *TextWriter) Loss() Loss { return t.enc.loss }

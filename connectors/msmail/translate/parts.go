package translate

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"
)

// Bounds of what a MIME message may make us do. Beyond them it is carried opaque. *Ours.*
const (
	maxDepth      = 20
	maxParts      = 1000
	maxHeader     = 1 << 20  // of the message itself: 5,000 recipients fit
	maxPartHeader = 64 << 10 // of each part
	maxBoundary   = 200      // RFC 2046 5.1.1 allows 70; go-message's reader needs it to be well below its buffer
)

// part is a leaf of a MIME message.
type part struct {
	message.Header
	typ      string // "text/plain", lower case
	params   map[string]string
	alt      int // number of the outermost multipart/alternative, 0 = none
	embedded int // number of the embedded message that it belongs to, 0 = the message itself
	raw      io.Reader
}

// embeddedHeader is the type of a part that stands for the header of an embedded message whose parts follow. Header is
// that header, and there is no content.
const embeddedHeader = "x-header/embedded"

// body is the part with its transfer encoding undone, and nothing else: no charset is touched.
func (p *part) body() io.Reader {
	switch strings.ToLower(strings.TrimSpace(p.Get("Content-Transfer-Encoding"))) {
	case "base64":
		return base64.NewDecoder(base64.RawStdEncoding, bufio.NewReader(&base64Alphabet{r: p.raw}))
	case "quoted-printable":
		return quotedprintable.NewReader(p.raw)
	}
	return p.raw
}

// disposition is Content-Disposition's value and file name. A field that can't be parsed still gives what precedes its
// first semicolon.
func (p *part) disposition() (disp, filename string) {
	disp, params, err := p.ContentDisposition()
	if err != nil {
		disp, _, _ = strings.Cut(p.Get("Content-Disposition"), ";")
		disp = strings.ToLower(strings.TrimSpace(disp))
	}
	if filename = params["filename"]; filename == "" {
		filename = p.params["name"]
	}
	return disp, decodeWords(filename) // RFC 2047 in a parameter is wrong and everywhere
}

// partReader walks the leaves of a message in order. It reads its source once and forwards only, holds one header at a
// time, and never recurses: depth is the length of stack.
type partReader struct {
	src          *budget
	header       message.Header // of the message
	embeddedText bool           // walk into message/rfc822 parts instead of giving them whole
	pending      func() (*part, error)
	stack        []multipart
	parts        int
	alts         int
	embedded     int
	cut          bool // a multipart ended without its last boundary
}

type multipart struct {
	r       *textproto.MultipartReader
	current *textproto.Part
	digest  bool // RFC 2046 5.1.5: the default type of its parts is message/rfc822
	where
}

// where is a part's place in the tree, as far as its meaning depends on it.
type where struct {
	alt      int
	embedded int
	depth    int // of embedded messages in each other
}

// errSyntax is the class of every error that the message's own text causes, to tell it from one of the disk.
var errSyntax = errors.New("MIME")

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errSyntax}, args...)...)
}

// newPartReader reads the message's header.
func newPartReader(r io.Reader, embeddedText bool) (*partReader, error) {
	pr := &partReader{src: &budget{r: r}, embeddedText: embeddedText}
	br := bufio.NewReader(pr.src)
	h, err := pr.readHeader(br, maxHeader)
	if err != nil {
		return nil, err
	}
	pr.header = h
	pr.pending = func() (*part, error) { return pr.enter(h, br, multipart{}) }
	return pr, nil
}

func (pr *partReader) readHeader(br *bufio.Reader, limit int64) (message.Header, error) {
	pr.src.grant(limit + int64(len(pr.stack)+1)*4096) // the header itself, and a buffer for each level
	h, err := textproto.ReadHeader(br)
	err = pr.src.check(err, "message")
	pr.src.unlimited()
	return message.Header{Header: h}, err
}

// next is the next leaf, io.EOF after the last. The leaf before it can no longer be read.
func (pr *partReader) next() (*part, error) {
	if enter := pr.pending; enter != nil {
		pr.pending = nil
		if p, err := enter(); p != nil || err != nil {
			return p, err
		}
	}
	for len(pr.stack) > 0 {
		top := &pr.stack[len(pr.stack)-1]
		if top.current != nil {
			if _, err := io.Copy(io.Discard, cutEnd{top.current, pr}); err != nil {
				return nil, pr.src.check(err, "part")
			}
		}
		pr.src.grant(maxPartHeader + int64(len(pr.stack)+1)*4096)
		sub, err := top.r.NextPart()
		if err != nil && pr.src.err == nil && (errors.Is(err, io.EOF) || pr.cut) {
			pr.src.unlimited()
			pr.stack = pr.stack[:len(pr.stack)-1]
			continue
		}
		if err := pr.src.check(err, "part"); err != nil {
			return nil, err
		}
		pr.src.unlimited()
		top.current = sub
		if pr.parts++; pr.parts > maxParts {
			return nil, syntax("more than %d parts", maxParts)
		}
		p, err := pr.enter(message.Header{Header: sub.Header}, cutEnd{sub, pr}, *top)
		if p != nil || err != nil {
			return p, err
		}
	}
	return nil, io.EOF
}

// cutEnd ends a part where the message ends: many a multipart lacks its last boundary, and what is there of it counts.
type cutEnd struct {
	r  io.Reader
	pr *partReader
}

func (c cutEnd) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) && c.pr.src.err == nil {
		c.pr.cut, err = true, io.EOF
	}
	return n, err
}

// enter makes a leaf of what has a header and a body, or descends when it is a multipart.
func (pr *partReader) enter(h message.Header, body io.Reader, in multipart) (*part, error) {
	typ, params, err := h.ContentType()
	typ = strings.ToLower(typ)
	if err != nil || !strings.Contains(typ, "/") {
		typ, params = "text/plain", nil // RFC 2045 5.2
	}
	if in.digest && h.Get("Content-Type") == "" {
		typ = "message/rfc822"
	}
	p := &part{Header: h, typ: typ, params: params, alt: in.alt, embedded: in.embedded, raw: body}
	switch {
	case pr.embeddedText && (typ == "message/rfc822" || typ == "message/global") && in.depth < maxDepth:
		return pr.embed(p, in.where)
	case !strings.HasPrefix(typ, "multipart/"):
		return p, nil
	}
	boundary := params["boundary"]
	switch {
	case len(pr.stack) == maxDepth:
		return nil, syntax("more than %d multiparts in each other", maxDepth)
	case boundary == "":
		return nil, syntax("%s without a boundary", typ)
	case len(boundary) > maxBoundary:
		return nil, syntax("a boundary of %d octets", len(boundary))
	}
	m := multipart{r: textproto.NewMultipartReader(body, boundary), digest: typ == "multipart/digest", where: in.where}
	if typ == "multipart/alternative" && m.alt == 0 {
		pr.alts++
		m.alt = pr.alts
	}
	pr.stack = append(pr.stack, m)
	return nil, nil
}

// embed reads the header of an embedded message, and leaves its body for the next call of next.
func (pr *partReader) embed(p *part, in where) (*part, error) {
	br := bufio.NewReader(p.body())
	h, err := pr.readHeader(br, maxPartHeader)
	if err != nil {
		return nil, err
	}
	pr.embedded++
	below := multipart{where: where{embedded: pr.embedded, depth: in.depth + 1}}
	pr.pending = func() (*part, error) { return pr.enter(h, br, below) }
	return &part{Header: h, typ: embeddedHeader, embedded: pr.embedded, raw: strings.NewReader("")}, nil
}

// budget limits what may be read between two points, and remembers the source's own errors.
type budget struct {
	r         io.Reader
	left      int64
	limited   bool
	exhausted bool
	err       error
}

func (b *budget) grant(n int64) { b.left, b.limited = n, true }
func (b *budget) unlimited()    { b.limited = false }

func (b *budget) Read(p []byte) (int, error) {
	if b.limited {
		if b.left <= 0 {
			b.exhausted = true
			return 0, syntax("header too long")
		}
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// check says whose fault err is: the source's is returned as it is, anything else is a mistake in the text.
func (b *budget) check(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case b.err != nil:
		return b.err
	case b.exhausted:
		return syntax("%s header too long", what)
	case errors.Is(err, errSyntax):
		return err
	}
	return syntax("%s: %v", what, err)
}

// base64Alphabet lets only base64's own characters through, up to the padding: line ends, blanks and stray octets
// are skipped, as RFC 2045 6.8 tells decoders to. A last character that stands alone means nothing and is dropped.
type base64Alphabet struct {
	r    io.Reader
	buf  [1024]byte
	held byte // first of a group of four, until the next comes
	n    int
	done bool
}

func isBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}

func (a *base64Alphabet) Read(p []byte) (int, error) {
	if len(p) < 2 { // the bufio.Reader above never asks for so little
		return 0, io.ErrShortBuffer
	}
	for !a.done {
		n, err := a.r.Read(a.buf[:min(len(p)-1, len(a.buf))])
		kept := 0
		for _, c := range a.buf[:n] {
			switch {
			case a.done:
			case c == '=':
				a.done = true
			case !isBase64(c):
			case a.n%4 == 0:
				a.held = c
				a.n++
			default:
				if a.n%4 == 1 {
					p[kept] = a.held
					kept++
				}
				p[kept] = c
				kept++
				a.n++
			}
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
	return 0, io.EOF
}

// readHeaderOf reads a header that stands alone.
func readHeaderOf(b []byte) (message.Header, error) {
	h, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(b)))
	return message.Header{Header: h}, err
}

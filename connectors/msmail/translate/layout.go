package translate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"backbone/gateway/mail"

	"github.com/emersion/go-message"
)

// role is what a leaf of a MIME message becomes in a post office.
type role int

const (
	dropped  role = iota // an alternative that another stands for, or rich text
	asText               // part of the body
	asHTML               // part of the body, converted
	asHeader             // of an embedded message that is shown as text
	attached
)

// leaf is what the first pass learns of a part.
type leaf struct {
	role     role
	typ      string
	charset  string
	alt      int
	filename string // as the message has it
	name     string // as the post office gets it
	exact    bool
	embedded int // number of the embedded message that it belongs to
	size     int64
	sum      string // SHA-256 of the content, hex
}

// layout is a message's parts in order.
type layout struct {
	header message.Header
	leaves []leaf
	cut    bool // the end is missing
}

// readLayout passes once over a message. errSyntax is the message's mistake, and the layout then has its header, as far as
// that could be read; any other error is the reader's.
func readLayout(content mail.Content, embeddedText bool) (*layout, error) {
	src, err := content.Open()
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	defer src.Close()
	counted := &counter{r: src}
	l := &layout{}
	pr, err := newPartReader(counted, embeddedText)
	if err != nil {
		return l, err
	}
	l.header = pr.header
	for {
		p, err := pr.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return l, err
		}
		lf := describe(p)
		hash := sha256.New()
		if lf.role != asHeader {
			if lf.size, err = copyAll(hash, p.body()); err != nil {
				return l, pr.src.check(err, p.typ)
			}
		}
		lf.sum = hex.EncodeToString(hash.Sum(nil))
		l.leaves = append(l.leaves, lf)
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return nil, err
	}
	if counted.n != content.Size() {
		return nil, fmt.Errorf("the stored content has %d octets instead of %d", counted.n, content.Size())
	}
	l.cut = pr.cut
	l.choose()
	return l, nil
}

// buffers are for copyAll: most messages are smaller than io.Copy's own buffer.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func copyAll(w io.Writer, r io.Reader) (int64, error) {
	b := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(b)
	return io.CopyBuffer(w, r, b[:])
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// describe says what a part would be if it stood alone.
func describe(p *part) leaf {
	disp, filename := p.disposition()
	l := leaf{role: attached, typ: p.typ, charset: p.params["charset"], alt: p.alt, filename: filename, embedded: p.embedded}
	l.exact = strings.EqualFold(strings.TrimSpace(p.Get(fieldBody)), "exact")
	if original, ok := readExact(p.Get(fieldName)); ok && SafeName(original) == filename {
		l.name = original
	}
	inline := disp != "attachment" && filename == ""
	switch {
	case p.typ == embeddedHeader:
		l.role = asHeader
	case p.typ == "text/plain" && inline:
		l.role = asText
	case p.typ == "text/html" && inline:
		l.role = asHTML
	}
	return l
}

// choose settles what each multipart/alternative shows: its plain text when it has some, else its HTML, else its other
// kinds of text. What is not text, a picture of the HTML, stays as an attachment.
func (l *layout) choose() {
	plain := map[int]bool{}
	html := map[int]bool{}
	for _, lf := range l.leaves {
		plain[lf.alt] = plain[lf.alt] || lf.role == asText && lf.size > 0
		html[lf.alt] = html[lf.alt] || lf.role == asHTML
	}
	for i := range l.leaves {
		lf := &l.leaves[i]
		if lf.alt == 0 || !plain[lf.alt] && !html[lf.alt] {
			continue
		}
		switch {
		case lf.role == asHTML && plain[lf.alt], lf.role == asText && !plain[lf.alt]:
			lf.role = dropped
		case lf.role == attached && (lf.typ == "text/enriched" || lf.typ == "text/richtext" || lf.typ == "text/rtf"):
			lf.role = dropped
		}
	}
}

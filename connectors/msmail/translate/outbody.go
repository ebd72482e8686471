package translate

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// held bounds the text that is kept between measuring and writing it; a longer one is converted a second time.
const held = 256 << 10

// bodyText reads, as UTF-8, everything of a message that belongs into the body.
type bodyText struct {
	l    *layout
	pr   *partReader
	want func(leaf) bool
	left int // wanted leaves that are still to come
	i    int // next leaf
	cur  io.Reader
	last byte // of what was read so far, 0 = nothing
	// unknown are charsets that nobody knows.
	unknown []string
}

func (l *layout) bodyText(src io.Reader, embeddedText bool, want func(leaf) bool) (*bodyText, error) {
	pr, err := newPartReader(src, embeddedText)
	if err != nil {
		return nil, err
	}
	b := &bodyText{l: l, pr: pr, want: want}
	for _, lf := range l.leaves {
		if want(lf) {
			b.left++
		}
	}
	return b, nil
}

func (b *bodyText) Read(p []byte) (int, error) {
	for {
		if b.cur != nil {
			n, err := b.cur.Read(p)
			if n > 0 {
				b.last = p[n-1]
			}
			if errors.Is(err, io.EOF) {
				b.cur, err = nil, nil
			}
			if n > 0 || err != nil {
				return n, b.pr.src.check(err, "text")
			}
			continue
		}
		if b.left == 0 {
			return 0, io.EOF
		}
		part, err := b.pr.next()
		if err != nil {
			return 0, b.pr.src.check(err, "text")
		}
		lf := b.l.leaves[b.i]
		b.i++
		if !b.want(lf) {
			continue
		}
		b.left--
		b.cur = b.open(part, lf)
		if b.last != 0 && b.last != '\n' {
			b.cur = io.MultiReader(strings.NewReader("\r\n"), b.cur)
		}
	}
}

func (b *bodyText) open(p *part, lf leaf) io.Reader {
	if lf.role == asHeader {
		return strings.NewReader(embeddedHeading(p.Header))
	}
	r, known := toUTF8(lf.charset, p.body())
	if !known {
		b.unknown = append(b.unknown, lf.charset)
	}
	if lf.role == asHTML {
		return newHTMLText(r)
	}
	return r
}

// textContent is a body as the post office gets it: its size is known, its octets are made again each time.
type textContent struct {
	size int64
	open func() (io.Reader, io.Closer, error)
}

func (t *textContent) Size() int64 { return t.size }

func (t *textContent) Open() (io.ReadSeekCloser, error) {
	r, c, err := t.open()
	if err != nil {
		return nil, err
	}
	return &forward{Reader: r, Closer: c}, nil
}

// forward is a reader that only goes forwards: what a writer of a message file needs.
type forward struct {
	io.Reader
	io.Closer
}

func (*forward) Seek(int64, int) (int64, error) {
	return 0, fmt.Errorf("translated content is read from its beginning: %w", errors.ErrUnsupported)
}

// measured is what became of a body.
type measured struct {
	content  mail.Content
	sum      string
	loss     mmff.Loss
	controls int
}

// measure runs a body's conversion once, to learn its size and what it loses.
func (o *outbound) measure(open func() (io.Reader, io.Closer, error)) (measured, error) {
	r, c, err := open()
	if err != nil {
		return measured{}, err
	}
	defer c.Close()
	hash := sha256.New()
	var kept bytes.Buffer
	n, err := copyAll(io.MultiWriter(hash, &limited{&kept, held}), r)
	if err != nil {
		return measured{}, err
	}
	m := measured{content: &textContent{n, open}, sum: hex.EncodeToString(hash.Sum(nil))}
	if n <= held {
		m.content = mmff.Bytes(kept.Bytes())
	}
	if e, ok := r.(*textEncoder); ok {
		m.loss, m.controls = e.loss, e.controls
	}
	return m, nil
}

// limited drops what goes beyond a limit.
type limited struct {
	w    *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.w.Write(p[:n])
	return len(p), nil
}

// encoder reads text as the post office writes it.
func (p *PostOffice) encoder(r io.Reader, exact bool) *textEncoder {
	e := &textEncoder{br: bufio.NewReader(r), page: p.Page, end: string(p.lineEnd()), wrap: p.Wrap, exact: exact}
	return e
}

func (p *PostOffice) lineEnd() mmff.LineEnd {
	if p.LineEnd == "" {
		return mmff.CRLF
	}
	return p.LineEnd
}

// ownOctets reads a body that travelled in the post office's own code page: only its line ends change.
type ownOctets struct {
	lines *lineReader
	end   string
	buf   []byte
	out   []byte
}

func (o *ownOctets) Read(p []byte) (int, error) {
	for len(o.out) == 0 {
		text, ended, err := o.lines.next()
		if err != nil {
			return 0, err
		}
		o.buf = append(o.buf[:0], text...)
		if ended {
			o.buf = append(o.buf, o.end...)
		}
		o.out = o.buf
	}
	n := copy(p, o.out)
	o.out = o.out[n:]
	return n, nil
}

// files opens a message's attachments. One pass over the message serves all of them when they are read in order; going
// back begins another. It is not safe for concurrent use.
type files struct {
	content      mail.Content
	embeddedText bool
	src          io.Closer
	pr           *partReader
	at           int // leaf that pr gives next
}

// file is one attachment.
type file struct {
	files *files
	leaf  int
	size  int64
}

func (f *file) Size() int64 { return f.size }

func (f *file) Open() (io.ReadSeekCloser, error) {
	r, err := f.files.seek(f.leaf)
	if err != nil {
		return nil, err
	}
	return &forward{Reader: r, Closer: io.NopCloser(nil)}, nil
}

func (f *files) seek(leaf int) (io.Reader, error) {
	if f.pr == nil || f.at > leaf {
		if err := f.Close(); err != nil {
			return nil, err
		}
		src, err := f.content.Open()
		if err != nil {
			return nil, err
		}
		f.src = src
		if f.pr, err = newPartReader(src, f.embeddedText); err != nil {
			return nil, err
		}
	}
	for {
		p, err := f.pr.next()
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", leaf, err)
		}
		f.at++
		if f.at > leaf {
			return p.body(), nil
		}
	}
}

// Close closes the message under the attachments.
func (f *files) Close() error {
	src := f.src
	f.src, f.pr, f.at = nil, nil, 0
	if src == nil {
		return nil
	}
	return src.Close()
}

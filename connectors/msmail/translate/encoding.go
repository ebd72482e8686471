package translate

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
)

// encoded is text in a transfer encoding. softEnd adds the soft line break that keeps a quoted-printable text from
// gaining a line end on its way.
func encoded(r io.Reader, encoding string, softEnd bool) io.Reader {
	switch encoding {
	case "base64":
		return &base64Lines{r: r}
	case "quoted-printable":
		q := &quotedText{r: r}
		q.w = quotedprintable.NewWriter(&q.out)
		if softEnd {
			return io.MultiReader(q, strings.NewReader("=\r\n"))
		}
		return q
	}
	return r
}

type quotedText struct {
	r   io.Reader
	w   *quotedprintable.Writer
	out bytes.Buffer
	buf [8 << 10]byte
	err error
}

func (q *quotedText) Read(p []byte) (int, error) {
	for q.out.Len() == 0 {
		if q.err != nil {
			return 0, q.err
		}
		var n int
		n, q.err = q.r.Read(q.buf[:])
		if _, err := q.w.Write(q.buf[:n]); err != nil {
			return 0, err
		}
		if errors.Is(q.err, io.EOF) {
			if err := q.w.Close(); err != nil {
				return 0, err
			}
		}
	}
	return q.out.Read(p)
}

// base64Lines is base64 in CRLF lines of 76 characters.
type base64Lines struct {
	r     io.Reader
	in    [57 * 64]byte
	store [78 * 64]byte
	out   []byte
	err   error
}

func (b *base64Lines) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		n := 0
		for n < len(b.in) && b.err == nil {
			var k int
			k, b.err = b.r.Read(b.in[n:])
			n += k
		}
		b.out = b.store[:0]
		for in := b.in[:n]; len(in) > 0; {
			line := in[:min(57, len(in))]
			in = in[len(line):]
			b.out = base64.StdEncoding.AppendEncode(b.out, line)
			b.out = append(b.out, '\r', '\n')
		}
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

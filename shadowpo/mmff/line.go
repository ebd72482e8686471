package mmff

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	// maxLine bounds a header line, its end included, in octets: an O/R address with every character escaped fits.
	maxLine = 8192
	// maxHeader bounds all header lines of a message, in octets.
	maxHeader = 1 << 20
)

// lines reads header lines that all end in the same way.
type lines struct {
	buf *bufio.Reader
	end LineEnd
	off int64 // of the next line
}

type line struct {
	text []byte // without its end; valid until the next line is read
	off  int64
	n    int64 // octets with the end
	// fault tells why the text is not a proper line: another line end in it, no end, too long.
	fault string
	short bool // the file stops in this line
}

// next returns io.EOF at the end of the input and any error of the input as it is.
func (l *lines) next() (line, error) {
	delim := byte('\n')
	if l.end == CR {
		delim = '\r'
	}
	raw, err := l.buf.ReadSlice(delim)
	got := line{off: l.off, n: int64(len(raw))}
	l.off += got.n
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		got.fault = "no line end in 8192 octets"
		return got, nil
	case err == io.EOF && len(raw) == 0:
		return got, io.EOF
	case err == io.EOF:
		got.text, got.fault, got.short = raw, "the file ends within this line", true
		return got, nil
	case err != nil:
		return got, err
	}
	got.text = bytes.TrimSuffix(raw, []byte(l.end))
	if len(got.text) == len(raw) || bytes.ContainsAny(got.text, "\r\n") {
		got.fault = "its line end is not that of the file's first line"
	}
	return got, nil
}

// sniff tells the line end of the file from its first line. An empty answer means that there is none within a line's
// length.
func sniff(src io.ReaderAt, size int64) (LineEnd, error) {
	b := make([]byte, min(size, maxLine))
	if n, err := src.ReadAt(b, 0); n < len(b) {
		return "", short(err)
	}
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0:
		return "", nil
	case b[i] == '\n':
		return LF, nil
	case i+1 < len(b) && b[i+1] == '\n':
		return CRLF, nil
	}
	return CR, nil
}

// short is the error of a read that gave less than the file's size promised.
func short(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

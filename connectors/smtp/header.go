package smtp

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
)

// maxHead is how much of a message is searched for its header's end. A longer header is carried like any other; only
// what stands in its first part counts for the envelope.
const maxHead = 256 << 10

// head is where a message's header ends.
type head struct {
	end int // behind the last field
	// blank tells that the empty line follows at end, foreign that a line follows that is no field: the message has no
	// empty line and its body begins there. Neither: the message ends in the header, or the header is over maxHead.
	blank, foreign bool
}

// readHead reads from r, behind buf's end, until the header's end is found. It fails only when r does: no message is
// refused because its header can't be read.
func readHead(r io.Reader, buf []byte) ([]byte, head, error) {
	var h head
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(8<<10, len(buf)))
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), maxHead)])
		buf = buf[:len(buf)+n]
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, h, err
		}
		var found bool
		if h, found = scanHead(buf, h.end, err != nil); found || len(buf) >= maxHead {
			return buf, h, nil
		}
	}
}

// scanHead looks for the header's end from a line's start on. last tells that buf is all there will be. When it is not
// found, end is where to go on.
func scanHead(buf []byte, from int, last bool) (h head, found bool) {
	h.end = from
	for h.end < len(buf) {
		line := buf[h.end:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		} else if !last {
			return h, false
		}
		switch {
		case string(line) == "\r\n" || string(line) == "\n":
			h.blank = true
			return h, true
		case !isFieldLine(line, h.end == 0):
			h.foreign = true
			return h, true
		}
		h.end += len(line)
	}
	return h, last
}

// split is the header as the gateway keeps it, without the fields that also names, and what follows it. A header that ended without an empty line gets one.
func (h head) split(buf []byte, also func(name string, field []byte) bool) (header, rest []byte) {
	header, rest = withoutDropped(buf[:h.end], also), buf[h.end:]
	if h.foreign {
		header = append(header[:len(header):len(header)], "\r\n"...)
	}
	return header, rest
}

// isFieldLine tells a header field's first line, or unless first a folded one (RFC 5322 2.2).
func isFieldLine(line []byte, first bool) bool {
	if line[0] == ' ' || line[0] == '\t' {
		return !first
	}
	return fieldName(line) > 0
}

// fieldName is the length of the field name that line begins with, 0 when it begins with none. A blank before the colon
// is tolerated (RFC 5322 4.5).
func fieldName(line []byte) int {
	for i, c := range line {
		switch {
		case c == ':':
			return i
		case c == ' ' || c == '\t':
			if rest := bytes.TrimLeft(line[i:], " \t"); i > 0 && len(rest) > 0 && rest[0] == ':' {
				return i
			}
			return 0
		case c < '!' || c > '~':
			return 0
		}
	}
	return 0
}

// fields walks over a header's fields: the name as written, and the whole field with its line ends.
func fields(header []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for len(header) > 0 {
			end := 0
			for {
				i := bytes.IndexByte(header[end:], '\n')
				if i < 0 {
					end = len(header)
					break
				}
				end += i + 1
				if end >= len(header) || header[end] != ' ' && header[end] != '\t' {
					break
				}
			}
			field := header[:end]
			header = header[end:]
			if n := fieldName(field); n > 0 && !yield(string(field[:n]), field) {
				return
			}
		}
	}
}

var unfold = strings.NewReplacer("\r", "", "\n", "")

// value is a field's text, unfolded and trimmed.
func value(field []byte) string {
	_, v, _ := bytes.Cut(field, []byte(":"))
	if len(v) > 16<<10 {
		v = v[:16<<10]
	}
	v = bytes.Trim(v, " \t\r\n")
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return string(v)
	}
	return unfold.Replace(string(v))
}

// droppedField tells fields that never go into the gateway's content: the path of a delivery that was not the last one (RFC
// 5321 4.4), and what only a partner's envelope may say.
func droppedField(name string) bool {
	return strings.EqualFold(name, "Return-Path") || len(name) >= len(ownPrefix) && strings.EqualFold(name[:len(ownPrefix)], ownPrefix)
}

// withoutDropped is header without the dropped fields and those that also names: header itself when it has none.
func withoutDropped(header []byte, also func(name string, field []byte) bool) []byte {
	drop := func(name string, field []byte) bool { return droppedField(name) || also != nil && also(name, field) }
	found := false
	for name, field := range fields(header) {
		found = found || drop(name, field)
	}
	if !found {
		return header
	}
	out := make([]byte, 0, len(header))
	for name, field := range fields(header) {
		if !drop(name, field) {
			out = append(out, field...)
		}
	}
	return out
}

package dashboard

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// hexLine is sixteen octets; Mark is the one where the parser stopped, -1 when it is not in this line.
type hexLine struct {
	Offset string
	Octets []hexOctet
	Chars  []hexOctet
}

type hexOctet struct {
	Text string
	Mark bool
}

// textLine is a line of the file, escaped; the parts before, at and behind the mark.
type textLine struct {
	Number       int
	A, Mark, End string
}

const (
	hexBefore  = 8 // lines
	hexAfter   = 12
	textBefore = 12
	textAfter  = 12
	textWidth  = 400 // octets of one line
)

// hexAround dumps b around offset, or its beginning when the offset is not known. cut tells that there is more.
func hexAround(b []byte, offset int64) (out []hexLine, cut bool) {
	mark := int(min(max(offset, -1), int64(len(b))))
	from := max(0, mark/16-hexBefore) * 16
	to := min(len(b), (max(mark, 0)/16+hexAfter)*16)
	for at := from; at < to || at == from; at += 16 {
		l := hexLine{Offset: fmt.Sprintf("%06x", at)}
		for i := at; i < at+16; i++ {
			hex, char := "  ", " "
			if i < len(b) {
				hex, char = fmt.Sprintf("%02x", b[i]), "."
				if b[i] >= 0x20 && b[i] < 0x7f {
					char = string(rune(b[i]))
				}
			}
			m := offset >= 0 && i == mark
			l.Octets, l.Chars = append(l.Octets, hexOctet{hex, m}), append(l.Chars, hexOctet{char, m})
		}
		out = append(out, l)
	}
	return out, from > 0 || to < len(b)
}

// textAround shows the lines around offset, with line and column of it.
func textAround(b []byte, offset int64) (out []textLine, line, column int) {
	lines := bytes.SplitAfter(b, []byte("\n"))
	mark, at := int(min(max(offset, -1), int64(len(b)))), 0
	var all []textLine
	for i, l := range lines {
		t := textLine{Number: i + 1}
		body := bytes.TrimRight(l, "\r\n")
		if mark >= at && (mark < at+len(l) || i == len(lines)-1) && line == 0 {
			line, column = i+1, mark-at+1
			k := min(mark-at, len(body))
			t.A = cutText(body[:k], true)
			switch {
			case k < len(body):
				t.Mark, t.End = escapeOctet(body[k]), cutText(body[k+1:], false)
			default:
				t.Mark = "⏎"
			}
		} else {
			t.A = cutText(body, false)
		}
		all = append(all, t)
		at += len(l)
		if line > 0 && i+1 >= line+textAfter || line == 0 && mark < 0 && i > textBefore+textAfter {
			break
		}
	}
	return all[max(0, max(line, 1)-1-textBefore):], line, column
}

// cutText is octets in escaped text, at most textWidth of them: the last ones when tail is set, else the first.
func cutText(b []byte, tail bool) string {
	switch {
	case len(b) <= textWidth:
		return escapeLine(b)
	case tail:
		return "… " + escapeLine(b[len(b)-textWidth:])
	}
	return escapeLine(b[:textWidth]) + " …"
}

func escapeOctet(c byte) string {
	switch {
	case c == '\\':
		return `\\`
	case c >= 0x20 && c < 0x7f:
		return string(rune(c))
	}
	return fmt.Sprintf(`\x%02x`, c)
}

func escapeLine(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteString(escapeOctet(c))
	}
	return s.String()
}

// escape is any octets as text that a browser's form gives back unchanged: CRLF is a line end, other octets that are not
// printing ASCII are \xHH, a backslash is doubled.
func escape(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); i++ {
		if b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n' {
			s.WriteByte('\n')
			i++
			continue
		}
		s.WriteString(escapeOctet(b[i]))
	}
	return s.String()
}

// unescape undoes escape; a line end, in whichever form the browser sends it, is CRLF.
func unescape(s string) ([]byte, error) {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	out := make([]byte, 0, len(s))
	line := 1
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\n':
			out = append(out, '\r', '\n')
			line++
		case c == '\\' && i+1 < len(s) && s[i+1] == '\\':
			out = append(out, '\\')
			i++
		case c == '\\':
			if i+4 > len(s) || s[i+1] != 'x' {
				return nil, fmt.Errorf(`line %d: a backslash is written \\, any other octet \xHH`, line)
			}
			n, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				return nil, fmt.Errorf(`line %d: \x%s: two hex digits are expected`, line, s[i+2:i+4])
			}
			out = append(out, byte(n))
			i += 3
		case c >= 0x80:
			return nil, fmt.Errorf(`line %d: a character beyond ASCII: write its octet in the file's code page as \xHH`, line)
		default:
			out = append(out, c)
		}
	}
	return out, nil
}

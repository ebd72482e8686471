package downgrade

import (
	"bytes"
	"strings"
)

// header reads the header of one entity, field by field, and writes it as the peer takes it.
type header struct {
	w    *walker
	root bool
	fate

	contentType, encoding string
	typed, versioned      bool
	broken                bool // the entity ended in it
}

// read goes through the fields. It leaves the walker at the body's first line.
func (h *header) read() error {
	l := h.w.lines
	var field []byte
	first := true
	for {
		p, ok := l.next()
		if !ok {
			h.broken = true
			return h.end(field, false)
		}
		if _, _, hit := l.boundary(p); hit {
			l.unread(p)
			h.broken = true
			return h.end(field, false)
		}
		fold := len(p.text) > 0 && (p.text[0] == ' ' || p.text[0] == '\t')
		switch {
		case p.start && len(p.text) == 0 && p.end != none:
			return h.end(field, true)
		case p.start && fold && !first, !p.start:
			if len(field) < maxField {
				if p.start {
					field = append(field, '\n')
				}
				field = append(field, p.text...)
			} else if err := h.overlong(&field, p); err != nil {
				return err
			}
		case nameLen(p.text) == 0: // the body begins without an empty line
			l.unread(p)
			return h.end(field, true)
		default:
			if err := h.field(field); err != nil {
				return err
			}
			field = append(field[:0], p.text...)
		}
		first = false
	}
}

// overlong writes what was gathered of a field without end, and goes on with the rest as continuation.
func (h *header) overlong(field *[]byte, p piece) error {
	if err := h.field(*field); err != nil {
		return err
	}
	name := (*field)[:nameLen(*field)]
	*field = append(append(append([]byte(nil), name...), ": "...), p.text...)
	return nil
}

// end writes the last field and what stands between header and body.
func (h *header) end(field []byte, body bool) error {
	if err := h.field(field); err != nil {
		return err
	}
	w := h.w
	if h.act == toQuoted || h.act == toBase {
		if h.root && !h.versioned {
			if err := w.put("MIME-Version: 1.0\r\n"); err != nil {
				return err
			}
		}
		if !h.typed {
			charset := map[bool]string{true: "unknown-8bit", false: "us-ascii"}[h.eight] // RFC 1428
			if err := w.put("Content-Type: text/plain; charset=", charset, "\r\n"); err != nil {
				return err
			}
		}
		word := map[action]string{toQuoted: "quoted-printable", toBase: "base64"}[h.act]
		if err := w.put("Content-Transfer-Encoding: ", word, "\r\n"); err != nil {
			return err
		}
	}
	if body {
		return w.put("\r\n")
	}
	return nil
}

// field notes what matters and writes one field, its folded lines joined by LF alone.
func (h *header) field(f []byte) error {
	n := nameLen(f)
	if n == 0 {
		return nil
	}
	name := string(f[:n])
	switch strings.ToLower(name) {
	case "content-type":
		if !h.typed {
			h.contentType, h.typed = value(f), true
		}
	case "mime-version":
		h.versioned = true
	case "content-transfer-encoding":
		h.encoding = strings.ToLower(strings.Trim(value(f), " \t"))
		switch h.act {
		case toQuoted, toBase:
			return nil // another one comes at the end
		default:
			// A container, or a body that holds no such octets, is what it says only until its parts are changed.
			if h.w.o.SevenBit && (h.encoding == "8bit" || h.encoding == "binary") || h.encoding == "binary" {
				return nil
			}
		}
	default:
		if h.root && h.w.n == 1 && h.w.o.Drop != nil && h.w.o.Drop(name) {
			return nil
		}
	}
	if h.w.out == nil {
		return nil
	}
	if high, _ := octets(f); high && h.w.o.ASCIIHeader {
		f = asciiField(name, f)
	}
	return h.w.put(foldField(f))
}

// container tells an entity that holds others: a multipart's boundary, or a whole message.
func (h *header) container() (boundary string, nested bool) {
	switch h.encoding {
	case "", "7bit", "8bit", "binary":
	default:
		return "", false // encoded although it may not be: a leaf like any other
	}
	typ, boundary := mediaType(h.contentType)
	switch {
	case strings.HasPrefix(typ, "multipart/") && boundary != "" && len(boundary) <= 200:
		return boundary, false
	case typ == "message/rfc822":
		return "", true
	}
	return "", false
}

// choose is what has to be done to a leaf with such a body. container is one that was not looked into.
func (h *header) choose(n need, container bool) action {
	binary := h.encoding == "binary" && (n.bare || n.nul || n.eight)
	if !n.long && !n.bare && !n.nul && (!n.eight || !h.w.o.SevenBit) && !binary {
		return copyBody
	}
	typ, _ := mediaType(h.contentType)
	switch h.encoding {
	case "quoted-printable":
		return mendQuoted
	case "base64":
		return mendBase
	case "", "7bit", "8bit":
		switch {
		case container, strings.HasPrefix(typ, "message/") && typ != "message/global", strings.HasPrefix(typ, "multipart/"):
			return mendRaw
		case typ == "", strings.HasPrefix(typ, "text/"):
			return toQuoted
		}
		return toBase
	case "binary":
		if container {
			return mendRaw
		}
		return toBase
	}
	return mendRaw // an encoding that we do not know can't be encoded again
}

// nameLen is the length of the field name at the start of line, 0 when there is none.
func nameLen(line []byte) int {
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

// value is a field's text with its folds undone.
func value(f []byte) string {
	_, v, _ := bytes.Cut(f, []byte(":"))
	return strings.Trim(strings.ReplaceAll(string(v), "\n", ""), " \t\r")
}

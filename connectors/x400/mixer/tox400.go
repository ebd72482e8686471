package mixer

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/p22"
	"backbone/gateway/mail"

	"github.com/emersion/go-message/textproto"
)

// Mapper maps contents.
type Mapper struct {
	*Addresses
	Options p1.Options
	// Bilateral sends files as bilaterally defined parts, which have no name, as body part 14 of 1984; else as file transfer.
	Bilateral bool
	// Note takes the ledger's lines. Never nil.
	Note func(mail.Note)
}

const (
	maxHeader = 256 << 10 // of a message
	maxParts  = 1000
	maxDepth  = 16
	maxText   = 4 << 20 // of a text part whose character set has to be found out
)

// ToIPM writes the message that r gives as an interpersonal message. r is read twice: the fields of the parts stand in
// the heading, before the parts.
func (m *Mapper) ToIPM(w io.Writer, r io.ReadSeeker) error {
	survey := &walker{m: m, level: &level{}}
	if err := survey.message(r); err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	s := ber.NewStream(w)
	write := &walker{m: m, level: survey.level, s: s}
	if err := write.message(r); err != nil {
		return err
	}
	return s.Err()
}

// level is what the first pass learned of one message: the fields of its parts, and the messages among them.
type level struct {
	fields []string
	ascii  []bool // of parts that are all ASCII
	inner  []*level
	next   int // of inner, in the second pass
}

// walker goes through a message; in the first pass s is nil.
type walker struct {
	m     *Mapper
	s     *ber.Stream
	level *level
	parts int
	depth int // of forwarded messages
}

// limited bounds what is read until the limit is lifted.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("mixer: a header of more than %d octets", maxHeader)
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// open reads the header of a message, and gives its body.
func open(r io.Reader) (textproto.Header, *bufio.Reader, error) {
	l := &limited{r, maxHeader}
	b := bufio.NewReader(l)
	h, err := textproto.ReadHeader(b)
	if err != nil {
		return h, b, fmt.Errorf("mixer: header: %w", err)
	}
	l.left = 1 << 62
	return h, b, nil
}

func (w *walker) message(r io.Reader) error {
	h, body, err := open(r)
	if err != nil {
		return err
	}
	if w.s == nil {
		return w.entity(h, body, 0)
	}
	heading, err := w.m.heading(h, w.level.fields)
	if err != nil {
		return err
	}
	p22.WriteIPM(w.s, heading, w.m.Options, func() {
		w.fieldsPart(heading)
		w.s.Fail(w.entity(h, body, 0))
	})
	return w.s.Err()
}

func mediaType(h textproto.Header) (string, map[string]string) {
	t, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || t == "" {
		if i := strings.IndexByte(h.Get("Content-Type"), ';'); i > 0 && strings.Contains(h.Get("Content-Type")[:i], "/") {
			return strings.ToLower(strings.TrimSpace(h.Get("Content-Type")[:i])), nil // odd parameters
		}
		return "text/plain", nil
	}
	return t, params
}

// entity handles a body: a multipart's members one by one, anything else as a part.
func (w *walker) entity(h textproto.Header, r io.Reader, nesting int) error {
	t, params := mediaType(h)
	if strings.HasPrefix(t, "multipart/") && params["boundary"] != "" && nesting < maxDepth {
		if w.s != nil && t != "multipart/mixed" {
			w.m.Note(mail.Note{Field: "Content-Type", Action: mail.NoteChanged, Detail: t + " became a plain sequence of body parts"})
		}
		mr := textproto.NewMultipartReader(r, params["boundary"])
		for {
			part, err := mr.NextPart()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return fmt.Errorf("mixer: %s: %w", t, err)
			}
			if err := w.entity(part.Header, part, nesting+1); err != nil {
				return err
			}
		}
	}
	if w.parts++; w.parts > maxParts {
		return fmt.Errorf("mixer: more than %d body parts", maxParts)
	}
	if w.s == nil {
		w.level.fields = append(w.level.fields, partFields(h))
	}
	body := decoded(h, r)
	switch {
	case t == "message/rfc822" && w.depth < maxDepth:
		if w.s == nil {
			w.level.ascii = append(w.level.ascii, false)
		}
		return w.forwarded(body)
	case w.s == nil:
		var all plainASCII = true
		_, err := io.Copy(&all, body)
		w.level.ascii = append(w.level.ascii, bool(all))
		return err
	case t == "text/plain" && !strings.HasPrefix(strings.ToLower(h.Get("Content-Disposition")), "attachment"):
		if w.parts <= len(w.level.ascii) && w.level.ascii[w.parts-1] {
			p22.PartIA5(w.s, body)
			return w.s.Err()
		}
		if w.m.beside() && params["charset"] != "" {
			p22.PartBilateral(w.s, body) // 1984 has IA5 and T.61 only; the part's own fields say what the octets are
			return w.s.Err()
		}
		return w.m.text(w.s, params["charset"], body)
	}
	w.m.file(w.s, h, params, body)
	return w.s.Err()
}

// plainASCII is written to, and stays true as long as nothing else comes.
type plainASCII bool

func (p *plainASCII) Write(b []byte) (int, error) {
	*p = *p && plainASCII(ascii(b))
	return len(b), nil
}

// forwarded handles a message within this one.
func (w *walker) forwarded(r io.Reader) error {
	inner := &walker{m: w.m, s: w.s, depth: w.depth + 1}
	h, body, err := open(r)
	if err != nil {
		return err
	}
	if w.s == nil {
		inner.level = &level{}
		w.level.inner = append(w.level.inner, inner.level)
		return inner.entity(h, body, 0)
	}
	if w.level.next == len(w.level.inner) {
		return fmt.Errorf("mixer: the message changed while it was read")
	}
	inner.level = w.level.inner[w.level.next]
	w.level.next++
	heading, err := w.m.heading(h, inner.level.fields)
	if err != nil {
		return err
	}
	p22.PartMessage(w.s, heading, w.m.Options, func() {
		w.fieldsPart(heading)
		w.s.Fail(inner.entity(h, body, 0))
	})
	return w.s.Err()
}

// decoded undoes the transfer encoding. What is not of a known one is taken as it is.
func decoded(h textproto.Header, r io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, &base64Only{r})
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	}
	return r
}

// base64Only leaves out what is no character of base64 (RFC 2045 6.8).
type base64Only struct{ r io.Reader }

func (b *base64Only) Read(p []byte) (int, error) {
	for {
		n, err := b.r.Read(p)
		kept := p[:0]
		for _, c := range p[:n] {
			if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=' {
				kept = append(kept, c)
			}
		}
		if len(kept) > 0 || err != nil {
			return len(kept), err
		}
	}
}

// partFields are the fields of a part that a body part has no place for, as they stand; "" when Content-Type alone says
// plain text.
func partFields(h textproto.Header) string {
	var b strings.Builder
	for f := h.Fields(); f.Next(); {
		key := strings.ToLower(f.Key())
		if (!strings.HasPrefix(key, "content-") && key != "x-mmff-name" && key != "x-mmff-body") || key == "content-transfer-encoding" {
			continue
		}
		raw, err := f.Raw()
		if err != nil || !ascii(raw) {
			continue
		}
		b.Write(raw)
	}
	if b.Len() > maxHeader/16 {
		return ""
	}
	return b.String()
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// file writes a part that is no text.
func (m *Mapper) file(s *ber.Stream, h textproto.Header, params map[string]string, r io.Reader) {
	name := params["name"]
	if _, dp, err := mime.ParseMediaType(h.Get("Content-Disposition")); err == nil && dp["filename"] != "" {
		name = dp["filename"]
	}
	if d, err := words.DecodeHeader(name); err == nil {
		name = d
	}
	if m.Bilateral || m.Options.Stack1984 {
		if name != "" && !m.beside() {
			m.Note(mail.Note{Field: "attachment " + name, Action: mail.NoteLost, Detail: "the name: a bilaterally defined body part has none"})
		}
		p22.PartBilateral(s, r)
		return
	}
	p22.PartFile(s, p22.BodyPart{Filename: name}, r)
}

package mmff

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// EncodeOptions say how a post office wants to be written to. The zero value is a good default.
type EncodeOptions struct {
	CodePage *CodePage // of header text; nil is 850. Text and Attachments are written as they are
	// SubjectMax is the longest subject in octets; what is longer is cut, as FFAPI 3.0 cuts it (KB Q85057). A peer
	// behind the AppleTalk connection takes 63 (KB Q117581). 0 is 255, more is taken as 255.
	SubjectMax int
}

// Encode writes one message; several in a row make a file. Inline sizes are those of the contents, each of which is
// opened once and must give exactly what it promised. The notes say what the code page or the limits changed.
//
// An error leaves w with part of a message. Text that could end a line or forge another (a line end in an attachment's
// name, a blank in a priority) is an error and nothing is written; control characters of a subject are escaped.
// What MMFF cannot say is the caller's to decide before: a message with CC, without recipients or an originator is
// an error.
func Encode(w io.Writer, m *Message, opt EncodeOptions) ([]mail.Note, error) {
	e := &writer{m: m, end: m.LineEnd.or(), page: opt.CodePage}
	if e.page == nil {
		e.page = CP850
	}
	max := opt.SubjectMax
	if max <= 0 || max > 255 {
		max = 255
	}
	e.header(max)
	if e.err != nil {
		return nil, e.err
	}
	out := writers.Get().(*bufio.Writer)
	out.Reset(w)
	defer func() {
		out.Reset(nil) // w may be large
		writers.Put(out)
	}()
	if _, err := out.WriteString(e.head.String()); err != nil {
		return nil, err
	}
	if err := copyExactly(out, "text", m.Text); err != nil {
		return nil, err
	}
	for _, a := range m.Attachments {
		if err := copyExactly(out, "attachment "+show(a.Name), a.Content); err != nil {
			return nil, err
		}
	}
	return e.notes, out.Flush()
}

// writers are kept: small messages come by the thousand.
var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 32<<10) }}

type writer struct {
	m     *Message
	end   string
	page  *CodePage
	head  strings.Builder
	notes []mail.Note
	err   error
}

func (e *writer) header(subjectMax int) {
	m := e.m
	version := m.Version
	if version == "" {
		version = "3.00"
	}
	e.put("VERSION", version)
	if len(m.To) == 0 {
		e.fail("no recipients")
	}
	if len(m.CC) > 0 {
		e.fail("the format has no CC (KB Q87223): make them TO")
	}
	for _, a := range m.To {
		e.address("TO", a)
	}
	e.address("FROM", m.From)
	e.word("DATE", m.Date)
	e.word("TIME", m.Time)
	if m.Subject != "" {
		e.put("SUBJECT", e.cut(escape(m.Subject), subjectMax))
	}
	e.word("PRIORITY", m.Priority)
	for _, a := range m.Attachments {
		name := e.text("attachment "+show(a.Name), a.Name)
		if strings.Trim(name, " ") != name || name == "" { // octets of the code page: only ASCII can be told in them
			e.fail("attachment name %s is empty or has outer blanks", show(a.Name))
		}
		e.put("ATTACHMENT", fmt.Sprintf("%s %d", name, sizeOf(a.Content)))
	}
	e.put("TEXT", fmt.Sprint(sizeOf(m.Text)))
	if e.head.Len() > maxHeader {
		e.fail("the header has more than %d octets", maxHeader)
	}
}

func (e *writer) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("mmff: "+format, args...)
	}
}

func (e *writer) put(token, tail string) {
	if strings.ContainsAny(tail, "\r\n") || len(token)+1+len(tail)+len(e.end) > maxLine {
		e.fail("%s %s does not fit in one line", token, show(tail))
		return
	}
	e.head.WriteString(token + ":" + tail + e.end)
}

// word writes a value without blanks, or nothing.
func (e *writer) word(token, v string) {
	if v == "" {
		return
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		e.fail("%s %s is not one word of ASCII", token, show(v))
		return
	}
	e.put(token, v)
}

// address writes an address that must survive the code page: a '?' in it would name someone else.
func (e *writer) address(token string, a address.Address) {
	if a.IsZero() {
		e.fail("no address for %s", token)
		return
	}
	b, loss := e.page.Encode(a.MMFF())
	if loss != (Loss{}) {
		e.fail("%s %s has characters that code page %s lacks", token, show(a.Value), e.page)
		return
	}
	e.put(token, string(b))
}

// text is s in the code page, with a note of what that changed.
func (e *writer) text(field, s string) string {
	b, loss := e.page.Encode(s)
	e.notes = append(e.notes, loss.Notes(field, e.page)...)
	return string(b)
}

// cut is the subject in the code page, at most max octets of it, never half a double-byte character or escape.
func (e *writer) cut(s string, max int) string {
	out := e.text("SUBJECT", s)
	if len(out) <= max {
		return out
	}
	whole, enc := len(out), encoder{page: e.page}
	var kept []byte
	for rest := s; rest != ""; {
		n := clusterLen(rest)
		if _, ok := escaped(rest); ok {
			n = 3
		}
		next := kept
		for _, r := range rest[:n] {
			next = enc.rune(next, r)
		}
		if next = enc.flush(next); len(next) > max {
			break
		}
		kept, rest = next, rest[n:]
	}
	e.notes = append(e.notes, mail.Note{Field: "SUBJECT", Action: mail.NoteChanged,
		Detail: fmt.Sprintf("cut from %d to %d octets", whole, len(kept))})
	return string(kept)
}

// Notes are the ledger's lines about a loss in a field.
func (l Loss) Notes(field string, p *CodePage) []mail.Note {
	var out []mail.Note
	if l.Changed > 0 {
		out = append(out, mail.Note{Field: field, Action: mail.NoteChanged,
			Detail: fmt.Sprintf("%d characters that code page %s lacks became similar ones", l.Changed, p)})
	}
	if l.Lost > 0 {
		out = append(out, mail.Note{Field: field, Action: mail.NoteLost,
			Detail: fmt.Sprintf("%d characters that code page %s lacks became ?", l.Lost, p)})
	}
	return out
}

func sizeOf(c mail.Content) int64 {
	if c == nil {
		return 0
	}
	return c.Size()
}

func copyExactly(w io.Writer, what string, c mail.Content) error {
	if c == nil {
		return nil
	}
	r, err := c.Open()
	if err != nil {
		return fmt.Errorf("mmff: %s: %w", what, err)
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, c.Size()+1))
	if err == nil && n != c.Size() {
		err = fmt.Errorf("%d octets promised, %d or more found", c.Size(), n)
		if n < c.Size() {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return fmt.Errorf("mmff: %s: %w", what, err)
	}
	return nil
}

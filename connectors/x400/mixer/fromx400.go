package mixer

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"time"

	"backbone/connectors/x400/p22"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Facts are what the transfer envelope says and a message's header is to show (RFC 2156 5.3).
type Facts struct {
	MTSIdentifier string
	ContentType   string
	Originator    address.ORAddress
	Recipients    []address.ORAddress // of which the originator wants each other one to know
	Trace         []string            // X400-Received, newest first
	Submitted     time.Time           // for a message without a date of its own
	Extra         [][2]string         // further fields: Priority, Deferred-Delivery and the like
}

// FromIPM writes an interpersonal message as RFC 5322 with MIME.
func (m *Mapper) FromIPM(w io.Writer, ipm *p22.IPM, f Facts) error {
	return m.fromIPM(w, ipm, &f, 0)
}

func (m *Mapper) fromIPM(w io.Writer, ipm *p22.IPM, f *Facts, depth int) error {
	ipm = m.withFields(ipm)
	b := &builder{}
	seen := m.header(b, &ipm.Heading)
	for _, field := range ipm.Fields(p22.HeaderFields) {
		b.verbatim(field, seen)
	}
	if f != nil {
		if !seen["date"] && !f.Submitted.IsZero() {
			b.field("Date", f.Submitted.UTC().Format(time.RFC1123Z))
		}
		for _, t := range f.Trace {
			b.field("X400-Received", t)
		}
		b.field("X400-MTS-Identifier", f.MTSIdentifier)
		b.field("X400-Originator", f.Originator.MIXER())
		var all []string
		for _, or := range f.Recipients {
			all = append(all, or.MIXER())
		}
		b.field("X400-Recipients", strings.Join(all, ",\r\n "))
		b.field("X400-Content-Type", f.ContentType)
		for _, x := range f.Extra {
			b.field(x[0], x[1])
		}
	}
	var lost []string
	for _, x := range ipm.Extensions {
		switch x.Type {
		case p22.HeaderFields, p22.HeaderField, p22.PartFields:
		case p22.IncompleteCopy:
			b.field("Incomplete-Copy", " ")
		case p22.Languages:
			b.field("Language", strings.Join(x.Texts(), ", "))
		default:
			lost = append(lost, string(x.Type))
		}
	}
	if len(lost) > 0 {
		b.field("Discarded-X400-IPMS-Extensions", strings.Join(lost, ", "))
		m.Note(mail.Note{Field: "heading extensions", Action: mail.NoteLost, Detail: strings.Join(lost, ", ")})
	}
	b.field("MIME-Version", "1.0")
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	return m.body(w, ipm, depth)
}

// body writes what follows the message's own fields: the part itself when there is one, else a multipart.
func (m *Mapper) body(w io.Writer, ipm *p22.IPM, depth int) error {
	fields := ipm.Fields(p22.PartFields)
	if len(ipm.Body) != len(fields) {
		fields = nil // another gateway took parts out, or put some in
	}
	fieldsOf := func(i int) string {
		if i < len(fields) {
			return fields[i]
		}
		return ""
	}
	if len(ipm.Body) == 1 {
		end := &ending{w: w}
		if err := m.part(end, ipm.Body[0], fieldsOf(0), depth); err != nil {
			return err
		}
		if end.last != "\r\n" { // base64, or an inner message: a line end more says nothing
			_, err := io.WriteString(w, "\r\n")
			return err
		}
		return nil
	}
	boundary := "=_" + digest(fmt.Sprintf("%s %d %s", ipm.This.Local, depth, ipm.Subject))
	if len(ipm.Body) == 0 {
		_, err := io.WriteString(w, "Content-Type: text/plain; charset=us-ascii\r\n\r\n")
		return err
	}
	if _, err := fmt.Fprintf(w, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n", boundary); err != nil {
		return err
	}
	for i, p := range ipm.Body {
		if _, err := fmt.Fprintf(w, "--%s\r\n", boundary); err != nil {
			return err
		}
		if err := m.part(w, p, fieldsOf(i), depth); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "\r\n"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "--%s--\r\n", boundary)
	return err
}

// ending remembers the last two octets.
type ending struct {
	w    io.Writer
	last string
}

func (e *ending) Write(b []byte) (int, error) {
	if tail := e.last + string(b[max(0, len(b)-2):]); len(tail) >= 2 {
		e.last = tail[len(tail)-2:]
	}
	return e.w.Write(b)
}

// part writes one body part: its fields, an empty line, its octets.
func (m *Mapper) part(w io.Writer, p p22.BodyPart, fields string, depth int) error {
	switch p.Kind {
	case p22.IA5, p22.GeneralText, p22.Teletex:
		_, alone := w.(*ending)
		return m.textPart(w, p, fields, alone)
	case p22.Message:
		if p.Message == nil || depth >= maxDepth {
			return m.octetsPart(w, p, fields)
		}
		if _, err := io.WriteString(w, "Content-Type: message/rfc822\r\n\r\n"); err != nil {
			return err
		}
		return m.fromIPM(w, p.Message, nil, depth+1)
	}
	return m.octetsPart(w, p, fields)
}

// textPart writes a text. A text that is alone in its message and does not end a line is encoded, since SMTP would
// end the line. Plain ASCII, however long, is passed on piece by piece; other texts are held while they are converted.
func (m *Mapper) textPart(w io.Writer, p p22.BodyPart, fields string, alone bool) error {
	b := &builder{}
	b.partFields(fields)
	look, write := &scan{}, p.Octets
	if p.Kind != p22.IA5 || write(look) != nil || look.eight || !b.takesASCII() {
		out := b.encoded(textOf(p))
		look, write = &scan{}, func(w io.Writer) error { _, err := w.Write(out); return err }
		if err := write(look); err != nil {
			return err
		}
	}
	look.done()
	if b.contentType == "" {
		b.field("Content-Type", "text/plain; charset="+map[bool]string{false: "us-ascii", true: "utf-8"}[look.eight])
	}
	open := alone && !look.ended
	if look.bare {
		return m.base64Part(w, b, write)
	}
	if look.plain() && !open {
		b.field("Content-Transfer-Encoding", "7bit")
	} else {
		b.field("Content-Transfer-Encoding", "quoted-printable")
	}
	b.WriteString("\r\n")
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	if look.plain() && !open {
		return write(w)
	}
	q := quotedprintable.NewWriter(w)
	if err := write(q); err != nil {
		return err
	}
	if err := q.Close(); err != nil || !open {
		return err
	}
	_, err := io.WriteString(w, "=\r\n") // a soft line end
	return err
}

// encoded gives text in the character set of the part's Content-Type, when it has a place there; else in UTF-8, and
// Content-Type is dropped.
func (b *builder) encoded(text string) []byte {
	out := []byte(text)
	if b.contentType == "" {
		return out
	}
	_, params, err := mime.ParseMediaType(b.contentType)
	want := strings.ToLower(params["charset"])
	code := charset(want)
	encoded, encErr := out, error(nil)
	if code != nil {
		encoded, encErr = code.NewEncoder().Bytes(out)
	}
	fits := code != nil || want == "utf-8" || ascii(out)
	if err == nil && encErr == nil && fits && strings.HasPrefix(strings.ToLower(b.contentType), "text/plain") {
		return encoded
	}
	b.drop("Content-Type")
	return out
}

// takesASCII tells that ASCII stands for itself under the part's Content-Type.
func (b *builder) takesASCII() bool {
	var all strings.Builder
	for c := range byte(0x80) {
		all.WriteByte(c)
	}
	probe := builder{contentType: b.contentType}
	return probe.contentType == "" || (string(probe.encoded(all.String())) == all.String() && probe.contentType != "")
}

// octetsPart writes what is no text.
func (m *Mapper) octetsPart(w io.Writer, p p22.BodyPart, fields string) error {
	b := &builder{}
	octets := p.Octets
	switch p.Kind {
	case p22.File, p22.Bilateral:
		b.partFields(fields)
		if b.contentType == "" {
			disposition := "attachment"
			if p.Filename != "" {
				disposition = mime.FormatMediaType("attachment", map[string]string{"filename": p.Filename})
			}
			b.field("Content-Type", "application/octet-stream")
			b.field("Content-Disposition", disposition)
			b.field("Content-Description", encodeWords(p.Description))
		}
	default:
		m.Note(mail.Note{Field: "body part " + p.Type, Action: mail.NoteChanged, Detail: "of a type without a counterpart: it goes as encoded"})
		b.field("Content-Type", `application/x400-bp; bp-type="`+p.Type+`"`) // RFC 2157 3.2
		octets = func(w io.Writer) error { _, err := w.Write(p.Raw); return err }
	}
	return m.base64Part(w, b, octets)
}

// base64Part writes b's fields, then what octets writes in base64.
func (m *Mapper) base64Part(w io.Writer, b *builder, octets func(io.Writer) error) error {
	b.field("Content-Transfer-Encoding", "base64")
	b.WriteString("\r\n")
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	e := base64.NewEncoder(base64.StdEncoding, &lines{w: w})
	if err := octets(e); err != nil {
		return err
	}
	return e.Close()
}

// lines breaks what it is given into lines of 76 characters.
type lines struct {
	w  io.Writer
	at int
}

func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if l.at == 76 {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return 0, err
			}
			l.at = 0
		}
		k := min(76-l.at, len(b))
		if _, err := l.w.Write(b[:k]); err != nil {
			return 0, err
		}
		l.at += k
		b = b[k:]
	}
	return n, nil
}

// header writes the fields that a heading has, and tells which it wrote.
func (m *Mapper) header(b *builder, h *p22.Heading) map[string]bool {
	from, sender := h.Originator, (*p22.ORDescriptor)(nil)
	author := []p22.ORDescriptor{}
	if len(h.Authorizing) > 0 {
		author, sender = h.Authorizing, from
	} else if from != nil {
		author = append(author, *from)
	}
	list := func(name string, all []p22.ORDescriptor) {
		var out []string
		for _, d := range all {
			if s := m.mailbox(d); s != "" {
				out = append(out, s)
			}
		}
		b.field(name, strings.Join(out, ",\r\n "))
	}
	specifiers := func(name string, all []p22.RecipientSpecifier) {
		var d []p22.ORDescriptor
		for _, r := range all {
			d = append(d, r.ORDescriptor)
		}
		list(name, d)
	}
	list("From", author)
	if sender != nil && (len(author) != 1 || m.mailbox(author[0]) != m.mailbox(*sender)) {
		list("Sender", []p22.ORDescriptor{*sender})
	}
	specifiers("To", h.Primary)
	specifiers("Cc", h.Copy)
	specifiers("Bcc", h.Blind)
	list("Reply-To", h.ReplyTo)
	if p22.SubjectFits(h.Subject) {
		b.field("Subject", encodeWords(h.Subject))
	}
	if h.This.Local != "" && h.This.Local != "none" {
		b.field("Message-ID", messageID(h.This))
	}
	if h.RepliedTo != nil {
		b.field("In-Reply-To", messageID(*h.RepliedTo))
	}
	b.field("References", identifierList(h.Related))
	b.field("Supersedes", identifierList(h.Obsoleted))
	if !h.Expiry.IsZero() {
		b.field("Expires", h.Expiry.Format(time.RFC1123Z))
	}
	if !h.Reply.IsZero() {
		b.field("Reply-By", h.Reply.Format(time.RFC1123Z))
	}
	switch h.Importance {
	case p22.ImportanceHigh:
		b.field("Importance", "high")
	case p22.ImportanceLow:
		b.field("Importance", "low")
	}
	b.field("Sensitivity", map[int64]string{p22.Personal: "Personal", p22.Private: "Private", p22.CompanyConfidential: "Company-Confidential"}[h.Sensitivity])
	if h.AutoForwarded {
		b.field("Autoforwarded", "TRUE")
	}
	kept := h.Fields(p22.HeaderFields)
	for _, r := range h.Primary {
		if r.Notify.Has(p22.NotifyReceipt) && h.Originator != nil && !mentions(kept, "disposition-notification-to") {
			list("Disposition-Notification-To", []p22.ORDescriptor{*h.Originator})
			break
		}
	}
	// What goes along beside is more exact than what was mapped.
	for _, name := range []string{"Message-ID", "In-Reply-To", "References", "Subject", "From", "To", "Cc", "Sender", "Reply-To"} {
		if mentions(kept, strings.ToLower(name)) {
			b.drop(name)
		}
	}
	return b.names()
}

func mentions(fields []string, name string) bool {
	for _, f := range fields {
		if len(f) > len(name) && strings.EqualFold(f[:len(name)], name) && f[len(name)] == ':' {
			return true
		}
	}
	return false
}

func identifierList(all []p22.IPMID) string {
	var out []string
	for _, id := range all {
		out = append(out, messageID(id))
	}
	return strings.Join(out, "\r\n ")
}

// mailbox is a descriptor as a header field has it; a name without an address becomes an empty group (RFC 2156 5.3.7).
func (m *Mapper) mailbox(d p22.ORDescriptor) string {
	name := clean(d.FreeForm)
	if d.Name == nil {
		if name == "" {
			return ""
		}
		return strings.TrimSuffix((&netmail.Address{Name: name, Address: "x@x"}).String(), " <x@x>") + ":;"
	}
	a := m.Native(d.Name.Address)
	if name == "" {
		name = clean(m.Book.Name(a))
	}
	return (&netmail.Address{Name: name, Address: m.Mailbox(a)}).String()
}

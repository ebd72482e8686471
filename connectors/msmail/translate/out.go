package translate

import (
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"

	"github.com/emersion/go-message"
)

// Outbound is a message as a post office gets it. Its contents are made while they are read, in the order of the file, one
// at a time; Close ends that.
type Outbound struct {
	Message *mmff.Message
	Side    shadowpo.Side
	Notes   []mail.Note
	files   *files
}

// Close releases the message under the contents.
func (o *Outbound) Close() error { return o.files.Close() }

// outbound is one message on its way out.
type outbound struct {
	ledger
	po      *PostOffice
	env     *mail.Envelope
	content mail.Content
	book    connectors.AddressBook

	embeddedText bool
	layout       *layout
	kind         string // X-MMFF-Kind
	msg          *mmff.Message
	side         shadowpo.Side
	files        *files
}

// Out makes the post office's form of a message for env's recipients, each of which CanWrite allows. What can't be
// converted is carried opaque. The error is the content's reader's, never the message's.
func (p *PostOffice) Out(env *mail.Envelope, content mail.Content, book connectors.AddressBook) (*Outbound, error) {
	o := &outbound{po: p, env: env, content: content, book: book, msg: &mmff.Message{LineEnd: p.lineEnd()},
		embeddedText: p.EmbeddedText || env.Kind == mail.KindReport} // a report's original is shown as text
	err := o.translate()
	if errors.Is(err, errSyntax) && o.embeddedText && o.layout.header.Len() > 0 {
		o.notes, o.side, o.embeddedText = nil, nil, false
		err = o.translate()
	}
	if errors.Is(err, errSyntax) {
		err = o.opaque(err)
	}
	if err != nil {
		return nil, mail.LocalFault("can't read the stored content", err)
	}
	o.sideLines()
	return &Outbound{Message: o.msg, Side: o.side, Notes: o.notes, files: o.files}, nil
}

// CanWrite tells whether a can stand in TO: in the post office's code page, unharmed.
func (p *PostOffice) CanWrite(a address.Address) bool {
	s := a.MMFF()
	_, loss := p.Page.Encode(s)
	return s != "" && loss == mmff.Loss{}
}

// EncodeOptions are for mmff.Encode.
func (p *PostOffice) EncodeOptions() mmff.EncodeOptions {
	return mmff.EncodeOptions{CodePage: p.Page, SubjectMax: p.MaxSubject}
}

func (o *outbound) translate() error {
	o.files = &files{content: o.content, embeddedText: o.embeddedText}
	var err error
	if o.layout, err = readLayout(o.content, o.embeddedText); err != nil {
		return err
	}
	if o.layout.cut {
		o.note("content", mail.NoteChanged, "a part lacks its end: what there is of it is shown")
	}
	h := o.layout.header
	o.kind = strings.ToLower(strings.TrimSpace(h.Get(fieldKind)))
	if o.env.Kind == mail.KindReport && o.kind != kindNDR {
		report, err := o.readReport()
		if err != nil {
			return err
		}
		if report != nil {
			return o.report(report)
		}
	}
	o.envelope(h)
	if err := o.body(o.heading(h), func(lf leaf) bool {
		return lf.role == asText || lf.role == asHTML || lf.role == asHeader
	}); err != nil {
		return err
	}
	o.attachments()
	return nil
}

// envelope fills in everything above the text.
func (o *outbound) envelope(h message.Header) {
	m := o.msg
	m.To = nil
	for _, r := range o.env.Recipients {
		m.To = append(m.To, r.Address)
	}
	m.From = o.from(h)
	o.sent(h)
	m.Subject = o.subject(h)
	receipt := h.Get("Disposition-Notification-To") != "" && o.env.Kind == mail.KindMessage
	var lost string
	m.Priority, lost = priorityOut(h.Get(fieldPriority),
		importance(h.Get("Importance"), h.Get("X-Priority"), h.Get("Priority"), h.Get("X-MSMail-Priority")), o.env.Priority, receipt)
	if lost != "" {
		o.note("Disposition-Notification-To", mail.NoteLost, "%s", lost)
	}
	if receipt {
		o.side.Add(shadowpo.SideReceipt, "read")
	}
	if h.Get("Return-Receipt-To") != "" {
		o.note("Return-Receipt-To", mail.NoteLost, "MS Mail has no delivery receipts (KB Q149021)")
	}
	if o.env.Kind == mail.KindReceipt {
		o.side.Add(shadowpo.SideType, sideRN)
		o.side.Add(shadowpo.SideAbout, shown(o.env.About))
		if o.kind != kindReceipt {
			m.Subject = "Registered: " + o.nameOf(m.From, h) // KB Q168771
		}
	}
	if o.kind == kindNDR {
		o.side.Add(shadowpo.SideType, sideNDR)
		o.side.Add(shadowpo.SideAbout, shown(o.env.About))
	}
	o.parties(h)
}

// subject is the one that left the post office, when it is still the same, else the header's in one line.
func (o *outbound) subject(h message.Header) string {
	s := shown(decodeWords(h.Get("Subject")))
	if original, ok := readExact(h.Get(fieldSubject)); ok && shown(original) == s {
		return original
	}
	return s
}

// sent is DATE and TIME in the post office's zone; the original time is kept, never the time of conversion (KB Q161933).
func (o *outbound) sent(h message.Header) {
	t, err := netmail.ParseDate(strings.TrimSpace(h.Get("Date")))
	if err != nil {
		if t = o.env.Sent; t.IsZero() {
			t = o.env.Arrived
		}
		o.note("Date", mail.NoteChanged, "the header has no date that can be read: the envelope's stands for it")
	}
	t = t.In(o.po.Zone)
	if y := t.Year(); y < 1970 || y > 9999 { // KB Q170137: a date may never stop mail
		o.note("Date", mail.NoteChanged, "the year %d can't be written: the arrival stands for it", y)
		t = o.env.Arrived.In(o.po.Zone)
	}
	o.msg.SetSent(t)
	if date, clock, ok := strings.Cut(strings.TrimSpace(h.Get(fieldSent)), " "); ok && plainStamp(date+" "+clock) {
		again := mmff.Message{Date: date, Time: clock}
		if s, notes := again.Sent(t); len(notes) == 0 && s.Truncate(time.Minute).Equal(t.Truncate(time.Minute)) {
			o.msg.Date, o.msg.Time = date, clock
		}
	}
}

// body finds the text. prefix stands above it.
func (o *outbound) body(prefix string, want func(leaf) bool) error {
	texts := slices.DeleteFunc(slices.Clone(o.layout.leaves), func(lf leaf) bool { return !want(lf) })
	// What a post office wrote comes back to one as it was; from anyone else, the wish for it is ignored.
	exact := len(texts) == 1 && texts[0].exact && o.env.Originator.Type == address.MS && prefix == ""
	own := exact && strings.EqualFold(texts[0].charset, mimeLabel(o.po.Page))
	var text *bodyText
	open := func() (io.Reader, io.Closer, error) {
		src, err := o.content.Open()
		if err != nil {
			return nil, nil, err
		}
		if own {
			p, err := firstText(src, o.embeddedText, o.layout, want)
			if err != nil {
				return nil, nil, errors.Join(err, src.Close())
			}
			return &ownOctets{lines: newLineReader(p, mmff.CRLF, o.content.Size()), end: string(o.po.lineEnd())}, src, nil
		}
		if text, err = o.layout.bodyText(src, o.embeddedText, want); err != nil {
			return nil, nil, errors.Join(err, src.Close())
		}
		return o.po.encoder(io.MultiReader(strings.NewReader(prefix), text), exact), src, nil
	}
	m, err := o.measure(open)
	for errors.Is(err, errSyntax) && text != nil && text.i > 0 && o.layout.leaves[text.i-1].role == asHTML {
		lf := &o.layout.leaves[text.i-1]
		lf.role = attached
		o.note("text/html", mail.NoteChanged, "attached instead of shown: %v", err)
		m, err = o.measure(open)
	}
	if err != nil {
		return err
	}
	o.msg.Text = m.content
	o.notes = append(o.notes, m.loss.Notes("text", o.po.Page)...)
	if m.controls > 0 {
		o.note("text", mail.NoteChanged, "%d control characters became ?", m.controls)
	}
	if text != nil {
		for _, label := range text.unknown {
			o.note("text", mail.NoteChanged, "charset %q is not known: read as UTF-8, else Windows 1252", label)
		}
	}
	for _, lf := range o.layout.leaves {
		if lf.role == asHTML {
			o.note("text/html", mail.NoteChanged, "shown as plain text")
		}
	}
	return nil
}

// firstText is the first wanted part, its transfer encoding undone.
func firstText(src io.Reader, embeddedText bool, l *layout, want func(leaf) bool) (io.Reader, error) {
	pr, err := newPartReader(src, embeddedText)
	if err != nil {
		return nil, err
	}
	for _, lf := range l.leaves {
		p, err := pr.next()
		if err != nil {
			return nil, err
		}
		if want(lf) {
			return p.body(), nil
		}
	}
	return nil, io.ErrUnexpectedEOF
}

// attachments lists what follows the text.
func (o *outbound) attachments() {
	names := nameSet{dos: o.po.DOSNames}
	native := o.env.Originator.Type == address.MS
	o.msg.Attachments = nil
	for i, lf := range o.layout.leaves {
		switch {
		case lf.role == dropped:
			o.note(lf.typ, mail.NoteLost, "%d octets: another form of the same text is shown", lf.size)
			continue
		case lf.role != attached, o.kind == kindNDR && lf.typ == "message/delivery-status":
			continue
		case o.env.Kind == mail.KindReceipt && lf.typ == "message/disposition-notification":
			o.note(lf.typ, mail.NoteMapped, "the receipt's text says it")
			continue
		case o.po.RichText == StripRichText && isTNEF(lf):
			o.note("attachment "+tnefName, mail.NoteLost, "rich text is taken off by this post office's setting")
			continue
		}
		name := lf.name
		if name == "" || name != strings.Trim(name, " ") || strings.ContainsAny(name, "\r\n") {
			name = SafeName(lf.filename)
		}
		if name == "" || isTNEF(lf) && lf.filename == "" {
			name = nameless(lf.typ, len(o.msg.Attachments)+1)
		}
		if o.po.DOSNames || !native {
			taken := names.take(name)
			if taken != name {
				o.note("attachment "+name, mail.NoteChanged, "called %s", taken)
			}
			name = taken
		}
		o.msg.Attachments = append(o.msg.Attachments, mmff.Attachment{Name: name, Content: &file{o.files, i, lf.size}})
		o.side.Add("sha256-attachment", fmt.Sprintf("%s %d", lf.sum, len(o.msg.Attachments)))
	}
}

func isTNEF(lf leaf) bool {
	return lf.typ == tnefType || lf.typ == "application/vnd.ms-tnef" || strings.EqualFold(lf.filename, tnefName)
}

// sideLines adds what every message has.
func (o *outbound) sideLines() {
	o.side.Add(shadowpo.SideID, oneLine(o.env.ID))
	o.side.Add(shadowpo.SideMessageID, oneLine(o.env.MessageID))
	addHops(&o.side, o.env.Trace)
	if !o.env.Arrived.IsZero() {
		o.side.Add(shadowpo.SideArrived, o.env.Arrived.UTC().Format(time.RFC3339))
	}
	o.side.Add(shadowpo.SideCodePage, o.po.Page.String())
}

// opaque carries a message that can't be taken apart as one attachment, with a notice that says so.
func (o *outbound) opaque(why error) error {
	o.notes, o.side = nil, nil
	o.note("content", mail.NoteChanged, "carried as one attachment, because it can't be converted: %v", why)
	o.files = &files{}
	o.envelope(o.layout.header)
	if o.msg.Subject == "" {
		o.msg.Subject = shown(o.env.Subject)
	}
	text := "This message could not be converted for Microsoft Mail:\r\n" + shown(why.Error()) +
		"\r\n\r\nIt is attached as it came, in Internet mail format.\r\n"
	m, err := o.measure(func() (io.Reader, io.Closer, error) {
		return o.po.encoder(strings.NewReader(text), false), io.NopCloser(nil), nil
	})
	if err != nil {
		return err
	}
	o.msg.Text = m.content
	o.msg.Attachments = []mmff.Attachment{{Name: "MESSAGE.EML", Content: o.content}}
	return nil
}

// heading shows the author by name and who else got the message, for post offices that ask for it.
func (o *outbound) heading(h message.Header) string {
	if !o.po.Heading {
		return ""
	}
	var b strings.Builder
	for _, field := range []string{"From", "To", "Cc"} {
		var names []string
		for _, m := range mailboxes(h, field) {
			names = append(names, dsn.Display(m.Name, o.book.Native(m.Address)))
		}
		if len(names) > 0 {
			fmt.Fprintf(&b, "%s: %s\r\n", field, strings.Join(names, "; "))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return b.String() + "\r\n"
}

// embeddedHeading introduces a forwarded message that is shown as text.
func embeddedHeading(h message.Header) string {
	var b strings.Builder
	b.WriteString("\r\n" + strings.Repeat("-", 30) + "\r\n")
	for _, field := range []string{"From", "To", "Date", "Subject"} {
		if v := shown(decodeWords(h.Get(field))); v != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", field, cut(v, 400))
		}
	}
	return b.String() + "\r\n"
}

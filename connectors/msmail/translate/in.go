package translate

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"
)

// Fields of ours in the canonical form. Each keeps what MIME's own fields can't hold exactly, and counts on the way back
// only while it agrees with the field beside which it stands: an edit, or a forger, gains nothing by it.
const (
	fieldPriority = "X-MMFF-Priority" // the letter
	fieldSubject  = "X-MMFF-Subject"  // base64 of UTF-8, when the subject has control characters or odd blanks
	fieldSent     = "X-MMFF-Sent"     // DATE and TIME as written, when they can't be told from Date
	fieldBody     = "X-MMFF-Body"     // of a text part: "exact" keeps single CRs, LFs and control characters
	fieldName     = "X-MMFF-Name"     // of an attachment: base64 of its name, when that was not safe to show
	fieldKind     = "X-MMFF-Kind"     // mail of machines: one of the kinds below
)

const (
	kindDirSync = "dirsync" // to or from $SYSTEM (KB Q106623)
	kindNDR     = "ndr"     // from POSTMASTER: "Mail failure" (KB Q147471)
	kindReceipt = "receipt" // "Registered: name" (KB Q168771)
)

// ExtraSystem is the key of mail.Envelope.Extra that tells mail of machines, here directory synchronisation: it is exempt
// from size limits (KB Q133719), and no person is bothered with reports on it (KB Q162841).
const ExtraSystem = "system"

// Arrival is what In must be told beside the message.
type Arrival struct {
	// ID makes the Message-ID and the MIME boundary: unique for the message, and the same each time it is offered.
	// Letters, digits, '.' and '-'.
	ID     string
	Domain string // right side of the Message-ID
	Now    time.Time
	Book   connectors.AddressBook
	Via    string // the connector's name, for the trace
}

// Inbound is a post office's message in canonical form.
type Inbound struct {
	Envelope mail.Envelope
	// Open gives the content, as often as wanted while the drop file is open. Nil when there are no recipients.
	Open  func() io.ReadCloser
	Notes []mail.Note
}

// inbound is one message on its way in.
type inbound struct {
	ledger
	po     *PostOffice
	page   *mmff.CodePage
	m      *mmff.Message
	side   shadowpo.Side
	a      Arrival
	env    mail.Envelope
	kind   string
	form   bodyForm
	files  []mmff.Attachment
	cc     []address.Address
	report *dsn.Report // an NDR's recipients, when its text names them
}

// In makes the canonical form of m. The error is mail.Loop for a message that this post office has already had, or a
// local fault when the drop file can't be read. An Inbound without recipients asks for nothing to be done: it was for
// *SPECIAL only (KB Q112879), and its notes say so.
func (p *PostOffice) In(m *mmff.Message, side shadowpo.Side, a Arrival) (*Inbound, error) {
	in := &inbound{ledger: ledger{slices.Clone(m.Notes)}, po: p, page: p.Page, m: m, side: side, a: a}
	in.codePage()
	if err := in.trace(); err != nil {
		return nil, err
	}
	in.classify()
	m = in.m
	in.cc = slices.Concat(m.CC, sideAddresses(side, shadowpo.SideCC))
	in.recipients()
	in.envelope()
	if len(in.env.Recipients) == 0 {
		return &Inbound{Envelope: in.env, Notes: in.notes}, nil
	}
	in.attachments()
	var err error
	if in.kind == kindNDR {
		if in.report, err = in.readNDR(); err != nil {
			return nil, mail.LocalFault("can't read the drop file", err)
		}
	}
	if in.form, err = examine(in.page, m.LineEnd, m.Text, len(in.files) == 0 && in.report == nil); err != nil {
		return nil, mail.LocalFault("can't read the drop file", err)
	}
	if in.form.charset == mimeLabel(in.page) {
		in.note("TEXT", mail.NoteMapped, "carried in its own code page %s, since some octets have no character of their own in it", in.page)
	}
	head, err := in.header()
	if err != nil {
		return nil, mail.BadContent("a header field can't be written", err)
	}
	return &Inbound{Envelope: in.env, Open: func() io.ReadCloser { return in.content(head) }, Notes: in.notes}, nil
}

// codePage reads the message anew when its side file names another code page than the post office's: subject and names
// come with the octets of the post office's page.
func (in *inbound) codePage() {
	number, err := strconv.Atoi(in.side.Get(shadowpo.SideCodePage))
	if err != nil || in.side.Get(shadowpo.SideCodePage) == in.po.Page.String() {
		return
	}
	page, err := mmff.LookupCodePage(number)
	if err != nil {
		in.note("codepage", mail.NoteChanged, "%d is not known: read as %s", number, in.po.Page)
		return
	}
	in.note("codepage", mail.NoteMapped, "%s, as the side file says, instead of %s", page, in.po.Page)
	m := *in.m
	again := func(s string) string {
		b, loss := in.po.Page.Encode(s)
		if loss != (mmff.Loss{}) {
			return s
		}
		s, _ = page.Decode(b)
		return s
	}
	m.Subject, m.Attachments = again(m.Subject), slices.Clone(m.Attachments)
	for i := range m.Attachments {
		m.Attachments[i].Name = again(m.Attachments[i].Name)
	}
	in.page, in.m = page, &m
}

// trace takes over the hops and finds loops: [004] is a post office that stands in the trace before its end, names
// compared in full (KB Q128627).
func (in *inbound) trace() error {
	own := in.po.Name.PostOffice().String()
	hops := hops(in.side)
	for i, h := range hops {
		if strings.EqualFold(h.Site, own) && i < len(hops)-1 {
			return mail.Loop("post office " + own + " has had this message before: " + route(hops))
		}
	}
	if len(hops) == 0 || !strings.EqualFold(hops[len(hops)-1].Site, own) {
		hops = append(hops, mail.Hop{Site: own, Via: in.a.Via, At: in.a.Now})
	}
	in.env.Trace = hops
	return nil
}

// route lists hops as [003] and [004] do (KB Q147471).
func route(hops []mail.Hop) string {
	names := make([]string, len(hops))
	for i, h := range hops {
		names[i] = h.Site
	}
	return strings.Join(names, " -> ")
}

// classify tells mail of machines from mail of people.
func (in *inbound) classify() {
	from, err := in.m.From.MSMail()
	ms := err == nil
	in.env.Kind = mail.KindMessage
	switch {
	case in.side.Get(shadowpo.SideType) == sideNDR, ms && from.Postmaster() && strings.EqualFold(strings.TrimSpace(in.m.Subject), subjectFailed):
		in.kind, in.env.Kind, in.env.About = kindNDR, mail.KindReport, in.side.Get(shadowpo.SideAbout)
		in.note("FROM", mail.NoteMapped, "a report of %s: it causes no report of its own", in.m.From.Value)
	case in.side.Get(shadowpo.SideType) == sideRN:
		in.kind, in.env.Kind, in.env.About = kindReceipt, mail.KindReceipt, in.side.Get(shadowpo.SideAbout)
	case ms && from.System(), slices.ContainsFunc(in.m.To, isSystem):
		in.kind = kindDirSync
	}
}

func isSystem(a address.Address) bool {
	m, err := a.MSMail()
	return err == nil && m.System()
}

// silent tells originators to whom no report may go: it would loop (KB Q175447), or a machine would choke on it.
func silent(a address.Address) bool {
	m, err := a.MSMail()
	return err == nil && (m.Postmaster() || m.System() || m.Special())
}

func (in *inbound) recipients() {
	quiet := silent(in.m.From) || in.env.Kind != mail.KindMessage
	seen := map[string]bool{}
	for _, a := range slices.Concat(in.m.To, in.m.CC) {
		r := mail.Recipient{Address: a}
		m, err := a.MSMail()
		switch {
		case err == nil && m.Special() && in.po.Special.IsZero():
			in.note("TO", mail.NoteLost, "user-list mail for %s is deleted, as it must not be bounced (KB Q112879)", a.Value)
			continue
		case err == nil && m.Special():
			in.note("TO", mail.NoteChanged, "user-list mail for %s goes to the administrator %s (KB Q112879)", a.Value, in.po.Special)
			r.Address, r.Notify = in.po.Special, mail.NotifyNever
		case quiet, err == nil && m.System():
			r.Notify = mail.NotifyNever
		}
		if seen[r.Address.Key()] {
			in.note("TO", mail.NoteChanged, "%s is named twice and gets one copy", a.Value)
			continue
		}
		seen[r.Address.Key()] = true
		r.Name = in.a.Book.Name(r.Address)
		in.env.Recipients = append(in.env.Recipients, r)
	}
}

func (in *inbound) envelope() {
	e, m := &in.env, in.m
	sent, notes := m.Sent(in.a.Now.In(in.po.Zone))
	in.notes = append(in.notes, notes...)
	e.Sent = sent
	e.Subject = cut(shown(m.Subject), 256)
	e.ContentType = "message/rfc822"
	e.MessageID = in.messageID()
	if id := in.side.Get(shadowpo.SideID); plainID(id) && len(id) <= 32 {
		e.ID = id
	}
	if e.Kind == mail.KindMessage {
		e.Originator, e.Name = m.From, in.a.Book.Name(m.From)
	}
	if in.kind == kindDirSync {
		e.Extra = map[string]string{ExtraSystem: kindDirSync}
	}
	e.RetFull = true // MS Mail's reports have the original's text (KB Q147471)
	if m.Priority != "" && !validPriority(m.Priority) {
		in.note("PRIORITY", mail.NoteLost, "%q is none: it has one letter or digit", m.Priority)
	}
	e.Priority, _, _ = priorityIn(m.Priority)
}

// messageID is the one that the message had, or one made of the arrival's identifier.
func (in *inbound) messageID() string {
	if id := in.side.Get(shadowpo.SideMessageID); id != "" && len(id) <= 250 && strings.Count(id, "@") == 1 && !strings.ContainsFunc(id, notInID) {
		return id
	}
	return in.a.ID + "@" + in.a.Domain
}

func notInID(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>()[]\",;:`, r) }

func plainID(s string) bool { return s != "" && !strings.ContainsFunc(s, notInID) }

func cut(s string, characters int) string {
	if r := []rune(s); len(r) > characters {
		return string(r[:characters])
	}
	return s
}

// attachments leaves out rich text where it would be junk (KB Q94180, Q138053).
func (in *inbound) attachments() {
	toMS := slices.ContainsFunc(in.env.Recipients, func(r mail.Recipient) bool { return r.Address.Type == address.MS })
	strip := in.po.RichText == StripRichText || in.po.RichText == ForeignRichText && !toMS
	for _, f := range in.m.Attachments {
		if strip && strings.EqualFold(f.Name, tnefName) {
			in.note("attachment "+f.Name, mail.NoteLost, "rich text is taken off for foreign systems by this post office's setting")
			continue
		}
		in.files = append(in.files, f)
	}
}

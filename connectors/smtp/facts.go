package smtp

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	netmail "net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"golang.org/x/text/encoding/htmlindex"
)

// Header fields of our own, *ours*: what one gateway of the backbone tells the next beyond SMTP's envelope. They are
// taken from partners only, and never stay in a message.
const (
	ownPrefix     = "X-Backbone-"
	fieldTrace    = ownPrefix + "Trace"    // one hop, newest first: "SITEA; 2026-11-22T10:11:12Z"
	fieldID       = ownPrefix + "Id"       // mail.Envelope.ID
	fieldTransfer = ownPrefix + "Transfer" // the same for the same hand-over at each attempt
)

const (
	// maxReceived is how often a message may have been received before it is taken for looping (RFC 5321 6.3).
	maxReceived = 50
	maxTrace    = 100
	maxSubject  = 256
)

// facts are what a message's header tells of it, besides what stands in the envelope.
type facts struct {
	subject, messageID, from, contentType string
	date                                  time.Time
	hasDate, hasMessageID                 bool
	priority                              mail.Priority
	rank                                  int // of the field that gave priority
	receivedCount                         int
	received, trace                       []mail.Hop // oldest first
	id, transfer                          string
}

// readFacts reads a header. Whatever it can't read it leaves out.
func readFacts(header []byte) *facts {
	f := &facts{}
	for name, field := range fields(header) {
		switch {
		case strings.EqualFold(name, "Received"):
			if f.receivedCount++; f.receivedCount <= maxReceived {
				f.received = append(f.received, receivedHop(value(field)))
			}
		case strings.EqualFold(name, "Subject"):
			f.subject = cut(decodeWords(value(field)), maxSubject)
		case strings.EqualFold(name, "Message-ID"):
			f.hasMessageID = true
			f.messageID = cut(visible(strings.Trim(value(field), "<> \t")), 500)
		case strings.EqualFold(name, "Date"):
			f.hasDate = true
			f.date = parseDate(value(field))
		case strings.EqualFold(name, "From"):
			f.from = value(field)
		case strings.EqualFold(name, "Content-Type"):
			f.contentType = value(field)
		case strings.EqualFold(name, fieldTrace):
			if hop, ok := parseHop(value(field)); ok && len(f.trace) < maxTrace {
				f.trace = append(f.trace, hop)
			}
		case strings.EqualFold(name, fieldID):
			f.id = value(field)
		case strings.EqualFold(name, fieldTransfer):
			f.transfer = value(field)
		default:
			f.readPriority(name, field)
		}
	}
	slices.Reverse(f.received)
	slices.Reverse(f.trace)
	return f
}

// readPriority takes the priority from the field that speaks most plainly of it.
func (f *facts) readPriority(name string, field []byte) {
	rank := slices.IndexFunc([]string{"X-MSMail-Priority", "X-Priority", "Importance", "Priority"}, func(s string) bool {
		return strings.EqualFold(s, name)
	}) + 1
	if rank <= f.rank {
		return
	}
	word, _, _ := strings.Cut(strings.ToLower(value(field)), " ")
	switch word {
	case "urgent", "high", "1", "2": // RFC 2156 has Priority: urgent, RFC 2156 and Outlook Importance: high
		f.priority, f.rank = mail.Urgent, rank
	case "non-urgent", "low", "4", "5":
		f.priority, f.rank = mail.NonUrgent, rank
	case "normal", "3":
		f.priority, f.rank = mail.Normal, rank
	}
}

// fill puts the facts into the submission. It fails when the message has passed too many systems.
func (f *facts) fill(sub *connectors.Submission, partner bool) error {
	env := &sub.Envelope
	if f.receivedCount > maxReceived {
		return mail.HopLimit(fmt.Sprintf("received %d times: the message is looping", f.receivedCount))
	}
	env.Subject, env.MessageID, env.Priority, env.Sent = f.subject, f.messageID, f.priority, f.date
	env.Name = f.senderName(env.Originator)
	env.Trace = f.received
	if partner {
		if len(f.trace) > 0 {
			env.Trace = f.trace
		}
		if validID(f.id) {
			env.ID = f.id
		}
		if validTransfer(f.transfer) {
			sub.Dedup = "smtp:" + f.transfer
		}
	}
	switch f.reportType() {
	case "delivery-status":
		// With an originator it would be someone's own words dressed as a report.
		if env.Originator.IsZero() {
			env.Kind = mail.KindReport
		}
	case "disposition-notification":
		env.Kind = mail.KindReceipt
	}
	return nil
}

// reportType is what a multipart/report reports (RFC 6522 3), "" for any other message.
func (f *facts) reportType() string {
	if len(f.contentType) < 16 || !strings.EqualFold(f.contentType[:16], "multipart/report") {
		return ""
	}
	_, params, err := mime.ParseMediaType(f.contentType)
	if err != nil {
		return ""
	}
	return strings.ToLower(params["report-type"])
}

// senderName is the display name of From, when From is the originator.
func (f *facts) senderName(originator address.Address) string {
	if f.from == "" || originator.IsZero() {
		return ""
	}
	list, err := (&netmail.AddressParser{WordDecoder: &words}).ParseList(f.from)
	if err != nil || len(list) != 1 {
		return ""
	}
	a, err := address.Parse("SMTP:" + list[0].Address)
	if err != nil || !a.Equal(originator) {
		return ""
	}
	return cut(visible(list[0].Name), 256)
}

// missing appends the fields that RFC 5322 3.6 wants and the message lacks.
func (f *facts) missing(out []byte, hostname string, now time.Time) []byte {
	if !f.hasMessageID {
		var b [12]byte
		rand.Read(b[:]) //nolint:errcheck // never fails
		f.messageID = hex.EncodeToString(b[:]) + "@" + hostname
		out = fmt.Appendf(out, "Message-ID: <%s>\r\n", f.messageID)
	}
	if !f.hasDate {
		out = now.AppendFormat(append(out, "Date: "...), time.RFC1123Z)
		out = append(out, "\r\n"...)
	}
	return out
}

// receivedHop reads who received the message (RFC 5321 4.4: by, and the date behind the last semicolon).
func receivedHop(v string) mail.Hop {
	hop := mail.Hop{Site: "unknown"}
	if i := strings.LastIndexByte(v, ';'); i >= 0 {
		hop.At = parseDate(v[i+1:])
		v = v[:i]
	}
	words := strings.Fields(v)
	if i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, "by") }); i >= 0 && i+1 < len(words) {
		if d, err := address.ParseDomain(words[i+1]); err == nil {
			hop.Site = d
		}
	}
	return hop
}

// parseDate reads a date, zero when it can't. The form that nearly everybody writes is tried first: net/mail tries a
// dozen, and each that fails costs an error.
func parseDate(s string) time.Time {
	s = strings.TrimSpace(s)
	plain, _, _ := strings.Cut(s, " (")
	t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", plain)
	if err != nil {
		if t, err = netmail.ParseDate(s); err != nil {
			return time.Time{}
		}
	}
	return t.UTC()
}

// parseHop reads a line of our own trace.
func parseHop(v string) (mail.Hop, bool) {
	site, at, _ := strings.Cut(v, ";")
	site = strings.TrimSpace(site)
	if site == "" || len(site) > 64 || !isToken(site) {
		return mail.Hop{}, false
	}
	hop := mail.Hop{Site: site}
	if t, err := time.Parse(time.RFC3339, strings.TrimSpace(at)); err == nil {
		hop.At = t.UTC()
	}
	return hop, true
}

func formatHop(h mail.Hop) (string, bool) {
	if !isToken(h.Site) || h.Site == "" {
		return "", false
	}
	at := ""
	if !h.At.IsZero() {
		at = "; " + h.At.UTC().Format(time.RFC3339)
	}
	return fieldTrace + ": " + h.Site + at + "\r\n", true
}

// isToken tells printable ASCII without blanks and semicolons.
func isToken(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ';' }) < 0
}

func validID(s string) bool { return s != "" && len(s) <= 32 && isToken(s) }

func validTransfer(s string) bool { return len(s) >= 8 && len(s) <= 128 && isToken(s) }

// words decodes RFC 2047 in any charset that the web knows.
var words = mime.WordDecoder{CharsetReader: func(charset string, in io.Reader) (io.Reader, error) {
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return enc.NewDecoder().Reader(in), nil
}}

func decodeWords(s string) string {
	if strings.Contains(s, "=?") {
		if d, err := words.DecodeHeader(s); err == nil {
			s = d
		}
	}
	return visible(s)
}

// visible makes foreign text safe for a listing: valid UTF-8 without control and format characters.
func visible(s string) string {
	clean := true
	for i := range len(s) {
		clean = clean && s[i] >= ' ' && s[i] < 0x7f
	}
	if clean {
		return s
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '\ufffd'
		case unicode.IsControl(r):
			return ' '
		case !unicode.IsPrint(r) && r != '\u200c' && r != '\u200d':
			return -1
		}
		return r
	}, s))
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	i := 0
	for at := range s {
		if i++; i > n {
			return s[:at]
		}
	}
	return s
}

package smtp

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"mime"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
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
		rand.Read(b[:])
		f.messageID = hex.EncodeToString(b[:]) + "@" + hostname
		out = fmt.Appendf(out, "Message-ID: <%s>\r\n", f.messageID)
	}
	if !f.hasDate {
		out = now.AppendFormat(append(out, "Date: "...), time.RFC1123Z)
		out = append(out, "\r\n"...)
	}
	return out
}

func validID(s string) bool { return s != "" && len(s) <= 32 && isToken(s) }

func validTransfer(s string) bool { return len(s) >= 8 && len(s) <= 128 && isToken(s) }

package dsn

import (
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"
	"time"

	"backbone/gateway/mail"
)

// Options are what a report needs besides its facts.
type Options struct {
	// From and To are the header's mailboxes; To is the originator as the canonical form writes him. The envelope's
	// originator is always null.
	From, To netmail.Address
	// MessageID, without angle brackets, and Date come from outside so that the same input gives the same bytes.
	MessageID string
	Date      time.Time
	// Full returns the whole original with a failure (RFC 3461 4.3, RET=FULL) as long as it is at most MaxFull
	// octets; otherwise, and with every other action, the header alone is returned, cut to MaxHeader octets.
	Full    bool
	MaxFull int64 // 0 = DefaultMaxFull
}

// DefaultMaxFull is the largest original that is returned whole: a larger one is not worth its way back twice.
const DefaultMaxFull = 64 << 10

// Build writes r as a multipart/report (RFC 6522) with CRLF lines. original is the message that r speaks of, nil when
// it is gone. eightBit tells the envelope that the report carries octets above 127: only inside a whole original that
// has them. Nothing in r or original can add a header field or a body part.
func Build(w io.Writer, r *Report, original mail.Content, o Options) (eightBit bool, err error) {
	if o.MessageID == "" || o.Date.IsZero() {
		return false, errors.New("dsn: a report needs a Message-ID and a date")
	}
	from, err := mailbox(o.From)
	if err != nil {
		return false, fmt.Errorf("dsn: From: %w", err)
	}
	to, err := mailbox(o.To)
	if err != nil {
		return false, fmt.Errorf("dsn: To: %w", err)
	}
	var src io.ReadSeekCloser
	full := false
	if original != nil {
		if src, err = original.Open(); err != nil {
			return false, fmt.Errorf("dsn: open original: %w", err)
		}
		defer src.Close()
		limit := o.MaxFull
		if limit == 0 {
			limit = DefaultMaxFull
		}
		full = o.Full && r.Worst() == Failed && original.Size() <= limit
	}
	boundary, eightBit, err := boundaryFor(src, full, o.MessageID)
	if err != nil {
		return false, err
	}

	var b strings.Builder
	field(&b, "From", from)
	field(&b, "To", to)
	field(&b, "Subject", encodeText(r.Subject()))
	field(&b, "Date", o.Date.Format(time.RFC1123Z))
	field(&b, "Message-ID", "<"+oneWord(o.MessageID)+">")
	if id := oneWord(r.Original.MessageID); id != "" && len(id) <= longestWord {
		field(&b, "In-Reply-To", "<"+id+">")
		field(&b, "References", "<"+id+">")
	}
	field(&b, "Auto-Submitted", "auto-replied") // RFC 3834 2: a report is a reply that no person wrote
	field(&b, "MIME-Version", "1.0")
	field(&b, "Content-Type", `multipart/report; report-type=delivery-status; boundary="`+boundary+`"`)
	if eightBit {
		field(&b, "Content-Transfer-Encoding", "8bit")
	}
	b.WriteString("\r\nThis is a delivery report in MIME format.\r\n")
	part := func(header string) { fmt.Fprintf(&b, "\r\n--%s\r\n%s\r\n", boundary, header) }

	part("Content-Type: text/plain; charset=utf-8\r\nContent-Description: Report for people\r\nContent-Transfer-Encoding: quoted-printable\r\n")
	if err := quoted(&b, r.text(src != nil && !full)); err != nil {
		return false, err
	}
	part("Content-Type: message/delivery-status\r\nContent-Description: Delivery report\r\n")
	b.WriteString(r.StatusPart())
	var body io.Reader = strings.NewReader("")
	switch {
	case src == nil:
	case full:
		h := "Content-Type: message/rfc822\r\nContent-Description: The message that you sent\r\n"
		if eightBit {
			h += "Content-Transfer-Encoding: 8bit\r\n"
		}
		part(h)
		body = src
	default:
		// RFC 6522 3: a header that is not 7bit may be quoted-printable.
		part("Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Description: Header of the message that you sent\r\nContent-Transfer-Encoding: quoted-printable\r\n")
		h, err := readHeader(src)
		if err != nil {
			return false, fmt.Errorf("dsn: read original: %w", err)
		}
		if err := quoted(&b, string(h)); err != nil {
			return false, err
		}
	}
	whole := io.MultiReader(strings.NewReader(b.String()), body, strings.NewReader("\r\n--"+boundary+"--\r\n"))
	if _, err := io.Copy(w, whole); err != nil {
		return false, fmt.Errorf("dsn: write report: %w", err)
	}
	return eightBit, nil
}

// StatusPart is the body of the message/delivery-status part (RFC 3464 2.1).
func (r *Report) StatusPart() string {
	b := new(strings.Builder)
	mta := r.ReportingMTA
	if mta.Name == "" {
		mta.Name = "localhost"
	}
	field(b, "Original-Envelope-Id", encodeText(clean(r.EnvID)))
	field(b, "Reporting-MTA", mta.field())
	field(b, "Received-From-MTA", r.ReceivedFrom.field())
	field(b, "Arrival-Date", fieldTime(r.Arrival))
	field(b, "X-MTS-Identifier", encodeText(clean(r.About)))
	for i := range r.Recipients {
		rcpt := &r.Recipients[i]
		b.WriteString("\r\n")
		if !rcpt.Original.IsZero() {
			field(b, "Original-Recipient", addressField(rcpt.Original))
		}
		field(b, "Final-Recipient", addressField(rcpt.Final))
		field(b, "X-Display-Name", encodeText(clean(rcpt.Name)))
		field(b, "Action", string(rcpt.action()))
		field(b, "Status", rcpt.status())
		field(b, "Remote-MTA", rcpt.RemoteMTA.field())
		if d := clean(rcpt.Diagnostic); d != "" {
			typ := oneWord(rcpt.DiagnosticType)
			if typ == "" {
				typ = "smtp"
			}
			field(b, "Diagnostic-Code", typ+"; "+encodeText(d))
		}
		field(b, "Last-Attempt-Date", fieldTime(rcpt.LastAttempt))
		if rcpt.action() == Delayed {
			field(b, "Will-Retry-Until", fieldTime(rcpt.WillRetryUntil))
		}
		field(b, "X-Reason-Text", encodeText(clean(rcpt.Text)))
		if rcpt.MSMail > 0 {
			field(b, "X-MSMail-Code", fmt.Sprintf("%03d", rcpt.MSMail))
		}
		if rcpt.X400 != nil {
			field(b, "X-X400-Reason", fmt.Sprint(rcpt.X400.Reason))
			if rcpt.X400.Diagnostic >= 0 {
				field(b, "X-X400-Diagnostic", fmt.Sprint(rcpt.X400.Diagnostic))
			}
		}
	}
	return b.String()
}

// action is a registered one: a word that is none would make the whole report unreadable to others.
func (r *Recipient) action() Action {
	switch r.Action {
	case Failed, Delayed, Delivered, Relayed, Expanded:
		return r.Action
	}
	return Failed
}

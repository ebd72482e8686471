package mixer

import (
	"bufio"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"
	"time"

	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/p22"
	"backbone/gateway/address"

	"github.com/emersion/go-message/textproto"
)

// FromIPN writes a notification as a message disposition notification (RFC 8098; RFC 2156 5.3.11).
func (m *Mapper) FromIPN(w io.Writer, n *p22.IPN, f Facts, to string) error {
	b := &builder{}
	from := m.mailboxOf(n.Originator, f.Originator)
	b.field("From", from)
	b.field("To", to)
	what, disposition := "Receipt", "displayed"
	if n.NonReceipt {
		what, disposition = "Non-receipt", "deleted"
		if n.Reason == 1 {
			disposition = "dispatched"
		}
	}
	b.field("Subject", what+" notification")
	if !f.Submitted.IsZero() {
		b.field("Date", f.Submitted.UTC().Format(time.RFC1123Z))
	}
	b.field("X400-MTS-Identifier", f.MTSIdentifier)
	b.field("MIME-Version", "1.0")
	boundary := "=_" + digest(f.MTSIdentifier+n.Subject.Local)
	b.field("Content-Type", `multipart/report; report-type=disposition-notification; boundary="`+boundary+`"`)
	text := what + " notification"
	if !n.Received.IsZero() {
		text += ": the message was received at " + n.Received.UTC().Format(time.RFC1123Z)
	}
	if n.Comment != "" || n.Supplementary != "" {
		text += "\r\n" + asciiOnly(n.Comment+n.Supplementary)
	}
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n%s\r\n", boundary, text)
	fmt.Fprintf(b, "--%s\r\nContent-Type: message/disposition-notification\r\n\r\n", boundary)
	final := m.OR(address.Address{Type: address.SMTP, Value: addressOf(from)})
	b.field("Final-Recipient", "rfc822;"+addressOf(from))
	if !final.IsZero() {
		b.field("X400-Final-Recipient", final.MIXER())
	}
	if n.Intended != nil && n.Intended.Name != nil {
		b.field("Original-Recipient", "x400;"+n.Intended.Name.Address.MIXER())
	}
	b.field("Original-Message-ID", messageID(n.Subject))
	mode := "manual-action/MDN-sent-manually"
	if n.Automatic || n.NonReceipt {
		mode = "automatic-action/MDN-sent-automatically"
	}
	b.field("Disposition", mode+"; "+disposition)
	fmt.Fprintf(b, "\r\n--%s--\r\n", boundary)
	_, err := w.Write(b.Bytes())
	return err
}

func asciiOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 0x7e {
			return '?'
		}
		return r
	}, clean(s))
}

func (m *Mapper) mailboxOf(d *p22.ORDescriptor, or address.ORAddress) string {
	if d == nil || d.Name == nil {
		d = &p22.ORDescriptor{Name: &p1.ORName{Address: or}}
	}
	return m.mailbox(*d)
}

func addressOf(mailbox string) string {
	a, err := netmail.ParseAddress(mailbox)
	if err != nil {
		return ""
	}
	return a.Address
}

// ToIPN makes a notification of a message disposition notification. ok is false when r holds none, or one of an error,
// for which X.420 has nothing.
func (m *Mapper) ToIPN(r io.Reader, now time.Time) (n *p22.IPN, ok bool) {
	h, body, err := open(r)
	if err != nil {
		return nil, false
	}
	t, params := mediaType(h)
	if t != "multipart/report" || !strings.EqualFold(params["report-type"], "disposition-notification") {
		return nil, false
	}
	mr := textproto.NewMultipartReader(body, params["boundary"])
	for {
		part, err := mr.NextPart()
		if err != nil {
			return nil, false
		}
		if t, _ := mediaType(part.Header); t != "message/disposition-notification" {
			continue
		}
		fields, err := textproto.ReadHeader(bufio.NewReader(io.LimitReader(decoded(part.Header, part), maxHeader)))
		if err != nil {
			return nil, false
		}
		return m.ipn(h, fields, now)
	}
}

func (m *Mapper) ipn(h, fields textproto.Header, now time.Time) (*p22.IPN, bool) {
	n := &p22.IPN{DiscardReason: -1, Received: now}
	mode, disposition, _ := strings.Cut(strings.ToLower(fields.Get("Disposition")), ";")
	n.Automatic = strings.Contains(mode, "automatic-action")
	kind, modifiers, _ := strings.Cut(strings.TrimSpace(disposition), "/")
	if strings.Contains(modifiers, "error") {
		return nil, false
	}
	switch kind {
	case "displayed", "processed":
	case "dispatched":
		n.NonReceipt, n.Reason, n.Received = true, 1, time.Time{}
	case "deleted", "denied":
		n.NonReceipt, n.Received = true, time.Time{}
	default:
		return nil, false
	}
	id, exact := m.identifier(fields.Get("Original-Message-ID"))
	if !exact {
		return nil, false
	}
	n.Subject = id
	if d, ok := m.descriptors(h.Get("From")); ok && len(d) > 0 {
		n.Originator = &d[0]
	}
	return n, true
}

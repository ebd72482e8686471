package x400

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"

	"backbone/gateway/mail"
)

// A content that can't be read, in either direction, is no reason to lose a message: it goes on as an attachment, octet by octet,
// with a text that says why. *Ours.*

// carrier is the message that carries it.
type carrier struct {
	from, subject, id string
	to                []string
	date              time.Time
	why               string // one sentence
	name              string // of the attachment
}

// maxCarried is how many recipients the carrier's header names.
const maxCarried = 100

func (p *peer) carrier(env *mail.Envelope, why, name string) carrier {
	c := carrier{from: p.addresses.Mailbox(env.Originator), subject: env.Subject, id: env.MessageID, date: env.Sent, why: why, name: name}
	for _, r := range env.Recipients[:min(len(env.Recipients), maxCarried)] {
		c.to = append(c.to, p.addresses.Mailbox(r.Address))
	}
	return c
}

// write writes the message with the octets in base64.
func (c carrier) write(w io.Writer, octets io.Reader) error {
	const boundary = "=_carried-as-it-came" // base64 has no underscore, and the text no line like it
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	field("From", c.from)
	field("To", strings.Join(c.to, ",\r\n "))
	field("Subject", mime.QEncoding.Encode("utf-8", c.subject))
	if !c.date.IsZero() {
		field("Date", c.date.UTC().Format(time.RFC1123Z))
	}
	if c.id != "" && !strings.ContainsFunc(c.id, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) {
		field("Message-ID", "<"+c.id+">")
	}
	field("MIME-Version", "1.0")
	field("Content-Type", `multipart/mixed; boundary="`+boundary+`"`)
	fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n%s It is attached as it came.\r\n--%s\r\nContent-Type: application/octet-stream\r\n"+
		"Content-Disposition: attachment; filename=%s\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary, c.why, boundary, c.name)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	var line [57]byte
	for {
		n, err := io.ReadFull(octets, line[:])
		if n > 0 {
			if _, werr := io.WriteString(w, base64.StdEncoding.EncodeToString(line[:n])+"\r\n"); werr != nil {
				return werr
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "--%s--\r\n", boundary)
	return err
}

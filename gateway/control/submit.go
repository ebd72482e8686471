package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/textproto"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Submission is what `backbone send` hands in.
type Submission struct {
	From string
	To   []string
	// Subject is used when the content has no header of its own.
	Subject string
	Notify  string // "success": ask for a delivery report too
}

// Submitted is the answer.
type Submitted struct {
	ID string `json:"id"`
}

// Submit takes a message from the operator: RFC 5322 text, or bare text to which a header is added.
func (s *Service) Submit(ctx context.Context, sub Submission, r io.Reader) (Submitted, error) {
	from, err := address.Parse(sub.From)
	if err != nil {
		return Submitted{}, bad(fmt.Errorf("from: %w", err))
	}
	env := mail.Envelope{Originator: from, Source: mail.Source{Connector: "control", Peer: "operator", Authenticated: true}}
	if len(sub.To) == 0 {
		return Submitted{}, bad(errors.New("no recipient"))
	}
	for _, t := range sub.To {
		a, err := address.Parse(t)
		if err != nil {
			return Submitted{}, bad(fmt.Errorf("to: %w", err))
		}
		rcpt := mail.Recipient{Address: a}
		if sub.Notify == "success" {
			rcpt.Notify = mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay
		}
		env.Recipients = append(env.Recipients, rcpt)
	}
	content, err := s.content(&env, sub, bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return Submitted{}, err
	}
	if err := s.complete(); err != nil {
		return Submitted{}, err
	}
	rec, err := s.Gateway.Accept(ctx, connectors.Submission{Envelope: env, Content: content})
	if err != nil {
		f := mail.AsFailure(err)
		status := 503
		if f.Final() {
			status = 422
		}
		return Submitted{}, &Error{status, f.Error()}
	}
	return Submitted{ID: rec.ID}, nil
}

// content gives r CRLF line ends and, when it does not begin with a header, one of our own.
func (s *Service) content(env *mail.Envelope, sub Submission, r *bufio.Reader) (io.Reader, error) {
	head, err := r.Peek(1 << 10)
	if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	now := time.Now()
	var h bytes.Buffer
	if !startsWithHeader(head) {
		dom := s.Gateway.Site().Domains[0]
		fmt.Fprintf(&h, "From: <%s>\r\n", s.Directory.As(env.Originator, address.SMTP).Value)
		for _, rc := range env.Recipients {
			fmt.Fprintf(&h, "To: <%s>\r\n", s.Directory.As(rc.Address, address.SMTP).Value)
			break
		}
		env.MessageID = fmt.Sprintf("%d.control@%s", now.UnixNano(), dom)
		env.Subject = sub.Subject
		fmt.Fprintf(&h, "Subject: %s\r\nDate: %s\r\nMessage-ID: <%s>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
			mime.QEncoding.Encode("utf-8", oneLine(sub.Subject)), now.Format(time.RFC1123Z), env.MessageID)
		env.EightBit = true
	}
	return io.MultiReader(&h, &crlf{r: r}), nil
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// startsWithHeader tells "Name: value" on the first line.
func startsWithHeader(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	name, _, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 {
		return false
	}
	switch textproto.CanonicalMIMEHeaderKey(string(name)) {
	case "From", "To", "Subject", "Date", "Message-Id", "Received", "Return-Path", "Mime-Version", "Content-Type", "Reply-To", "Sender", "Cc":
		return true
	}
	return false
}

// crlf turns bare LF and bare CR into CRLF.
type crlf struct {
	r    *bufio.Reader
	last byte
	pend byte
}

func (c *crlf) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if c.pend != 0 {
			p[n], c.last, c.pend = c.pend, c.pend, 0
			n++
			continue
		}
		b, err := c.r.ReadByte()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		switch {
		case b == '\n' && c.last != '\r':
			p[n], c.last, c.pend = '\r', '\r', '\n'
		case b == '\r':
			if next, err := c.r.Peek(1); err != nil || next[0] != '\n' {
				c.pend = '\n'
			}
			p[n], c.last = '\r', '\r'
		default:
			p[n], c.last = b, b
		}
		n++
	}
	return n, nil
}

package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/emersion/go-smtp"
)

// session answers the library's calls for one connection. What MAIL and RCPT said it takes from the gate, not from the
// library.
type session struct {
	g   *gate
	src *Source
	who client
	env mail.Envelope
	// head is the buffer for the beginnings of messages.
	head []byte
}

var _ smtp.AuthSession = (*session)(nil)

// Reset forgets the transaction.
func (s *session) Reset() { s.env = mail.Envelope{} }

// Logout has nothing to give back.
func (s *session) Logout() error { return nil }

// Mail begins a transaction.
func (s *session) Mail(_ string, opts *smtp.MailOptions) error {
	s.identify()
	if err := s.src.rates.message(s.src.working, s.who, s.g.cmd.path); err != nil {
		return s.flooded(err)
	}
	env := mail.Envelope{
		Kind: mail.KindMessage, EnvID: opts.EnvelopeID, RetFull: opts.Return == smtp.DSNReturnFull, UTF8: opts.UTF8,
		EightBit: opts.Body == smtp.Body8BitMIME, ContentType: "message/rfc822",
		Source: mail.Source{Connector: s.src.Name(), Peer: s.who.addr.String(), Detail: s.detail(), Authenticated: s.who.known()},
	}
	if mb := s.g.cmd.path; mb != (address.Mailbox{}) {
		if mb.Domain == "" {
			mb.Domain = s.src.domain
		}
		from, err := mb.Address()
		if err != nil {
			return &smtp.SMTPError{Code: 501, EnhancedCode: smtp.EnhancedCode{5, 1, 7}, Message: "Bad address: " + why(err)}
		}
		env.Originator = from
	}
	s.env = env
	return nil
}

// flooded refuses a message that comes too fast.
func (s *session) flooded(err error) error {
	s.src.log.Info("message refused", "originator", visible(cut(s.g.cmd.path.String(), 80)), "peer", s.who.addr.String(), "class", mail.Transient, "err", err)
	return toSMTP(err)
}

// identify finds out who the client is, once TLS and AUTH have had their chance.
func (s *session) identify() {
	s.who = client{addr: s.g.addr(), user: s.g.user}
	if s.g.tls != nil {
		s.who.certificates = s.src.certificateNames(s.g.tls.PeerCertificates)
	}
	s.who.rules = s.src.relay.matching(s.who)
}

// detail tells the message's timeline how it came in.
func (s *session) detail() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s from %s", s.g.protocol(s.env.UTF8, s.who.user != ""), s.g.helo)
	if s.who.user != "" {
		fmt.Fprintf(&b, " user %s", s.who.user)
	}
	if len(s.who.certificates) > 0 {
		fmt.Fprintf(&b, " certificate %s", s.who.certificates[0])
	}
	return b.String()
}

// Rcpt takes a recipient or refuses him.
func (s *session) Rcpt(_ string, opts *smtp.RcptOptions) error {
	to, err := s.g.cmd.path.Address()
	if err != nil {
		return &smtp.SMTPError{Code: 501, EnhancedCode: smtp.EnhancedCode{5, 1, 3}, Message: "Bad address: " + why(err)}
	}
	if s.g.cmd.path.UTF8() && !s.env.UTF8 {
		return &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 6, 7}, Message: "Address needs SMTPUTF8"}
	}
	err = s.src.relay.allows(s.who, s.env.Originator, to)
	if err == nil {
		err = s.src.gw.Screen(s.src.working, s.env.Source, s.env.Originator, to)
	}
	if err == nil {
		err = s.src.rates.recipient(s.src.working, s.who, s.src.relay.decode(to))
	}
	if err != nil {
		f := mail.AsFailure(err)
		s.src.log.Info("recipient refused", "originator", s.env.Originator.String(), "rcpt", to.String(), "peer", s.env.Source.Peer,
			"class", f.Class, "err", f.Error())
		return toSMTP(err)
	}
	s.env.Recipients = append(s.env.Recipients, mail.Recipient{Address: to, ORCPT: s.g.cmd.orcpt, Notify: notify(opts.Notify)})
	return nil
}

func notify(list []smtp.DSNNotify) mail.Notify {
	var n mail.Notify
	for _, w := range list {
		n |= map[smtp.DSNNotify]mail.Notify{
			smtp.DSNNotifyNever: mail.NotifyNever, smtp.DSNNotifySuccess: mail.NotifySuccess,
			smtp.DSNNotifyFailure: mail.NotifyFailure, smtp.DSNNotifyDelayed: mail.NotifyDelay,
		}[w]
	}
	return n
}

// Data takes the message. The library's reader is left alone: see body. A nil error of Accept becomes a 250 that names
// the message; everything else leaves the message with the client.
func (s *session) Data(io.Reader) error {
	b := s.g.takeBody()
	receipt, err := s.accept(b)
	if err != nil && !b.wire {
		if lost := b.Drain(); lost != nil && !b.wire {
			err = mail.TooLarge("message data goes on and on")
		}
	}
	s.g.endBody(b)
	if b.wire {
		f := &mail.Failure{Class: mail.Transient, Code: 421, Enhanced: "4.4.2", Text: "message data broke off, nothing was taken", Cause: b.err}
		if s.src.cutting() {
			f.Enhanced, f.Text = "4.3.2", "shutting down, nothing was taken"
		}
		err = f
	}
	if err != nil {
		f := mail.AsFailure(err)
		s.src.log.Info("message refused", "originator", s.env.Originator.String(), "peer", s.env.Source.Peer, "size", b.n, "class", f.Class, "err", f.Error())
		if s.g.mode == modeOver { // the library's reply comes after the end
			s.g.sayFailure(f)
		}
		return toSMTP(err)
	}
	s.src.log.Info("message taken", "id", receipt.ID, "originator", s.env.Originator.String(), "rcpts", len(s.env.Recipients), "peer", s.env.Source.Peer,
		"size", b.n, "duplicate", receipt.Duplicate, "line_ends_mended", b.mended)
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "Ok: queued as " + receipt.ID}
}

// accept hands the message to the gateway as it streams in.
func (s *session) accept(b *body) (connectors.Receipt, error) {
	if s.head == nil || cap(s.head) > maxHead/4 {
		s.head = make([]byte, 0, 8<<10)
	}
	buf, head, err := readHead(b, s.head[:0])
	if err != nil {
		return connectors.Receipt{}, s.bodyFailure(b, err)
	}
	s.head = buf
	now := time.Now()
	sub := connectors.Submission{Envelope: s.env}
	sub.Envelope.Recipients = append([]mail.Recipient(nil), s.env.Recipients...)
	sub.Envelope.Extra = map[string]string{receivedKey: s.src.hostname}
	f := readFacts(buf[:head.end])
	if err := f.fill(&sub, s.who.partner()); err != nil {
		return connectors.Receipt{}, err
	}
	prefix := s.received(now)
	prefix = f.missing(prefix, s.src.hostname, now)
	var forged func(name string, field []byte) bool
	whole := &content{body: b}
	ctx, cancel := context.WithTimeout(s.src.working, time.Until(s.g.end))
	defer cancel()
	if v := s.src.dkim; v != nil {
		results, spooled, err := v.verified(ctx, buf, head, b)
		if err != nil {
			return connectors.Receipt{}, s.bodyFailure(b, err)
		}
		defer spooled.Close() // read only
		prefix, whole.body, forged = append([]byte(results), prefix...), spooled, v.forged
	}
	header, rest := head.split(buf, forged)
	whole.parts = [3][]byte{prefix, header, rest}
	sub.Content = whole
	receipt, err := s.src.gw.Accept(ctx, sub)
	if err == nil && !whole.ended {
		// An acceptor that does not read to the end has not taken the message, whatever it says.
		err = mail.LocalFault("message data was not read to its end", nil)
	}
	if err != nil {
		return connectors.Receipt{}, s.bodyFailure(b, err)
	}
	return receipt, nil
}

// content is a message as the gateway reads it: what we put in front, what was read of it already, the rest.
type content struct {
	parts [3][]byte
	body  io.Reader
	ended bool // it was read to its end
}

func (c *content) Read(p []byte) (int, error) {
	for i := range c.parts {
		if len(c.parts[i]) > 0 {
			n := copy(p, c.parts[i])
			c.parts[i] = c.parts[i][n:]
			return n, nil
		}
	}
	n, err := c.body.Read(p)
	c.ended = err == io.EOF
	return n, err
}

// bodyFailure is the cause that the body knows better than who read it.
func (s *session) bodyFailure(b *body, err error) error {
	switch {
	case errors.Is(b.err, errBareLineEnd):
		return &mail.Failure{Class: mail.Policy, Scope: mail.ScopeMessage, Code: 550, Enhanced: "5.6.11", Reason: 2, Diagnostic: 8, MSMail: 29,
			Text: "message contains bare CR or LF; lines end with CRLF (RFC 5321 2.3.8)"}
	case errors.Is(b.err, errTooLarge):
		return mail.TooLarge(fmt.Sprintf("message has more than %d octets", b.max))
	}
	return err
}

package translate

import (
	"io"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"

	"github.com/emersion/go-message"
)

// Refusal is the report to the sender of a message that the gateway will not take: MS Mail's own form, with the message's
// text below it. Nil when nobody may get one: the sender is a machine, or not at a post office.
func (p *PostOffice) Refusal(m *mmff.Message, f *mail.Failure, a Arrival) (*Outbound, error) {
	if m.From.Type != address.MS || silent(m.From) || strings.EqualFold(strings.TrimSpace(m.Subject), subjectFailed) || !p.CanWrite(m.From) {
		return nil, nil
	}
	sent, _ := m.Sent(a.Now.In(p.Zone))
	r := &dsn.Report{Original: dsn.Original{Subject: m.Subject, Sent: sent}}
	for _, to := range m.To {
		r.Recipients = append(r.Recipients, dsn.ForRecipient(mail.Recipient{Address: to, Name: a.Book.Name(to)}, dsn.Failed, f))
	}
	o := &outbound{po: p, book: a.Book, layout: &layout{}, env: &mail.Envelope{Recipients: []mail.Recipient{{Address: m.From}}},
		msg: &mmff.Message{LineEnd: p.lineEnd(), From: p.Postmaster, To: []address.Address{m.From}, Subject: subjectFailed}}
	o.msg.SetSent(a.Now.In(p.Zone))
	var parties message.Header
	text := o.reportText(r, o.people(parties, "From", m.From), o.named(m.To))
	c, err := o.measure(func() (io.Reader, io.Closer, error) {
		return p.encoder(strings.NewReader(text), false), io.NopCloser(nil), nil
	})
	if err != nil {
		return nil, err
	}
	o.msg.Text = joined{c.content, m.Text}
	o.side.Add(shadowpo.SideType, sideNDR)
	o.side.Add(shadowpo.SideArrived, a.Now.UTC().Format(time.RFC3339))
	return &Outbound{Message: o.msg, Side: o.side, Notes: o.notes, files: &files{}}, nil
}

// joined is one content behind another; the second may be nil.
type joined [2]mail.Content

func (j joined) Size() int64 {
	n := j[0].Size()
	if j[1] != nil {
		n += j[1].Size()
	}
	return n
}

func (j joined) Open() (io.ReadSeekCloser, error) {
	c := &chain{}
	for _, part := range j {
		if part != nil {
			c.open(func() (io.Reader, io.Closer, error) {
				r, err := part.Open()
				return r, r, err
			})
		}
	}
	return &forward{Reader: c, Closer: c}, nil
}

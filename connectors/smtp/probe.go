package smtp

import (
	"context"
	"fmt"

	"backbone/connectors"
	"backbone/gateway/mail"
)

// Probe asks the next hop whether it would take mail for t's recipients: MAIL and RCPT, then RSET and no message. It
// always opens a conversation of its own, so that the answer speaks of the link as it is now. What the peer says to RCPT
// is its word on the address only: many hosts take every recipient and find out later.
func (c *Connector) Probe(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	d := &delivery{c: c, t: t, out: make([]mail.Outcome, len(t.Envelope.Recipients))}
	for i, r := range t.Envelope.Recipients {
		mb, err := c.mailbox(r.Address)
		if d.to = append(d.to, mb); err != nil {
			d.fail(i, mail.AsFailure(err))
			continue
		}
		d.left = append(d.left, i)
	}
	var err error
	if d.from, err = c.originator(&t.Envelope); err != nil {
		d.failRest(mail.BadContent("the originator has no SMTP form", err))
	}
	if len(d.left) == 0 {
		return d.out
	}
	v, f := c.open(ctx, t.NextHop)
	if f != nil {
		d.failRest(f)
		return d.out
	}
	stop := context.AfterFunc(ctx, v.cut)
	defer stop()
	defer v.quit()
	d.letter = &letter{size: t.Content.Size()}
	if limit := v.sizeLimit(); limit > 0 && d.letter.size > limit {
		d.failRest(mail.TooLarge(fmt.Sprintf("the message has %d octets, %s takes %d", d.letter.size, v.host, limit)))
		return d.out
	}
	d.refuseUTF8(v)
	d.askEach(&transaction{d: d, v: v})
	return d.out
}

// askEach runs the envelope of a transaction that ends before DATA.
func (d *delivery) askEach(tx *transaction) {
	if len(d.left) == 0 {
		return
	}
	tx.command(tx.mailCommand())
	rep, f := tx.read()
	if f == nil && rep.code != 250 {
		f = rep.failure(stageMail, tx.v.host)
	}
	for f == nil && len(d.left) > 0 {
		i := d.left[0]
		tx.command(tx.rcptCommand(i))
		if rep, f = tx.read(); f != nil {
			break
		}
		d.left = d.left[1:]
		if rep.code == 250 || rep.code == 251 {
			d.out[i] = mail.Outcome{State: mail.Delivered, Peer: tx.v.host + ": " + rep.String()}
		} else {
			d.fail(i, rep.failure(stageRcpt, tx.v.host))
		}
	}
	if f != nil {
		d.failRest(f)
		return
	}
	tx.command("RSET")
	tx.read() //nolint:errcheck // every answer is there; the conversation ends anyway
}

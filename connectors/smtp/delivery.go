package smtp

import (
	"context"
	"fmt"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// maxBatch is how many recipients go into one transaction: RFC 5321 4.5.3.1.8 makes every server take 100.
const maxBatch = 100

// delivery is one attempt.
type delivery struct {
	c      *Connector
	t      *connectors.Transfer
	letter *letter
	from   address.Mailbox
	to     []address.Mailbox
	out    []mail.Outcome
	left   []int // recipients without an outcome, as indexes
}

// Deliver makes one attempt over one conversation, in as many transactions as the number of recipients asks for.
func (c *Connector) Deliver(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	d := &delivery{c: c, t: t, out: make([]mail.Outcome, len(t.Envelope.Recipients))}
	d.to = make([]address.Mailbox, len(d.out))
	for i, r := range t.Envelope.Recipients {
		mb, err := c.mailbox(r.Address)
		if d.to[i] = mb; err != nil {
			d.fail(i, mail.AsFailure(err))
			continue
		}
		d.left = append(d.left, i)
	}
	var err error
	if d.from, err = c.originator(&t.Envelope); err != nil {
		d.failRest(mail.BadContent("the originator has no SMTP form", err))
	}
	if len(d.left) > 0 {
		if d.letter, err = openLetter(t.Content); err != nil {
			d.failRest(mail.LocalFault("the stored message can't be read", err))
		} else {
			d.converse(ctx)
			if err := d.letter.close(); err != nil {
				c.log.Warn("closing the stored message", "id", t.Envelope.ID, "err", err)
			}
		}
	}
	d.log()
	return d.out
}

// log has one line for each failure, however many recipients share it.
func (d *delivery) log() {
	t, shared := d.t, map[*mail.Failure]int{}
	for _, o := range d.out {
		shared[o.Failure]++
	}
	for i, o := range d.out {
		if f := o.Failure; f != nil && shared[f] > 0 {
			d.c.log.Info("not taken", "id", t.Envelope.ID, "rcpt", t.Envelope.Recipients[i].Address.String(), "rcpts", shared[f], "dest", t.NextHop,
				"attempt", t.Attempt, "class", f.Class, "err", f.Error())
			shared[f] = 0
		}
	}
}

// converse finds a conversation and uses it until every recipient has an outcome. One that was kept from an earlier
// message may have ended meanwhile: when the peer has answered nothing at all, the next one is tried.
func (d *delivery) converse(ctx context.Context) {
	hop := d.t.NextHop
	for len(d.left) > 0 {
		if ctx.Err() != nil {
			d.failRest(cancelled(ctx))
			return
		}
		v := d.c.pool.get(hop)
		kept := v != nil
		if !kept {
			var f *mail.Failure
			if v, f = d.c.open(ctx, hop); f != nil {
				d.failRest(f)
				return
			}
		}
		stop := context.AfterFunc(ctx, v.cut)
		f, untouched := d.use(v)
		live := stop()
		switch {
		case f == nil && live:
			d.c.pool.put(hop, v)
		case f == nil:
			v.cut()
		case untouched && kept && ctx.Err() == nil:
			v.cut()
			d.c.pool.forget(hop)
			continue
		default:
			v.cut()
			if ctx.Err() != nil {
				f = cancelled(ctx)
			}
			d.failRest(f)
			return
		}
	}
}

// use runs transactions over v. On failure v is of no more use; untouched tells that the peer answered nothing.
func (d *delivery) use(v *conversation) (f *mail.Failure, untouched bool) {
	plan, f := d.letter.plan(v, &d.t.Envelope)
	if f != nil {
		d.failRest(f)
		return nil, false
	}
	if limit := v.sizeLimit(); limit > 0 && d.letter.size > limit {
		d.failRest(mail.TooLarge(fmt.Sprintf("the message has %d octets, %s takes %d", d.letter.size, v.host, limit)))
		return nil, false
	}
	d.refuseUTF8(v)
	batch := v.limit("RCPTMAX", maxBatch)
	for first := true; len(d.left) > 0 && (first || !v.full()); first = false {
		tx := &transaction{d: d, v: v, plan: plan, batch: d.left[:min(batch, len(d.left))]}
		f := tx.run()
		d.left = d.left[len(tx.batch):]
		d.left = append(append([]int(nil), tx.again...), d.left...)
		if f != nil {
			return f, first && tx.untouched
		}
	}
	return nil, false
}

// refuseUTF8 fails recipients whose addresses the peer can't take (RFC 6531 3.2).
func (d *delivery) refuseUTF8(v *conversation) {
	if v.has("SMTPUTF8") {
		return
	}
	f := &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeRecipient, Code: 553, Enhanced: "5.6.7", Reason: 1, Diagnostic: 11, MSMail: 2,
		Text: v.host + " does not take addresses beyond ASCII (SMTPUTF8)"}
	if d.from.UTF8() {
		d.failRest(f)
		return
	}
	var left []int
	for _, i := range d.left {
		if d.to[i].UTF8() {
			d.fail(i, f)
		} else {
			left = append(left, i)
		}
	}
	d.left = left
}

func (d *delivery) fail(i int, f *mail.Failure) {
	state := mail.Deferred
	if f.Final() {
		state = mail.Failed
	}
	d.out[i] = mail.Outcome{State: state, Failure: f}
}

func (d *delivery) failRest(f *mail.Failure) {
	for _, i := range d.left {
		d.fail(i, f)
	}
	d.left = nil
}

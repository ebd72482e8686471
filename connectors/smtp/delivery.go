package smtp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

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
	for i, o := range d.out {
		if o.Failure != nil {
			c.log.Info("recipient not taken", "id", t.Envelope.ID, "rcpt", t.Envelope.Recipients[i].Address.String(), "dest", t.NextHop, "attempt", t.Attempt,
				"class", o.Failure.Class, "err", o.Failure.Error())
		}
	}
	return d.out
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
	for first := true; len(d.left) > 0; first = false {
		if v.sent >= v.limit("MAILMAX", d.c.cfg.ReuseMessages) {
			return linkFailure(v.host, "takes no more messages on this connection", nil), true
		}
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

// transaction is MAIL to final dot for some recipients.
type transaction struct {
	d     *delivery
	v     *conversation
	plan  plan
	batch []int // recipients, as indexes

	taken     []int // those that RCPT accepted
	again     []int // those that need a transaction of their own
	untouched bool  // the peer has answered nothing
}

// run gives each recipient of the batch an outcome, or puts him into again. A failure that it returns ends the
// conversation and is the outcome of who has none yet.
func (tx *transaction) run() *mail.Failure {
	tx.untouched = true
	rep, f := tx.envelope()
	if f != nil {
		tx.open(f)
		return f
	}
	if rep.code != 354 {
		return nil
	}
	if len(tx.taken) == 0 {
		// RFC 2920 3.1: DATA went out with the envelope and was accepted, although nobody is left to take the message.
		return tx.nothing()
	}
	f = tx.content()
	if f != nil {
		tx.each(tx.taken, f)
	}
	if f != nil && (f.Scope == mail.ScopeLink || errors.Is(f, errBroken)) {
		return f
	}
	return nil
}

// envelope sends MAIL, RCPT and DATA, all at once to a peer that lets us (RFC 2920), and reads the replies.
func (tx *transaction) envelope() (data reply, f *mail.Failure) {
	v, pipelining := tx.v, tx.v.has("PIPELINING")
	tx.command(tx.mailCommand())
	if pipelining {
		for _, i := range tx.batch {
			tx.command(tx.rcptCommand(i))
		}
		tx.command("DATA")
	}
	rep, f := tx.read()
	if f != nil {
		return rep, f
	}
	refused := rep.code != 250
	if refused {
		f := rep.failure(stageMail, v.host)
		tx.each(tx.batch, f)
		if f.Scope == mail.ScopeLink {
			return rep, f
		}
		if !pipelining {
			return rep, nil
		}
	}
	for _, i := range tx.batch {
		if !pipelining {
			tx.command(tx.rcptCommand(i))
		}
		rep, f := tx.read()
		if f != nil {
			return rep, f
		}
		if refused {
			continue
		}
		if f := tx.recipient(i, rep); f != nil {
			return rep, f
		}
	}
	if !pipelining {
		if len(tx.taken) == 0 {
			tx.command("RSET")
			_, f := tx.read()
			return reply{}, f
		}
		tx.command("DATA")
	}
	rep, f = tx.read()
	if f != nil {
		return rep, f
	}
	if rep.code != 354 {
		f := rep.failure(stageData, v.host)
		tx.each(tx.taken, f)
		tx.taken = nil
		if f.Scope == mail.ScopeLink {
			return rep, f
		}
		tx.command("RSET") // MAIL may still stand
		if _, f := tx.read(); f != nil {
			return rep, nil // the outcomes are known; the conversation shows its end at its next use
		}
	}
	return rep, nil
}

// recipient files the answer to one RCPT.
func (tx *transaction) recipient(i int, rep reply) *mail.Failure {
	switch {
	case rep.code == 250 || rep.code == 251:
		tx.taken = append(tx.taken, i)
	case (rep.code == 452 || rep.code == 552) && len(tx.taken) > 0 && (rep.enhanced == "" || strings.HasSuffix(rep.enhanced, ".5.3")):
		tx.again = append(tx.again, i) // too many recipients (RFC 5321 4.5.3.1.10): the rest goes in another transaction
	default:
		f := rep.failure(stageRcpt, tx.v.host)
		if f.Scope == mail.ScopeLink {
			return f
		}
		tx.d.fail(i, f)
	}
	return nil
}

// content sends the message and reads the reply to the final dot. Once it has begun a break says nothing about the link:
// the message itself may be what the peer stumbles over.
func (tx *transaction) content() *mail.Failure {
	v := tx.v
	changes, err := tx.d.letter.send(v, tx.plan, tx.heading())
	if err != nil {
		f := linkFailure(v.host, "broke off in the message", errors.Join(errBroken, err))
		if errors.Is(err, errStored) {
			f = mail.LocalFault("the stored message can't be read", errors.Join(errBroken, err))
		}
		f.Scope = mail.ScopeMessage
		return f
	}
	for _, what := range changes {
		tx.d.t.Note(mail.Note{Field: "content", Action: mail.NoteChanged, Detail: what + " for " + v.host})
	}
	rep, err := v.read(v.c.cfg.FinalTimeout.D())
	if err != nil {
		f := linkFailure(v.host, "gave no answer to the whole message; it may have taken it", errors.Join(errBroken, err))
		f.Scope, f.Enhanced = mail.ScopeMessage, "4.4.2"
		return f
	}
	v.sent++
	if rep.code != 250 {
		return rep.failure(stageData, v.host)
	}
	for _, i := range tx.taken {
		tx.d.out[i] = tx.success(i, rep)
	}
	tx.taken = nil
	return nil
}

// errBroken tells that the conversation can't go on.
var errBroken = errors.New("conversation broken")

// success is the outcome for who got the message. A peer with DSN answers the recipient's Notify itself; for one
// without, a success report that was asked for falls to us (RFC 3461 5.2.1, "relayed").
func (tx *transaction) success(i int, rep reply) mail.Outcome {
	o := mail.Outcome{State: mail.Delivered, Peer: rep.String(), PeerReports: tx.v.has("DSN")}
	if !o.PeerReports && tx.d.t.Envelope.Recipients[i].Notify.Wants(mail.NotifySuccess) {
		o.State = mail.Relayed
	}
	return o
}

// nothing ends a DATA that has no recipients.
func (tx *transaction) nothing() *mail.Failure {
	tx.command(".")
	_, f := tx.read()
	return f
}

func (tx *transaction) command(line string) {
	tx.v.w = append(append(tx.v.w, line...), "\r\n"...)
}

// read reads one reply; 421 ends the conversation whatever it answers (RFC 5321 3.8).
func (tx *transaction) read() (reply, *mail.Failure) {
	rep, err := tx.v.read(tx.v.c.cfg.ReplyTimeout.D())
	if err != nil {
		return rep, linkFailure(tx.v.host, "broke off", err)
	}
	if rep.code == 421 {
		return rep, rep.failure(stageConnect, tx.v.host)
	}
	tx.untouched = false
	return rep, nil
}

// each files one failure for several recipients.
func (tx *transaction) each(who []int, f *mail.Failure) {
	for _, i := range who {
		tx.d.fail(i, f)
	}
}

// open files f for those of the batch who have no outcome yet, unless the conversation may be tried anew.
func (tx *transaction) open(f *mail.Failure) {
	if tx.untouched {
		tx.again = tx.batch
		return
	}
	for _, i := range tx.batch {
		if tx.d.out[i].State == "" {
			tx.d.fail(i, f)
		}
	}
	tx.again = nil
}

// mailCommand and rcptCommand take addresses from our own serialiser only.
func (tx *transaction) mailCommand() string {
	v, env := tx.v, &tx.d.t.Envelope
	b := "MAIL FROM:" + tx.d.from.Path()
	if v.has("SIZE") {
		b += " SIZE=" + strconv.FormatInt(tx.d.letter.size, 10)
	}
	if tx.plan.eightBit && v.has("8BITMIME") {
		b += " BODY=8BITMIME"
	}
	if v.has("SMTPUTF8") && (tx.plan.utf8 || tx.utf8Path()) {
		b += " SMTPUTF8"
	}
	if v.has("DSN") {
		if env.RetFull {
			b += " RET=FULL"
		} else if env.EnvID != "" || tx.notified() {
			b += " RET=HDRS"
		}
		if env.EnvID != "" && len(env.EnvID) <= 100 {
			b += " ENVID=" + encodeXtext(env.EnvID)
		}
	}
	return b
}

func (tx *transaction) utf8Path() bool {
	if tx.d.from.UTF8() {
		return true
	}
	for _, i := range tx.batch {
		if tx.d.to[i].UTF8() {
			return true
		}
	}
	return false
}

func (tx *transaction) notified() bool {
	for _, i := range tx.batch {
		if tx.d.t.Envelope.Recipients[i].Notify != mail.NotifyDefault {
			return true
		}
	}
	return false
}

func (tx *transaction) rcptCommand(i int) string {
	v, r := tx.v, &tx.d.t.Envelope.Recipients[i]
	b := "RCPT TO:" + tx.d.to[i].Path()
	if !v.has("DSN") {
		return b
	}
	if n := notifyWords(r.Notify); n != "" {
		b += " NOTIFY=" + n
	}
	if o := formatORCPT(r.ORCPT, v.has("SMTPUTF8")); o != "" && len(b)+len(o) < 1900 {
		b += " ORCPT=" + o
	}
	return b
}

// notifyWords is NOTIFY's value (RFC 3461 4.1).
func notifyWords(n mail.Notify) string {
	if n == mail.NotifyDefault || n&mail.NotifyNever != 0 {
		return map[bool]string{true: "NEVER"}[n != mail.NotifyDefault]
	}
	var out []string
	for _, w := range []struct {
		bit  mail.Notify
		word string
	}{{mail.NotifySuccess, "SUCCESS"}, {mail.NotifyFailure, "FAILURE"}, {mail.NotifyDelay, "DELAY"}} {
		if n&w.bit != 0 {
			out = append(out, w.word)
		}
	}
	return strings.Join(out, ",")
}

// heading are the fields that go in front of the message: ours to partners, and the trace line of a message that did
// not come over SMTP.
func (tx *transaction) heading() []byte {
	env := &tx.d.t.Envelope
	var b []byte
	if tx.d.c.cfg.Partner {
		b = append(b, fieldTransfer+": "+tx.transferID()+"\r\n"...)
		if validID(env.ID) {
			b = append(b, fieldID+": "+env.ID+"\r\n"...)
		}
		for i := len(env.Trace) - 1; i >= 0; i-- {
			if line, ok := formatHop(env.Trace[i]); ok {
				b = append(b, line...)
			}
		}
	}
	if env.Extra[receivedKey] == "" {
		b = gatewayReceived(b, env, tx.d.c.hostname)
	}
	return b
}

// transferID is the same when the same recipients of the same transfer are offered again, so that a partner recognises a
// hand-over whose answer was lost. Who was refused at RCPT is not part of it: he may be taken the next time.
func (tx *transaction) transferID() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", tx.d.t.Key)
	for _, i := range tx.taken {
		fmt.Fprintf(h, "%s\n", tx.d.to[i])
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:20])
}

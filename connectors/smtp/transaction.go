package smtp

import (
	"errors"
	"strings"
	"time"

	"backbone/gateway/mail"
)

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
	heading := tx.heading()
	signature, err := tx.signature(heading)
	if err != nil {
		return tx.torn(err)
	}
	changes, err := tx.d.letter.send(v, tx.plan, append(signature, heading...))
	if err != nil {
		return tx.torn(err)
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

// torn is the failure of a message that could not be sent to its end. A peer that has enough of it often says why before
// it closes.
func (tx *transaction) torn(err error) *mail.Failure {
	v := tx.v
	if errors.Is(err, errStored) {
		return mail.LocalFault("the stored message can't be read", errors.Join(errBroken, err))
	}
	f := linkFailure(v.host, "broke off in the message", err)
	f.Scope = mail.ScopeMessage
	v.w = v.w[:0]
	if rep, rerr := v.read(time.Second); rerr == nil && rep.code >= 400 {
		f = rep.failure(stageData, v.host)
	}
	f.Cause = errors.Join(errBroken, err)
	return f
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

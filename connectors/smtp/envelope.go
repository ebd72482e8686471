package smtp

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"backbone/gateway/mail"
)

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

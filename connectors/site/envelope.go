package site

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"backbone/connectors/site/sitev1"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Limits of an envelope, checked on both sides so that the sender reports what the receiver would refuse. *Ours*.
const (
	maxRecipients = 10000
	maxHops       = 256
	maxExtra      = 1000
	maxText       = 4096 // octets of a text that people read
	maxKey        = 200
)

// packEnvelope is e as it travels. What is local to this site stays: Arrived and Source.
func packEnvelope(e *mail.Envelope) *sitev1.Envelope {
	w := &sitev1.Envelope{
		Id: cleanID(e.ID), MessageId: clean(e.MessageID), Kind: string(e.Kind), Originator: packAddress(e.Originator), Name: clean(e.Name),
		Priority: int32(e.Priority), Subject: clean(e.Subject), Sent: packTime(e.Sent), NotBefore: packTime(e.NotBefore),
		NotAfter: packTime(e.NotAfter), Envid: clean(e.EnvID), RetFull: e.RetFull, EightBit: e.EightBit, Utf8: e.UTF8,
		About: clean(e.About), ContentType: clean(e.ContentType), Extra: cleanExtra(e.Extra),
	}
	for _, r := range e.Recipients {
		w.Recipients = append(w.Recipients, &sitev1.Recipient{Address: packAddress(r.Address), Name: clean(r.Name),
			Orcpt: clean(r.ORCPT), Notify: packNotify(r.Notify), Number: uint32(r.Number)})
	}
	for _, h := range e.Trace {
		w.Trace = append(w.Trace, &sitev1.Hop{Site: clean(h.Site), Via: clean(h.Via), At: packTime(h.At)})
	}
	return w
}

// unpackEnvelope reads what a peer sent, which may be anything. What only people read is cleaned; anything else that
// is wrong refuses the envelope, with an error that names the field.
func unpackEnvelope(w *sitev1.Envelope) (mail.Envelope, error) {
	if err := checkEnvelope(w); err != nil {
		return mail.Envelope{}, err
	}
	e := mail.Envelope{
		ID: cleanID(w.Id), MessageID: clean(w.MessageId), Kind: mail.Kind(w.Kind), Name: clean(w.Name), Priority: mail.Priority(w.Priority),
		Subject: clean(w.Subject), Sent: unpackTime(w.Sent), NotBefore: unpackTime(w.NotBefore), NotAfter: unpackTime(w.NotAfter),
		EnvID: clean(w.Envid), RetFull: w.RetFull, EightBit: w.EightBit, UTF8: w.Utf8, About: clean(w.About),
		ContentType: clean(w.ContentType), Extra: cleanExtra(w.Extra),
	}
	var err error
	if e.Originator, err = unpackAddress(w.Originator); err != nil {
		return mail.Envelope{}, fmt.Errorf("originator: %w", err)
	}
	for i, r := range w.Recipients {
		rcpt, err := unpackRecipient(r)
		if err != nil {
			return mail.Envelope{}, fmt.Errorf("recipient %d: %w", i+1, err)
		}
		e.Recipients = append(e.Recipients, rcpt)
	}
	for _, h := range w.Trace {
		e.Trace = append(e.Trace, mail.Hop{Site: clean(h.GetSite()), Via: clean(h.GetVia()), At: unpackTime(h.GetAt())})
	}
	return e, nil
}

func unpackRecipient(w *sitev1.Recipient) (mail.Recipient, error) {
	a, err := unpackAddress(w.GetAddress())
	if err != nil {
		return mail.Recipient{}, err
	}
	if a.IsZero() {
		return mail.Recipient{}, errors.New("no address")
	}
	notify, err := unpackNotify(w.GetNotify())
	return mail.Recipient{Address: a, Name: clean(w.GetName()), ORCPT: clean(w.GetOrcpt()), Notify: notify, Number: int(w.GetNumber())}, err
}

// checkEnvelope holds an envelope to the protocol's limits.
func checkEnvelope(w *sitev1.Envelope) error {
	switch mail.Kind(w.GetKind()) {
	case mail.KindMessage, mail.KindReport, mail.KindReceipt, mail.KindProbe:
	default:
		return fmt.Errorf("kind %q is unknown", clean(w.GetKind()))
	}
	switch {
	case len(w.Recipients) == 0:
		return errors.New("no recipients")
	case len(w.Recipients) > maxRecipients:
		return fmt.Errorf("%d recipients, at most %d", len(w.Recipients), maxRecipients)
	case len(w.Trace) > maxHops:
		return fmt.Errorf("%d hops in the trace, at most %d", len(w.Trace), maxHops)
	case len(w.Extra) > maxExtra:
		return fmt.Errorf("%d entries of extra, at most %d", len(w.Extra), maxExtra)
	case w.Priority < -1 || w.Priority > 1:
		return fmt.Errorf("priority %d is outside -1..1", w.Priority)
	}
	return nil
}

// cleanID leaves out an identifier that is none: the next gateway gives the message one of its own.
func cleanID(id string) string {
	if len(id) > 32 || !printable(id) {
		return ""
	}
	return id
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clean makes text fit for one line of a protocol, a log or a screen: UTF-8 of at most maxText octets, with controls as
// U+FFFD.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > maxText { // U+FFFD is longer than what it stands for
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

func cleanExtra(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[clean(k)] = strings.ToValidUTF8(v, "\uFFFD")
	}
	return out
}

func packAddress(a address.Address) *sitev1.Address {
	if a.IsZero() {
		return nil
	}
	return &sitev1.Address{Type: string(a.Type), Value: a.Value}
}

// unpackAddress gives the address its canonical text again: a peer may run another version, or be hostile.
func unpackAddress(w *sitev1.Address) (address.Address, error) {
	if w == nil {
		return address.Address{}, nil
	}
	t, err := address.ParseType(w.Type)
	if err != nil {
		return address.Address{}, err
	}
	return address.Parse(string(t) + ":" + w.Value)
}

func packTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// unpackTime leaves out years that JSON and RFC 5322 can't write.
func unpackTime(us int64) time.Time {
	t := time.UnixMicro(us).UTC()
	if us == 0 || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

var notifyBits = []struct {
	bit  mail.Notify
	wire sitev1.Notify
}{
	{mail.NotifyNever, sitev1.Notify_NOTIFY_NEVER},
	{mail.NotifySuccess, sitev1.Notify_NOTIFY_SUCCESS},
	{mail.NotifyFailure, sitev1.Notify_NOTIFY_FAILURE},
	{mail.NotifyDelay, sitev1.Notify_NOTIFY_DELAY},
}

func packNotify(n mail.Notify) []sitev1.Notify {
	var out []sitev1.Notify
	for _, b := range notifyBits {
		if n&b.bit != 0 {
			out = append(out, b.wire)
		}
	}
	return out
}

func unpackNotify(ws []sitev1.Notify) (mail.Notify, error) {
	if len(ws) > 8 {
		return 0, fmt.Errorf("notify: %d values", len(ws))
	}
	var n mail.Notify
next:
	for _, w := range ws {
		for _, b := range notifyBits {
			if w == b.wire {
				n |= b.bit
				continue next
			}
		}
		return 0, fmt.Errorf("notify: %v is unknown", w)
	}
	return n, nil
}

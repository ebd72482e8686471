package p1

import (
	"fmt"
	"time"

	"backbone/connectors/x400/ber"
)

// ContentType tells what a content is: a number of X.411, or an object identifier.
type ContentType struct {
	BuiltIn int64
	OID     ber.OID // when not "", BuiltIn does not count
}

// Built-in content types (X.411 8.2.1.1.1.34).
const (
	ContentUnidentified = 0
	ContentExternal     = 1
	ContentP2           = 2 // IPM of 1984
	ContentP22          = 22
	ContentEDI          = 35
	ContentVoice        = 40
)

func (c ContentType) String() string {
	if c.OID != "" {
		return string(c.OID)
	}
	return fmt.Sprint(c.BuiltIn)
}

func readContentType(e ber.Element) ContentType {
	// The module gives [APPLICATION 6] to the built-in form; the other is an identifier of its own.
	if e.Is(ber.ObjectIdentifier) || e.Is(ber.RelativeOID) {
		return ContentType{OID: e.OID()}
	}
	if e.Constructed {
		return readContentType(e.Only())
	}
	return ContentType{BuiltIn: e.Int()}
}

func (c ContentType) write(w *ber.Writer) {
	if c.OID != "" {
		w.OID(ber.ObjectIdentifier, c.OID)
		return
	}
	w.Int(ber.Application(6), c.BuiltIn)
}

// Priorities (X.411 8.2.1.1.1.8).
const (
	PriorityNormal    = 0
	PriorityNonUrgent = 1
	PriorityUrgent    = 2
)

// Per-message indicators (X.411 8.2.1.1.1.10 to 13).
const (
	Disclosure                    = 0
	ImplicitConversionProhibited  = 1
	AlternateRecipientAllowed     = 2
	ContentReturnRequest          = 3
	perMessageBits                = 8
	Responsibility                = 0 // per-recipient indicators (X.411 12.2.1.1.1.26)
	OriginatingMTAReport          = 1
	OriginatingMTANonDelivery     = 2
	OriginatorReport              = 3
	OriginatorNonDeliveryReport   = 4
	perRecipientIndicatorsMinimum = 8
)

// Recipient is one recipient of a message or probe.
type Recipient struct {
	Name       ORName
	Number     int64 // originally specified, from 1
	Indicators ber.Bits
	Conversion int64 // explicit conversion; -1 absent
	Extensions []Extension
}

// Responsible tells whether the receiving MTA has to do something for the recipient. The others are named only so
// that it knows who else there is, and must not be delivered to.
func (r Recipient) Responsible() bool { return r.Indicators.Has(Responsibility) }

// Envelope is the transfer envelope of a message, or of a probe, which has no content but may say how long it would be.
type Envelope struct {
	Probe         bool
	ID            MTSIdentifier
	Originator    ORName
	EITs          []byte // [APPLICATION 5], as encoded; nil is unspecified
	ContentType   ContentType
	ContentID     string
	Priority      int64 // not in a probe
	Indicators    ber.Bits
	Deferred      time.Time // not in a probe
	ContentLength int64     // probe only; 0 absent
	Bilateral     []byte    // per-domain bilateral information, as encoded
	Trace         []TraceElement
	Extensions    []Extension
	Recipients    []Recipient
}

// maxRecipients is ub-recipients.
const maxRecipients = 32767

func readEnvelope(e ber.Element, probe bool) *Envelope {
	v := &Envelope{Probe: probe}
	seen := map[ber.Tag]bool{}
	for m := range e.All() {
		seen[m.Tag] = true
		switch m.Tag {
		case ber.Application(4):
			v.ID = readIdentifier(m)
		case ber.Application(0):
			v.Originator = ReadORName(m)
		case ber.Application(5):
			v.EITs = m.Raw
		case ber.Application(6), ber.ObjectIdentifier, ber.RelativeOID:
			v.ContentType = readContentType(m)
			seen[ber.Application(6)] = true
		case ber.Application(10):
			v.ContentID = m.Text()
		case ber.Application(7):
			v.Priority = m.Int()
		case ber.Application(8):
			v.Indicators = m.Bits()
		case ber.Context(0):
			if probe {
				v.ContentLength = m.Int()
			} else {
				v.Deferred, _ = m.Time() // a time that no clock shows is now
			}
		case ber.Context(1):
			v.Bilateral = m.Raw
		case ber.Application(9):
			v.Trace = readTrace(m)
		case ber.Context(3):
			v.Extensions = readExtensions(m)
		case ber.Context(2):
			for r := range m.All() {
				if len(v.Recipients) == maxRecipients {
					r.Failf("more than %d recipients", maxRecipients)
					break
				}
				v.Recipients = append(v.Recipients, readRecipient(r))
			}
		}
	}
	for tag, what := range map[ber.Tag]string{ber.Application(4): "an identifier", ber.Application(0): "an originator",
		ber.Application(6): "a content type", ber.Context(2): "recipients"} {
		if e.Present() && !seen[tag] {
			e.Failf("an envelope without %s", what)
		}
	}
	return v
}

func readRecipient(e ber.Element) Recipient {
	r := Recipient{Conversion: -1}
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(0):
			r.Name = ReadORName(m)
		case ber.Context(0):
			r.Number = m.Int()
		case ber.Context(1):
			r.Indicators = m.Bits()
		case ber.Context(2):
			r.Conversion = m.Int()
		case ber.Context(3):
			r.Extensions = readExtensions(m)
		}
	}
	return r
}

// write writes the envelope as a SET under tag t, members in the order of the module.
func (v *Envelope) write(w *ber.Writer, t ber.Tag, o Options) {
	w.Cons(t, func() {
		v.ID.write(w)
		v.Originator.Write(w, ber.Application(0), o)
		w.Raw(v.EITs)
		v.ContentType.write(w)
		if v.ContentID != "" {
			w.Text(ber.Application(10), v.ContentID)
		}
		if v.Priority != PriorityNormal && !v.Probe {
			w.Int(ber.Application(7), v.Priority)
		}
		if len(v.Indicators.Bytes) > 0 {
			w.Bits(ber.Application(8), v.Indicators)
		}
		switch {
		case v.Probe && v.ContentLength > 0:
			w.Int(ber.Context(0), v.ContentLength)
		case !v.Probe && !v.Deferred.IsZero():
			w.Time(ber.Context(0), v.Deferred)
		}
		w.Raw(v.Bilateral)
		writeTrace(w, v.Trace)
		writeExtensions(w, ber.Context(3), v.Extensions, o)
		w.Cons(ber.Context(2), func() {
			for _, r := range v.Recipients {
				r.write(w, o)
			}
		})
	})
}

func (r Recipient) write(w *ber.Writer, o Options) {
	w.Cons(ber.Set, func() {
		r.Name.Write(w, ber.Application(0), o)
		w.Int(ber.Context(0), r.Number)
		w.Bits(ber.Context(1), r.Indicators)
		if r.Conversion >= 0 {
			w.Int(ber.Context(2), r.Conversion)
		}
		writeExtensions(w, ber.Context(3), r.Extensions, o)
	})
}

// BuiltInEITs encodes built-in encoded information types, bits of X.411 8.2.1.1.1.33: 2 is IA5 text.
func BuiltInEITs(bits ...int) []byte {
	var w ber.Writer
	w.Cons(ber.Application(5), func() { w.Bits(ber.Context(0), ber.NewBits(11, bits...)) })
	b, _ := w.Bytes() // bits can't fail
	return b
}

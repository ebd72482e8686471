// Package p22 is the codec of interpersonal messages (ITU-T X.420): P22 of 1988, and P2 of 1984, which differ in what a
// message may hold and not in how it is encoded.
//
// It turns octets into values and back, purely. Body parts are read in place and written as they come, so that an
// attachment is never held; those of types that it does not know keep their encoding. It maps nothing onto MIME: that is
// package mixer's. What breaks X.420's syntax is an error.
package p22

import (
	"fmt"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/gateway/address/t61"
)

// Limits are those of a content.
var Limits = p1.Limits

// IPMID identifies an interpersonal message or, with a user, that user's message.
type IPMID struct {
	User  *p1.ORName
	Local string // PrintableString of at most 64
}

// MaxLocal is ub-local-ipm-identifier.
const MaxLocal = 64

// ORDescriptor names a user.
type ORDescriptor struct {
	Name     *p1.ORName
	FreeForm string
	Phone    string
}

// RecipientSpecifier is one recipient of a heading.
type RecipientSpecifier struct {
	ORDescriptor
	// Notify has bits 0 receipt, 1 non-receipt, 2 return of the message.
	Notify         ber.Bits
	ReplyRequested bool
	Extensions     []byte // as encoded
}

// Notification requests.
const (
	NotifyReceipt    = 0
	NotifyNonReceipt = 1
	NotifyReturn     = 2
)

// Importance and sensitivity.
const (
	ImportanceLow    = 0
	ImportanceNormal = 1
	ImportanceHigh   = 2

	Personal            = 1
	Private             = 2
	CompanyConfidential = 3
)

// Extension is a heading extension.
type Extension struct {
	Type  ber.OID
	Value []byte // one element, or nil
}

// Heading is that of an IPM.
type Heading struct {
	This          IPMID
	Originator    *ORDescriptor
	Authorizing   []ORDescriptor
	Primary, Copy []RecipientSpecifier
	Blind         []RecipientSpecifier
	RepliedTo     *IPMID
	Obsoleted     []IPMID
	Related       []IPMID
	Subject       string
	Expiry, Reply time.Time
	ReplyTo       []ORDescriptor
	Importance    int64 // ImportanceNormal when not said
	Sensitivity   int64 // 0 when not said
	AutoForwarded bool
	Extensions    []Extension
}

func readHeading(e ber.Element) Heading {
	h := Heading{Importance: ImportanceNormal}
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(11):
			h.This = readID(m)
		case ber.Context(0):
			d := readDescriptor(m)
			h.Originator = &d
		case ber.Context(1):
			h.Authorizing = readDescriptors(m)
		case ber.Context(2):
			h.Primary = readRecipients(m)
		case ber.Context(3):
			h.Copy = readRecipients(m)
		case ber.Context(4):
			h.Blind = readRecipients(m)
		case ber.Context(5):
			id := readID(m)
			h.RepliedTo = &id
		case ber.Context(6):
			h.Obsoleted = readIDs(m)
		case ber.Context(7):
			h.Related = readIDs(m)
		case ber.Context(8):
			h.Subject = t61.Decode(m.Only().Octets())
		case ber.Context(9):
			h.Expiry, _ = m.Time()
		case ber.Context(10):
			h.Reply, _ = m.Time()
		case ber.Context(11):
			h.ReplyTo = readDescriptors(m)
		case ber.Context(12):
			h.Importance = m.Int()
		case ber.Context(13):
			h.Sensitivity = m.Int()
		case ber.Context(14):
			h.AutoForwarded = m.Bool()
		case ber.Context(15):
			for x := range m.All() {
				h.Extensions = append(h.Extensions, readExtension(x))
			}
		}
	}
	return h
}

func readExtension(e ber.Element) Extension {
	var x Extension
	n := 0
	for m := range e.All() {
		if n++; n == 1 {
			x.Type = m.OID()
		} else {
			x.Value = m.Raw
		}
	}
	return x
}

func readID(e ber.Element) IPMID {
	var id IPMID
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(0):
			n := p1.ReadORName(m)
			id.User = &n
		case ber.PrintableString:
			id.Local = m.Text()
		}
	}
	return id
}

func readIDs(e ber.Element) (out []IPMID) {
	for m := range e.All() {
		out = append(out, readID(m))
	}
	return out
}

func readDescriptor(e ber.Element) ORDescriptor {
	var d ORDescriptor
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(0):
			n := p1.ReadORName(m)
			d.Name = &n
		case ber.Context(0):
			d.FreeForm = t61.Decode(m.Octets())
		case ber.Context(1):
			d.Phone = m.Text()
		}
	}
	return d
}

func readDescriptors(e ber.Element) (out []ORDescriptor) {
	for m := range e.All() {
		out = append(out, readDescriptor(m))
	}
	return out
}

func readRecipients(e ber.Element) (out []RecipientSpecifier) {
	for m := range e.All() {
		var r RecipientSpecifier
		for f := range m.All() {
			switch f.Tag {
			case ber.Context(0):
				r.ORDescriptor = readDescriptor(f)
			case ber.Context(1):
				r.Notify = f.Bits()
			case ber.Context(2):
				r.ReplyRequested = f.Bool()
			case ber.Context(3):
				r.Extensions = f.Raw
			}
		}
		out = append(out, r)
	}
	return out
}

func (id IPMID) write(w *ber.Writer, t ber.Tag, o p1.Options) {
	w.Cons(t, func() {
		if id.User != nil {
			id.User.Write(w, ber.Application(0), o)
		}
		w.Text(ber.PrintableString, id.Local)
	})
}

func writeIDs(w *ber.Writer, t ber.Tag, all []IPMID, o p1.Options) {
	if len(all) > 0 {
		w.Cons(t, func() {
			for _, id := range all {
				id.write(w, ber.Application(11), o)
			}
		})
	}
}

// maxFreeForm is ub-free-form-name, maxSubject ub-subject-field.
const (
	maxFreeForm = 64
	maxSubject  = 128
)

// teletex is s in T.61, cut to max octets without cutting an accent from its letter.
func teletex(s string, most int) []byte {
	b, _ := t61.Encode(s)
	if len(b) > most {
		b = b[:most]
		if last := b[most-1]; last >= 0xc1 && last <= 0xcf {
			b = b[:most-1]
		}
	}
	return b
}

// SubjectFits tells whether a subject survives: T.61 can say it, in 128 octets.
func SubjectFits(s string) bool {
	b, lost := t61.Encode(s)
	return lost == 0 && len(b) <= maxSubject
}

func (d ORDescriptor) write(w *ber.Writer, t ber.Tag, o p1.Options) {
	w.Cons(t, func() {
		if d.Name != nil {
			d.Name.Write(w, ber.Application(0), o)
		}
		if d.FreeForm != "" {
			w.Octets(ber.Context(0), teletex(d.FreeForm, maxFreeForm))
		}
		if d.Phone != "" {
			w.Text(ber.Context(1), d.Phone)
		}
	})
}

func writeDescriptors(w *ber.Writer, t ber.Tag, all []ORDescriptor, o p1.Options) {
	if len(all) > 0 {
		w.Cons(t, func() {
			for _, d := range all {
				d.write(w, ber.Set, o)
			}
		})
	}
}

func writeRecipients(w *ber.Writer, t ber.Tag, all []RecipientSpecifier, o p1.Options) {
	if len(all) == 0 {
		return
	}
	w.Cons(t, func() {
		for _, r := range all {
			w.Cons(ber.Set, func() {
				r.ORDescriptor.write(w, ber.Context(0), o)
				if len(r.Notify.Bytes) > 0 {
					w.Bits(ber.Context(1), r.Notify)
				}
				if r.ReplyRequested {
					w.Bool(ber.Context(2), true)
				}
				if !o.Stack1984 {
					w.Raw(r.Extensions)
				}
			})
		}
	})
}

// write writes the heading as a SET, members in the order of the module. 1984 has no extensions.
func (h *Heading) write(w *ber.Writer, o p1.Options) {
	w.Cons(ber.Set, func() {
		h.This.write(w, ber.Application(11), o)
		if h.Originator != nil {
			h.Originator.write(w, ber.Context(0), o)
		}
		writeDescriptors(w, ber.Context(1), h.Authorizing, o)
		writeRecipients(w, ber.Context(2), h.Primary, o)
		writeRecipients(w, ber.Context(3), h.Copy, o)
		writeRecipients(w, ber.Context(4), h.Blind, o)
		if h.RepliedTo != nil {
			h.RepliedTo.write(w, ber.Context(5), o)
		}
		writeIDs(w, ber.Context(6), h.Obsoleted, o)
		writeIDs(w, ber.Context(7), h.Related, o)
		if h.Subject != "" {
			w.Cons(ber.Context(8), func() { w.Octets(ber.TeletexString, teletex(h.Subject, maxSubject)) })
		}
		if !h.Expiry.IsZero() {
			w.Time(ber.Context(9), h.Expiry)
		}
		if !h.Reply.IsZero() {
			w.Time(ber.Context(10), h.Reply)
		}
		writeDescriptors(w, ber.Context(11), h.ReplyTo, o)
		if h.Importance != ImportanceNormal {
			w.Int(ber.Context(12), h.Importance)
		}
		if h.Sensitivity != 0 {
			w.Int(ber.Context(13), h.Sensitivity)
		}
		if h.AutoForwarded {
			w.Bool(ber.Context(14), true)
		}
		if len(h.Extensions) > 0 && !o.Stack1984 {
			w.Cons(ber.Context(15), func() {
				for _, x := range h.Extensions {
					w.Cons(ber.Sequence, func() {
						w.OID(ber.ObjectIdentifier, x.Type)
						w.Raw(x.Value)
					})
				}
			})
		}
	})
}

// Object is an InformationObject: one of IPM and IPN is set.
type Object struct {
	IPM *IPM
	IPN *IPN
}

// IPM is an interpersonal message.
type IPM struct {
	Heading
	Body []BodyPart
}

// Parse reads a content of type 2 or 22. What it returns points into b.
func Parse(b []byte) (*Object, error) {
	d := ber.NewDecoder(b, Limits)
	root := d.Root()
	var o Object
	switch root.Tag {
	case ber.Context(0):
		o.IPM = readIPM(root)
	case ber.Context(1):
		o.IPN = readIPN(root)
	default:
		root.Failf("no interpersonal message or notification")
	}
	if d.Err() != nil {
		return nil, fmt.Errorf("p22: %w", d.Err())
	}
	return &o, nil
}

func readIPM(e ber.Element) *IPM {
	m := &IPM{}
	n := 0
	for x := range e.All() {
		switch n++; n {
		case 1:
			m.Heading = readHeading(x)
		case 2:
			for p := range x.All() {
				m.Body = append(m.Body, readBodyPart(p))
			}
		}
	}
	if e.Present() && n != 2 {
		e.Failf("a message of %d parts, not heading and body", n)
	}
	return m
}

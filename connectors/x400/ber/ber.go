// Package ber reads and writes ASN.1's Basic Encoding Rules (ITU-T X.690) as X.400 peers use them: definite and
// indefinite lengths, strings in pieces, tags of any class and number.
//
// Reading is by cursor over octets that the caller holds (a mapped file may be large): an Element points into them, its
// Raw octets can be relayed unchanged, and a long OCTET STRING is read through Octets piece by piece or through
// OctetReader without being joined. The first error ends a decoding and stays in its Decoder, so that a codec reads as
// the module that it implements and asks once, at its end:
//
//	d := ber.NewDecoder(b, ber.DefaultLimits)
//	for e := range d.Root().All() {
//		switch e.Tag {
//		case ber.Context(0):
//			v.Name = e.Text()
//		case ber.Context(1):
//			v.Size = e.Int()
//		}
//	}
//	return v, d.Err()
//
// Nothing here panics or allocates by what a length field claims. Nesting, the number of elements and the size of joined
// strings are limited. Writing is by a Writer whose constructed elements have definite lengths.
package ber

import (
	"fmt"
	"iter"
)

// Class of a tag (X.690 8.1.2.2).
type Class uint8

const (
	ClassUniversal Class = iota
	ClassApplication
	ClassContext
	ClassPrivate
)

// Tag is an identifier without the bit that tells primitive from constructed.
type Tag struct {
	Class  Class
	Number uint32
}

// Universal, Application and Context make tags as modules write them: [APPLICATION 3], [0].
func Universal(n uint32) Tag   { return Tag{ClassUniversal, n} }
func Application(n uint32) Tag { return Tag{ClassApplication, n} }
func Context(n uint32) Tag     { return Tag{ClassContext, n} }

// The universal types that X.400 uses (X.680 8.4).
var (
	Boolean          = Universal(1)
	Integer          = Universal(2)
	BitStr           = Universal(3)
	OctetString      = Universal(4)
	Null             = Universal(5)
	ObjectIdentifier = Universal(6)
	ExternalType     = Universal(8)
	Enumerated       = Universal(10)
	UTF8String       = Universal(12)
	RelativeOID      = Universal(13)
	Sequence         = Universal(16)
	Set              = Universal(17)
	NumericString    = Universal(18)
	PrintableString  = Universal(19)
	TeletexString    = Universal(20)
	IA5String        = Universal(22)
	UTCTime          = Universal(23)
	GraphicString    = Universal(25)
	VisibleString    = Universal(26)
	GeneralString    = Universal(27)
	UniversalString  = Universal(28)
	BMPString        = Universal(30)
)

// String is the tag as ASN.1 writes it: "[0]", "[APPLICATION 3]", "SEQUENCE".
func (t Tag) String() string {
	switch t.Class {
	case ClassUniversal:
		if n := universalNames[t.Number]; n != "" {
			return n
		}
		return fmt.Sprintf("[UNIVERSAL %d]", t.Number)
	case ClassApplication:
		return fmt.Sprintf("[APPLICATION %d]", t.Number)
	case ClassPrivate:
		return fmt.Sprintf("[PRIVATE %d]", t.Number)
	}
	return fmt.Sprintf("[%d]", t.Number)
}

var universalNames = map[uint32]string{
	1: "BOOLEAN", 2: "INTEGER", 3: "BIT STRING", 4: "OCTET STRING", 5: "NULL", 6: "OBJECT IDENTIFIER", 8: "EXTERNAL",
	10: "ENUMERATED", 12: "UTF8String", 13: "RELATIVE-OID", 16: "SEQUENCE", 17: "SET", 18: "NumericString",
	19: "PrintableString", 20: "TeletexString", 21: "VideotexString", 22: "IA5String", 23: "UTCTime", 24: "GeneralizedTime",
	25: "GraphicString", 26: "VisibleString", 27: "GeneralString", 28: "UniversalString", 30: "BMPString",
}

// Limits bound what a hostile encoding costs.
type Limits struct {
	Depth    int // of nesting
	Elements int // visited in one decoding
	Joined   int // octets of a string in pieces that Octets or Text puts together
}

// DefaultLimits take a message with thousands of recipients and forwarded messages ten deep.
var DefaultLimits = Limits{Depth: 96, Elements: 1 << 20, Joined: 1 << 20}

// SyntaxError says what is wrong with an encoding and where.
type SyntaxError struct {
	Offset int // from the beginning of the octets given to NewDecoder
	Text   string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("ber: octet %d: %s", e.Offset, e.Text) }

// Decoder is one decoding.
type Decoder struct {
	buf      []byte
	limits   Limits
	elements int
	err      error
}

// NewDecoder reads b, which must not change while Elements of it are in use.
func NewDecoder(b []byte, l Limits) *Decoder { return &Decoder{buf: b, limits: l} }

// Err is the first error.
func (d *Decoder) Err() error { return d.err }

// failf records an error at offset, unless there is one already.
func (d *Decoder) failf(offset int, format string, args ...any) {
	if d.err == nil {
		d.err = &SyntaxError{offset, fmt.Sprintf(format, args...)}
	}
}

// Root is the one element that the octets are. Octets after it are an error.
func (d *Decoder) Root() Element {
	e := d.next(0, len(d.buf), 0)
	if end := e.offset + len(e.Raw); d.err == nil && end != len(d.buf) {
		d.failf(end, "%d octets follow the end of the %s", len(d.buf)-end, e.Tag)
	}
	return e
}

// All gives the elements that stand one after the other, without a common wrapper.
func (d *Decoder) All() iter.Seq[Element] { return d.all(0, len(d.buf), 0) }

// all walks the elements in buf[from:to]. An indefinite body ends at to, before its end-of-contents.
func (d *Decoder) all(from, to, depth int) iter.Seq[Element] {
	return func(yield func(Element) bool) {
		for at := from; at < to && d.err == nil; {
			e := d.next(at, to, depth)
			if d.err != nil || !yield(e) {
				return
			}
			at += len(e.Raw)
		}
	}
}

// Element is one encoded value. The zero Element is what a failed read gives: it has no octets and no members.
type Element struct {
	Tag         Tag
	Constructed bool
	Indefinite  bool
	Raw         []byte // the whole encoding, for relaying it unchanged
	Body        []byte // the contents octets, without an end-of-contents

	d      *Decoder
	offset int
	depth  int
}

// Offset is where the element begins in the octets given to NewDecoder.
func (e Element) Offset() int { return e.offset }

// Is tells whether the element has tag t.
func (e Element) Is(t Tag) bool { return e.d != nil && e.Tag == t }

// Present is false for the zero Element.
func (e Element) Present() bool { return e.d != nil }

// Failf records an error about e in its Decoder.
func (e Element) Failf(format string, args ...any) {
	if e.d != nil {
		e.d.failf(e.offset, "%s: %s", e.Tag, fmt.Sprintf(format, args...))
	}
}

// All gives the members of a constructed element. A primitive one is an error.
func (e Element) All() iter.Seq[Element] {
	if e.d == nil || e.d.err != nil {
		return func(func(Element) bool) {}
	}
	if !e.Constructed {
		e.Failf("primitive, but members are due here")
		return func(func(Element) bool) {}
	}
	from := e.offset + e.headLen()
	return e.d.all(from, from+len(e.Body), e.depth+1)
}

// Only is the one member of e, as an EXPLICIT tag has it.
func (e Element) Only() Element {
	var only Element
	n := 0
	for m := range e.All() {
		only = m
		n++
	}
	if n != 1 && e.d != nil {
		e.Failf("%d members where there is one", n)
		return Element{}
	}
	return only
}

// First is the first member of e, or the zero Element when there is none.
func (e Element) First() Element {
	for m := range e.All() {
		return m
	}
	return Element{}
}

func (e Element) headLen() int {
	n := len(e.Raw) - len(e.Body)
	if e.Indefinite {
		n -= 2
	}
	return n
}

// next reads the element at buf[at:to].
func (d *Decoder) next(at, to, depth int) Element {
	if d.err != nil {
		return Element{}
	}
	if d.elements++; d.elements > d.limits.Elements {
		d.failf(at, "more than %d elements", d.limits.Elements)
		return Element{}
	}
	if depth > d.limits.Depth {
		d.failf(at, "nested deeper than %d", d.limits.Depth)
		return Element{}
	}
	h := d.head(at, to)
	if d.err != nil {
		return Element{}
	}
	if h.tag == (Tag{}) {
		d.failf(at, "end-of-contents outside an indefinite length")
		return Element{}
	}
	e := Element{Tag: h.tag, Constructed: h.constructed, Indefinite: h.indefinite, d: d, offset: at, depth: depth}
	if !h.indefinite {
		e.Raw, e.Body = d.buf[at:h.body+h.length:h.body+h.length], d.buf[h.body:h.body+h.length:h.body+h.length]
		return e
	}
	end := d.skipIndefinite(h.body, to)
	if d.err != nil {
		return Element{}
	}
	e.Raw, e.Body = d.buf[at:end+2:end+2], d.buf[h.body:end:end]
	return e
}

// skipIndefinite finds the end-of-contents of an indefinite body that begins at from. Definite members are stepped
// over unread; only indefinite ones nest here.
func (d *Decoder) skipIndefinite(from, to int) int {
	open := 1
	for at := from; ; {
		h := d.head(at, to)
		if d.err != nil {
			return 0
		}
		switch {
		case h.tag == (Tag{}):
			if open--; open == 0 {
				return at
			}
			at = h.body
		case h.indefinite:
			if open++; open > d.limits.Depth {
				d.failf(at, "nested deeper than %d", d.limits.Depth)
				return 0
			}
			at = h.body
		default:
			at = h.body + h.length
		}
	}
}

type head struct {
	tag                     Tag
	constructed, indefinite bool
	body, length            int
}

// head reads identifier and length octets, whose contents lie before to.
func (d *Decoder) head(at, to int) head {
	h := d.header(at, to)
	if d.err == nil && h.length > to-h.body {
		d.failf(at, "%s: %d octets of contents, but only %d are there", h.tag, h.length, to-h.body)
		return head{}
	}
	return h
}

// header reads identifier and length octets (X.690 8.1.2, 8.1.3).
func (d *Decoder) header(at, to int) head {
	start := at
	truncated := func() head {
		d.failf(start, "the encoding breaks off")
		return head{}
	}
	if at >= to {
		return truncated()
	}
	id := d.buf[at]
	at++
	h := head{tag: Tag{Class(id >> 6), uint32(id & 0x1f)}, constructed: id&0x20 != 0}
	if id&0x1f == 0x1f {
		n := uint32(0)
		for more := true; more; at++ {
			if at >= to {
				return truncated()
			}
			if n > 1<<21 {
				d.failf(start, "a tag number above 2^28")
				return head{}
			}
			n = n<<7 | uint32(d.buf[at]&0x7f)
			more = d.buf[at]&0x80 != 0
		}
		h.tag.Number = n
	}
	if at >= to {
		return truncated()
	}
	l := d.buf[at]
	at++
	switch {
	case l < 0x80:
		h.length = int(l)
	case l == 0x80:
		if !h.constructed {
			d.failf(start, "%s: an indefinite length on a primitive encoding", h.tag)
			return head{}
		}
		h.indefinite = true
	default:
		octets := int(l & 0x7f)
		if at+octets > to {
			return truncated()
		}
		for ; octets > 0; octets-- {
			if h.length > 1<<48 {
				d.failf(start, "%s: a length above 2^48", h.tag)
				return head{}
			}
			h.length = h.length<<8 | int(d.buf[at])
			at++
		}
	}
	h.body = at
	if h.tag == (Tag{}) && (h.constructed || h.length != 0) {
		d.failf(start, "an end-of-contents with contents")
		return head{}
	}
	return h
}

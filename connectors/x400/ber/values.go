package ber

import (
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// Int is an INTEGER or ENUMERATED of at most eight octets, whatever its tag.
func (e Element) Int() int64 {
	if e.Constructed || len(e.Body) == 0 || len(e.Body) > 8 {
		e.Failf("%d octets are no integer of up to 64 bits", len(e.Body))
		return 0
	}
	v := int64(int8(e.Body[0]))
	for _, b := range e.Body[1:] {
		v = v<<8 | int64(b)
	}
	return v
}

// Bool is a BOOLEAN.
func (e Element) Bool() bool {
	if e.Constructed || len(e.Body) != 1 {
		e.Failf("%d octets are no BOOLEAN", len(e.Body))
		return false
	}
	return e.Body[0] != 0
}

// Octets are the contents of a string type. Those of a primitive encoding are not copied; pieces are joined, up to the
// limit.
func (e Element) Octets() []byte {
	if !e.Constructed {
		return e.Body
	}
	var out []byte
	e.pieces(func(p Element) bool {
		if len(out)+len(p.Body) > e.d.limits.Joined {
			e.Failf("a string in pieces of more than %d octets", e.d.limits.Joined)
			return false
		}
		out = append(out, p.Body...)
		return true
	})
	return out
}

// pieces calls f for each primitive piece of a string (X.690 8.7.3). Pieces may nest, and may have the string's own
// universal type whatever tag the string has.
func (e Element) pieces(f func(Element) bool) bool {
	for m := range e.All() {
		if m.Tag.Class != ClassUniversal {
			m.Failf("no piece of a string")
			return false
		}
		if m.Constructed {
			if !m.pieces(f) {
				return false
			}
		} else if !f(m) {
			return false
		}
	}
	return true
}

// OctetLen is how many octets a string has.
func (e Element) OctetLen() int64 {
	if !e.Constructed {
		return int64(len(e.Body))
	}
	var n int64
	e.pieces(func(p Element) bool { n += int64(len(p.Body)); return true })
	return n
}

// WriteOctets writes the contents of a string to w, piece by piece, however long they are.
func (e Element) WriteOctets(w io.Writer) error {
	if !e.Constructed {
		_, err := w.Write(e.Body)
		return err
	}
	var failed error
	e.pieces(func(p Element) bool { _, failed = w.Write(p.Body); return failed == nil })
	if failed == nil && e.d != nil {
		failed = e.d.err
	}
	return failed
}

// Text is a string type's contents as they are, without regard to its alphabet.
func (e Element) Text() string { return string(e.Octets()) }

// Bits is a BIT STRING.
func (e Element) Bits() Bits {
	b := e.Octets()
	if e.Constructed || len(b) == 0 || b[0] > 7 || (len(b) == 1 && b[0] != 0) {
		e.Failf("no BIT STRING in one piece")
		return Bits{}
	}
	return Bits{Bytes: b[1:], Unused: int(b[0])}
}

// Bits is a BIT STRING; bit 0 is the first octet's most significant.
type Bits struct {
	Bytes  []byte
	Unused int // bits of the last octet that do not count
}

// Has tells whether bit n is there and set.
func (b Bits) Has(n int) bool {
	return n >= 0 && n < len(b.Bytes)*8-b.Unused && b.Bytes[n/8]&(0x80>>(n%8)) != 0
}

// NewBits has at least size bits, of which the given are set.
func NewBits(size int, set ...int) Bits {
	for _, n := range set {
		size = max(size, n+1)
	}
	b := Bits{Bytes: make([]byte, (size+7)/8)}
	b.Unused = len(b.Bytes)*8 - size
	for _, n := range set {
		b.Bytes[n/8] |= 0x80 >> (n % 8)
	}
	return b
}

// OID is an OBJECT IDENTIFIER in dotted text, "2.6.0.1.6": comparable and printable.
type OID string

// maxOID bounds an object identifier's octets: room for several arcs of X.667, of which one has nineteen.
const maxOID = 128

// OID is an OBJECT IDENTIFIER's value. Components may be of any size, as a UUID's below 2.25 are (X.667).
func (e Element) OID() OID {
	if e.Constructed || len(e.Body) == 0 || len(e.Body) > maxOID || e.Body[len(e.Body)-1]&0x80 != 0 {
		e.Failf("no object identifier in %d octets", len(e.Body))
		return ""
	}
	var s []byte
	for from, at := 0, 0; at < len(e.Body); at++ {
		if e.Body[at]&0x80 != 0 {
			continue
		}
		s = appendArc(s, e.Body[from:at+1])
		from = at + 1
	}
	return OID(s)
}

// appendArc adds one component, or the first two, which share one, to dotted text.
func appendArc(s, base128 []byte) []byte {
	v := uint64(0)
	large := len(base128) > 9
	for _, b := range base128 {
		v = v<<7 | uint64(b&0x7f)
	}
	switch {
	case large:
		n := new(big.Int)
		for _, b := range base128 {
			n.Or(n.Lsh(n, 7), big.NewInt(int64(b&0x7f)))
		}
		if len(s) == 0 {
			n.Sub(n, big.NewInt(80))
			s = append(s, '2')
		}
		return n.Append(append(s, '.'), 10)
	case len(s) > 0:
		return strconv.AppendUint(append(s, '.'), v, 10)
	case v < 80:
		return strconv.AppendUint(append(strconv.AppendUint(s, v/40, 10), '.'), v%40, 10)
	}
	return strconv.AppendUint(append(s, '2', '.'), v-80, 10)
}

// encoded is the contents octets; "" when the text is no identifier.
func (o OID) encoded() ([]byte, bool) {
	parts := strings.Split(string(o), ".")
	if len(parts) < 2 {
		return nil, false
	}
	var out []byte
	var first int64
	for i, p := range parts {
		if len(p) > maxOID || strings.Trim(p, "0123456789") != "" {
			return nil, false
		}
		v, ok := new(big.Int).SetString(p, 10)
		if !ok || (i == 0 && v.Cmp(big.NewInt(2)) > 0) || (i == 1 && first < 2 && v.Cmp(big.NewInt(39)) > 0) {
			return nil, false
		}
		switch i {
		case 0:
			first = v.Int64()
			continue
		case 1:
			v.Add(v, big.NewInt(first*40))
		}
		out = appendBase128(out, v)
	}
	return out, len(out) <= maxOID
}

// Valid tells whether o can be encoded.
func (o OID) Valid() bool { _, ok := o.encoded(); return ok }

func appendBase128(b []byte, v *big.Int) []byte {
	for n := max(v.BitLen()-1, 0) / 7; n >= 0; n-- {
		octet := byte(0)
		for bit := range 7 {
			octet |= byte(v.Bit(7*n+bit)) << bit
		}
		if n > 0 {
			octet |= 0x80
		}
		b = append(b, octet)
	}
	return b
}

// Time is a UTCTime: YYMMDDhhmm, seconds optional, then Z or an offset. Two-digit years below 50 are of this century
// (X.509's window; X.411 gives none). Peers write years of three digits ("1261122..." for 2026, a year counted from 1900),
// and none at all. A time that can't be read is no error, since no message may be lost to one: ok is false.
func (e Element) Time() (t time.Time, ok bool) { return ParseTime(strings.TrimSpace(e.Text())) }

// ParseTime reads the text of a UTCTime as Element.Time does.
func ParseTime(s string) (time.Time, bool) {
	digits := len(s)
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = i
	}
	zone := s[digits:]
	yearDigits := 2
	switch digits {
	case 10, 12:
	case 11, 13:
		yearDigits = 3
	case 14:
		yearDigits = 4
	default:
		return time.Time{}, false
	}
	year, err := strconv.Atoi(s[:yearDigits])
	if err != nil {
		return time.Time{}, false
	}
	switch {
	case yearDigits == 3:
		year += 1900
	case yearDigits == 2 && year < 50:
		year += 2000
	case yearDigits == 2:
		year += 1900
	}
	rest := s[yearDigits:digits]
	if len(rest) == 8 {
		rest += "00"
	}
	layout := "20060102150405"
	text := fmt.Sprintf("%04d%s", year, rest)
	switch {
	case zone == "" || zone == "Z":
	case len(zone) == 5 && (zone[0] == '+' || zone[0] == '-'):
		layout, text = layout+"-0700", text+zone
	default:
		return time.Time{}, false
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		return time.Time{}, false
	}
	return t.UTC(), true
}

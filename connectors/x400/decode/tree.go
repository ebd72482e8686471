package decode

import (
	"fmt"
	"strings"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/gateway/address/t61"
)

// asn describes a type as far as its printing needs: the names of its members by tag, in a SET, or by order. A type
// that is not described is printed by its tags.
type asn struct {
	name    string
	members map[ber.Tag]member
	// order names members by place, those after the last like the last; it applies to what members has not.
	order []member
	// of is the type of every member of a list.
	of *member
	// values name numbers, bits name bits.
	values map[int64]string
	bits   []string
	// content is the type of what an OCTET STRING holds.
	content *asn
	t61     bool
	secret  bool // a password: its length is shown
}

type member struct {
	name string
	t    *asn
	// explicit tags have one member, which is of type t.
	explicit bool
}

// tree prints one element of type t.
func (p *printer) tree(b []byte, t *asn) {
	b, done := p.mended(b)
	defer done()
	d := ber.NewDecoder(b, ber.Limits{Depth: 96, Elements: 4 << 20, Joined: MaxInput})
	root := d.Root()
	name := root.Tag.String()
	switch {
	case t == nil:
	case t.name == "CHOICE":
		if m := t.members[root.Tag]; m.name != "" {
			name = m.name
		}
		t = t.members[root.Tag].t
	case t.name != "":
		name = t.name
	}
	if root.Present() {
		p.element(root, name, t)
	}
	if d.Err() != nil {
		p.fail(d.Err())
	}
}

func (p *printer) element(e ber.Element, name string, t *asn) {
	switch {
	case t != nil && t.content != nil:
		p.line("%s: %d octets", name, e.OctetLen())
		p.in(func() { p.tree(e.Octets(), t.content) })
	case !e.Constructed || isString(e):
		p.line("%s: %s", name, value(e, t))
	default:
		p.line("%s", name)
		p.in(func() { p.members(e, t) })
	}
}

// isString tells a string in pieces.
func isString(e ber.Element) bool {
	switch e.Tag {
	case ber.OctetString, ber.BitStr, ber.PrintableString, ber.TeletexString, ber.IA5String, ber.GeneralString, ber.GraphicString, ber.NumericString:
		return e.Constructed
	}
	return false
}

func (p *printer) members(e ber.Element, t *asn) {
	n := 0
	for m := range e.All() {
		mem := member{name: m.Tag.String()}
		if t != nil {
			if x, ok := t.members[m.Tag]; ok {
				mem = x
			} else if t.of != nil {
				mem = *t.of
			} else if len(t.order) > 0 {
				mem = t.order[min(n, len(t.order)-1)]
				n++
			}
		}
		if mem.name == "" {
			mem.name = m.Tag.String()
		}
		if mem.explicit && m.Constructed && len(m.Body) > 0 {
			if inner := m.Only(); inner.Present() {
				m = inner
			}
		}
		// An alternative of an untagged CHOICE has its own name behind that of the member.
		t := mem.t
		if t != nil && t.name == "CHOICE" {
			if x := t.members[m.Tag]; x.name != "" {
				mem.name += ": " + x.name
			}
			t = t.members[m.Tag].t
		}
		p.element(m, mem.name, t)
	}
}

// value is a primitive's contents for people.
func value(e ber.Element, t *asn) string {
	if t != nil {
		switch {
		case t.secret:
			return fmt.Sprintf("*** (%d octets)", len(e.Octets()))
		case t.values != nil && len(e.Body) <= 8 && len(e.Body) > 0:
			n := e.Int()
			if s := t.values[n]; s != "" {
				return fmt.Sprintf("%s (%d)", s, n)
			}
			return fmt.Sprint(n)
		case t.bits != nil:
			return bitNames(e.Bits(), t.bits)
		case t == tTime:
			return when(e)
		case t.t61:
			return quote(t61.Decode(e.Octets()))
		case t == tInt && len(e.Body) <= 8 && len(e.Body) > 0:
			return fmt.Sprint(e.Int())
		case t == tOID:
			return oid(e)
		}
	}
	switch e.Tag {
	case ber.Integer, ber.Enumerated:
		if len(e.Body) > 0 && len(e.Body) <= 8 {
			return fmt.Sprint(e.Int())
		}
	case ber.Boolean:
		if len(e.Body) == 1 {
			return strings.ToUpper(fmt.Sprint(e.Bool()))
		}
	case ber.Null:
		return "NULL"
	case ber.ObjectIdentifier:
		return oid(e)
	case ber.UTCTime:
		return when(e)
	case ber.TeletexString:
		return quote(t61.Decode(e.Octets()))
	case ber.BitStr:
		b := e.Bits()
		return fmt.Sprintf("'%x'H (%d unused bits)", b.Bytes, b.Unused)
	}
	return text(e.Octets())
}

func when(e ber.Element) string {
	raw := text(e.Octets())
	if t, ok := e.Time(); ok {
		return raw + " (" + t.Format(time.RFC3339) + ")"
	}
	return raw + " (no time)"
}

func oid(e ber.Element) string {
	o := e.OID()
	if n := oidNames[o]; n != "" {
		return string(o) + " (" + n + ")"
	}
	return string(o)
}

func bitNames(b ber.Bits, names []string) string {
	var set []string
	for i, n := range names {
		if b.Has(i) {
			set = append(set, n)
		}
	}
	return fmt.Sprintf("%s ('%x'H)", strings.Join(set, ", "), b.Bytes)
}

const maxShown = 200

// text shows octets as a quoted string when they are one, else in hex.
func text(b []byte) string {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' && c != '\t' {
			return inHex(b)
		}
	}
	return quote(string(b))
}

func quote(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return fmt.Sprintf("%q... (%d characters)", string(r[:maxShown]), len(r))
	}
	return fmt.Sprintf("%q", s)
}

func inHex(b []byte) string {
	if len(b) > maxShown/4 {
		return fmt.Sprintf("'%x'H... (%d octets)", b[:maxShown/4], len(b))
	}
	return fmt.Sprintf("'%x'H", b)
}

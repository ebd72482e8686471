package presentation

import (
	"bytes"

	"backbone/connectors/x400/ber"
)

// ParseUserData reads what a data, release or token SPDU carries in normal mode. Values point into b.
func ParseUserData(b []byte) ([]PDV, error) {
	d := ber.NewDecoder(b, ber.DefaultLimits)
	out := userData(d.Root())
	if d.Err() == nil && len(out) == 0 {
		d.Root().Failf("no value in it")
	}
	return out, wrap("user data", d.Err())
}

// userData reads both forms of X.226 8.4.2: simply-encoded, which has no context and stands for the default one, and
// fully-encoded.
func userData(e ber.Element) []PDV {
	if e.Is(ber.Application(0)) {
		return []PDV{{Octets: e.Octets()}}
	}
	if !e.Is(ber.Application(1)) {
		e.Failf("no user data")
		return nil
	}
	var out []PDV
	for list := range e.All() {
		var p PDV
		valued := false
		for m := range list.All() {
			switch m.Tag {
			case ber.ObjectIdentifier:
				p.Transfer = m.OID()
			case ber.Integer:
				p.Context = m.Int()
			case ber.Context(0):
				p.Single, valued = m.Only().Raw, true
			case ber.Context(1):
				p.Octets, valued = m.Octets(), true
			case ber.Context(2):
				bits := m.Bits()
				if bits.Unused != 0 {
					m.Failf("an arbitrary value of %d odd bits", bits.Unused)
				}
				p.Octets, valued = bits.Bytes, true
			}
		}
		if !valued {
			list.Failf("a PDV list without a value")
		}
		out = append(out, p)
	}
	return out
}

// AppendUserData writes values in fully-encoded form.
func AppendUserData(pdvs ...PDV) ([]byte, error) {
	var w ber.Writer
	appendUserData(&w, pdvs)
	return w.Bytes()
}

// LongHeader is what goes before the n octets of one OCTET STRING in context, in fully-encoded form: they follow it, and nothing
// follows them.
func LongHeader(context int64, n int64) ([]byte, error) {
	var id ber.Writer
	id.Int(ber.Integer, context)
	head, err := id.Bytes()
	if err != nil {
		return nil, err
	}
	b := ber.AppendHeader(nil, ber.OctetString, false, int(n))
	for _, wrap := range []struct {
		tag    ber.Tag
		before []byte
	}{{ber.Context(0), nil}, {ber.Sequence, head}, {ber.Application(1), nil}} {
		b = append(bytes.Clone(wrap.before), b...)
		b = append(ber.AppendHeader(nil, wrap.tag, true, len(b)+int(n)), b...)
	}
	return b, nil
}

func appendUserData(w *ber.Writer, pdvs []PDV) {
	w.Cons(ber.Application(1), func() {
		for _, p := range pdvs {
			w.Cons(ber.Sequence, func() {
				if p.Transfer != "" {
					w.OID(ber.ObjectIdentifier, p.Transfer)
				}
				w.Int(ber.Integer, p.Context)
				if p.Single != nil {
					w.Cons(ber.Context(0), func() { w.Raw(p.Single) })
				} else {
					w.Octets(ber.Context(1), p.Octets)
				}
			})
		}
	})
}

// Abort is an ARU or ARP (X.226 8.2.4, 8.2.5).
type Abort struct {
	Provider bool
	Reason   int64 // ARP: -1 absent
	UserData []PDV // ARU in normal mode
	X410     []byte
}

// ParseAbort reads what an ABORT SPDU carries. An ARU of normal mode is [0], of X.410 mode a SET; an ARP a SEQUENCE.
func ParseAbort(b []byte) (Abort, error) {
	d := ber.NewDecoder(b, ber.DefaultLimits)
	root := d.Root()
	a := Abort{Reason: -1}
	switch root.Tag {
	case ber.Context(0):
		for m := range root.All() {
			if m.Is(ber.Application(0)) || m.Is(ber.Application(1)) {
				a.UserData = userData(m)
			}
		}
	case ber.Set:
		a.X410 = root.Body
	case ber.Sequence:
		a.Provider = true
		for m := range root.All() {
			if m.Is(ber.Context(0)) {
				a.Reason = m.Int()
			}
		}
	default:
		root.Failf("no abort")
	}
	return a, wrap("abort", d.Err())
}

// Append writes a.
func (a Abort) Append() ([]byte, error) {
	var w ber.Writer
	switch {
	case a.Provider:
		w.Cons(ber.Sequence, func() {
			if a.Reason >= 0 {
				w.Int(ber.Context(0), a.Reason)
			}
		})
	case a.X410 != nil:
		w.Cons(ber.Set, func() { w.Raw(a.X410) })
	default:
		w.Cons(ber.Context(0), func() {
			if len(a.UserData) > 0 {
				appendUserData(&w, a.UserData)
			}
		})
	}
	return w.Bytes()
}

package ber

// External is EXTERNAL (X.690 8.18): a value of a type that is named beside it. Indirect is a presentation context.
type External struct {
	Direct      OID // "" when absent
	Indirect    int64
	HasIndirect bool
	Descriptor  string
	// Value is the element of a single-ASN1-type, or the [1] OCTET STRING of octet-aligned, or [2] arbitrary.
	Value Element
}

// External reads the members of an EXTERNAL, whatever tag took the place of its own.
func (e Element) External() External {
	var x External
	for m := range e.All() {
		switch m.Tag {
		case ObjectIdentifier:
			x.Direct = m.OID()
		case Integer:
			x.Indirect, x.HasIndirect = m.Int(), true
		case Universal(7):
			x.Descriptor = m.Text()
		case Context(0):
			x.Value = m.Only()
		case Context(1), Context(2):
			x.Value = m
		default:
			m.Failf("no member of an EXTERNAL")
		}
	}
	if e.Present() && !x.Value.Present() {
		e.Failf("an EXTERNAL without a value")
	}
	return x
}

// External writes an EXTERNAL under tag t, with a direct reference when direct is not "", an indirect one when context
// is not negative, and as a single-ASN1-type what f writes.
func (w *Writer) External(t Tag, direct OID, context int64, f func()) {
	w.Cons(t, func() {
		if direct != "" {
			w.OID(ObjectIdentifier, direct)
		}
		if context >= 0 {
			w.Int(Integer, context)
		}
		w.Cons(Context(0), f)
	})
}

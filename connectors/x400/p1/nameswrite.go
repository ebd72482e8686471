package p1

import (
	"strings"

	"backbone/connectors/x400/ber"
	"backbone/gateway/address"
	"backbone/gateway/address/t61"
)

// Options choose among encodings that peers disagree on.
type Options struct {
	// Stack1984 leaves out what P1 of 1984 has not: extensions, extension attributes, directory names. A common name goes
	// as a domain-defined attribute of type "common" (RFC 1328 3.3).
	Stack1984 bool
	// ExplicitExtensionType writes an extension's number under an explicit tag, as the text of 1988 literally has it and
	// PP reads it. The corrected form, which everybody else reads, is implicit.
	ExplicitExtensionType bool
}

// Write writes the name under tag t: [APPLICATION 0] for an ORName, SEQUENCE for an ORAddress.
func (n ORName) Write(w *ber.Writer, t ber.Tag, o Options) {
	if n.Raw != nil && !o.Stack1984 {
		if raw := ber.Retagged(n.Raw, t); raw != nil {
			w.Raw(raw)
			return
		}
	}
	a := n.Address
	if o.Stack1984 && a.CN != "" && len(a.DDA) < 4 {
		a.DDA = append(a.DDA[:len(a.DDA):len(a.DDA)], address.DDA{Type: "common", Value: a.CN})
		a.CN = ""
	}
	w.Cons(t, func() {
		w.Cons(ber.Sequence, func() { writeStandard(w, a, o) })
		if len(a.DDA) > 0 {
			w.Cons(ber.Sequence, func() {
				for _, d := range a.DDA {
					w.Cons(ber.Sequence, func() {
						w.Text(ber.PrintableString, d.Type)
						w.Text(ber.PrintableString, d.Value)
					})
				}
			})
		}
		if !o.Stack1984 {
			writeAttributes(w, a)
		}
	})
}

// plain tells whether s goes into a Printable attribute; with 1984, which has nothing else, everything does.
func plain(s string, o Options) bool {
	return s != "" && (o.Stack1984 || address.PrintableString(s))
}

// writeStandard writes the attributes in the order of the SEQUENCE.
func writeStandard(w *ber.Writer, a address.ORAddress, o Options) {
	if a.C != "" {
		w.Cons(ber.Application(1), func() { domainName(w, a.C) })
	}
	if a.A != "" {
		w.Cons(ber.Application(2), func() { domainName(w, a.A) })
	}
	if a.X121 != "" {
		w.Text(ber.Context(0), a.X121)
	}
	if a.TID != "" {
		w.Text(ber.Context(1), a.TID)
	}
	if a.P != "" {
		w.Cons(ber.Context(2), func() { domainName(w, a.P) })
	}
	if plain(a.O, o) {
		w.Text(ber.Context(3), printable(a.O, o))
	}
	if a.NID != "" {
		w.Text(ber.Context(4), a.NID)
	}
	if personal := personalName(a); allPlain(personal, o) {
		w.Cons(ber.Context(5), func() {
			for i, s := range personal {
				if s != "" {
					w.Text(ber.Context(uint32(i)), printable(s, o))
				}
			}
		})
	}
	if units := organizationUnits(a); allPlain(units, o) {
		w.Cons(ber.Context(6), func() {
			for _, s := range units {
				w.Text(ber.PrintableString, printable(s, o))
			}
		})
	}
}

// printable replaces what no Printable attribute of 1984 can say.
func printable(s string, o Options) string {
	if !o.Stack1984 || address.PrintableString(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if !address.PrintableString(string(r)) {
			return '?'
		}
		return r
	}, s)
}

func personalName(a address.ORAddress) []string { return []string{a.S, a.G, a.I, a.Q} }

func organizationUnits(a address.ORAddress) []string {
	var units []string
	for _, u := range a.OU {
		if u != "" {
			units = append(units, u)
		}
	}
	return units
}

// allPlain tells whether there is something, and all of it Printable.
func allPlain(all []string, o Options) bool {
	some := false
	for _, s := range all {
		if s != "" && !plain(s, o) {
			return false
		}
		some = some || s != ""
	}
	return some
}

// writeAttributes writes the extension attributes: the common name, and what is not Printable, in T.61 when that can
// say it and else in Unicode.
func writeAttributes(w *ber.Writer, a address.ORAddress) {
	var inner ber.Writer
	attribute := func(kind int64, f func()) {
		inner.Cons(ber.Sequence, func() {
			inner.Int(ber.Context(0), kind)
			inner.Cons(ber.Context(1), f)
		})
	}
	beyond := func(s string) bool { return s != "" && !address.PrintableString(s) }
	one := func(s string, teletexKind, universalKind int64) {
		if b, lost := t61.Encode(s); lost == 0 {
			attribute(teletexKind, func() { inner.Octets(ber.TeletexString, b) })
			return
		}
		attribute(universalKind, func() { writeUniversal(&inner, ber.Set, s) })
	}
	switch {
	case beyond(a.CN):
		one(a.CN, attrTeletexCN, attrUniversalCN)
	case a.CN != "":
		attribute(attrCommonName, func() { inner.Text(ber.PrintableString, a.CN) })
	}
	if beyond(a.O) {
		one(a.O, attrTeletexO, attrUniversalO)
	}
	if personal := personalName(a); !allPlain(personal, Options{}) && a.S != "" {
		if many(personal) {
			attribute(attrTeletexPN, func() {
				inner.Cons(ber.Set, func() {
					for i, s := range personal {
						if b, _ := t61.Encode(s); s != "" {
							inner.Octets(ber.Context(uint32(i)), b)
						}
					}
				})
			})
		} else {
			attribute(attrUniversalPN, func() {
				inner.Cons(ber.Set, func() {
					for i, s := range personal {
						if s != "" {
							writeUniversal(&inner, ber.Context(uint32(i)), s)
						}
					}
				})
			})
		}
	}
	if units := organizationUnits(a); len(units) > 0 && !allPlain(units, Options{}) {
		teletexUnits := many(units)
		kind := int64(attrTeletexOUs)
		if !teletexUnits {
			kind = attrUniversalOUs
		}
		attribute(kind, func() {
			inner.Cons(ber.Sequence, func() {
				for _, s := range units {
					if b, _ := t61.Encode(s); teletexUnits {
						inner.Octets(ber.TeletexString, b)
					} else {
						writeUniversal(&inner, ber.Set, s)
					}
				}
			})
		})
	}
	for n, name := range terminalTypes {
		if name != "" && strings.EqualFold(name, a.TTY) {
			attribute(attrTerminalType, func() { inner.Int(ber.Integer, int64(n)) })
		}
	}
	if b, err := inner.Bytes(); err != nil {
		w.Failf("%v", err)
	} else if len(b) > 0 {
		w.Cons(ber.Set, func() { w.Raw(b) })
	}
}

// many tells whether T.61 can say all of them.
func many(all []string) bool {
	for _, s := range all {
		if _, lost := t61.Encode(s); lost > 0 {
			return false
		}
	}
	return true
}

func writeUniversal(w *ber.Writer, t ber.Tag, s string) {
	w.Cons(t, func() {
		var b []byte
		for _, r := range s {
			b = append(b, byte(r>>24), byte(r>>16), byte(r>>8), byte(r))
		}
		w.Octets(ber.UniversalString, b)
	})
}

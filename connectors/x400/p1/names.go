// Package p1 is the codec of the MTS transfer protocol (ITU-T X.411, X.419): the MTA bind, and the APDUs that MTAs
// transfer: messages, probes and reports, with their O/R names, trace and extensions.
//
// It turns octets into values and back, purely: times and identifiers come from the caller. What it reads but does not
// know it keeps as encoded, so that a relay loses nothing. It decides nothing about delivery, and never looks into a
// message's content. An encoding that breaks X.411's syntax is an error; a value that is only odd (a time that no clock
// shows, a string of the wrong alphabet) is kept, for a message must not be lost over it.
package p1

import (
	"strings"
	"unicode/utf16"

	"backbone/connectors/x400/ber"
	"backbone/gateway/address"
	"backbone/gateway/address/t61"
)

// GDI names a management domain: a country, an ADMD, and a PRMD if it is a private one (X.411 8.2.1.1.1.1).
type GDI struct{ Country, ADMD, PRMD string }

// String is MIXER's form, "/PRMD=Northwind/ADMD= /C=US/".
func (g GDI) String() string {
	var b strings.Builder
	if g.PRMD != "" {
		b.WriteString("/PRMD=" + g.PRMD)
	}
	return b.String() + "/ADMD=" + g.ADMD + "/C=" + g.Country + "/"
}

// Same compares as domains are compared: without regard to case; an ADMD that is absent, a blank or "0" is the same.
func (g GDI) Same(h GDI) bool {
	admd := func(s string) string {
		if s = strings.TrimSpace(s); s == "0" {
			return ""
		}
		return s
	}
	return strings.EqualFold(g.Country, h.Country) && strings.EqualFold(admd(g.ADMD), admd(h.ADMD)) &&
		strings.EqualFold(strings.TrimSpace(g.PRMD), strings.TrimSpace(h.PRMD))
}

func readGDI(e ber.Element) GDI {
	var g GDI
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(1):
			g.Country = m.Only().Text()
		case ber.Application(2):
			g.ADMD = m.Only().Text()
		default:
			g.PRMD = m.Text()
		}
	}
	return g
}

// domainName writes a CHOICE of NumericString and PrintableString.
func domainName(w *ber.Writer, s string) {
	if s != "" && strings.Trim(s, "0123456789 ") == "" && strings.TrimSpace(s) != "" {
		w.Text(ber.NumericString, s)
		return
	}
	w.Text(ber.PrintableString, s)
}

func (g GDI) write(w *ber.Writer) {
	w.Cons(ber.Application(3), func() {
		w.Cons(ber.Application(1), func() { domainName(w, g.Country) })
		w.Cons(ber.Application(2), func() { domainName(w, g.ADMD) })
		if g.PRMD != "" {
			domainName(w, g.PRMD)
		}
	})
}

// MTSIdentifier identifies a message, probe or report for all time.
type MTSIdentifier struct {
	GDI
	Local string // 1 to 32 characters of IA5
}

// String is MIXER's X400-MTS-Identifier, "[/PRMD=../ADMD=../C=../;local]" (RFC 2156 5.1.6).
func (m MTSIdentifier) String() string { return "[" + m.GDI.String() + ";" + m.Local + "]" }

func readIdentifier(e ber.Element) MTSIdentifier {
	var m MTSIdentifier
	for x := range e.All() {
		if x.Is(ber.Application(3)) {
			m.GDI = readGDI(x)
		} else {
			m.Local = x.Text()
		}
	}
	return m
}

func (m MTSIdentifier) write(w *ber.Writer) {
	w.Cons(ber.Application(4), func() {
		m.GDI.write(w)
		w.Text(ber.IA5String, m.Local)
	})
}

// ORName is an O/R address with what it was encoded as.
type ORName struct {
	Address address.ORAddress
	// Raw is the encoding that was read, with whatever its tag was; nil for a name of our own. It has what Address can't say:
	// a directory name, postal attributes, a T.61 and a Printable form of one attribute.
	Raw []byte
}

// Extension attribute types (X.411 annex A; numbers 1 to 28 as far as Address has a field for them).
const (
	attrCommonName      = 1
	attrTeletexCN       = 2
	attrTeletexO        = 3
	attrTeletexPN       = 4
	attrTeletexOUs      = 5
	attrTeletexDDAs     = 6
	attrTerminalType    = 23
	attrUniversalCN     = 24
	attrUniversalO      = 25
	attrUniversalPN     = 26
	attrUniversalOUs    = 27
	attrUniversalDDAs   = 28
	maxOrganizationUnit = 4
)

// ReadORName reads an ORName, or an ORAddress, under any tag.
func ReadORName(e ber.Element) ORName {
	n := ORName{Raw: e.Raw}
	o := &n.Address
	sequences := 0
	for m := range e.All() {
		switch m.Tag {
		case ber.Sequence:
			if sequences++; sequences == 1 {
				readStandard(m, o)
			} else {
				for d := range m.All() {
					o.DDA = append(o.DDA, readDDA(d))
				}
			}
		case ber.Set:
			for a := range m.All() {
				readAttribute(a, o)
			}
		}
	}
	return n
}

func readStandard(e ber.Element, o *address.ORAddress) {
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(1):
			o.C = m.Only().Text()
		case ber.Application(2):
			o.A = m.Only().Text()
		case ber.Context(0):
			o.X121 = m.Text()
		case ber.Context(1):
			o.TID = m.Text()
		case ber.Context(2):
			o.P = m.Only().Text()
		case ber.Context(3):
			o.O = m.Text()
		case ber.Context(4):
			o.NID = m.Text()
		case ber.Context(5):
			readPersonal(m, o, ber.Element.Text)
		case ber.Context(6):
			readUnits(m, o, ber.Element.Text)
		}
	}
}

func readPersonal(e ber.Element, o *address.ORAddress, text func(ber.Element) string) {
	for m := range e.All() {
		switch m.Tag {
		case ber.Context(0):
			fill(&o.S, text(m))
		case ber.Context(1):
			fill(&o.G, text(m))
		case ber.Context(2):
			fill(&o.I, text(m))
		case ber.Context(3):
			fill(&o.Q, text(m))
		}
	}
}

func readUnits(e ber.Element, o *address.ORAddress, text func(ber.Element) string) {
	i := 0
	for m := range e.All() {
		if i == maxOrganizationUnit {
			m.Failf("more than %d organizational units", maxOrganizationUnit)
			return
		}
		fill(&o.OU[i], text(m))
		i++
	}
}

// fill keeps the Printable form when there are several of one attribute.
func fill(to *string, s string) {
	if *to == "" {
		*to = s
	}
}

func readDDA(e ber.Element) address.DDA {
	var d address.DDA
	n := 0
	for m := range e.All() {
		if n++; n == 1 {
			d.Type = m.Text()
		} else {
			d.Value = m.Text()
		}
	}
	return d
}

func readAttribute(e ber.Element, o *address.ORAddress) {
	var kind int64 = -1
	var value ber.Element
	for m := range e.All() {
		switch m.Tag {
		case ber.Context(0):
			kind = m.Int()
		case ber.Context(1):
			value = m.Only()
		}
	}
	if !value.Present() {
		return
	}
	switch kind {
	case attrCommonName:
		fill(&o.CN, value.Text())
	case attrTeletexCN:
		fill(&o.CN, teletex(value))
	case attrTeletexO:
		fill(&o.O, teletex(value))
	case attrTeletexPN:
		readPersonal(value, o, teletex)
	case attrTeletexOUs:
		readUnits(value, o, teletex)
	case attrTerminalType:
		fill(&o.TTY, terminalType(value.Int()))
	case attrUniversalCN:
		fill(&o.CN, universal(value))
	case attrUniversalO:
		fill(&o.O, universal(value))
	case attrUniversalPN:
		readPersonal(value, o, func(e ber.Element) string { return universal(e) })
	case attrUniversalOUs:
		readUnits(value, o, universal)
	case attrTeletexDDAs, attrUniversalDDAs:
		text := teletex
		if kind == attrUniversalDDAs {
			text = universal
		}
		if len(o.DDA) > 0 {
			return // the Printable ones stand
		}
		for d := range value.All() {
			var dda address.DDA
			n := 0
			for m := range d.All() {
				if n++; n == 1 {
					dda.Type = text(m)
				} else {
					dda.Value = text(m)
				}
			}
			o.DDA = append(o.DDA, dda)
		}
	}
}

func teletex(e ber.Element) string { return t61.Decode(e.Octets()) }

// universal reads UniversalOrBMPString: a SET with the characters in two or four octets each (X.411:1999 annex A).
func universal(e ber.Element) string {
	var out string
	for m := range e.All() {
		b := m.Octets()
		switch m.Tag {
		case ber.BMPString:
			var u []uint16
			for ; len(b) >= 2; b = b[2:] {
				u = append(u, uint16(b[0])<<8|uint16(b[1]))
			}
			out = string(utf16.Decode(u))
		case ber.UniversalString:
			var s strings.Builder
			for ; len(b) >= 4; b = b[4:] {
				s.WriteRune(rune(b[0])<<24 | rune(b[1])<<16 | rune(b[2])<<8 | rune(b[3]))
			}
			out = s.String()
		}
	}
	return out
}

var terminalTypes = []string{3: "telex", 4: "teletex", 5: "g3", 6: "g4", 7: "ia5", 8: "videotex"}

func terminalType(n int64) string {
	if n >= 0 && int(n) < len(terminalTypes) {
		return terminalTypes[n]
	}
	return ""
}

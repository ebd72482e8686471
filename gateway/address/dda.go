package address

import (
	"slices"
	"strings"
)

const (
	maxDDAType  = 8
	maxDDAValue = 128
	maxDDAs     = 4
	ddaRFC822   = "RFC-822"
	blank       = "(032)"
)

// continuations are the further attributes of an RFC 822 address that is longer than one may be (RFC 2156 4.3).
var continuations = []string{ddaRFC822, "RFC822C1", "RFC822C2", "RFC822C3"}

// ToDDA carries any address through X.400: the O/R address of site, with a in domain-defined attributes of its type
// (KB Q262112, Q183270): dda:MS=NET/PO/MBX. An SMTP address has MIXER's type RFC-822 (KB Q238491) and, beyond 128
// characters, its continuations; another type goes on in further attributes of the same type (*ours*). Characters
// outside PrintableString are escaped.
//
// It never fails. An X400 address is not wrapped but returned as it is. What four attributes can't hold stays in the
// last one, and Validate says so. The null originator gives the zero ORAddress.
func ToDDA(a Address, site ORAddress) ORAddress {
	if a.IsZero() {
		return ORAddress{}
	}
	if a.Type == X400 {
		if or, err := ParseORAddress(a.Value); err == nil {
			return or
		}
	}
	or := site
	or.DDA = nil
	value := EscapePrintable(a.Value)
	if len(value) > maxDDAValue {
		value = strings.ReplaceAll(value, " ", blank) // a blank at the end of a piece would be lost
	}
	for i, piece := range splitEscaped(value, maxDDAValue, maxDDAs) {
		t := string(a.Type)
		if a.Type == SMTP {
			t = continuations[i]
		}
		or.DDA = append(or.DDA, DDA{Type: t, Value: piece})
	}
	return or
}

// FromDDA undoes ToDDA, for O/R addresses that are ours; ours is asked about or without its domain-defined attributes.
// It also reads what others write: dda:SMTP, CSI and PCM, values that are not escaped. False means that or is not an
// encapsulated address of ours, or a broken one, and stands for itself.
//
// Attributes of an unknown type count as an encapsulated address only when or names nobody else (no personal or
// common name): many systems keep private notes in them.
func FromDDA(or ORAddress, ours func(ORAddress) bool) (Address, bool) {
	if len(or.DDA) == 0 {
		return Address{}, false
	}
	t, value, ok := joinDDA(or.DDA)
	if !ok {
		return Address{}, false
	}
	if t != MS && t != SMTP && (or.S != "" || or.G != "" || or.CN != "" || or.NID != "" || or.X121 != "") {
		return Address{}, false
	}
	or.DDA = nil
	if !ours(or) {
		return Address{}, false
	}
	a, err := parseTyped(t, value)
	return a, err == nil
}

// joinDDA puts the pieces of an address together. All attributes must belong to it.
func joinDDA(all []DDA) (t Type, value string, ok bool) {
	if isRFC822(all[0].Type) {
		return joinRFC822(all)
	}
	t, why := canonicalType(all[0].Type)
	if why != "" {
		return "", "", false
	}
	var b strings.Builder
	for _, d := range all {
		if !equalASCII(d.Type, all[0].Type) {
			return "", "", false
		}
		b.WriteString(UnescapePrintable(d.Value))
	}
	return t, b.String(), true
}

// joinRFC822 takes RFC-822 and its continuations in the order that their names give, not that of the attributes.
func joinRFC822(all []DDA) (t Type, value string, ok bool) {
	var b strings.Builder
	used := 0
	for _, name := range continuations {
		for _, d := range all {
			if equalASCII(d.Type, name) {
				b.WriteString(UnescapePrintable(d.Value))
				used++
				break
			}
		}
	}
	return SMTP, b.String(), used == len(all)
}

func isRFC822(t string) bool {
	return slices.ContainsFunc(continuations, func(name string) bool { return equalASCII(t, name) })
}

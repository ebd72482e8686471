package address

import (
	"fmt"
	"strings"

	"backbone/gateway/address/t61"
)

// Text beyond ASCII in an O/R address's RFC 2156 text is that of T.61, octet by octet (RFC 2156 3.5, teletex-and-or-ps):
// [ printablestring ] [ "*" teletex-string ], where a teletex-string's octets that are no PrintableString stand as three
// decimal digits each, in braces. "Müller" is "*M{200}uller".

// toTeletex writes v so when it is not ASCII and T.61 can say all of it; otherwise it is v.
func toTeletex(v string) string {
	if isASCII(v) {
		return v
	}
	octets, lost := t61.Encode(v)
	if lost > 0 || t61.Decode(octets) != v {
		return v
	}
	var b strings.Builder
	b.WriteByte('*')
	open := false
	for _, c := range octets {
		plain := printable(c)
		switch {
		case open && plain:
			b.WriteByte('}')
		case !open && !plain:
			b.WriteByte('{')
		}
		if open = !plain; open {
			fmt.Fprintf(&b, "%03d", c)
		} else {
			b.WriteByte(c)
		}
	}
	if open {
		b.WriteByte('}')
	}
	return b.String()
}

// fromTeletex reads what toTeletex writes; of a value in both forms, the teletex one. Anything else is itself.
func fromTeletex(v string) string {
	_, in, ok := strings.Cut(v, "*")
	if !ok || !strings.Contains(in, "{") || !isASCII(v) {
		return v
	}
	var octets []byte
	for in != "" {
		if in[0] != '{' {
			if !printable(in[0]) {
				return v
			}
			octets, in = append(octets, in[0]), in[1:]
			continue
		}
		digits, rest, ok := strings.Cut(in[1:], "}")
		if !ok || digits == "" || len(digits)%3 != 0 {
			return v
		}
		for ; digits != ""; digits = digits[3:] {
			n := 0
			for _, d := range []byte(digits[:3]) {
				if d < '0' || d > '9' {
					return v
				}
				n = 10*n + int(d-'0')
			}
			if n > 255 {
				return v
			}
			octets = append(octets, byte(n))
		}
		in = rest
	}
	s := t61.Decode(octets)
	if isASCII(s) || check(s) != nil { // it need not have been written so
		return v
	}
	return s
}

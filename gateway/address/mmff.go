package address

import "strings"

// ParseMMFF reads the address of a TO or FROM line of an MMFF file (KB Q94410, Q106623): [type:]address. No type and
// CSI are Microsoft Mail; MS and PCM, its names elsewhere, are refused here as FFAPI refuses them. The octets that ^HH
// stands for are put in place, except in opaque values (FAX, MCI, ...), which keep their ^0D as it is: no Address
// holds a carriage return.
//
// An *Error whose Part is PartType is FFAPI's 151, unknown service; any other is its 142, bad address.
func ParseMMFF(text string) (Address, error) {
	if err := check(text); err != nil {
		return Address{}, err
	}
	s := strings.Trim(text, " ")
	name, value, typed := strings.Cut(s, ":")
	if !typed {
		return parseTyped(MS, s)
	}
	name, value = strings.Trim(name, " "), strings.Trim(value, " ")
	t, why := canonicalType(name)
	if why != "" {
		return Address{}, bad(text, PartType, why)
	}
	switch t {
	case MS:
		if !equalASCII(name, "CSI") {
			return Address{}, badf(text, PartType, "%s is not a service here: write CSI, or no type (KB Q106623)", name)
		}
	case SMTP, X400:
		value = UnescapeMMFF(value)
	}
	return parseTyped(t, value)
}

// MMFF is the address as a TO or FROM line of an MMFF file has it; ParseMMFF reads it back. O/R addresses are in slash
// form, as Q94410 shows. The null originator is "": what stands in its place is the codec's choice.
func (a Address) MMFF() string {
	switch a.Type {
	case "":
		return ""
	case MS:
		return "CSI:" + a.Value
	case SMTP:
		return "SMTP:" + EscapeMMFF(a.Value)
	case X400:
		if or, err := ParseORAddress(a.Value); err == nil {
			return "X400:" + EscapeMMFF(or.Slash())
		}
	}
	return a.String()
}

// UnescapeMMFF puts the octet in place that each ^HH stands for (KB Q94410, Q87651; only ^0D is attested). Values
// above 7F are left alone: they would be characters of an unknown code page. The result can hold control characters.
func UnescapeMMFF(s string) string {
	if strings.IndexByte(s, '^') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c, ok := caretAt(s[i:]); ok {
			b = append(b, c)
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// EscapeMMFF writes control characters as ^HH, and a caret that would be read as such an escape as ^5E.
func EscapeMMFF(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		_, ambiguous := caretAt(s[i:])
		if c := s[i]; c < ' ' || c == 0x7f || ambiguous {
			b.Write([]byte{'^', hex[c>>4], hex[c&15]})
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func caretAt(s string) (byte, bool) {
	if s[0] != '^' {
		return 0, false
	}
	c, ok := hexOctet(s[1:])
	return c, ok && c < 0x80
}

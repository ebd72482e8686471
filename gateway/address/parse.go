package address

import (
	"strconv"
	"strings"
)

// Parse reads an address in any spelling that people and systems use, and gives it canonical text:
//
//	MS:NET/PO/MBX  CSI:NET/PO/MBX  PCM:NET/PO/MBX  NET/PO/MBX    Microsoft Mail (CSI and PCM become MS, KB Q156730)
//	SMTP:user@domain  user@domain                                RFC 5321 mailbox
//	X400:c=US;a= ;...  /c=US/a= /...                             O/R address, each syntax that ParseORAddress knows
//	FAX:..., any other TYPE:value                                carried opaque; TYPE is 1 to 8 letters or digits
//	[TYPE:value]                                                 the client's one-off form (KB Q94410); in an opaque one \r is ^0D
//	<>                                                           the null originator: the zero Address
//
// Types are case-insensitive and outer blanks do not matter. A bare text with '@' is SMTP when it is a mailbox.
func Parse(text string) (Address, error) {
	if err := check(text); err != nil {
		return Address{}, err
	}
	s := strings.Trim(text, " ")
	if s == "" {
		return Address{}, bad(text, PartAddress, "is empty")
	}
	if s == "<>" {
		return Address{}, nil
	}
	oneOff := len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']'
	if oneOff {
		s = s[1 : len(s)-1]
	}
	name, value, typed := cutType(s)
	switch {
	case typed:
	case oneOff:
		return Address{}, bad(text, PartType, "a one-off address needs one: [TYPE:value]")
	default:
		return parseBare(s)
	}
	t, why := canonicalType(name)
	switch {
	case why != "":
		return Address{}, bad(text, PartType, why)
	case equalASCII(name, "PCM"):
		value = strings.ReplaceAll(value, `\`, "/") // [PCM:net\po\id], the AppleTalk client's spelling (KB Q94410)
	case oneOff && t != MS && t != SMTP && t != X400:
		value = strings.ReplaceAll(value, `\r`, "^0D")
	}
	return parseTyped(t, value)
}

// ParseType reads an address type: 1 to 8 letters or digits, in any case. CSI and PCM, the names that FFAPI and
// DirSync have for Microsoft Mail addresses, are MS (KB Q156730, Q106623).
func ParseType(s string) (Type, error) {
	t, why := canonicalType(s)
	if why != "" {
		return "", bad(s, PartType, why)
	}
	return t, nil
}

// canonicalType returns a type, or why it is none.
func canonicalType(s string) (t Type, why string) {
	if s == "" || len(s) > 8 || !allFunc(s, isAlnum) {
		return "", strconv.Quote(s) + " is not 1 to 8 letters or digits"
	}
	switch t := Type(upperASCII(s)); t {
	case "CSI", "PCM":
		return MS, ""
	case "DDA":
		return "", "DDA is an O/R keyword, not an address type"
	default:
		return t, ""
	}
}

// cutType splits TYPE:value. Text whose colon belongs to something else (a quoted local part, an O/R attribute) has
// no type; an alphanumeric word before the colon is one even when it is too long, so that the error can say so.
func cutType(s string) (name, value string, ok bool) {
	i := strings.IndexByte(s, ':')
	if i <= 0 || !allFunc(s[:i], isAlnum) || equalASCII(s[:i], "DDA") {
		return "", s, false
	}
	return s[:i], strings.Trim(s[i+1:], " "), true
}

func parseBare(s string) (Address, error) {
	if strings.IndexByte(s, '@') >= 0 {
		a, err := parseTyped(SMTP, s)
		if err == nil || !looksLikeOR(s) {
			return a, err
		}
	}
	if looksLikeOR(s) {
		return parseTyped(X400, s)
	}
	if strings.IndexByte(s, '/') < 0 {
		return Address{}, bad(s, PartAddress, "is not NET/PO/MBX, user@domain, an O/R address or TYPE:value")
	}
	return parseTyped(MS, s)
}

func looksLikeOR(s string) bool {
	return strings.IndexByte(s, '=') > 0
}

// parseTyped gives value its type's canonical text.
func parseTyped(t Type, value string) (Address, error) {
	switch t {
	case MS:
		v, err := msMailText(value)
		if err != nil {
			return Address{}, err
		}
		return Address{MS, v}, nil
	case SMTP:
		v, err := mailboxText(value)
		if err != nil {
			return Address{}, err
		}
		return Address{SMTP, v}, nil
	case X400:
		or, err := ParseORAddress(value)
		if err != nil {
			return Address{}, err
		}
		return or.Address()
	}
	value = strings.Trim(value, " ")
	if value == "" {
		return Address{}, bad(string(t)+":", PartAddress, "has a type but no value")
	}
	if err := check(value); err != nil {
		return Address{}, err
	}
	return Address{t, value}, nil
}

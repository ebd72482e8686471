package address

import "strings"

// imceaPrefix begins an encapsulated local part. Exchange 5.5 insisted on capitals (KB Q271575): we write capitals and
// read any case.
const imceaPrefix = "IMCEA"

// maxNesting bounds encapsulation inside encapsulation, in both directions. *Ours.*
const maxNesting = 4

// Encapsulate carries any address through SMTP: IMCEATYPE-value@domain (MS-OXCMAIL 2.1.3.1.8, KB Q323351). Letters,
// digits, '-' and '=' stand for themselves, '/' becomes '_', any other octet '+' and two hex digits. domain must be
// canonical (ParseDomain) and one from which mail reaches this gateway.
//
// The null originator stays null. An SMTP address that is already encapsulated for domain, or four times over, is
// returned as it is, so that addresses on their way back and forth do not grow without end. A long address gives a
// long local part: see Mailbox.Long.
func Encapsulate(a Address, domain string) Address {
	if a.IsZero() || a.Type == SMTP && !mayNest(a.Value, domain) {
		return a
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(imceaPrefix)+len(a.Type)+2+2*len(a.Value)+len(domain))
	b = append(b, imceaPrefix...)
	b = append(b, a.Type...)
	b = append(b, '-')
	for i := 0; i < len(a.Value); i++ {
		switch c := a.Value[i]; {
		case isAlnum(c) || c == '-' || c == '=':
			b = append(b, c)
		case c == '/':
			b = append(b, '_')
		default:
			b = append(b, '+', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, '@')
	b = append(b, domain...)
	return Address{SMTP, string(b)}
}

// mayNest tells that an SMTP address may be wrapped for domain once more.
func mayNest(value, domain string) bool {
	for depth := 0; ; depth++ {
		m, err := ParseMailbox(value)
		if err != nil {
			return true
		}
		t, encoded, ok := cutIMCEA(m.Local)
		switch {
		case !ok:
			return true
		case m.Domain == domain || depth+1 >= maxNesting:
			return false
		case t != SMTP:
			return true
		}
		if value, ok = decodeIMCEA(encoded); !ok {
			return true
		}
	}
}

// Decapsulate undoes Encapsulate, for addresses at a domain that is ours; ours is given canonical domains. False
// means that a is not an encapsulated address of ours, or a broken one, and stands for itself. An encapsulation that
// holds another one of ours is undone to the bottom, up to four deep. MIXER's way to put an O/R address left of the @
// (RFC 2156 4.2, "/S=Kumar/O=SITEB/.../C=US/"@ours) is read as well.
//
// An encapsulated address is as foreign as any other: relay rules must look at what is returned (KB Q237927, Q264330).
func Decapsulate(a Address, ours func(domain string) bool) (Address, bool) {
	inner, ok := decapsulateOnce(a, ours)
	if !ok {
		return Address{}, false
	}
	for range maxNesting - 1 {
		deeper, ok := decapsulateOnce(inner, ours)
		if !ok {
			return inner, true
		}
		inner = deeper
	}
	if _, ok := decapsulateOnce(inner, ours); ok {
		return Address{}, false
	}
	return inner, true
}

func decapsulateOnce(a Address, ours func(domain string) bool) (Address, bool) {
	if a.Type != SMTP {
		return Address{}, false
	}
	m, err := ParseMailbox(a.Value)
	if err != nil || !ours(m.Domain) {
		return Address{}, false
	}
	if strings.HasPrefix(m.Local, "/") && strings.HasSuffix(m.Local, "/") {
		return decodeMIXER(m.Local)
	}
	t, encoded, ok := cutIMCEA(m.Local)
	if !ok {
		return Address{}, false
	}
	value, ok := decodeIMCEA(encoded)
	if !ok {
		return Address{}, false
	}
	inner, err := parseTyped(t, value)
	return inner, err == nil
}

func decodeMIXER(local string) (Address, bool) {
	or, err := ParseORAddress(local)
	if err != nil || or.C == "" {
		return Address{}, false
	}
	a, err := or.Address()
	return a, err == nil
}

func hasIMCEA(local string) bool {
	return len(local) >= len(imceaPrefix) && equalASCII(local[:len(imceaPrefix)], imceaPrefix)
}

// cutIMCEA splits IMCEATYPE-encoded.
func cutIMCEA(local string) (t Type, encoded string, ok bool) {
	if !hasIMCEA(local) {
		return "", "", false
	}
	name, encoded, ok := strings.Cut(local[len(imceaPrefix):], "-")
	if !ok {
		return "", "", false
	}
	t, why := canonicalType(name)
	return t, encoded, why == ""
}

func decodeIMCEA(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '_':
			b = append(b, '/')
		case '+':
			c, ok := hexOctet(s[i+1:])
			if !ok {
				return "", false
			}
			b = append(b, c)
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b), true
}

// hexOctet reads the two hex digits that s begins with.
func hexOctet(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi, ok1 := hexDigit(s[0])
	lo, ok2 := hexDigit(s[1])
	return hi<<4 | lo, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

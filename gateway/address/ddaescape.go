package address

import "strings"

// escapes are RFC 2156 4.1's letters for characters that PrintableString lacks (KB Q254725 lists the letters).
var escapes = map[byte]byte{'@': 'a', '%': 'p', '!': 'b', '"': 'q', '_': 'u', '(': 'l', ')': 'r'}

var escaped = map[byte]byte{'a': '@', 'p': '%', 'b': '!', 'q': '"', 'u': '_', 'l': '(', 'r': ')'}

// EscapePrintable writes s in PrintableString characters as MIXER does in domain-defined attributes: (a) for '@', (u)
// for '_' and so on, and (nnn) in decimal for each octet of anything else. A blank that X.400 might drop, at either
// end or after another one, is (032). UnescapePrintable undoes it. Text is escaped once: what may be escaped
// already must be unescaped first (KB Q254725).
func EscapePrintable(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := 0; i < len(s); i++ {
		writeEscaped(&b, s[i], s[i] == ' ' && (i == 0 || i+1 == len(s) || s[i-1] == ' '))
	}
	return b.String()
}

func writeEscaped(b *strings.Builder, c byte, anyway bool) {
	letter := escapes[c]
	switch {
	case letter != 0:
		b.WriteByte('(')
		b.WriteByte(letter)
		b.WriteByte(')')
	case printable(c) && !anyway:
		b.WriteByte(c)
	default:
		b.Write([]byte{'(', '0' + c/100, '0' + c/10%10, '0' + c%10, ')'})
	}
}

// UnescapePrintable undoes EscapePrintable. Letters may have either case. Parentheses around anything else stand for
// themselves, as gateways wrote them unescaped. The result is whatever the octets say: parse it before use.
func UnescapePrintable(s string) string {
	if strings.IndexByte(s, '(') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c, n := unescapeAt(s[i:]); n > 0 {
			b = append(b, c)
			i += n - 1
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// unescapeAt reads the escape that s begins with and tells its length, 0 when there is none.
func unescapeAt(s string) (c byte, n int) {
	if len(s) < 3 || s[0] != '(' {
		return 0, 0
	}
	if s[2] == ')' {
		if c, ok := escaped[lowerASCII(s[1])]; ok {
			return c, 3
		}
		return 0, 0
	}
	if len(s) < 5 || s[4] != ')' || !allFunc(s[1:4], isDigit) {
		return 0, 0
	}
	v := int(s[1]-'0')*100 + int(s[2]-'0')*10 + int(s[3]-'0')
	if v > 0xff {
		return 0, 0
	}
	return byte(v), 5
}

// splitEscaped cuts escaped text into pieces of at most max characters, never inside an escape: other gateways
// unescape each piece on its own. The last of the allowed pieces takes what is left.
func splitEscaped(s string, max, pieces int) []string {
	var out []string
	for len(s) > max && len(out) < pieces-1 {
		cut := 0
		for cut < len(s) {
			n := 1
			if _, e := unescapeAt(s[cut:]); e > 0 {
				n = e
			}
			if cut+n > max {
				break
			}
			cut += n
		}
		out = append(out, s[:cut])
		s = s[cut:]
	}
	return append(out, s)
}

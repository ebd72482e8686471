package mmff

import "strings"

// In a subject, ^HH is read only where it stands for a control character (KB Q94410 attests ^0D) or for the caret
// itself: "10^20" is what somebody wrote. Addresses have their own rule in package address.

func escaped(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '^' {
		return 0, false
	}
	hi, lo := hex(s[1]), hex(s[2])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	c := byte(hi<<4 | lo)
	return c, c < ' ' || c == 0x7f || c == '^'
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

func unescape(s string) string {
	if strings.IndexByte(s, '^') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c, ok := escaped(s[i:]); ok {
			b.WriteByte(c)
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if _, ambiguous := escaped(s[i:]); ambiguous || c < ' ' || c == 0x7f {
			b.Write([]byte{'^', digits[c>>4], digits[c&15]})
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

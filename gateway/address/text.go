package address

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// visible tells that s is UTF-8 without anything that does not show: C0 and C1 controls, line ends, bidirectional
// and other format characters, unassigned code points, blanks other than the ASCII one. The joiners U+200C and
// U+200D pass, because Persian and Indic words need them.
func visible(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return visibleRunes(s[i:])
		}
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func visibleRunes(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) && r != '\u200c' && r != '\u200d' {
			return false
		}
	}
	return true
}

const hostile = "holds a control, invisible or undecodable character"

// check is the door that each parser's input goes through.
func check(s string) *Error {
	switch {
	case len(s) > maxText:
		return badf(s, PartAddress, "is longer than %d octets", maxText)
	case !visible(s):
		return bad(s, PartAddress, hostile)
	}
	return nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlnum(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func allFunc(s string, ok func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// upperASCII raises a-z and leaves high letters as they are: their capitals may be missing from a post office's code
// page (437 has no À, 850 no Ÿ), and then the name could not be written there any more.
func upperASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if 'a' <= s[i] && s[i] <= 'z' {
			return strings.Map(func(r rune) rune {
				if 'a' <= r && r <= 'z' {
					return r - 'a' + 'A'
				}
				return r
			}, s)
		}
	}
	return s
}

// equalASCII compares without regard to the case of a-z only: strings.EqualFold would take the long s of "ſMTP" for an s.
func equalASCII(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if lowerASCII(s[i]) != lowerASCII(t[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c - 'A' + 'a'
	}
	return c
}

// fold makes texts equal that differ in letter case or in composed and decomposed accents.
func fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

// squeeze drops outer blanks and makes each inner run of blanks one (KB Q108732).
func squeeze(s string) string {
	s = strings.Trim(s, " ")
	if !strings.Contains(s, "  ") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == ' ' && s[i-1] == ' ' {
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

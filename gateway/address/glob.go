package address

import (
	"unicode"
	"unicode/utf8"
)

// Glob tells that pattern matches all of s. '*' is any run of characters, '%' any one; other characters match
// themselves in either case. There is no escape, so a literal '%' can't be asked for, as in Exchange's address spaces.
// It allocates nothing and backtracks to the last '*' only: len(pattern) times len(s) steps at the very worst, and
// one pass over s for patterns as people write them.
func Glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0 // the last '*', and how much of s it has swallowed
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if p < len(pattern) {
			if pn, sn, ok := matchOne(pattern[p:], s[i:]); ok {
				p += pn
				i += sn
				continue
			}
		}
		if star < 0 {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[mark:])
		mark += n
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne compares the first characters of a pattern and a text and tells how long they are.
func matchOne(pattern, s string) (pn, sn int, ok bool) {
	pc, sc := pattern[0], s[0]
	if pc < utf8.RuneSelf && sc < utf8.RuneSelf {
		return 1, 1, pc == '%' || lowerASCII(pc) == lowerASCII(sc)
	}
	pr, pn := utf8.DecodeRuneInString(pattern)
	sr, sn := utf8.DecodeRuneInString(s)
	return pn, sn, pr == '%' || unicode.ToLower(pr) == unicode.ToLower(sr)
}

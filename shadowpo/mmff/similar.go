package mmff

import (
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// typewriter spells what word processors put in place of typewriter characters, and a few that decomposition does
// not reach. The choice is ours.
var typewriter = map[rune]string{
	'\u2018': "'", '\u2019': "'", '\u201A': "'", '\u2032': "'",
	'\u201C': `"`, '\u201D': `"`, '\u201E': `"`, '\u2033': `"`, '\u00AB': `"`, '\u00BB': `"`,
	'\u2010': "-", '\u2011': "-", '\u2012': "-", '\u2013': "-", '\u2014': "--", '\u2015': "--", '\u2212': "-",
	'\u2022': "*", '\u00B7': "*", '\u2044': "/", '\u00D7': "x", '\u20AC': "EUR", '\u00A9': "(C)", '\u00AE': "(R)",
	'\u00C6': "AE", '\u00E6': "ae", '\u0152': "OE", '\u0153': "oe", '\u00DF': "ss", '\u1E9E': "SS",
	'\u00D8': "O", '\u00F8': "o", '\u0141': "L", '\u0142': "l", '\u0110': "D", '\u0111': "d", '\u00D0': "D", '\u00F0': "d",
	'\u00DE': "Th", '\u00FE': "th", '\u0131': "i",
}

// similar spells r with simpler characters, or gives "" when there is no such spelling: the table first, then the
// compatibility decomposition without its accents.
func similar(r rune) string {
	if s, ok := typewriter[r]; ok {
		return s
	}
	d := norm.NFKD.String(string(r))
	if d == string(r) {
		return ""
	}
	var out []rune
	for _, c := range d {
		if unicode.Is(unicode.Mn, c) {
			continue
		}
		if s, ok := typewriter[c]; ok {
			out = append(out, []rune(s)...)
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

// compose joins a letter and the combining accent behind it, which code pages know as one character.
func compose(base, mark rune) (rune, bool) {
	if !unicode.Is(unicode.Mn, mark) {
		return 0, false
	}
	c := []rune(norm.NFC.String(string([]rune{base, mark})))
	if len(c) != 1 {
		return 0, false
	}
	return c[0], true
}

// clusterLen is the length of s's first character with the combining accents behind it.
func clusterLen(s string) int {
	for i, r := range s {
		if i > 0 && !unicode.Is(unicode.Mn, r) {
			return i
		}
	}
	return len(s)
}

// Package t61 turns TeletexString (ITU-T T.61, T.51: ISO 6937's repertoire) into UTF-8 and back. Accents stand before their
// letter on the wire; octets below 80 are taken for ASCII in both directions, as X.400 systems of the field do, though T.61
// has '#' and '$' elsewhere. What one side can't say becomes '?' and is counted.
package t61

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// right is the half of the repertoire above A0; 0 is unassigned, accents are in accents.
var right = map[byte]rune{
	0xa0: 0xa0, 0xa1: '¡', 0xa2: '¢', 0xa3: '£', 0xa4: '$', 0xa5: '¥', 0xa6: '#', 0xa7: '§', 0xa8: '¤', 0xab: '«', 0xb0: '°', 0xb1: '±', 0xb2: '²',
	0xb3: '³', 0xb4: '×', 0xb5: 'µ', 0xb6: '¶', 0xb7: '·', 0xb8: '÷', 0xbb: '»', 0xbc: '¼', 0xbd: '½', 0xbe: '¾', 0xbf: '¿',
	0xe0: 'Ω', 0xe1: 'Æ', 0xe2: 'Ð', 0xe3: 'ª', 0xe4: 'Ħ', 0xe6: 'Ĳ', 0xe7: 'Ŀ', 0xe8: 'Ł', 0xe9: 'Ø', 0xea: 'Œ', 0xeb: 'º', 0xec: 'Þ',
	0xed: 'Ŧ', 0xee: 'Ŋ', 0xef: 'ŉ', 0xf0: 'ĸ', 0xf1: 'æ', 0xf2: 'đ', 0xf3: 'ð', 0xf4: 'ħ', 0xf5: 'ı', 0xf6: 'ĳ', 0xf7: 'ŀ', 0xf8: 'ł',
	0xf9: 'ø', 0xfa: 'œ', 0xfb: 'ß', 0xfc: 'þ', 0xfd: 'ŧ', 0xfe: 'ŋ',
}

// accents are combining characters; C9 is the umlaut, which Unicode does not tell from the diaeresis.
var accents = map[byte]rune{
	0xc1: 0x300, 0xc2: 0x301, 0xc3: 0x302, 0xc4: 0x303, 0xc5: 0x304, 0xc6: 0x306, 0xc7: 0x307, 0xc8: 0x308, 0xc9: 0x308,
	0xca: 0x30a, 0xcb: 0x327, 0xcc: 0x332, 0xcd: 0x30b, 0xce: 0x328, 0xcf: 0x30c,
}

var (
	toRight   = map[rune]byte{}
	toAccents = map[rune]byte{}
)

func init() {
	for b, r := range right {
		if r >= 0x80 {
			toRight[r] = b
		}
	}
	for b, r := range accents {
		if b != 0xc9 {
			toAccents[r] = b
		}
	}
}

// Decode gives b as UTF-8 in composed form. Octets that stand for nothing become '?'.
func Decode(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); i++ {
		c := b[i]
		mark, isMark := accents[c]
		switch {
		case c < 0x80:
			s.WriteByte(c)
		case isMark && i+1 < len(b) && b[i+1] < 0x80:
			i++
			s.WriteByte(b[i])
			s.WriteRune(mark)
		case right[c] != 0:
			s.WriteRune(right[c])
		default:
			s.WriteByte('?')
		}
	}
	return norm.NFC.String(s.String())
}

// Encode gives s in T.61, and how many characters could not be said and became '?'.
func Encode(s string) (b []byte, lost int) {
	for _, r := range norm.NFC.String(s) {
		if r < 0x80 {
			b = append(b, byte(r))
			continue
		}
		if c, ok := toRight[r]; ok {
			b = append(b, c)
			continue
		}
		d := norm.NFD.String(string(r))
		base, n := utf8.DecodeRuneInString(d)
		mark, m := utf8.DecodeRuneInString(d[n:])
		if c, ok := toAccents[mark]; ok && base < 0x80 && n+m == len(d) {
			b = append(b, c, byte(base))
			continue
		}
		b = append(b, '?')
		lost++
	}
	return b, lost
}

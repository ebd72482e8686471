package mmff

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

// upperHalf is a DOS code page that golang.org/x/text lacks, as its characters 80 to FF; U+FFFD stands where there is
// none (Unicode's VENDORS/MICSFT/PC tables).
func upperHalf(s string) encoding.Encoding {
	t := &table{octets: map[rune]byte{}}
	i := 0x80
	for _, r := range s {
		t.runes[i-0x80] = r
		if r != utf8.RuneError {
			t.octets[r] = byte(i)
		}
		i++
	}
	return t
}

type table struct {
	runes  [128]rune
	octets map[rune]byte
}

func (t *table) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: fromTable{t: t}}
}

func (t *table) NewEncoder() *encoding.Encoder {
	return &encoding.Encoder{Transformer: toTable{t: t}}
}

type fromTable struct {
	transform.NopResetter
	t *table
}

func (f fromTable) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for _, c := range src {
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		r := rune(c)
		if c >= 0x80 {
			r = f.t.runes[c-0x80]
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc++
	}
	return nDst, nSrc, nil
}

var errNotInPage = errors.New("mmff: character is not in the code page")

type toTable struct {
	transform.NopResetter
	t *table
}

func (e toTable) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		if nDst == len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		r, n := utf8.DecodeRune(src[nSrc:])
		c, ok := e.t.octets[r]
		if r < utf8.RuneSelf {
			c, ok = byte(r), true
		}
		if !ok {
			return nDst, nSrc, errNotInPage
		}
		dst[nDst] = c
		nDst++
		nSrc += n
	}
	return nDst, nSrc, nil
}

var (
	cp737 = upperHalf("ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθ" +
		"ικλμνξοπρσςτυφχψ░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
		"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀" +
		"ωάέήϊίόύϋώΆΈΉΊΌΎΏ±≥≤ΪΫ÷≈°∙·√ⁿ²■\u00a0")
	cp857 = upperHalf("ÇüéâäàåçêëèïîıÄÅÉæÆôöòûùİÖÜø£ØŞş" +
		"áíóúñÑĞğ¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐" +
		"└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ºªÊËÈ\ufffdÍÎÏ┘┌█▄¦Ì▀" +
		"ÓßÔÒõÕµ\ufffd×ÚÛÙìÿ¯´\u00ad±\ufffd¾¶§÷¸°¨·¹³²■\u00a0")
	cp869 = upperHalf("\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdΆ\ufffd·¬¦‘’Έ―ΉΊΪΌ\ufffd\ufffdΎΫ©Ώ²³ά£έήί" +
		"ϊΐόύΑΒΓΔΕΖΗ½ΘΙ«»░▒▓│┤ΚΛΜΝ╣║╗╝ΞΟ┐" +
		"└┴┬├─┼ΠΡ╚╔╩╦╠═╬ΣΤΥΦΧΨΩαβγ┘┌█▄δε▀" +
		"ζηθικλμνξοπρσςτ΄\u00ad±υφχ§ψ\u0385°¨ωϋΰώ■\u00a0")
)

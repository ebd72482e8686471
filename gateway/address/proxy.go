package address

import (
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// ProxyElement makes an element of a Microsoft Mail proxy address out of an alias, a display name, an organization
// or a site: ASCII letters and digits only (accents are dropped, "Müller" gives MULLER), upper case, cut to 10, with
// digits at the end until taken says no. Exchange's exact rule is not public; this one is ours, but like Exchange's it
// never yields POSTMASTER, it yields POSTMAST0 (KB Q175447), nor a box of directory synchronisation. taken may be nil. It gives up with "" when
// a million candidates are taken.
func ProxyElement(text string, taken func(element string) bool) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(text) {
		if r < 0x80 && isAlnum(byte(r)) && b.Len() < maxElement {
			b.WriteByte(byte(r))
		}
	}
	base := upperASCII(b.String())
	switch n, system := strings.CutPrefix(base, "SYSTEM"); {
	case base == "":
		base = "USER"
	case system && allFunc(n, isDigit):
		base = "SYSTE" // with any digit behind it, the whole word would be a DirSync box
	}
	free := func(e string) bool {
		return e != "POSTMASTER" && (taken == nil || !taken(e))
	}
	if free(base) {
		return base
	}
	for n := range 1_000_000 {
		digits := strconv.Itoa(n)
		// Two places are kept for the digits, so that POSTMASTER becomes POSTMAST0 and names stay alike up to the hundredth.
		keep := min(len(base), maxElement-max(2, len(digits)))
		if e := base[:keep] + digits; free(e) {
			return e
		}
	}
	return ""
}

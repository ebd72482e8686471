package address

import "strings"

// Key is the same for two addresses exactly when they are Equal. It is for maps and indexes, not for people: it
// can't be parsed. The null originator's key is "".
func (a Address) Key() string {
	if a.IsZero() {
		return ""
	}
	var v string
	switch {
	case a.Type == MS && isASCII(a.Value):
		v = upperASCII(a.Value) // canonical text already: nothing is copied
	case a.Type == X400:
		v = foldOR(a.Value)
	default:
		v = fold(a.Value)
	}
	return string(a.Type) + ":" + v
}

// Equal tells that a and b are one address. Letter case never matters: not in MS Mail (Q157712 and the
// administrator's guide), not in X.400 (Q108732), not in a domain; and a local part that differs only in case is taken
// for the same mailbox, because no system that we join keeps two mailboxes apart by case (RFC 5321 2.4 would let it).
// In O/R addresses the ADMD values "", " " and "0" are the same, runs of blanks count as one.
func (a Address) Equal(b Address) bool {
	if a == b {
		return true
	}
	return a.Type == b.Type && a.Key() == b.Key()
}

// foldOR folds the canonical text of an O/R address.
func foldOR(s string) string {
	s = squeeze(fold(s))
	country, rest := "", s
	if strings.HasPrefix(s, "c=") {
		if i := strings.IndexByte(s, ';'); i >= 0 {
			country, rest = s[:i+1], s[i+1:]
		}
	}
	for _, any := range []string{"a= ;", "a=0;"} {
		if r, ok := strings.CutPrefix(rest, any); ok {
			return country + r
		}
	}
	return s
}

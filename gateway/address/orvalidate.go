package address

import (
	"strings"
	"unicode/utf8"
)

// PrintableString tells that s has only characters of X.409's and X.680's PrintableString, the set of strict O/R
// addresses: letters, digits, blank and ' ( ) + , - . / : = ?
func PrintableString(s string) bool { return allFunc(s, printable) }

func printable(c byte) bool { return isAlnum(c) || strings.IndexByte(" '()+,-./:=?", c) >= 0 }

// Validate tells what strict X.400 systems would not take in o: a limit (KB Q118563), a character (PrintableString),
// a missing attribute. It returns the first fault, as an *Error whose part is the attribute's keyword.
func (o ORAddress) Validate() error {
	a, err := o.Address()
	if err != nil {
		return err
	}
	text := a.Value
	if o, err = ParseORAddress(text); err != nil { // blanks are squeezed now
		return err
	}
	for _, f := range orFields {
		v := *f.at(&o)
		switch n := utf8.RuneCountInString(v); {
		case n > f.max:
			return badf(text, f.key, "has %d characters, X.400 allows %d", n, f.max)
		case !PrintableString(v):
			return bad(text, f.key, "has a character outside PrintableString")
		}
	}
	switch {
	case o.C == "":
		return bad(text, "c", "is missing")
	case !validCountry(o.C):
		return bad(text, "c", "is neither two letters nor three digits")
	case o.A == "":
		return bad(text, "a", "is missing; write \"a= \" for any")
	case !numeric(o.X121):
		return bad(text, "x.121", "is not a number")
	case !numeric(o.NID):
		return bad(text, "n-id", "is not a number")
	case o.S == "" && (o.G != "" || o.I != "" || o.Q != ""):
		return bad(text, "s", "is missing: a given name, initials or generation need a surname")
	case o.P == "" && o.O == "" && o.OU == [4]string{} && o.CN == "" && o.S == "" && o.X121 == "" && o.NID == "":
		return bad(text, PartAddress, "needs one of p, o, ou1, cn, s, x.121, n-id")
	case len(o.DDA) > 4:
		return badf(text, PartAttribute, "there are %d domain-defined attributes, X.400 allows four", len(o.DDA))
	}
	for _, d := range o.DDA {
		if err := validateDDA(text, d); err != nil {
			return err
		}
	}
	return nil
}

func validateDDA(text string, d DDA) error {
	part := "dda:" + d.Type
	switch {
	case len(d.Type) > maxDDAType:
		return badf(text, part, "the type has more than %d characters", maxDDAType)
	case utf8.RuneCountInString(d.Value) > maxDDAValue:
		return badf(text, part, "has more than %d characters", maxDDAValue)
	case !PrintableString(d.Type) || !PrintableString(d.Value):
		return bad(text, part, "has a character outside PrintableString")
	}
	return nil
}

func validCountry(s string) bool {
	switch len(s) {
	case 2:
		return allFunc(s, func(c byte) bool { return isAlnum(c) && !isDigit(c) })
	case 3:
		return allFunc(s, isDigit)
	}
	return false
}

// numeric tells a NumericString, which may be empty: digits and blanks.
func numeric(s string) bool {
	return allFunc(s, func(c byte) bool { return isDigit(c) || c == ' ' })
}

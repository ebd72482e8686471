package address

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Parts of an address that callers tell apart. Other values of Error.Part are for the reader only.
const (
	PartType      = "type"       // the address type itself: FFAPI's error 151, unknown service (KB Q106623)
	PartNetwork   = "network"    // first element of NET/PO/MBX
	PartPO        = "postoffice" // second element
	PartMailbox   = "mailbox"    // third element
	PartLocal     = "local part" // left of an SMTP address's @
	PartDomain    = "domain"     // right of it
	PartAttribute = "attribute"  // an O/R attribute as a whole; a wrong value has the attribute's keyword as its part
	PartAddress   = "address"    // no smaller part can be blamed
)

// Error says what is wrong with an address, and where.
type Error struct {
	Input string // what was parsed, as it was given
	Part  string // the part that is wrong: a Part constant or an O/R keyword
	Text  string // what is wrong, without the input
}

// Error quotes the input with everything invisible escaped, and cuts it to 120 characters.
func (e *Error) Error() string {
	in := e.Input
	if len(in) > 120 {
		cut := 120
		for cut > 0 && !utf8.RuneStart(in[cut]) {
			cut--
		}
		in = in[:cut] + "..."
	}
	return "address " + strconv.Quote(in) + ": " + e.Part + ": " + e.Text
}

func bad(input, part, text string) *Error {
	return &Error{Input: input, Part: part, Text: text}
}

func badf(input, part, format string, args ...any) *Error {
	return bad(input, part, fmt.Sprintf(format, args...))
}

func wrongType(a Address, want string) *Error {
	return bad(a.String(), PartType, "is not "+want)
}

// Package address holds the addresses of the three worlds that Backbone joins: MS Mail NET/PO/MBX, SMTP
// mailboxes and X.400 O/R addresses, and the forms in which one world carries another's (IMCEA, DDA).
//
// It owns parsing, canonical text, comparison and encapsulation. It never looks anything up: who exists is the
// directory's business, where mail goes is routing's. All functions are pure; a bad address is an *Error that
// names the offending part, never a guess.
package address

// Type is an address type as Exchange names it: 1 to 8 characters, upper case ("MS", "SMTP", "X400").
type Type string

// The types that the gateway itself speaks. Any other 1..8 character type is carried opaque.
const (
	MS   Type = "MS"
	SMTP Type = "SMTP"
	X400 Type = "X400"
	EX   Type = "EX"
)

// Address is one typed address in canonical text. The zero Address is the null reverse-path: the originator of
// a report (RFC 5321 4.5.5).
//
// Canonical text: MS is upper-case NET/PO/MBX; SMTP keeps the local part as written and lower-cases the domain;
// X400 is the semicolon form of KB Q108732's attributes in fixed order ("c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;").
type Address struct {
	Type  Type   `json:"type,omitempty"`
	Value string `json:"value,omitempty"`
}

// IsZero tells the null originator.
func (a Address) IsZero() bool { return a == Address{} }

// String is TYPE:value, or "<>" for the null originator.
func (a Address) String() string {
	if a.IsZero() {
		return "<>"
	}
	return string(a.Type) + ":" + a.Value
}

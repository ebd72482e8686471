// Package address holds the addresses of the three worlds that Backbone joins: MS Mail NET/PO/MBX, SMTP
// mailboxes and X.400 O/R addresses, and the forms in which one world carries another's (IMCEA, DDA).
//
// It owns parsing, canonical text, comparison and encapsulation. It never looks anything up: who exists is the
// directory's business, where mail goes is routing's. All functions are pure; a bad address is an *Error that
// names the offending part, never a guess.
//
// No Address made here holds a control character, a line end, a bidirectional override or any other invisible
// character, so its text can stand in a protocol line, a header field, a log or on a terminal. What an address may
// hold beyond that depends on its type; see MSMail, Mailbox and ORAddress.
package address

import "strings"

// Type is an address type as Exchange names it: 1 to 8 characters, upper case ("MS", "SMTP", "X400").
type Type string

// The types that the gateway itself speaks. Any other 1..8 character type is carried opaque.
const (
	MS   Type = "MS"
	SMTP Type = "SMTP"
	X400 Type = "X400"
	EX   Type = "EX"
)

// maxText bounds the text that any parser of this package looks at, in octets. The longest legal O/R address with
// each character escaped stays below it.
const maxText = 4096

// Address is one typed address in canonical text. The zero Address is the null reverse-path: the originator of
// a report (RFC 5321 4.5.5).
//
// Canonical text: MS is upper-case NET/PO/MBX; SMTP keeps the local part as written and lower-cases the domain;
// X400 is the semicolon form of KB Q108732's attributes in fixed order ("c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;").
// Parse and the Address methods of MSMail, Mailbox and ORAddress make canonical text; an Address that is put
// together by hand must hold it too. Two spellings of one mailbox can differ in letter case: compare with Equal,
// index by Key.
type Address struct {
	Type  Type   `json:"type,omitempty"`
	Value string `json:"value,omitempty"`
}

// IsZero tells the null originator.
func (a Address) IsZero() bool { return a == Address{} }

// String is TYPE:value, or "<>" for the null originator. Parse reads it back.
func (a Address) String() string {
	if a.IsZero() {
		return "<>"
	}
	return string(a.Type) + ":" + a.Value
}

// Display is the address as a person would write it: without the type when the syntax alone tells it (MS, SMTP,
// X400). Parse reads it back.
func (a Address) Display() string {
	switch {
	case a.Type == MS, a.Type == X400, a.Type == SMTP && strings.Contains(a.Value, "@"):
		return a.Value
	}
	return a.String()
}

// MSMail gives the parts of an MS address.
func (a Address) MSMail() (MSMail, error) {
	if a.Type != MS {
		return MSMail{}, wrongType(a, "a Microsoft Mail address (MS:NET/PO/MBX)")
	}
	return ParseMSMail(a.Value)
}

// SMTP gives the parts of an SMTP address.
func (a Address) SMTP() (Mailbox, error) {
	if a.Type != SMTP {
		return Mailbox{}, wrongType(a, "an SMTP address (SMTP:user@domain)")
	}
	return ParseMailbox(a.Value)
}

// ORAddress gives the attributes of an X400 address.
func (a Address) ORAddress() (ORAddress, error) {
	if a.Type != X400 {
		return ORAddress{}, wrongType(a, "an X.400 O/R address (X400:c=...;a=...;p=...;)")
	}
	return ParseORAddress(a.Value)
}

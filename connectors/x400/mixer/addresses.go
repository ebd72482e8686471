// Package mixer maps between the gateway's canonical form, RFC 5322 with MIME, and X.400's: interpersonal messages and
// notifications (P22, P2) and reports, as RFC 2156 (MIXER) and RFC 2157 have it, with MS Mail carried in domain-defined
// attributes of type MS as Exchange did.
//
// It streams bodies in both directions and performs no I/O but on the readers and writers that it is given. What one side
// can't say is written to the translation ledger, never dropped in silence. A content that can't be parsed is an error, and
// the caller's to report on; a header field or a body part that can't be mapped is carried as it is.
package mixer

import (
	"strings"

	"backbone/gateway/address"
)

// Book is what the mapping asks of the gateway's directory; connectors.AddressBook gives it.
type Book interface {
	As(a address.Address, t address.Type) address.Address
	Native(a address.Address) address.Address
	Name(a address.Address) string
}

// Mapping says that a domain and a part of the O/R address tree are the same (RFC 2156 4.3, an MCGAM table's line).
type Mapping struct {
	Domain string
	OR     address.ORAddress
	Way    Way
}

// Addresses maps addresses. It has no state and may be used concurrently.
type Addresses struct {
	Book Book
	// Ours is this site's O/R address: addresses that X.400 can't say are written as domain-defined attributes under it.
	Ours address.ORAddress
	// Theirs is the peer's, under which it routes them; zero when it is not a gateway of our kind.
	Theirs address.ORAddress
	// Domain is the gateway's own, before which an O/R address may stand as a local part.
	Domain string
	Table  []Mapping
}

// ours tells whether domain-defined attributes under or are for us, or for our peer, to read.
func (x *Addresses) ours(or address.ORAddress) bool {
	or.DDA = nil
	return or.Equal(x.Ours) || (!x.Theirs.IsZero() && or.Equal(x.Theirs))
}

// OR gives a as an O/R address, under Ours.
func (x *Addresses) OR(a address.Address) address.ORAddress { return x.under(a, x.Ours) }

// RecipientOR gives a recipient as the peer routes it: under Theirs when that is known.
func (x *Addresses) RecipientOR(a address.Address) address.ORAddress {
	if x.Theirs.IsZero() {
		return x.under(a, x.Ours)
	}
	return x.under(a, x.Theirs)
}

func (x *Addresses) under(a address.Address, site address.ORAddress) address.ORAddress {
	a = x.Book.Native(a)
	if a.Type == address.SMTP {
		local, domain, _ := cutLast(a.Value)
		if strings.HasPrefix(local, "/") && strings.EqualFold(domain, x.Domain) { // RFC 2156 4.2.2
			if or, err := address.ParseORAddress(local); err == nil {
				return or
			}
		}
		if or, ok := x.fromDomain(local, domain); ok {
			return or
		}
	}
	return address.ToDDA(a, site)
}

// Native gives the address that an O/R address stands for: another world's in domain-defined attributes of ours, one of
// a mapped domain, or itself.
func (x *Addresses) Native(or address.ORAddress) address.Address {
	if or.IsZero() {
		return address.Address{}
	}
	if a, ok := address.FromDDA(or, x.ours); ok {
		return a
	}
	if a, ok := x.toDomain(or); ok {
		return a
	}
	a, err := or.Address()
	if err != nil {
		// What no text can say is carried as it is known, escaped, so that a report can name it.
		a = address.Address{Type: address.X400, Value: address.EscapePrintable(or.String())}
	}
	return x.Book.Native(a)
}

// Mailbox is a native address as header fields have it.
func (x *Addresses) Mailbox(a address.Address) string { return x.Book.As(a, address.SMTP).Value }

func cutLast(s string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// fromDomain maps a mailbox of a domain in the table, or below it: each further label is the next attribute down.
func (x *Addresses) fromDomain(local, domain string) (address.ORAddress, bool) {
	best, rest := -1, ""
	for i, m := range x.Table {
		r, ok := below(domain, m.Domain)
		if ok && m.Way != ToDomain && (best < 0 || len(m.Domain) > len(x.Table[best].Domain)) {
			best, rest = i, r
		}
	}
	if best < 0 {
		return address.ORAddress{}, false
	}
	or := x.Table[best].OR
	labels := strings.Split(rest, ".")
	for i := len(labels) - 1; i >= 0 && rest != ""; i-- {
		at := nextEmpty(&or)
		if at == nil {
			return address.ORAddress{}, false
		}
		*at = labels[i]
	}
	or.G, or.I, or.S = personal(local)
	if or.S == "" {
		return address.ORAddress{}, false
	}
	return or, or.Validate() == nil
}

func below(domain, of string) (rest string, ok bool) {
	if strings.EqualFold(domain, of) {
		return "", true
	}
	cut := len(domain) - len(of) - 1
	if cut > 0 && domain[cut] == '.' && strings.EqualFold(domain[cut+1:], of) {
		return domain[:cut], true
	}
	return "", false
}

// levels are the attributes of the tree, from the top (RFC 2156 4.3.1).
func levels(or *address.ORAddress) []*string {
	return []*string{&or.C, &or.A, &or.P, &or.O, &or.OU[0], &or.OU[1], &or.OU[2], &or.OU[3]}
}

// nextEmpty is the attribute below the lowest that is set.
func nextEmpty(or *address.ORAddress) *string {
	all := levels(or)
	for i := len(all) - 1; i >= 0; i-- {
		if *all[i] != "" {
			if i == len(all)-1 {
				return nil
			}
			return all[i+1]
		}
	}
	return nil
}

// personal reads a local part as RFC 2156 4.2.1 writes personal names: [given.][initials.]surname, each initial alone. All
// empty when it is no such name.
func personal(local string) (given, initials, surname string) {
	parts := strings.Split(local, ".")
	for _, p := range parts {
		if p == "" || !address.PrintableString(p) || strings.ContainsAny(p, "/=") {
			return "", "", ""
		}
	}
	surname = parts[len(parts)-1]
	for i, p := range parts[:len(parts)-1] {
		switch {
		case len(p) == 1:
			initials += p
		case i == 0:
			given = p
		default:
			return "", "", ""
		}
	}
	return given, initials, surname
}

// toDomain maps an O/R address in or below an entry of the table.
func (x *Addresses) toDomain(or address.ORAddress) (address.Address, bool) {
	best, matched := -1, -1
	for i, m := range x.Table {
		entry := m.OR
		n, ok := 0, true
		mine, theirs := levels(&or), levels(&entry)
		for l := range theirs {
			switch {
			case *theirs[l] == "":
			case sameAttribute(l, *theirs[l], *mine[l]):
				n++
			default:
				ok = false
			}
		}
		if ok && m.Way != ToOR && n > matched {
			best, matched = i, n
		}
	}
	if best < 0 || len(or.DDA) > 0 || or.Q != "" || or.CN != "" || or.NID != "" || or.X121 != "" || or.S == "" {
		return address.Address{}, false
	}
	local := or.S
	if or.I != "" {
		local = strings.Join(strings.Split(or.I, ""), ".") + "." + local
	}
	if or.G != "" {
		local = or.G + "." + local
	}
	if g, i, s := personal(local); g != or.G || i != or.I || s != or.S {
		return address.Address{}, false // it would not come back the same
	}
	domain := x.Table[best].Domain
	entry := x.Table[best].OR
	mine, theirs := levels(&or), levels(&entry)
	for l := range mine {
		if *theirs[l] == "" && *mine[l] != "" {
			if strings.ContainsAny(*mine[l], " .") {
				return address.Address{}, false
			}
			domain = *mine[l] + "." + domain
		}
	}
	mb, err := address.ParseMailbox(local + "@" + domain)
	if err != nil {
		return address.Address{}, false
	}
	a, err := mb.Address()
	return a, err == nil
}

// sameAttribute compares without regard to case; an ADMD of a blank, "0" or nothing is the same.
func sameAttribute(level int, a, b string) bool {
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if level == 1 {
		a, b = strings.TrimPrefix(a, "0"), strings.TrimPrefix(b, "0")
	}
	return strings.EqualFold(a, b)
}

// Package acse is the codec of the association control APDUs (ITU-T X.227) as P1 uses them in normal mode: they name the
// application context and carry the reliable transfer service's parameters as user information.
//
// It keeps no state and never looks into the user information. Titles and authentication, which P1 does not use, are
// ignored on reading and not written. An APDU that does not decode is an error.
package acse

import (
	"fmt"

	"backbone/connectors/x400/ber"
)

// MTSTransfer is the application context of P1 over RTSE, id-ac-mts-transfer (X.419 annex B).
const MTSTransfer ber.OID = "2.6.0.1.6"

// AbstractSyntax is ACSE's own (X.227 annex A).
const AbstractSyntax ber.OID = "2.2.1.0.1"

// Kind of an APDU: its APPLICATION tag.
type Kind uint32

const (
	AARQ Kind = 0
	AARE Kind = 1
	RLRQ Kind = 2
	RLRE Kind = 3
	ABRT Kind = 4
)

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("APDU %d", uint32(k))
}

var kindNames = []string{"AARQ", "AARE", "RLRQ", "RLRE", "ABRT"}

// Results of an AARE.
const (
	Accepted          = 0
	RejectedPermanent = 1
	RejectedTransient = 2
)

// Diagnostics of the service user in an AARE (X.227 9.1.3).
const (
	DiagnosticNull           = 0
	DiagnosticNoReason       = 1
	DiagnosticContextUnknown = 2
)

// APDU is one of the five. Fields that its Kind does not have are zero.
type APDU struct {
	Kind       Kind
	Context    ber.OID // AARQ, AARE
	Result     int64   // AARE
	Diagnostic int64   // AARE
	ByProvider bool    // AARE: the diagnostic is the provider's; ABRT: the provider aborts
	Reason     int64   // RLRQ, RLRE: -1 absent
	// User is the value of the user information's EXTERNAL, UserContext its presentation context; nil when absent.
	User        []byte
	UserContext int64
}

// Parse reads an APDU. User points into b.
func Parse(b []byte) (APDU, error) {
	d := ber.NewDecoder(b, ber.DefaultLimits)
	root := d.Root()
	a := APDU{Reason: -1}
	if root.Tag.Class != ber.ClassApplication || root.Tag.Number > uint32(ABRT) {
		root.Failf("no association control APDU")
		return a, fmt.Errorf("acse: %w", d.Err())
	}
	a.Kind = Kind(root.Tag.Number)
	for m := range root.All() {
		switch {
		case m.Is(ber.Context(30)):
			x := m.First().External()
			a.User, a.UserContext = x.Value.Raw, x.Indirect
		case a.Kind == AARQ && m.Is(ber.Context(1)), a.Kind == AARE && m.Is(ber.Context(1)):
			a.Context = m.Only().OID()
		case a.Kind == AARE && m.Is(ber.Context(2)):
			a.Result = m.Only().Int()
		case a.Kind == AARE && m.Is(ber.Context(3)):
			source := m.Only()
			a.ByProvider = source.Is(ber.Context(2))
			a.Diagnostic = source.Only().Int()
		case a.Kind == ABRT && m.Is(ber.Context(0)):
			a.ByProvider = m.Int() == 1
		case (a.Kind == RLRQ || a.Kind == RLRE) && m.Is(ber.Context(0)):
			a.Reason = m.Int()
		}
	}
	if err := d.Err(); err != nil {
		return a, fmt.Errorf("acse: %s: %w", a.Kind, err)
	}
	return a, nil
}

// Append writes a. transfer is the transfer syntax to name beside the user information, or "".
func (a APDU) Append(transfer ber.OID) ([]byte, error) {
	var w ber.Writer
	w.Cons(ber.Application(uint32(a.Kind)), func() {
		switch a.Kind {
		case AARQ, AARE:
			w.Cons(ber.Context(1), func() { w.OID(ber.ObjectIdentifier, a.Context) })
			if a.Kind == AARE {
				w.Cons(ber.Context(2), func() { w.Int(ber.Integer, a.Result) })
				source := uint32(1)
				if a.ByProvider {
					source = 2
				}
				w.Cons(ber.Context(3), func() { w.Cons(ber.Context(source), func() { w.Int(ber.Integer, a.Diagnostic) }) })
			}
		case RLRQ, RLRE:
			if a.Reason >= 0 {
				w.Int(ber.Context(0), a.Reason)
			}
		case ABRT:
			source := int64(0)
			if a.ByProvider {
				source = 1
			}
			w.Int(ber.Context(0), source)
		}
		if a.User != nil {
			w.Cons(ber.Context(30), func() {
				w.External(ber.ExternalType, transfer, a.UserContext, func() { w.Raw(a.User) })
			})
		}
	})
	return w.Bytes()
}

// Package session is the session protocol (ITU-T X.225, versions 1 and 2) as far as reliable transfer uses it: kernel,
// half-duplex, minor synchronize, activity management and exceptions.
//
// spdu.go is the codec: a TSDU to SPDUs and back. Conn keeps the connection's rules: what may come when, serial numbers,
// segmenting. It knows of the transport that it carries TSDUs, and nothing of what user data says. A peer that breaks the
// rules ends the connection with an error; Conn itself never retries and never waits for anything but the next TSDU.
package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

// Type of an SPDU. The low octet is its SI code (X.225 8.3). Concatenated ones, which follow a GT or PT in the same
// TSDU and share codes with others, have bit 8 set.
type Type uint16

const (
	CN Type = 0x0d // connect
	AC Type = 0x0e // accept
	RF Type = 0x0c // refuse
	FN Type = 0x09 // finish
	DN Type = 0x0a // disconnect
	NF Type = 0x08 // not finished
	AB Type = 0x19 // abort
	AA Type = 0x1a // abort accept
	GT Type = 0x01 // give tokens
	PT Type = 0x02 // please tokens

	concatenated = 0x100

	DT  = concatenated | 0x01 // data transfer
	MIP = concatenated | 0x31 // minor sync point
	MIA = concatenated | 0x32 // minor sync ack
	AE  = concatenated | 0x29 // activity end (the code of MAP, without a sync type item)
	AEA = concatenated | 0x2a // activity end ack
	AS  = concatenated | 0x2d // activity start
	AR  = concatenated | 0x1d // activity resume
	AI  = concatenated | 0x19 // activity interrupt
	AIA = concatenated | 0x1a
	AD  = concatenated | 0x39 // activity discard
	ADA = concatenated | 0x3a
	ER  = Type(concatenated)  // exception report of the provider
	ED  = concatenated | 0x30 // exception data: a report of the user
	GTC = concatenated | 0x15 // give tokens confirm: all of them, between activities
	GTA = concatenated | 0x16
)

var typeNames = map[Type]string{CN: "CONNECT", AC: "ACCEPT", RF: "REFUSE", FN: "FINISH", DN: "DISCONNECT", NF: "NOT FINISHED",
	AB: "ABORT", AA: "ABORT ACCEPT", GT: "GIVE TOKENS", PT: "PLEASE TOKENS", DT: "DATA TRANSFER", MIP: "MINOR SYNC POINT",
	MIA: "MINOR SYNC ACK", AE: "ACTIVITY END", AEA: "ACTIVITY END ACK", AS: "ACTIVITY START", AR: "ACTIVITY RESUME",
	AI: "ACTIVITY INTERRUPT", AIA: "ACTIVITY INTERRUPT ACK", AD: "ACTIVITY DISCARD", ADA: "ACTIVITY DISCARD ACK",
	ER: "EXCEPTION REPORT", ED: "EXCEPTION DATA", GTC: "GIVE TOKENS CONFIRM", GTA: "GIVE TOKENS ACK"}

func (t Type) String() string {
	if s := typeNames[t]; s != "" {
		return s
	}
	return fmt.Sprintf("SPDU %02x", uint16(t)&0xff)
}

// follows tells which of the prefixes GT and PT a concatenated SPDU comes after (X.225 table 7).
func (t Type) follows() Type {
	switch t {
	case MIA, AEA, AIA, ADA, ER, ED, GTA:
		return PT
	}
	return GT
}

// Parameters (PI) and groups (PGI) of X.225 annex.
const (
	pgiConnection   = 1
	pgiAccept       = 5
	pgiLinking      = 33
	piCalledRef     = 9
	piCallingRef    = 10
	piCommonRef     = 11
	piAdditionalRef = 12
	piSyncType      = 15
	piTokens        = 16
	piTransport     = 17
	piOptions       = 19
	piMaxTSDU       = 21
	piVersion       = 22
	piInitialSerial = 23
	piEnclosure     = 25
	piTokenSetting  = 26
	piRequirements  = 20
	piActivity      = 41
	piSerial        = 42
	piReflect       = 49
	piReason        = 50
	piCallingSel    = 51
	piCalledSel     = 52
	piUserData      = 193
	piExtendedData  = 194
)

// Requirements are functional units (X.225 8.3.1.17).
type Requirements uint16

const (
	HalfDuplex Requirements = 1 << iota
	Duplex
	Expedited
	MinorSync
	MajorSync
	Resync
	Activity
	NegotiatedRelease
	CapabilityData
	Exceptions
	TypedData

	// ForRTSE is what reliable transfer needs, exactly (X.228 8.1.1).
	ForRTSE = HalfDuplex | MinorSync | Activity | Exceptions
)

// Versions of the protocol, as bits.
const (
	Version1 byte = 1
	Version2 byte = 2
)

// Ref identifies a session connection, for a later recovery.
type Ref struct {
	Called, Calling, Common, Additional []byte
}

// Enclosure marks the segments of an SSDU that does not fit a TSDU. Zero means that the SPDU is whole.
type Enclosure byte

const (
	whole       Enclosure = 0
	encloseHead Enclosure = 1
	encloseTail Enclosure = 2
)

// SPDU is one session protocol data unit. Fields that its Type does not have are zero.
type SPDU struct {
	Type         Type
	Ref          Ref           // CN, AC, RF; AR: of the connection in which the activity began
	Options      byte          // CN, AC
	Versions     byte          // CN, AC: bits
	MaxTSDU      [2]uint16     // CN, AC: initiator to responder and back; 0 unlimited
	TokenSetting byte          // CN, AC
	Requirements *Requirements // CN, AC, RF
	Calling      []byte        // CN: session selectors; nil leaves the parameter out
	Called       []byte        // CN; AC: of the responder
	Transport    *byte         // FN, RF, AB: bit 0 asks to release the transport connection; AB: cause in bits 1 to 3
	Tokens       byte          // GT, PT
	ActivityID   []byte        // AS, AR: at most 6 octets
	OldActivity  []byte        // AR
	Serial       int           // MIP, MIA, AE, AEA, AR; 0 is absent
	NoAck        bool          // MIP: no confirmation is wanted
	Reason       []byte        // RF, AI, AD, ED, ER
	enclosure    Enclosure     // DT
	UserData     []byte        // those that carry some, and the data of DT
	// More goes on where UserData ends, for MoreLen octets: what a DT sends and is too long to be held.
	More    io.Reader
	MoreLen int64
}

func (s *SPDU) String() string {
	t := s.Type.String()
	if s.Serial != 0 {
		t += " " + strconv.Itoa(s.Serial)
	}
	if len(s.Reason) > 0 {
		t += fmt.Sprintf(" reason %d", s.Reason[0])
	}
	return t
}

// Parse gives the SPDUs of a TSDU. An empty GT or PT, which only introduces what follows it, is left out. Slices point
// into b; errors name the octet of b where the SPDU, or its parameters, begin.
func Parse(b []byte) ([]*SPDU, error) {
	var out []*SPDU
	prefix := Type(0)
	whole := b
	for first := true; len(b) > 0; first = false {
		at := offset(whole, b)
		si := Type(b[0])
		params, rest, err := cut(b[1:])
		if err != nil {
			return nil, fmt.Errorf("session: octet %d: SPDU %02x: %w", at, byte(si), err)
		}
		if !first {
			si |= concatenated
			if si.follows() != prefix {
				return nil, fmt.Errorf("session: octet %d: %s after %s", at, si, prefix)
			}
		}
		if _, known := typeNames[si]; !known {
			return nil, fmt.Errorf("session: octet %d: %s has no place in the functional units of reliable transfer", at, si)
		}
		s := &SPDU{Type: si}
		if err := s.params(params, 0); err != nil {
			return nil, fmt.Errorf("session: octet %d: %s: %w", offset(whole, params), si, err)
		}
		switch si {
		case GT, PT:
			prefix = si
			if s.Tokens != 0 || (len(rest) == 0 && len(params) > 0) {
				out = append(out, s)
			}
		case DT:
			s.UserData, rest = rest, nil
			out = append(out, s)
		default:
			out = append(out, s)
			if first && len(rest) > 0 {
				return nil, fmt.Errorf("session: octet %d: %d octets after %s", offset(whole, rest), len(rest), si)
			}
		}
		b = rest
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("session: octet %d: a TSDU without an SPDU", len(whole))
	}
	return out, nil
}

// offset is where part, a slice of the end of whole's array, begins in it.
func offset(whole, part []byte) int { return cap(whole) - cap(part) }

// cut reads a length indicator (X.225 8.2.5) and gives what it counts and what follows.
func cut(b []byte) (value, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, fmt.Errorf("no length")
	}
	n, b := int(b[0]), b[1:]
	if n == 255 {
		if len(b) < 2 {
			return nil, nil, fmt.Errorf("a length breaks off")
		}
		n, b = int(binary.BigEndian.Uint16(b)), b[2:]
	}
	if n > len(b) {
		return nil, nil, fmt.Errorf("%d octets, but only %d are there", n, len(b))
	}
	return b[:n], b[n:], nil
}

// takes are the parameters that each SPDU has, those in its groups among them (X.225 tables 10 to 37).
var takes = map[Type][]byte{
	CN: {pgiConnection, pgiAccept, piCallingRef, piCommonRef, piAdditionalRef, piOptions, piMaxTSDU, piVersion, piInitialSerial, piTokenSetting, piRequirements,
		piCallingSel, piCalledSel, piUserData, piExtendedData},
	AC: {pgiConnection, pgiAccept, piCalledRef, piCallingRef, piCommonRef, piAdditionalRef, piOptions, piMaxTSDU, piVersion, piInitialSerial, piTokenSetting,
		piRequirements, piCallingSel, piCalledSel, piUserData, piExtendedData},
	RF: {pgiConnection, piCalledRef, piCallingRef, piCommonRef, piAdditionalRef, piTransport, piRequirements, piVersion, piReason},
	FN: {piTransport, piUserData}, DN: {piTransport, piUserData}, NF: {piUserData}, AB: {piTransport, piReflect, piUserData},
	GT: {piTokens}, PT: {piTokens, piUserData}, DT: {piEnclosure},
	MIP: {piSyncType, piSerial, piUserData}, MIA: {piSerial, piUserData}, AE: {piSerial, piUserData}, AEA: {piSerial, piUserData},
	AS: {piActivity, piUserData},
	AR: {pgiLinking, piCalledRef, piCallingRef, piCommonRef, piAdditionalRef, piActivity, piSerial, piUserData},
	AI: {piReason}, AD: {piReason}, ED: {piReason, piUserData}, ER: {piReflect, piReason},
}

// params reads parameters in any order; those that are unknown, or that the SPDU does not have, are stepped over (X.225
// 8.2.7 allows it for extensions).
func (s *SPDU) params(b []byte, group byte) error {
	for len(b) > 0 {
		pi := b[0]
		v, rest, err := cut(b[1:])
		if err != nil {
			return fmt.Errorf("parameter %d: %w", pi, err)
		}
		b = rest
		if err := s.param(pi, v, group); err != nil {
			return fmt.Errorf("parameter %d: %w", pi, err)
		}
	}
	return nil
}

func (s *SPDU) param(pi byte, v []byte, group byte) error {
	octet := func(to *byte) error {
		if len(v) != 1 {
			return fmt.Errorf("%d octets where there is one", len(v))
		}
		*to = v[0]
		return nil
	}
	if bytes.IndexByte(takes[s.Type], pi) < 0 {
		return nil
	}
	switch pi {
	case pgiConnection, pgiAccept, pgiLinking:
		if group != 0 {
			return fmt.Errorf("a group in a group")
		}
		return s.params(v, pi)
	case piCalledRef:
		s.Ref.Called = v
	case piCallingRef:
		s.Ref.Calling = v
	case piCommonRef:
		s.Ref.Common = v
	case piAdditionalRef:
		s.Ref.Additional = v
	case piSyncType:
		s.NoAck = len(v) == 1 && v[0]&1 != 0
	case piTokens:
		return octet(&s.Tokens)
	case piTransport:
		s.Transport = new(byte)
		return octet(s.Transport)
	case piOptions:
		return octet(&s.Options)
	case piMaxTSDU:
		if len(v) != 4 {
			return fmt.Errorf("%d octets where there are four", len(v))
		}
		s.MaxTSDU = [2]uint16{binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:])}
	case piVersion:
		return octet(&s.Versions)
	case piTokenSetting:
		return octet(&s.TokenSetting)
	case piRequirements:
		if len(v) != 2 {
			return fmt.Errorf("%d octets where there are two", len(v))
		}
		s.Requirements = new(Requirements)
		*s.Requirements = Requirements(binary.BigEndian.Uint16(v))
	case piEnclosure:
		var b byte
		if err := octet(&b); err != nil {
			return err
		}
		s.enclosure = Enclosure(b & 3)
		switch b & 3 {
		case 3: // begin and end in one
			s.enclosure = whole
		case 0:
			s.enclosure = encloseMiddle
		}
	case piActivity:
		if group == pgiLinking {
			s.OldActivity = v
		} else {
			s.ActivityID = v
		}
	case piSerial:
		n, err := strconv.Atoi(string(v))
		if err != nil || len(v) > 6 || n < 0 {
			return fmt.Errorf("serial number %q", v)
		}
		s.Serial = n
	case piReason:
		s.Reason = v
		if s.Type == RF && len(v) > 1 {
			s.Reason, s.UserData = v[:1], v[1:]
		}
	case piCallingSel:
		s.Calling = v
	case piCalledSel:
		s.Called = v
	case piUserData, piExtendedData:
		s.UserData = v
	}
	return nil
}

// encloseMiddle is a segment that neither begins nor ends its SSDU. On the wire it is 0, which here means whole.
const encloseMiddle Enclosure = 4

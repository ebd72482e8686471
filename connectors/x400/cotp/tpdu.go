// Package cotp is the connection-oriented transport protocol, class 0 (ITU-T X.224; RFC 1006 section 5): it connects two
// transport selectors and carries transport service data units (TSDU) of any length in TPDUs of the size agreed.
//
// It knows nothing of what a TSDU says, and of the network only that it carries packets. It never recovers: class 0
// has no such thing. Any TPDU out of place ends the connection with an error that names it.
package cotp

import (
	"encoding/binary"
	"fmt"
)

// Code of a TPDU (X.224 13.2.2.2), without the credit in its low four bits.
type Code byte

const (
	CR Code = 0xe0 // connection request
	CC Code = 0xd0 // connection confirm
	DR Code = 0x80 // disconnect request
	DT Code = 0xf0 // data
	ER Code = 0x70 // error
)

func (c Code) String() string {
	switch c {
	case CR:
		return "CR"
	case CC:
		return "CC"
	case DR:
		return "DR"
	case DT:
		return "DT"
	case ER:
		return "ER"
	}
	return fmt.Sprintf("TPDU %02x", byte(c))
}

// Parameter codes of CR, CC, DR and ER (X.224 13.3.4).
const (
	paramInvalid    = 0xc1 // in an ER: the TPDU that was rejected
	paramSize       = 0xc0
	paramCalling    = 0xc1
	paramCalled     = 0xc2
	paramAdditional = 0xe0 // in a DR
)

// Reason of a DR (X.224 13.5.3), or reject cause of an ER.
type Reason byte

const (
	ReasonNotSpecified Reason = 0
	ReasonCongestion   Reason = 1
	ReasonNoSession    Reason = 2 // no session entity at that selector
	ReasonUnknown      Reason = 3 // address unknown
	ReasonNormal       Reason = 0x80
	ReasonNegotiation  Reason = 0x82
	ReasonProtocol     Reason = 0x85
)

func (r Reason) String() string {
	switch r {
	case ReasonNotSpecified:
		return "not specified"
	case ReasonCongestion:
		return "congestion at the selector"
	case ReasonNoSession:
		return "nothing is attached to that selector"
	case ReasonUnknown:
		return "the selector is unknown"
	case ReasonNormal:
		return "normal"
	case ReasonNegotiation:
		return "negotiation failed"
	case ReasonProtocol:
		return "protocol error"
	}
	return fmt.Sprintf("reason %d", byte(r))
}

// TPDU is one of the five of class 0. Fields that its Code does not have are zero.
type TPDU struct {
	Code     Code
	Dst, Src uint16 // references
	Class    byte   // class and options
	Size     int    // octets of a TPDU, in CR and CC; 0 when absent
	Calling  []byte // transport selectors, in CR and CC
	Called   []byte
	Reason   Reason // DR, ER
	Info     []byte // DR: additional information; ER: the rejected TPDU
	EOT      bool   // DT: the last of its TSDU
	Data     []byte // DT
}

// MaxSelector is the longest transport selector (X.214).
const MaxSelector = 32

// Parse reads a TPDU. Its slices point into b, errors name the octet in it. Parameters that class 0 does not need are ignored.
func Parse(b []byte) (TPDU, error) {
	if len(b) < 2 {
		return TPDU{}, fmt.Errorf("cotp: octet %d: a TPDU breaks off", len(b))
	}
	li := int(b[0])
	t := TPDU{Code: Code(b[1] & 0xf0)}
	fixed := map[Code]int{CR: 6, CC: 6, DR: 6, DT: 2, ER: 4}[t.Code]
	if fixed == 0 {
		return t, fmt.Errorf("cotp: octet 1: %s has no place in class 0", Code(b[1]))
	}
	if li < fixed || li == 255 || li+1 > len(b) {
		return t, fmt.Errorf("cotp: octet 0: %s with a header of %d octets in %d", t.Code, li, len(b)-1)
	}
	if t.Code == DT {
		t.EOT, t.Data = b[2]&0x80 != 0, b[li+1:]
		return t, nil
	}
	t.Dst = binary.BigEndian.Uint16(b[2:])
	params := b[fixed+1 : li+1]
	switch t.Code {
	case ER:
		t.Reason = Reason(b[4])
	case DR:
		t.Src, t.Reason = binary.BigEndian.Uint16(b[4:]), Reason(b[6])
	default:
		t.Src, t.Class = binary.BigEndian.Uint16(b[4:]), b[6]
	}
	for len(params) > 0 {
		if len(params) < 2 || len(params) < 2+int(params[1]) {
			return t, fmt.Errorf("cotp: octet %d: %s: a parameter breaks off", li+1-len(params), t.Code)
		}
		at, code, v := li+1-len(params), params[0], params[2:2+int(params[1])]
		params = params[2+len(v):]
		switch {
		case t.Code == ER && code == paramInvalid, t.Code == DR && code == paramAdditional:
			t.Info = v
		case t.Code == ER || t.Code == DR:
		case code == paramSize:
			if len(v) != 1 || v[0] < 7 || v[0] > 13 {
				return t, fmt.Errorf("cotp: octet %d: %s: TPDU size % x", at, t.Code, v)
			}
			t.Size = 1 << v[0]
		case code == paramCalling:
			t.Calling = v
		case code == paramCalled:
			t.Called = v
		}
	}
	return t, nil
}

// Append encodes t. Selectors beyond MaxSelector and sizes that are no power of two from 128 to 8192 are the caller's
// mistake and leave the parameter out.
func (t TPDU) Append(b []byte) []byte {
	at := len(b)
	b = append(b, 0, byte(t.Code))
	switch t.Code {
	case DT:
		eot := byte(0)
		if t.EOT {
			eot = 0x80
		}
		b = append(b, eot)
		b[at] = 2
		return append(b, t.Data...)
	case ER:
		b = append(binary.BigEndian.AppendUint16(b, t.Dst), byte(t.Reason))
		b = appendParam(b, paramInvalid, t.Info)
	case DR:
		b = append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, t.Dst), t.Src), byte(t.Reason))
		b = appendParam(b, paramAdditional, t.Info)
	default:
		b = append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, t.Dst), t.Src), t.Class)
		b = appendParam(b, paramCalling, t.Calling)
		b = appendParam(b, paramCalled, t.Called)
		for code := byte(7); code <= 13; code++ {
			if t.Size == 1<<code {
				b = append(b, paramSize, 1, code)
			}
		}
	}
	b[at] = byte(len(b) - at - 1)
	return b
}

func appendParam(b []byte, code byte, v []byte) []byte {
	if len(v) == 0 || len(v) > 128 {
		return b
	}
	return append(append(b, code, byte(len(v))), v...)
}

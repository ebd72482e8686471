package session

import (
	"encoding/binary"
	"strconv"
)

// Append encodes s as a TSDU, with the GT or PT that goes before a concatenated SPDU. Parameters stand in the order of
// X.225's tables.
func (s *SPDU) Append(b []byte) []byte {
	if s.Type&concatenated != 0 {
		b = append(b, byte(s.Type.follows()), 0)
	}
	var p params
	switch s.Type {
	case CN, AC:
		p.group(pgiConnection, func(p *params) {
			if s.Type == AC {
				p.add(piCalledRef, s.Ref.Called)
			}
			p.add(piCallingRef, s.Ref.Calling)
			p.add(piCommonRef, s.Ref.Common)
			p.add(piAdditionalRef, s.Ref.Additional)
		})
		p.group(pgiAccept, func(p *params) {
			p.octet(piOptions, s.Options)
			if s.MaxTSDU != [2]uint16{} {
				p.must(piMaxTSDU, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.MaxTSDU[0]), s.MaxTSDU[1]))
			}
			p.octet(piVersion, s.Versions)
			if s.Requirements == nil || *s.Requirements&(HalfDuplex|MinorSync|MajorSync|Activity|NegotiatedRelease) != 0 {
				p.octet(piTokenSetting, s.TokenSetting)
			}
		})
		p.requirements(s.Requirements)
		if s.Calling != nil {
			p.must(piCallingSel, s.Calling)
		}
		if s.Called != nil {
			p.must(piCalledSel, s.Called)
		}
		p.userData(s)
	case RF:
		p.group(pgiConnection, func(p *params) {
			p.add(piCalledRef, s.Ref.Called)
			p.add(piCallingRef, s.Ref.Calling)
			p.add(piCommonRef, s.Ref.Common)
			p.add(piAdditionalRef, s.Ref.Additional)
		})
		p.transport(s)
		p.requirements(s.Requirements)
		// The refusal's user data is part of the reason (X.225 8.3.5).
		p.must(piReason, append(append([]byte(nil), s.Reason...), s.UserData...))
	case FN, DN, NF, AB:
		p.transport(s)
		p.userData(s)
	case GT, PT:
		p.octet(piTokens, s.Tokens)
		p.userData(s)
	case AS:
		p.must(piActivity, s.ActivityID)
	case AR:
		p.group(pgiLinking, func(p *params) {
			p.add(piCalledRef, s.Ref.Called)
			p.add(piCallingRef, s.Ref.Calling)
			p.add(piCommonRef, s.Ref.Common)
			p.add(piAdditionalRef, s.Ref.Additional)
			p.must(piActivity, s.OldActivity)
			p.serial(s.Serial)
		})
		p.must(piActivity, s.ActivityID)
	case MIP:
		if s.NoAck {
			p.octet(piSyncType, 1)
		}
		p.serial(s.Serial)
	case MIA, AE, AEA:
		p.serial(s.Serial)
	case AI, AD, ED, ER:
		p.add(piReason, s.Reason)
	case DT:
		switch s.enclosure {
		case encloseHead, encloseTail:
			p.octet(piEnclosure, byte(s.enclosure))
		case encloseMiddle:
			p.octet(piEnclosure, 0)
		}
		return append(append(appendLength(append(b, byte(DT&0xff)), len(p.b)), p.b...), s.UserData...)
	}
	return append(appendLength(append(b, byte(s.Type)), len(p.b)), p.b...)
}

func appendLength(b []byte, n int) []byte {
	if n < 255 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, 255), uint16(n))
}

type params struct{ b []byte }

// must writes a parameter, empty or not; add leaves an empty one out.
func (p *params) must(pi byte, v []byte) { p.b = append(appendLength(append(p.b, pi), len(v)), v...) }

func (p *params) add(pi byte, v []byte) {
	if len(v) > 0 {
		p.must(pi, v)
	}
}

func (p *params) octet(pi, v byte) { p.b = append(p.b, pi, 1, v) }

func (p *params) serial(n int) { p.must(piSerial, strconv.AppendInt(nil, int64(n), 10)) }

func (p *params) group(pgi byte, f func(*params)) {
	var inner params
	f(&inner)
	p.add(pgi, inner.b)
}

func (p *params) requirements(r *Requirements) {
	if r != nil {
		p.must(piRequirements, binary.BigEndian.AppendUint16(nil, uint16(*r)))
	}
}

func (p *params) transport(s *SPDU) {
	if s.Transport != nil {
		p.octet(piTransport, *s.Transport)
	}
}

// userData goes into PI 193, or, when a connect has more than the 512 octets of version 1, into PI 194 (X.225 8.3.1.20).
func (p *params) userData(s *SPDU) {
	pi := byte(piUserData)
	if s.Type == CN && len(s.UserData) > MaxVersion1 {
		pi = piExtendedData
	}
	p.add(pi, s.UserData)
}

// MaxVersion1 is the user data that a connect may have in version 1; MaxVersion2 in version 2.
const (
	MaxVersion1 = 512
	MaxVersion2 = 10240
)

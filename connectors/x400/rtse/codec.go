// Package rtse is the reliable transfer service (ITU-T X.218, X.228) between two MTAs, in the three modes in which P1 runs:
// 1988 normal mode over association control and presentation, 1988 X.410 mode, and the stack of 1984, whose parameters
// stand bare in the presentation connect and whose segments stand bare in session data.
//
// It opens and refuses associations, hands one transfer at a time over with checkpoints and a window, passes the turn, and
// resumes an interrupted transfer at its last checkpoint on a new association (Unfinished). A transfer has been handed over
// when, and only when, the receiver's Sink has committed it; Transfer returns nil after it has heard so. It never looks
// into what it transfers and never holds more of it than one segment. Errors say what became of the association:
// *Exception leaves it usable, everything else ends it.
package rtse

import (
	"fmt"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/session"
)

// Mode is how the service is laid on the session.
type Mode uint8

const (
	Normal Mode = iota // X.228 normal mode
	X410               // X.228 X.410 mode with P1 of 1988
	P1984              // the same with P1 of 1984
)

func (m Mode) String() string {
	switch m {
	case Normal:
		return "normal"
	case X410:
		return "x410"
	case P1984:
		return "1984"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Application protocols of X.410 mode (X.419 12.2: mts-transfer-protocol-1984, mts-transfer-protocol).
const (
	protocol1984 = 1
	protocol1988 = 12
)

// defaultWindow is what an absent windowSize means (X.228 9.1).
const defaultWindow = 3

// open is an RTORQ or RTOAC.
type open struct {
	checkpoint int64 // units of 1024 octets; 0 none
	window     int64
	twa        bool
	protocol   int64        // RTORQ in X.410 mode; -1 absent
	recover    *session.Ref // of the association to recover; nil opens a new one
	user       []byte       // one element; nil is none
}

const (
	tagRTORQ = 16
	tagRTOAC = 17
	tagRTORJ = 18
	tagRTAB  = 22
)

// parseOpen reads the members of an RTORQ or RTOAC.
func parseOpen(e ber.Element, request bool) open {
	o := open{window: defaultWindow, protocol: -1}
	data := ber.Context(2)
	if request {
		data = ber.Context(3)
	}
	for m := range e.All() {
		switch {
		case m.Is(data):
			o.connectionData(m.Only())
		case m.Is(ber.Context(0)):
			o.checkpoint = m.Int()
		case m.Is(ber.Context(1)):
			o.window = m.Int()
		case m.Is(ber.Context(2)):
			o.twa = m.Int() == 1
		case m.Is(ber.Context(4)):
			o.protocol = m.Int()
		}
	}
	if o.checkpoint < 0 || o.window < 1 {
		e.Failf("checkpoint size %d, window %d", o.checkpoint, o.window)
	}
	return o
}

// connectionData reads the CHOICE of user data, or of the association to recover.
func (o *open) connectionData(e ber.Element) {
	switch e.Tag {
	case ber.Context(0):
		if len(e.Body) == 0 {
			return // PP's and X.410's [0] NULL
		}
		o.user = e.Only().Raw
	case ber.Context(1):
		o.recover = &session.Ref{}
		for m := range e.All() {
			switch m.Tag {
			case ber.UTCTime:
				o.recover.Common = m.Raw
			case ber.Context(0):
				o.recover.Additional = ber.Retagged(m.Raw, ber.TeletexString)
			default: // T61String of 1984, OCTET STRING of 1988
				o.recover.Calling = ber.Retagged(m.Raw, ber.TeletexString)
			}
		}
	default:
		e.Failf("no connection data")
	}
}

// members writes the members of an RTORQ or RTOAC. The dialogue mode is always said, since a peer of the field fails
// without (KB Q140958).
func (o open) members(w *ber.Writer, request bool) {
	w.Int(ber.Context(0), o.checkpoint)
	w.Int(ber.Context(1), o.window)
	data := ber.Context(2)
	if request {
		mode := int64(0)
		if o.twa {
			mode = 1
		}
		w.Int(ber.Context(2), mode)
		data = ber.Context(3)
	}
	w.Cons(data, func() {
		switch {
		case o.recover != nil:
			w.Cons(ber.Context(1), func() {
				calling := ber.Retagged(o.recover.Calling, ber.OctetString)
				if o.protocol >= 0 {
					calling = ber.Retagged(o.recover.Calling, ber.TeletexString)
				}
				w.Raw(calling)
				w.Raw(o.recover.Common)
				if len(o.recover.Additional) > 0 {
					w.Raw(ber.Retagged(o.recover.Additional, ber.Context(0)))
				}
			})
		default:
			w.Cons(ber.Context(0), func() { w.Raw(o.user) })
		}
	})
	if request && o.protocol >= 0 {
		w.Int(ber.Context(4), o.protocol)
	}
}

// RefuseReason is why an association is refused (X.228 9.3).
type RefuseReason int64

const (
	Busy                 RefuseReason = 0
	CannotRecover        RefuseReason = 1
	ValidationFailure    RefuseReason = 2
	UnacceptableDialogue RefuseReason = 3
	refuseNotSaid        RefuseReason = -1
)

func (r RefuseReason) String() string {
	switch r {
	case Busy:
		return "busy"
	case CannotRecover:
		return "cannot recover"
	case ValidationFailure:
		return "validation failure"
	case UnacceptableDialogue:
		return "unacceptable dialogue mode"
	case refuseNotSaid:
		return "no reason given"
	}
	return fmt.Sprintf("reason %d", int64(r))
}

// AbortReason is why an association ended (X.228 9.8).
type AbortReason int64

const (
	AbortLocalProblem      AbortReason = 0
	AbortInvalidParameter  AbortReason = 1
	AbortUnknownActivity   AbortReason = 2
	AbortTemporary         AbortReason = 3
	AbortProtocolError     AbortReason = 4
	AbortPermanent         AbortReason = 5 // normal mode
	AbortUserError         AbortReason = 6 // normal mode
	AbortTransferCompleted AbortReason = 7
	abortNotSaid           AbortReason = -1
)

var abortNames = []string{"local system problem", "invalid parameter", "unrecognized activity", "temporary problem",
	"protocol error", "permanent problem", "user error", "transfer completed"}

func (r AbortReason) String() string {
	if r >= 0 && int(r) < len(abortNames) {
		return abortNames[r]
	}
	return "no reason given"
}

// Refused is the answer of a peer that does not open the association.
type Refused struct {
	Reason RefuseReason
	User   []byte // the bind error, one element; nil when there is none
	// Where says which layer refused when it was not the reliable transfer service itself.
	Where string
}

func (r *Refused) Error() string {
	if r.Where != "" {
		return "rtse: refused by the peer's " + r.Where
	}
	return "rtse: refused: " + r.Reason.String()
}

// Aborted is the peer's abrupt end.
type Aborted struct {
	Provider bool
	Reason   AbortReason
}

func (a *Aborted) Error() string {
	who := "peer"
	if a.Provider {
		who = "peer's provider"
	}
	return fmt.Sprintf("rtse: the %s aborted the association: %s", who, a.Reason)
}

// Reasons of an exception, interrupt or discard (X.225 8.3.24).
const (
	ReceiverJeopardized    byte = 1
	ExceptionSequence      byte = 3
	ExceptionLocalError    byte = 5
	ExceptionUnrecoverable byte = 6
)

// Exception is the receiver's report that it can't take this transfer now. The association lives on.
type Exception struct{ Reason byte }

func (e *Exception) Error() string {
	text := map[byte]string{ReceiverJeopardized: "its ability to receive is in jeopardy", ExceptionSequence: "sequence error",
		ExceptionLocalError: "local error", ExceptionUnrecoverable: "unrecoverable procedure error"}[e.Reason]
	if text == "" {
		text = fmt.Sprintf("reason %d", e.Reason)
	}
	return "rtse: the peer did not take the transfer: " + text
}

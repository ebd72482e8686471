package rtse

import (
	"errors"
	"fmt"

	"backbone/connectors/x400/acse"
	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/presentation"
	"backbone/connectors/x400/session"
)

// Release ends the association in order; the turn must be ours.
func (a *Association) Release() error {
	if !a.turn {
		return errors.New("rtse: the turn is not ours")
	}
	fn := &session.SPDU{Type: session.FN, Transport: new(byte)}
	*fn.Transport = 1
	var err error
	if fn.UserData, err = a.releaseData(acse.RLRQ); err != nil {
		return err
	}
	if err := a.s.Send(fn); err != nil {
		return err
	}
	for {
		s, err := a.s.Receive()
		if err != nil {
			return fmt.Errorf("rtse: waiting for the release: %w", gone(err))
		}
		switch s.Type {
		case session.DN:
			return nil
		case session.PT: // it crossed
		case session.AB:
			return a.aborted(s)
		default:
			return fmt.Errorf("rtse: %s where the release was to be confirmed", s)
		}
	}
}

// releaseData is RLRQ or RLRE in normal mode, nothing in the others.
func (a *Association) releaseData(kind acse.Kind) ([]byte, error) {
	if a.mode != Normal {
		return nil, nil
	}
	apdu, err := acse.APDU{Kind: kind}.Append(presentation.BER)
	if err != nil {
		return nil, err
	}
	return presentation.AppendUserData(presentation.PDV{Context: a.contexts.acse, Single: apdu})
}

func (a *Association) releaseAnswer() error {
	a.in.drop()
	a.in = nil
	data, err := a.releaseData(acse.RLRE)
	if err != nil {
		return err
	}
	return a.s.Send(&session.SPDU{Type: session.DN, UserData: data})
}

// Abort ends the association at once and tells the peer why. The transport is to be closed afterwards.
func (a *Association) Abort(reason AbortReason) error { return a.abort(reason) }

func (a *Association) abort(reason AbortReason) error {
	const releaseTransport, userAbort = 1, 2
	ab := &session.SPDU{Type: session.AB, Transport: new(byte)}
	*ab.Transport = releaseTransport | userAbort
	var w ber.Writer
	if a.mode != Normal {
		w.Int(ber.Context(0), int64(reason))
		members, err := w.Bytes()
		if err != nil {
			return err
		}
		if ab.UserData, err = (presentation.Abort{X410: members}).Append(); err != nil {
			return err
		}
		return a.s.Send(ab)
	}
	if a.version&session.Version2 != 0 { // version 1 has room for nine octets
		w.Cons(ber.Context(tagRTAB), func() { w.Int(ber.Context(0), int64(reason)) })
		rtab, err := w.Bytes()
		if err != nil {
			return err
		}
		abrt, err := acse.APDU{Kind: acse.ABRT, User: rtab, UserContext: a.contexts.rtse}.Append("")
		if err != nil {
			return err
		}
		ab.UserData, err = presentation.Abort{UserData: []presentation.PDV{{Context: a.contexts.acse, Single: abrt}}}.Append()
		if err != nil {
			return err
		}
	}
	return a.s.Send(ab)
}

// aborted reads the peer's abort. Whatever it carries, the association is over: what can't be read has no reason.
func (a *Association) aborted(s *session.SPDU) error {
	const userAbort = 2
	out := &Aborted{Reason: abortNotSaid, Provider: s.Transport != nil && *s.Transport&userAbort == 0}
	if len(s.UserData) == 0 {
		return out
	}
	abort, err := presentation.ParseAbort(s.UserData)
	if err != nil || abort.Provider {
		out.Provider = true
		return out
	}
	rtab := append(ber.AppendHeader(nil, ber.Set, true, len(abort.X410)), abort.X410...)
	if abort.X410 == nil {
		apdu, err := association(abort.UserData, acse.ABRT)
		if err != nil || apdu.User == nil {
			return out
		}
		rtab = apdu.User
	}
	d := ber.NewDecoder(rtab, ber.DefaultLimits)
	reason := abortNotSaid
	for m := range d.Root().All() {
		if m.Is(ber.Context(0)) {
			reason = AbortReason(m.Int())
		}
	}
	if d.Err() == nil {
		out.Reason = reason
	}
	return out
}

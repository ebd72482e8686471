package rtse

import (
	"errors"
	"fmt"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/presentation"
	"backbone/connectors/x400/session"
)

// allTokens are those that the functional units of reliable transfer have: data, minor sync, and major sync with activity.
const allTokens = 0x01 | 0x04 | 0x10

// RequestTurn asks the peer for the turn (RT-TURN-PLEASE). priority is that of what waits to be transferred, 0 the highest.
// The turn comes as the Event Turn, or never.
func (a *Association) RequestTurn(priority int) error {
	if !a.twa || a.turn {
		return errors.New("rtse: there is no turn to ask for")
	}
	var w ber.Writer
	w.Int(ber.Integer, int64(priority))
	data, err := w.Bytes()
	if err != nil {
		return err
	}
	if a.mode == Normal {
		if data, err = presentation.AppendUserData(presentation.PDV{Context: a.contexts.rtse, Single: data}); err != nil {
			return err
		}
	}
	return a.s.Send(&session.SPDU{Type: session.PT, Tokens: allTokens, UserData: data})
}

// please notes the peer's wish for the turn.
func (a *Association) please(s *session.SPDU) {
	priority := int64(0)
	data := s.UserData
	if a.mode == Normal && len(data) > 0 {
		if pdvs, err := presentation.ParseUserData(data); err == nil {
			data = pdvs[0].Single
		}
	}
	d := ber.NewDecoder(data, ber.DefaultLimits)
	if root := d.Root(); root.Is(ber.Integer) {
		priority = root.Int()
	}
	a.wanted = &priority
}

// TurnWanted tells whether the peer has asked for the turn since it last had it, and at which priority.
func (a *Association) TurnWanted() (priority int, wanted bool) {
	if a.wanted == nil {
		return 0, false
	}
	return int(*a.wanted), true
}

// GiveTurn hands the turn to the peer, between transfers (RT-TURN-GIVE).
func (a *Association) GiveTurn() error {
	if !a.twa || !a.turn {
		return errors.New("rtse: there is no turn to give")
	}
	if err := a.s.Send(&session.SPDU{Type: session.GTC}); err != nil {
		return err
	}
	for {
		s, err := a.s.Receive()
		if err != nil {
			return fmt.Errorf("rtse: waiting for the turn to be taken: %w", gone(err))
		}
		switch s.Type {
		case session.GTA:
			a.turn, a.wanted = false, nil
			return nil
		case session.PT: // it crossed
		case session.AB:
			return a.aborted(s)
		default:
			return fmt.Errorf("rtse: %s where the turn was to be taken", s)
		}
	}
}

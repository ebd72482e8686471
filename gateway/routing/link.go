package routing

import (
	"fmt"
	"time"
)

// State is what a link can do at present.
type State string

const (
	Up              State = "up"               // can send now: Exchange's "active now"
	OpenRetry       State = "open-retry"       // failed to open; tried again at Until
	Scheduled       State = "scheduled"        // will become active at Until
	Suspended       State = "suspended"        // by an operator, until Until or until resumed
	Never           State = "never"            // its schedule says never
	RemoteInitiated State = "remote-initiated" // sends only when the peer calls
	Disabled        State = "disabled"         // configured but switched off
)

// LinkState is the state of one next hop, with what an operator wants to know about it. The zero LinkState is up.
type LinkState struct {
	State    State     `json:"state,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"` // zero: nobody knows
	Failures int       `json:"failures,omitempty"`
	Why      string    `json:"why,omitempty"`
	By       string    `json:"by,omitempty"`
}

// CanSend tells that mail can be handed to the link now.
func (l LinkState) CanSend() bool { return l.State == Up || l.State == "" }

// active is Exchange's "active now": a link in open-retry is active, it just has bad luck.
func (l LinkState) active() bool { return l.CanSend() || l.State == OpenRetry }

// soonness orders links by when they will be able to send, as far as one can tell. Exchange's own order is active,
// will become active, never, remote initiated (KB Q193322); where the states that it did not have stand is ours.
func (l LinkState) soonness() int {
	switch l.State {
	case Up, "":
		return 0
	case OpenRetry:
		return 1
	case Scheduled:
		return 2
	case Suspended:
		if !l.Until.IsZero() {
			return 3
		}
		return 4
	case Never:
		return 5
	case RemoteInitiated:
		return 6
	}
	return 7
}

// String is one plain phrase: "suspended by kim until 2025-03-04 06:00 UTC: line works".
func (l LinkState) String() string {
	s := string(l.State)
	switch l.State {
	case "":
		s = string(Up)
	case OpenRetry:
		s = "down"
		if l.Failures > 0 {
			s += fmt.Sprintf(" after %d failed opens", l.Failures)
		}
		if !l.Since.IsZero() {
			s += " since " + stamp(l.Since)
		}
		if !l.Until.IsZero() {
			s += ", tried again at " + stamp(l.Until)
		}
	case Scheduled:
		s = "inactive by its schedule"
		if !l.Until.IsZero() {
			s += " until " + stamp(l.Until)
		}
	case Suspended:
		if l.By != "" {
			s += " by " + l.By
		}
		if l.Until.IsZero() {
			s += " until resumed"
		} else {
			s += " until " + stamp(l.Until)
		}
	case Never:
		s = "never active"
	case RemoteInitiated:
		s = "active only when the peer calls"
	}
	if l.Why != "" {
		s += ": " + l.Why
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

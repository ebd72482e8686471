package mail

import (
	"errors"
	"fmt"
	"time"
)

// Class is the one decision about retry, taken where the outside world is touched and never again further in.
type Class string

const (
	Transient Class = "transient" // the peer or the network may recover: retry
	Permanent Class = "permanent" // this recipient or message will never be taken: report
	Policy    Class = "policy"    // a rule refused it (size, restriction, relay): final, never rerouted (KB Q160534)
	Local     Class = "local"     // our disk, memory, descriptors: never permanent to anyone, retry, alarm
)

// Scope says how much the failure speaks of.
type Scope string

const (
	ScopeRecipient Scope = "recipient"
	ScopeMessage   Scope = "message"
	// ScopeLink: the next hop could not be opened or the connection broke. Other mail for it will fare no better,
	// so the gateway counts an open retry on the link and reroutes at once.
	ScopeLink Scope = "link"
)

// Failure is a classified error. Build it with the constructors of this package or literally; every field has a
// usable zero value: Text falls back to the cause, codes to the class's defaults.
type Failure struct {
	Class    Class  `json:"class"`
	Scope    Scope  `json:"scope,omitempty"`
	Code     int    `json:"code,omitempty"`     // SMTP reply code 4xx/5xx
	Enhanced string `json:"enhanced,omitempty"` // RFC 3463, "5.1.1"
	// Reason and Diagnostic are X.411's numbers (KB Q174175). Diagnostic -1 means none.
	Reason     int    `json:"reason"`
	Diagnostic int    `json:"diagnostic"`
	MSMail     int    `json:"msmail,omitempty"` // MS Mail's [nnn] code
	Text       string `json:"text,omitempty"`   // safe for the originator to read
	Peer       string `json:"peer,omitempty"`   // the peer's own words, one line
	// RetryAfter, when set, is the earliest time the peer or connector wants to be asked again.
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	Cause      error         `json:"-"`
}

func (f *Failure) Error() string {
	t := f.Text
	if t == "" && f.Cause != nil {
		t = f.Cause.Error()
	}
	if f.Enhanced != "" {
		t = f.Enhanced + " " + t
	}
	if f.Code != 0 {
		t = fmt.Sprintf("%d %s", f.Code, t)
	}
	if f.Cause != nil && f.Text != "" {
		t += ": " + f.Cause.Error()
	}
	return t
}

func (f *Failure) Unwrap() error { return f.Cause }

// Final tells a failure that no retry can mend.
func (f *Failure) Final() bool { return f.Class == Permanent || f.Class == Policy }

// AsFailure finds the classified failure in err. An error that nobody classified is Local: our own fault until
// proven otherwise, so that it is never permanent to a peer.
func AsFailure(err error) *Failure {
	if err == nil {
		return nil
	}
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Class: Local, Scope: ScopeMessage, Code: 451, Enhanced: "4.3.0", Reason: 0, Diagnostic: 2,
		MSMail: 1, Text: "local error in processing", Cause: err}
}

// The conditions of the gateway's own report table, as constructors, so that each has one set of codes.
// X.411 reason/diagnostic per KB Q174175; MS Mail codes per KB Q131852, Q147471 and neighbours; the pairing is ours.

// NoRoute: no address space matches (X.411 unable-to-transfer / unrecognized-OR-name).
func NoRoute(text string) *Failure {
	return &Failure{Class: Permanent, Scope: ScopeRecipient, Code: 550, Enhanced: "5.4.4", Reason: 1, Diagnostic: 0, MSMail: 1, Text: text}
}

// UnknownRecipient: the address can't exist, or the directory says that it does not.
func UnknownRecipient(text string) *Failure {
	return &Failure{Class: Permanent, Scope: ScopeRecipient, Code: 550, Enhanced: "5.1.1", Reason: 1, Diagnostic: 0, MSMail: 2, Text: text}
}

// AmbiguousRecipient: several custom recipients claim the address (KB Q165396).
func AmbiguousRecipient(text string) *Failure {
	return &Failure{Class: Permanent, Scope: ScopeRecipient, Code: 550, Enhanced: "5.1.4", Reason: 1, Diagnostic: 1, MSMail: 30, Text: text}
}

// LinkDown: the next hop can't be opened now (Exchange: MTS-congestion, KB Q157630).
func LinkDown(text string, cause error) *Failure {
	return &Failure{Class: Transient, Scope: ScopeLink, Code: 451, Enhanced: "4.4.1", Reason: 1, Diagnostic: 2, MSMail: 5, Text: text, Cause: cause}
}

// Expired: the message waited longer than its priority allows.
func Expired(text string) *Failure {
	return &Failure{Class: Permanent, Scope: ScopeRecipient, Code: 554, Enhanced: "5.4.7", Reason: 1, Diagnostic: 5, MSMail: 5, Text: text}
}

// HopLimit: more gateways than allowed.
func HopLimit(text string) *Failure {
	return &Failure{Class: Permanent, Scope: ScopeMessage, Code: 554, Enhanced: "5.4.6", Reason: 1, Diagnostic: 3, MSMail: 3, Text: text}
}

// Loop: this site, or the post office, is already in the trace.
func Loop(text string) *Failure {
	return &Failure{Class: Permanent, Scope: ScopeMessage, Code: 554, Enhanced: "5.4.6", Reason: 1, Diagnostic: 3, MSMail: 4, Text: text}
}

// TooLarge: over a size limit; final, never rerouted.
func TooLarge(text string) *Failure {
	return &Failure{Class: Policy, Scope: ScopeMessage, Code: 552, Enhanced: "5.3.4", Reason: 1, Diagnostic: 7, MSMail: 9, Text: text}
}

// BadContent: the content can't be parsed or converted.
func BadContent(text string, cause error) *Failure {
	return &Failure{Class: Permanent, Scope: ScopeMessage, Code: 554, Enhanced: "5.6.0", Reason: 2, Diagnostic: 8, MSMail: 29, Text: text, Cause: cause}
}

// Restricted: a rule forbids it (relay, delivery restriction).
func Restricted(text string) *Failure {
	return &Failure{Class: Policy, Scope: ScopeRecipient, Code: 550, Enhanced: "5.7.1", Reason: 5, Diagnostic: -1, MSMail: 1, Text: text}
}

// LocalFault: our own disk, store or memory.
func LocalFault(text string, cause error) *Failure {
	return &Failure{Class: Local, Scope: ScopeMessage, Code: 451, Enhanced: "4.3.0", Reason: 0, Diagnostic: 2, MSMail: 1, Text: text, Cause: cause}
}

// State is what became of one recipient at one attempt.
type State string

const (
	Delivered State = "delivered" // in the recipient's system, or handed to one that reports for itself
	Relayed   State = "relayed"   // handed on to a system that gives no delivery reports (RFC 3464 2.3.3)
	Deferred  State = "deferred"
	Failed    State = "failed"
)

// Outcome is what one attempt did for one recipient, in the order of the transfer's recipients.
type Outcome struct {
	State   State    `json:"state"`
	Failure *Failure `json:"failure,omitempty"` // set when deferred or failed
	Peer    string   `json:"peer,omitempty"`    // the peer's words on success: "250 2.0.0 Ok: queued as 4F2"
	// PeerReports goes with Delivered: the recipient's Notify went along and the peer answers it, so that a positive
	// report is not ours to send (RFC 3461 5.2.1; a site link; X.411 transfer).
	PeerReports bool `json:"peer_reports,omitempty"`
}

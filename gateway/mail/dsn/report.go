// Package dsn is the canonical form of a report inside the gateway: RFC 3464 delivery status notifications in an
// RFC 6522 multipart/report, with fields of our own for what MS Mail and X.400 say beyond it.
//
// It owns the Report value, its writer (Build), its tolerant reader (Parse), and the sentences that tell a person
// what went wrong and what to do (Explain). It never decides whether a report is due, and to whom it goes: that is
// the gateway's business, and so is the rule that a report never causes another.
//
// Build is pure: times and identifiers come in; the same input gives the same bytes. It fails when the reader of the
// original fails, or when Options lack what a report can't do without. Parse reads at most a bounded amount of
// hostile input and answers ErrNotReport for anything that holds no delivery status.
package dsn

import (
	"errors"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// ErrNotReport says that a message holds no delivery status.
var ErrNotReport = errors.New("not a delivery status notification")

// Action is what happened to a recipient (RFC 3464 2.3.3).
type Action string

const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
)

// MTA names a system that handled the message (RFC 3464 2.1.2): a DNS name, or a name of another world with its type.
type MTA struct {
	Type string // "dns", "x400", "x-backbone"; "" means dns
	Name string
}

// Recipient is the status of one recipient (RFC 3464 2.3).
type Recipient struct {
	// Original is what the originator wrote, zero when it is not known or the same as Final.
	Original address.Address
	Final    address.Address
	Name     string // display name, for people (X-Display-Name, as Exchange writes it)
	Action   Action
	Status   string // RFC 3463, "5.1.1"
	// Diagnostic is the peer's own words, of type DiagnosticType: "smtp" with its reply code, "x400", "x-unix" ...
	Diagnostic     string
	DiagnosticType string
	RemoteMTA      MTA
	LastAttempt    time.Time
	WillRetryUntil time.Time // delayed only
	// MSMail is MS Mail's [nnn] code, 0 when there is none (X-MSMail-Code).
	MSMail int
	// X400 is X.411's reason and diagnostic (KB Q174175), nil when nothing gave one (X-X400-Reason, X-X400-Diagnostic).
	X400 *X400
	// Text is a sentence for the originator beyond what the status says ("post office PO2 is not defined here").
	Text string
}

// X400 is X.411's non-delivery reason and diagnostic. Diagnostic is -1 when absent.
type X400 struct{ Reason, Diagnostic int }

// Original is what a report tells of the message that it speaks of.
type Original struct {
	MessageID string // without angle brackets
	Subject   string
	From      string // header From as a person would read it
	Sent      time.Time
}

// Report is a delivery status notification.
type Report struct {
	ReportingMTA MTA
	ReceivedFrom MTA
	// EnvID is the originator's envelope identifier, decoded (RFC 3461 4.4).
	EnvID string
	// About is the identifier that the gateways gave the message (mail.Envelope.ID; X-MTS-Identifier).
	About      string
	Arrival    time.Time
	Recipients []Recipient
	Original   Original
	// Header is the header of the returned original as found, at most MaxHeader octets; only Parse sets it.
	Header []byte
}

// MaxHeader is how much of the original's header a report returns.
const MaxHeader = 64 << 10

// Worst is the action that names the report: a failure outweighs a delay, a delay any success.
func (r *Report) Worst() Action {
	rank := map[Action]int{Failed: 5, Delayed: 4, Relayed: 3, Expanded: 2, Delivered: 1}
	worst := Delivered
	for _, rcpt := range r.Recipients {
		if rank[rcpt.Action] > rank[worst] {
			worst = rcpt.Action
		}
	}
	return worst
}

// ForRecipient makes the status of one recipient out of an envelope's recipient and the failure that befell it; f is
// nil for success. The peer's words become the diagnostic, so that the far administrator recognises them.
func ForRecipient(rcpt mail.Recipient, action Action, f *mail.Failure) Recipient {
	r := Recipient{Final: rcpt.Address, Name: rcpt.Name, Action: action, Original: ParseAddress(rcpt.ORCPT)}
	if f == nil {
		r.Status = defaultStatus(action)
		return r
	}
	r.Status, r.Text, r.MSMail = f.Enhanced, f.Text, f.MSMail
	if r.Status == "" {
		r.Status = defaultStatus(action)
	}
	r.X400 = &X400{f.Reason, f.Diagnostic}
	if f.Peer != "" {
		r.Diagnostic, r.DiagnosticType = f.Peer, "smtp"
		if !smtpReply(f.Peer) {
			r.DiagnosticType = "x-backbone"
		}
	}
	return r
}

// smtpReply tells words that begin with an SMTP reply code.
func smtpReply(s string) bool {
	return len(s) > 3 && s[0] >= '2' && s[0] <= '5' && digit(s[1]) && digit(s[2]) && (s[3] == ' ' || s[3] == '-')
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// defaultStatus is the class alone, for a status that nobody gave.
func defaultStatus(a Action) string {
	switch a {
	case Failed:
		return "5.0.0"
	case Delayed:
		return "4.0.0"
	}
	return "2.0.0"
}

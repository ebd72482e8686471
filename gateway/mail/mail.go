// Package mail holds the one form in which a message crosses the gateway: envelope, recipients, trace, content,
// and the classified failure that every edge reports in.
//
// It imports only address. It never performs I/O of its own; Content is opened by whoever stores it.
package mail

import (
	"io"
	"time"

	"backbone/gateway/address"
)

// Kind tells messages from reports and probes, as X.411 does.
type Kind string

const (
	KindMessage Kind = "message"
	KindReport  Kind = "report" // delivery report, non-delivery report or delay notice; never causes another report
	KindReceipt Kind = "receipt"
	KindProbe   Kind = "probe" // X.411 probe: asks whether a message would get there; has no content
)

// Priority drives queue order and expiry (X.411 8.2.1.1.1.8; MS Mail 1..5).
type Priority int8

const (
	NonUrgent Priority = -1
	Normal    Priority = 0
	Urgent    Priority = 1
)

func (p Priority) String() string {
	switch {
	case p > 0:
		return "urgent"
	case p < 0:
		return "non-urgent"
	}
	return "normal"
}

// Notify is what the originator wants to hear of one recipient (RFC 3461 4.1; X.411 originator-report-request).
type Notify uint8

const (
	NotifyDefault Notify = 0 // nothing said: failure and delay
	NotifyNever   Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Wants tells whether a report of kind n is due to the originator.
func (n Notify) Wants(k Notify) bool {
	if n == NotifyDefault {
		return k == NotifyFailure || k == NotifyDelay
	}
	return n&k != 0
}

// Recipient is one recipient that this copy of the message is responsible for.
type Recipient struct {
	Address address.Address `json:"address"`
	Name    string          `json:"name,omitempty"`
	// Original is the address that the originator wrote when it differs (ORCPT, originally-intended recipient).
	// ORCPT keeps the RFC 3461 spelling "rfc822;user@host" verbatim.
	ORCPT  string `json:"orcpt,omitempty"`
	Notify Notify `json:"notify,omitempty"`
	// Number is X.411's originally-specified-recipient-number (1..), 0 when the message did not come from X.400.
	Number int `json:"number,omitempty"`
}

// Hop is one gateway that took the message, oldest first. A message that finds its own site here is looping.
type Hop struct {
	Site string    `json:"site"` // the site's name, or NET/PO for a post office, or a domain for an SMTP relay
	Via  string    `json:"via,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// Source says where and how a message entered this site.
type Source struct {
	Connector string `json:"connector"`
	Peer      string `json:"peer,omitempty"` // remote address, MTA name, site name or post office
	Detail    string `json:"detail,omitempty"`
	// Authenticated is true when the connector knows who the peer is (mutual TLS, AUTH, P1 bind, a drop folder).
	Authenticated bool `json:"authenticated,omitempty"`
}

// Envelope is everything but the content.
type Envelope struct {
	// ID is the message's identifier on all sites (our MTSIdentifier), set by the first gateway, at most 32
	// printable ASCII characters. Accept sets it when it is empty.
	ID string `json:"id"`
	// MessageID is the RFC 5322 Message-ID or P22 IPMIdentifier, without angle brackets; for trace only.
	MessageID  string          `json:"message_id,omitempty"`
	Kind       Kind            `json:"kind"`
	Originator address.Address `json:"originator,omitzero"`
	Name       string          `json:"name,omitempty"` // originator's display name
	Recipients []Recipient     `json:"recipients"`
	Priority   Priority        `json:"priority,omitempty"`
	Subject    string          `json:"subject,omitempty"` // for listings and reports; at most 256 characters
	Sent       time.Time       `json:"sent,omitzero"`     // submission time as the originator's system gave it
	Arrived    time.Time       `json:"arrived"`           // local arrival: expiry counts from here, never from a remote clock
	NotBefore  time.Time       `json:"not_before,omitzero"`
	// NotAfter is the originator's latest delivery time; zero leaves expiry to the priority's policy.
	NotAfter time.Time `json:"not_after,omitzero"`
	EnvID    string    `json:"envid,omitempty"` // RFC 3461 ENVID, decoded
	RetFull  bool      `json:"ret_full,omitempty"`
	// EightBit and UTF8 say that the content needs 8BITMIME, the envelope or header SMTPUTF8.
	EightBit bool   `json:"eight_bit,omitempty"`
	UTF8     bool   `json:"utf8,omitempty"`
	Trace    []Hop  `json:"trace,omitempty"`
	Source   Source `json:"source"`
	// About is the ID of the message that a report or receipt speaks of.
	About string `json:"about,omitempty"`
	// ContentType is "message/rfc822" (the canonical form), or an X.411 content type ("2", "22", an OID) that is
	// relayed untouched.
	ContentType string `json:"content_type,omitempty"`
	// Extra carries what only one world can say, for the way back: keys are "mmff.priority", "p1.content-identifier"...
	Extra map[string]string `json:"extra,omitempty"`
}

// Content is a stored message body: it can be opened many times and never changes.
type Content interface {
	Size() int64
	Open() (io.ReadSeekCloser, error)
}

// Message is an envelope with its content.
type Message struct {
	Envelope
	Content Content
}

// Note is one line of the translation ledger: what was mapped, changed or lost on the way from one world to another.
type Note struct {
	Field  string `json:"field"`            // as the source names it: "PRIORITY", "CC", "attachment COUNTS.TXT"
	Action string `json:"action"`           // NoteMapped, NoteChanged or NoteLost
	Detail string `json:"detail,omitempty"` // for a human: "subject cut from 80 to 63 octets"
}

const (
	NoteMapped  = "mapped"
	NoteChanged = "changed"
	NoteLost    = "lost"
)

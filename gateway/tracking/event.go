// Package tracking is the tracking log: what happened to each message at this site, one line an event, across
// restarts, searchable by any name that an operator has for the message.
//
// Where gateways share an Archive, each ships its log there, and any of them searches what all have written.
//
// It owns the daily files of JSON lines (yyyymmdd.log, UTC, as Exchange named them, KB Q173280) and the index files
// beside them, which can be thrown away at any time. It never decides anything about a message and nothing that decides
// reads it: it is evidence. Text from outside is stored as data and made harmless only when printed (Plain).
//
// It fails softly. An event that can't be written within a short patience is given up with an error that the caller
// logs; the message goes on. An event for which Append returned nil survives kill -9; after a power failure at most
// the events of the last sync interval are missing. A torn or foreign line is skipped, never in the way of the others. An archive that
// is away is waited for by nobody but the goroutine that ships to it; answers are then this log's own, with a Partly.
package tracking

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"backbone/gateway/mail"
)

// Type is what happened. The words are stable: they stand in files, filters and listings.
type Type string

const (
	Received        Type = "received"   // a source handed the message over
	Duplicate       Type = "duplicate"  // a repeated hand-over, answered and not stored
	Translated      Type = "translated" // between two worlds; Notes is the ledger
	Resolved        Type = "resolved"   // a recipient got another address by the directory
	Routed          Type = "routed"     // Route holds winner and losers
	Queued          Type = "queued"
	Attempt         Type = "attempt" // a delivery attempt began
	Delivered       Type = "delivered"
	Relayed         Type = "relayed" // handed to a system that reports nothing
	Deferred        Type = "deferred"
	Failed          Type = "failed"
	Expired         Type = "expired"
	Report          Type = "report"           // a report about the message was generated; About is its id
	ReportAbsorbed  Type = "report-absorbed"  // a report was due but may not be made (a report about a report)
	ReportDiscarded Type = "report-discarded" // a report could not be routed
	Rerouted        Type = "rerouted"
	Held            Type = "held"
	Released        Type = "released"
	Deleted         Type = "deleted"
	Restored        Type = "restored"
	Quarantined     Type = "quarantined" // a drop file or part of one, put aside as unreadable
)

// Event is one line of the log. Only Time and Type are always there.
type Event struct {
	Time time.Time `json:"time"`
	Type Type      `json:"type"`
	Site string    `json:"site,omitempty"`
	// Node is the gateway that wrote the event, where several share an archive. It is not in the log: whoever reads it there knows.
	Node string `json:"node,omitempty"`
	// ID is the message's identifier on all sites, MessageID its RFC 5322 or P22 one, Item the queue entry's. About is the
	// other message's ID on events that tie two together: a report and what it reports on.
	ID        string        `json:"id,omitempty"`
	MessageID string        `json:"message_id,omitempty"`
	Item      string        `json:"item,omitempty"`
	About     string        `json:"about,omitempty"`
	Kind      mail.Kind     `json:"kind,omitempty"`
	Priority  mail.Priority `json:"priority,omitempty"`
	Connector string        `json:"connector,omitempty"`
	Dest      string        `json:"dest,omitempty"`
	// Peer is who handed the message over, or the peer's own words at an attempt, on one line.
	Peer       string   `json:"peer,omitempty"`
	Originator string   `json:"originator,omitempty"`
	Recipients []string `json:"recipients,omitempty"`
	// Subject is left out when the site keeps subjects private; SubjectHash is there whenever there was one.
	Subject     string `json:"subject,omitempty"`
	SubjectHash string `json:"subject_hash,omitempty"`
	Size        int64  `json:"size,omitempty"` // octets
	Attempt     int    `json:"attempt,omitempty"`
	// Took is how long the attempt lasted, Waited how long the message had been here when it ended, Next when the next
	// one is due.
	Took   time.Duration `json:"took_ns,omitempty"`
	Waited time.Duration `json:"waited_ns,omitempty"`
	Next   time.Time     `json:"next,omitzero"`
	Class  mail.Class    `json:"class,omitempty"`
	Text   string        `json:"text,omitempty"`
	By     string        `json:"by,omitempty"` // operator, for what one did
	// Source names where the message came from inside its connector: a drop file. SourceSHA256 is that file's hash, in hex.
	Source       string      `json:"source,omitempty"`
	SourceSHA256 string      `json:"source_sha256,omitempty"`
	Notes        []mail.Note `json:"notes,omitempty"`
	Route        []Candidate `json:"route,omitempty"`
}

// Candidate is one connector of a routing decision, the winner first.
type Candidate struct {
	Connector string `json:"connector"`
	Space     string `json:"space"`
	Match     string `json:"match"`
	Cost      int    `json:"cost"`
	Link      string `json:"link,omitempty"` // its state unless up
	Lost      string `json:"lost,omitempty"` // why it was not chosen
}

// SubjectHash is the stand-in for a subject that must not be kept: 16 hex digits of SHA-256 over the subject without
// letter case, outer blanks and reply prefixes, so that a reply has its original's. It hides a subject from a reader of
// the log, not from someone who can guess it.
func SubjectHash(subject string) string {
	s := strings.ToLower(strings.TrimSpace(subject))
	for cut := true; cut; {
		cut = false
		for _, p := range []string{"re:", "fw:", "fwd:", "aw:", "wg:"} {
			if rest, ok := strings.CutPrefix(s, p); ok {
				s, cut = strings.TrimSpace(rest), true
			}
		}
	}
	if s == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// maxRecipients is how many recipients one line holds; an event with more becomes several lines.
const maxRecipients = 500

// maxText bounds each text of an event, in octets: a peer's words can be as long as it likes.
const maxText = 4096

// lines splits and bounds an event for writing.
func (e Event) lines(subjects bool) []Event {
	if e.Subject != "" && e.SubjectHash == "" {
		e.SubjectHash = SubjectHash(e.Subject)
	}
	if !subjects {
		e.Subject = ""
	}
	for _, s := range []*string{&e.Site, &e.ID, &e.MessageID, &e.Item, &e.About, &e.Connector, &e.Dest, &e.Peer, &e.Originator,
		&e.Subject, &e.Text, &e.By, &e.Source, &e.SourceSHA256} {
		*s = cut(*s)
	}
	e.Time = e.Time.UTC()
	if len(e.Recipients) <= maxRecipients {
		return []Event{e}
	}
	var out []Event
	for rest := e.Recipients; len(rest) > 0; {
		part := e
		part.Recipients = rest[:min(len(rest), maxRecipients)]
		rest = rest[len(part.Recipients):]
		out = append(out, part)
	}
	return out
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}

// names are the words by which the event can be found.
func (e *Event) names() []string {
	out := make([]string, 0, 7)
	for _, s := range []string{e.ID, e.About, e.MessageID, e.Item, e.Source} {
		if s != "" {
			out = append(out, fold(s))
		}
	}
	if e.Source != "" {
		out = append(out, sourceNames(e.Source)...)
	}
	return out
}

// sourceNames are the short forms of a drop file's name: "NORTHWIND.PO1/submit/MMFF1.MSG#2" is also found as
// "mmff1.msg#2" and "mmff1.msg".
func sourceNames(source string) []string {
	s := fold(source)
	base := s[strings.LastIndexAny(s, `/\`)+1:]
	out := []string{base}
	if i := strings.IndexAny(base, "# "); i > 0 {
		out = append(out, base[:i])
	}
	return out
}

// fold makes keys comparable: people type identifiers in any case and with or without angle brackets.
func fold(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 2 && s[0] == '<' && s[len(s)-1] == '>' {
		s = s[1 : len(s)-1]
	}
	return strings.ToLower(s)
}

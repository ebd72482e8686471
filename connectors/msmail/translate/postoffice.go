// Package translate turns mail of a Microsoft Mail post office into the gateway's canonical RFC 5322/MIME form (In) and
// back (Out), so that what comes back to a post office is octet by octet what left it, and keeps a ledger of whatever
// was mapped, changed or lost on the way.
//
// It owns the mapping and nothing else: it opens no file, knows no queue, asks no clock; times and identifiers come in,
// and the same input gives the same bytes. It never decides where mail goes. Content that can't be converted is not
// lost: Out carries it opaque, as an attachment beside a plain notice. An error of Out is thus always the reader's; In
// fails on mail that may not go on: a loop.
package translate

import (
	"slices"
	"time"

	"backbone/gateway/address"
	"backbone/shadowpo/mmff"
)

// RichText is what becomes of WINMAIL.DAT, in which Windows clients keep rich text (KB Q148515, Q94180, Q138053).
type RichText string

const (
	KeepRichText    RichText = "keep"    // passed on untouched in both directions
	ForeignRichText RichText = "foreign" // taken off mail that leaves for foreign systems only
	StripRichText   RichText = "strip"   // taken off in both directions
)

// PostOffice is what translation must know of a post office. MMFF says none of it.
type PostOffice struct {
	Name     address.MSMail // network and postoffice
	Page     *mmff.CodePage
	LineEnd  mmff.LineEnd   // of what is written to it
	Zone     *time.Location // of DATE and TIME
	Gateways []address.Type // types that its users can reply to: a gateway of that name is installed there
	RichText RichText
	// MaxSubject cuts a subject to so many octets: 255, or 63 for an AppleTalk peer, which refuses more (KB Q117581).
	MaxSubject int
	Wrap       int  // columns at which long lines are broken, 0 = never (KB Q152724)
	DOSNames   bool // attachments get names of eight and three characters
	// EmbeddedText shows forwarded messages as text instead of attaching them as .EML (KB Q157420).
	EmbeddedText bool
	Heading      bool // the original's To and Cc are shown above the text
	// Special gets user-list exports for *SPECIAL, which must never be bounced (KB Q112879); zero: they are deleted.
	Special address.Address
	// Postmaster is whose name reports bear: the mailbox POSTMASTER of the site's shadow post office, or of this one.
	Postmaster address.Address
}

// canReply tells that a user of the post office can write back to a.
func (p *PostOffice) canReply(a address.Address) bool {
	return a.Type == address.MS || slices.Contains(p.Gateways, a.Type)
}

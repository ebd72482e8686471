// Package dirsync speaks Microsoft Mail's directory synchronisation: the text of $SYSTEM mail, and what a server and a
// requestor do with the numbers in it.
//
// It owns the wire text (headers, transactions, templates), the numbers (ReqSync, SrvSync and their acknowledgement) and
// the schedule. It is pure: it opens nothing, reads no clock, keeps no state but what its caller stores; the list that is
// synchronised is the caller's, through Log. It never fails as a whole because of one bad record: that record becomes a
// Problem with its line, the record's number and MS Mail's own error number, and the others are taken.
//
// What is public comes from KB Q96060, Q104869, Q106623, Q118298, Q118447 and Q152424. The full list of [dirsync] keys was
// published in print only. Keys of ours begin with XBB-, carry a version, and a foreign program may leave them out or
// ignore them.
package dirsync

import (
	"fmt"
	"time"

	"backbone/gateway/address"
)

// Version of our own keys.
const Version = 1

// MaxName is how many characters a full name has at most (KB Q104869).
const MaxName = 30

// Task is what a message asks for.
type Task string

const (
	// Export brings a requestor's own changes and asks for the server's (KB Q106623).
	Export Task = "EXPORT"
	// ImportRequest asks for the whole list (KB Q106623).
	ImportRequest Task = "IMPORTREQ"
	// Answer is the server's. *Ours*: the word is not public; a message with SRVSEQ and without TASK is read as one too.
	Answer Task = "XBB-ANSWER"
	// Refuse is the server's answer to one that it will not serve. *Ours*; Code and Text are MS Mail's.
	Refuse Task = "XBB-REFUSE"
)

// Form is where the transactions stand.
type Form string

const (
	InBody       Form = "inbody"
	InAttachment Form = "inattachment" // for long lists: MS Mail reads a body wholly into memory (KB Q123857)
)

// Message is one $SYSTEM mail.
type Message struct {
	Task      Task
	Requestor string   // NET/PO
	Types     []string // address types that the requestor can use; nil: PCM
	Templates bool
	Password  string // *ours*: the public error 156 shows that there is one, its key's name is not public
	// Req is the requestor's last change, in an export the end of what it brings, in an answer the end of what the server
	// has taken. Srv is the server's last change, in an export the end of what the requestor has, in an answer that of what
	// it brings. Base is from where the transactions go on: the receiver's place must be one of them. The numbers are MS
	// Mail's; stamps and bases are *ours*.
	Req, Srv Mark
	Base     []Mark
	Counts   bool   // SRVSEQ was there
	ImpSeq   uint64 // whole lists asked for so far
	// Cycle tells a requestor's messages apart, growing; the answer repeats it. *Ours*; 0 when a foreign program sent it.
	Cycle int64
	// Full says that the transactions are the whole list. *Ours*; a foreign program's Replace says the same.
	Full   bool
	Code   int // of a refusal
	Reason string

	Transactions []Transaction
	Problems     []Problem // what of the sender's last message was not taken, or found while reading this one
}

// Mark is a place in a sequence of changes: its number, and a random stamp that the owner of the sequence keeps with it. A
// partner that names a mark which the owner does not have was told of it by a past that the owner lost, when a backup
// was restored: then the whole list is sent. MS Mail left it to the administrator to find out (KB Q113453).
type Mark struct {
	Number uint64 `json:"number"`
	Stamp  uint64 `json:"stamp,omitempty"`
}

// Op is a transaction's first character.
type Op byte

const (
	Add     Op = 'A'
	Modify  Op = 'M'
	Delete  Op = 'D'
	Replace Op = 'R' // discard the whole list of a post office or gateway
	Define  Op = 'T' // a template's definition
)

// Identity is a name in the list with its address.
type Identity struct {
	Name    string          `json:"name"`
	Address address.Address `json:"address,omitzero"`
}

// Transaction is one change of the list.
type Transaction struct {
	Number uint64   `json:"number,omitempty"` // 0: the sender counts nothing
	Op     Op       `json:"op"`
	Old    Identity `json:"old,omitzero"` // of Modify and Delete
	New    Identity `json:"new,omitzero"` // of Add and Modify
	// Scope is whose list a Replace discards, or a Define describes: "PCM:NET/PO".
	Scope string `json:"scope,omitempty"`
	// Details are template values of Add and Modify, Prompts the definition of Define.
	Details []Detail `json:"details,omitempty"`
	Prompts []Prompt `json:"prompts,omitempty"`
	Line    int      `json:"-"` // where it stood, for reports
}

// Detail is one template value: "- Prompt:/value" (KB Q118298).
type Detail struct {
	Prompt string `json:"prompt"` // without the colon
	Value  string `json:"value"`
}

// Prompt is one line of a template's definition: "Prompt:~start~width~edit~data~" (KB Q118447).
type Prompt struct {
	Prompt             string
	Start, Width       int
	Edit, DataContents string
}

// Problem is something that was not taken, with MS Mail's number for it where it has one.
type Problem struct {
	Line   int       `json:"line,omitempty"`
	Number uint64    `json:"number,omitempty"` // of the transaction
	Code   int       `json:"code,omitempty"`
	Text   string    `json:"text"`
	At     time.Time `json:"at,omitzero"`
}

func (p Problem) String() string {
	s := p.Text
	if p.Code != 0 {
		s = fmt.Sprintf("[%d] %s", p.Code, s)
	}
	if p.Line > 0 {
		s = fmt.Sprintf("line %d: %s", p.Line, s)
	}
	return s
}

// Numbers of IMPORT and of directory synchronisation (KB Q96001 to Q96004).
const (
	CodeColumn1     = 12
	CodeCommand     = 13
	CodeType        = 16
	CodeTooLong     = 20
	CodeTemplate    = 22
	CodeSeparator   = 23
	CodeDuplicate   = 28
	CodeUnknownName = 29
	CodeCharacters  = 71
	CodeFullName    = 72
	CodeFormat      = 124
	CodeUnknown     = 136 // requestor not registered
	CodeBehind      = 138 // the server's numbers are behind the requestor's
	CodeTask        = 155
	CodePassword    = 156
	CodeManual      = 166 // manual import required
)

// Package mmff reads and writes Microsoft Mail's message files: the basic message format of MMFF, which the File
// Format API's GET and PUT programs exchange with a post office (KB Q118785, Q87223).
//
// It owns tokens, sizes, line ends, code pages and FFAPI's numbered errors. It never opens a file by itself, never
// looks at a clock, and never decides what a recipient or a priority means. Bodies and attachments are ranges of the
// input and are not read while decoding, so memory does not grow with message size.
//
// A message that breaks the format is a *Bad: its reasons, and its exact octets in the file, so that it can be put
// aside while the messages around it go on. Any other error of Decoder.Next is the input's own (disk, share) and
// says nothing about the message.
package mmff

import (
	"bytes"
	"io"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// LineEnd is what ends a header line, and what the body's size counts as its line ends (KB Q85055). The zero value
// stands for CRLF.
type LineEnd string

const (
	CR   LineEnd = "\r"   // -f0, the default of the DOS programs
	LF   LineEnd = "\n"   // -f1
	CRLF LineEnd = "\r\n" // -f2
)

func (e LineEnd) or() string {
	if e == "" {
		return string(CRLF)
	}
	return string(e)
}

// Message is one message of an MMFF file. Text in it is UTF-8; the code page is the codec's option.
type Message struct {
	Version string            // VERSION, "3.00" when empty
	To      []address.Address // TO, in the file's order
	CC      []address.Address // CC, only with Options.AcceptCC: the format has no such token (KB Q87223)
	From    address.Address   // FROM
	Date    string            // DATE as written, yyyy-mm-dd; see Sent
	Time    string            // TIME as written, hh:mm, no zone
	// Subject can hold control characters, since ^0D stands for one (KB Q94410). Strip them before showing it.
	Subject  string
	Priority string // PRIORITY as written: 1 to 5, R, C, F, T or free (KB Q118787)

	// Text is the body as its octets are: in the code page, with the line ends of its writer. CodePage.NewReader
	// makes UTF-8 of it. Nil stands for an empty body.
	Text        mail.Content
	Attachments []Attachment

	LineEnd LineEnd // of the header lines
	Place   Place   // where it was found; ignored when writing
	// Notes is what decoding changed: characters without a meaning in the code page, files outside the message.
	Notes []mail.Note
}

// Attachment is one file of a message, its octets as they are.
type Attachment struct {
	// Name is the name as the sender wrote it: any text of up to a header line. It is not fit to be a path.
	Name    string
	Content mail.Content
}

// Place is where a message lies in its file.
type Place struct {
	Number int   // from 1, good and bad messages counted
	Offset int64 // of its first octet
	Length int64 // octets
}

// Bytes is content held in memory.
func Bytes(b []byte) mail.Content { return held(b) }

type held []byte

func (h held) Size() int64 { return int64(len(h)) }

func (h held) Open() (io.ReadSeekCloser, error) {
	return reader{bytes.NewReader(h)}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

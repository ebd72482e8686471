package mmff

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The numbers of FFAPI's errors (KB Q85043 unless noted). Texts after the number are ours: what is wrong, with what.
const (
	CodeTooMany      = 20  // more recipients than can be taken; FFAPI ran out of memory (KB Q98811)
	CodeOpen         = 52  // an attachment's file cannot be opened (KB Q95521)
	CodeToken        = 141 // token not recognised
	CodeAddress      = 142 // bad address
	CodeParser       = 143 // any other breach of the format
	CodePartition    = 144 // line cannot be split into token and tail; wrong or mixed line ends
	CodeExternalName = 146 // file name of XTEXT or XATTACH bad, missing or not allowed
	CodeTextFile     = 147 // the file of XTEXT cannot be opened
	CodeService      = 151 // unknown address type (KB Q106623)
	CodeSubmit       = 201 // could not be submitted (KB Q134952)
)

// Error is one mistake in a message.
type Error struct {
	Code    int
	Message int   // ordinal of the message in its file, from 1
	Line    int   // line within that message, from 1; 0 when the mistake is not in one line
	Offset  int64 // in the file, octets: beginning of the line, or of the message
	Text    string
}

// Error is FFAPI's form "EEE-MMM-LLL text" (KB Q118533) and the byte offset, in one line of printable text.
func (e *Error) Error() string {
	return fmt.Sprintf("%03d-%03d-%03d %s (octet %d)", e.Code, e.Message, e.Line, e.Text, e.Offset)
}

// ParseError reads back the form that Error writes. False means that the line has another form.
func ParseError(line string) (*Error, bool) {
	code, text, ok := strings.Cut(line, " ")
	n := strings.Split(code, "-")
	if !ok || len(n) != 3 {
		return nil, false
	}
	e := &Error{Offset: -1}
	for i, p := range []*int{&e.Code, &e.Message, &e.Line} {
		v, err := strconv.ParseUint(n[i], 10, 31)
		if err != nil {
			return nil, false
		}
		*p = int(v)
	}
	e.Text = text
	if i := strings.LastIndex(text, " (octet "); i >= 0 && strings.HasSuffix(text, ")") {
		if v, err := strconv.ParseUint(text[i+8:len(text)-1], 10, 63); err == nil {
			e.Offset, e.Text = int64(v), text[:i]
		}
	}
	return e, true
}

// Bad is a message that cannot be taken: where it lies and every mistake found in it, at most maxErrors.
type Bad struct {
	Place  Place
	Errors []*Error // at least one, in the order of the file
	// Rest is true when the end of the message could not be told, so that Place covers all that follows in the file.
	Rest bool
	// Short is true when the message would be whole if the file went on: its end is declared to lie beyond the
	// file's, or the header just stops. A file that is still being written looks like this.
	Short bool
	// Header holds what could be read of the header, for a log.
	Header *Message
}

// Error is the first mistake.
func (b *Bad) Error() string {
	if n := len(b.Errors) - 1; n > 0 {
		return fmt.Sprintf("%s; %d more", b.Errors[0], n)
	}
	return b.Errors[0].Error()
}

func (b *Bad) Unwrap() []error {
	out := make([]error, len(b.Errors))
	for i, e := range b.Errors {
		out[i] = e
	}
	return out
}

// ErrRefused is what Options.Files answers for a file that must not be read.
var ErrRefused = errors.New("this file must not be read")

// maxErrors bounds what is recorded of one message: a body read as header would fill a disk.
const maxErrors = 20

// show quotes text from the file for an error: printable, and at most 60 characters.
func show(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:60]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// ascii7 keeps an error's text readable on every terminal and in every DOS editor.
func ascii7(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

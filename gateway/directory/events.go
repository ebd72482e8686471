package directory

import "fmt"

// Exchange's event numbers of directory import (KB Q184532), which result files show.
const (
	EventGone         = 138 // object to be deleted does not exist (a warning)
	EventNotThere     = 150 // value to be removed is not there (a warning)
	EventColumnTwice  = 152 // column given twice; the first counts (a warning)
	EventChangedText  = 166 // characters that are not valid were changed (a warning)
	EventBackslash    = 168 // a single backslash was taken out (a warning)
	EventTruncated    = 169 // value cut to its limit (a warning)
	EventNoClass      = 218
	EventNoIdentity   = 219
	EventQuotes       = 220
	EventMode         = 221
	EventModeColumn   = 222
	EventRead         = 224
	EventNoName       = 225
	EventFirstColumn  = 226
	EventHeaderQuotes = 227
	EventClass        = 228
	EventNoColon      = 230
	EventNoType       = 231
	EventLongType     = 232
	EventTypeTwice    = 233
	EventTarget       = 235
	EventTargetTaken  = 236
	EventProxy        = 237
	EventProxyTaken   = 238
	EventDelOnCreate  = 241
	EventUnknown      = 264 // unknown column, not imported (a warning)
	EventRequired     = 266 // required attribute may not be deleted
	EventDelAmong     = 268 // ~DEL among other values
	EventBadName      = 275
	EventExists       = 287
	EventMissing      = 288
	EventFieldCount   = 291
	EventNoTarget     = 292
)

// ImportError is why a whole import file was not taken: its header, or what it would have done.
type ImportError struct {
	Line, Column int // 0: the file as a whole
	Event        int // Exchange's, 0 when it had none
	Text         string
}

func (e *ImportError) Error() string {
	s := "directory import: "
	if e.Line > 0 {
		s += fmt.Sprintf("%d:%d: ", e.Line, e.Column)
	}
	s += e.Text
	if e.Event != 0 {
		s += fmt.Sprintf(" (event %d)", e.Event)
	}
	return s
}

// problem is what is wrong with one line: an error, or a warning when the line was taken all the same.
type problem struct {
	event   int
	at      int // offset of the field in the record
	text    string
	warning bool
}

func problemf(event, at int, format string, args ...any) *problem {
	return &problem{event: event, at: at, text: fmt.Sprintf(format, args...)}
}

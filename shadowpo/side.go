package shadowpo

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Side is the content of NAME.X beside NAME.MSG: what a basic MMFF message cannot say (msmail.md A.3; the format is
// ours). UTF-8 text, one key=value a line, keys in any order and repeatable. A file without one is a complete
// message all the same.
type Side []SideField

// SideField is one line.
type SideField struct{ Key, Value string }

// Keys that this gateway writes. Others are kept as they are.
const (
	SideID        = "id"         // the message's identifier on all sites
	SideMessageID = "message-id" // RFC 5322, without brackets
	SideHop       = "hop"        // one a line, oldest first: site or NET/PO
	SideCC        = "cc"         // an address that is CC, not TO
	SidePriority  = "priority"   // the priority as its first system had it
	SideReceipt   = "receipt"    // requested receipts
	SideCodePage  = "codepage"
	SideHash      = "sha256"  // hex, of NAME.MSG: a side file left behind by another message does not match
	SideArrived   = "arrived" // RFC 3339
	SideType      = "type"    // ndr, delay, dr, rn
	SideAbout     = "about"   // id of the message that a report speaks of
)

// Bounds of a side file.
const (
	maxSide      = 256 << 10 // octets
	maxSideLines = 6000      // 5,000 CC and what else there is
	maxSideValue = 4096      // octets
)

const sideHead = "backbone side 1"

// Get is the first value of key, or "".
func (s Side) Get(key string) string {
	for _, f := range s {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

// All are the values of key, in order.
func (s Side) All(key string) []string {
	var out []string
	for _, f := range s {
		if f.Key == key {
			out = append(out, f.Value)
		}
	}
	return out
}

// Add appends a line. An empty value adds nothing.
func (s *Side) Add(key, value string) {
	if value != "" {
		*s = append(*s, SideField{key, value})
	}
}

// Encode is the file's text. It fails on a key or value that Parse would not read back.
func (s Side) Encode() ([]byte, error) {
	var b strings.Builder
	b.WriteString(sideHead + "\n")
	for _, f := range s {
		if err := f.check(); err != nil {
			return nil, err
		}
		b.WriteString(f.Key + "=" + f.Value + "\n")
	}
	if len(s) > maxSideLines || b.Len() > maxSide {
		return nil, fmt.Errorf("side file: %d lines, %d octets are more than %d and %d", len(s), b.Len(), maxSideLines, maxSide)
	}
	return []byte(b.String()), nil
}

// ParseSide reads a side file. LF and CRLF end its lines.
func ParseSide(b []byte) (Side, error) {
	if len(b) > maxSide {
		return nil, fmt.Errorf("side file: more than %d octets", maxSide)
	}
	lines := strings.Split(string(b), "\n")
	if strings.TrimSuffix(lines[0], "\r") != sideHead {
		return nil, fmt.Errorf("side file: does not begin with %q", sideHead)
	}
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	} else {
		return nil, fmt.Errorf("side file: line %d has no end: the file is not whole", len(lines))
	}
	if len(lines)-1 > maxSideLines {
		return nil, fmt.Errorf("side file: more than %d lines", maxSideLines)
	}
	s := make(Side, 0, len(lines)-1)
	for i, l := range lines[1:] {
		key, value, ok := strings.Cut(strings.TrimSuffix(l, "\r"), "=")
		f := SideField{key, value}
		if !ok {
			return nil, fmt.Errorf("side file: line %d is not key=value", i+2)
		}
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("%w (line %d)", err, i+2)
		}
		s = append(s, f)
	}
	return s, nil
}

func (f SideField) check() error {
	if f.Key == "" || len(f.Key) > 32 || strings.Trim(f.Key, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return fmt.Errorf("side file: key %q is not 1 to 32 of a-z, 0-9, '.', '-', '_'", f.Key)
	}
	if len(f.Value) > maxSideValue || !utf8.ValidString(f.Value) || strings.ContainsFunc(f.Value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("side file: value of %s is too long, not UTF-8 or has a control character", f.Key)
	}
	return nil
}

package translate

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"backbone/gateway/mail"
)

// shown is foreign text as a header field, a log or a terminal may have it: valid UTF-8 in one line, no control characters
// or directional overrides, blanks single and none at the ends, nothing that reads as an encoded word.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return strings.ReplaceAll(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " "), "=?", "= ?")
}

// oneLine is shown without touching blanks inside, tabs included.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd")))
}

// exactText and readExact put text with anything in it into a header field of ours, and back.
func exactText(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func readExact(field string) (string, bool) {
	if len(field) > 8192 {
		return "", false
	}
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(field), ""))
	return string(b), err == nil && len(b) > 0 && utf8.Valid(b)
}

// ledger collects notes.
type ledger struct{ notes []mail.Note }

// maxNotes bounds what one message can write on its timeline.
const maxNotes = 200

func (l *ledger) note(field, action, format string, args ...any) {
	if len(l.notes) < maxNotes {
		l.notes = append(l.notes, mail.Note{Field: shown(field), Action: action, Detail: shown(fmt.Sprintf(format, args...))})
	}
}

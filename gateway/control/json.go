package control

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
)

// EscapeJSON writes every character of lines of JSON that does not print as its escape (\u202e): what a stranger has put into a
// name neither moves a cursor nor turns a line around where JSON is looked at, and is still there for a program.
func EscapeJSON(b []byte) []byte {
	plain := true
	for _, c := range b {
		plain = plain && c < 0x7f
	}
	if plain { // C0 is escaped already: RFC 8259, 7
		return b
	}
	out := make([]byte, 0, len(b)+len(b)/8)
	for _, r := range string(b) {
		switch r1, r2 := utf16.EncodeRune(r); {
		case unicode.IsPrint(r), r == '\n':
			out = append(out, string(r)...)
		case r1 != unicode.ReplacementChar:
			out = fmt.Appendf(out, `\u%04x\u%04x`, r1, r2)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// MarshalJSON is json.Marshal, its characters as EscapeJSON has them.
func MarshalJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return EscapeJSON(b), err
}

// WriteJSON writes v as MarshalJSON has it, on one line.
func WriteJSON(w io.Writer, v any) error {
	b, err := MarshalJSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

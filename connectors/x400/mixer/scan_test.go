package mixer

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func scanned(pieces ...string) *scan {
	l := &scan{}
	for _, p := range pieces {
		l.Write([]byte(p))
	}
	l.done()
	return l
}

func TestHowATextMayTravel(t *testing.T) {
	for _, tt := range []struct {
		name, text                string
		plain, bare, ended, eight bool
	}{
		{"nothing", "", true, false, false, false},
		{"a line", "one\r\n", true, false, true, false},
		{"a line without its end", "one", true, false, false, false},
		{"tab and form feed", "a\tb\f\r\n", true, false, true, false},
		{"998 octets", strings.Repeat("x", 998) + "\r\n", true, false, true, false},
		{"999 octets", strings.Repeat("x", 999) + "\r\n", false, false, true, false},
		{"999 octets without an end", strings.Repeat("x", 999), false, false, false, false},
		{"a blank before the line end", "one \r\n", false, false, true, false},
		{"a tab at the end of the text", "one\t", false, false, false, false},
		{"lines of nothing but their ends", "\r\n\r\n", true, false, true, false},
		{"an empty line after a blank one", "x\r\n \r\n\r\n", false, false, true, false},
		{"From at the beginning of a line", "one\r\nFrom two\r\n", false, false, true, false},
		{"From within a line", "one From two\r\n", true, false, true, false},
		{"Fro, and m a line later", "Fro\r\nm two\r\n", true, false, true, false},
		{"LF alone", "one\ntwo\r\n", false, true, true, false},
		{"CR alone", "one\rtwo\r\n", false, true, true, false},
		{"CR twice", "one\r\r\n", false, true, true, false},
		{"CR at the end", "one\r\n\r", false, true, true, false},
		{"a bell", "\a\r\n", false, false, true, false},
		{"DEL", "\x7f\r\n", false, false, true, false},
		{"Latin 1", "\xe4\r\n", false, false, true, true},
	} {
		l := scanned(strings.Split(tt.text, "")...)
		if l.plain() != tt.plain || l.bare != tt.bare || l.ended != tt.ended || l.eight != tt.eight {
			t.Errorf("%s: plain %t, bare %t, ended %t, eight bits %t", tt.name, l.plain(), l.bare, l.ended, l.eight)
		}
	}
}

func TestThePiecesOfATextMakeNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.SampledFrom([]string{"\r", "\n", "\r\n", "From ", "F", " ", "x", "\t", "\xe4"})).Draw(t, "pieces")
		text := strings.Join(pieces, "")
		whole, apart := scanned(text), scanned(pieces...)
		if *whole != *apart {
			t.Fatalf("%q: %+v and %+v", text, whole, apart)
		}
		if n := strings.Count(text, "\r\n"); whole.bare != (strings.Count(text, "\r") != n || strings.Count(text, "\n") != n) {
			t.Fatalf("%q: bare %t", text, whole.bare)
		}
		if !whole.bare && whole.ended != strings.HasSuffix(text, "\r\n") {
			t.Fatalf("%q: ended %t", text, whole.ended)
		}
	})
}

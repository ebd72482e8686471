package dashboard

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestAnEditedCopyKeepsEveryOctetThatNobodyTouched: through the text area and back, whichever line ends the browser sends.
func TestAnEditedCopyKeepsEveryOctetThatNobodyTouched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.SliceOf(rapid.SampledFrom([]byte("\r\n\\x0aA")))).Draw(t, "file")
		text := escape(b)
		if rapid.Bool().Draw(t, "browser sends CRLF") {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		got, err := unescape(text)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%q came back as %q (%v)", b, got, err)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", "A\r\nB", `\x0a`, `\`, `\x`, `\xg0`, `\\`, "ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := unescape(s)
		if err != nil {
			return
		}
		if again, err := unescape(escape(b)); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q: %q became %q (%v)", s, b, again, err)
		}
	})
}

func TestTheMarkStandsWhereTheParserStopped(t *testing.T) {
	file := bytes.Repeat([]byte("SUBJECT:0123456789\r\n"), 100)
	for name, c := range map[string]struct {
		offset       int64
		line, column int
		char         string
	}{
		"in the first line":  {8, 1, 9, "0"},
		"at a line's start":  {1000, 51, 1, "S"},
		"at a line's end":    {1018, 51, 19, "⏎"},
		"in the last line":   {1999, 100, 20, "⏎"},
		"behind the file":    {5000, 101, 1, "⏎"},
		"nobody knows where": {-1, 0, 0, ""},
	} {
		lines, line, column := textAround(file, c.offset)
		mark := ""
		for _, l := range lines {
			mark += l.Mark
		}
		if line != c.line || column != c.column || mark != c.char {
			t.Errorf("%s: line %d, column %d, %q; want %d, %d, %q", name, line, column, mark, c.line, c.column, c.char)
		}
		hex, cut := hexAround(file, c.offset)
		marks := 0
		for _, l := range hex {
			for i, o := range l.Octets {
				if o.Mark {
					marks++
					if c.offset < int64(len(file)) && l.Chars[i].Text != string(rune(file[c.offset])) && file[c.offset] >= ' ' {
						t.Errorf("%s: the octet marked is %q", name, l.Chars[i].Text)
					}
				}
			}
		}
		if want := c.offset >= 0 && c.offset < int64(len(file)); (marks == 1) != want || !cut {
			t.Errorf("%s: %d octets marked, cut %v", name, marks, cut)
		}
	}
}

func TestAnyFileCanBeShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "file")
		offset := rapid.Int64Range(-1, 300).Draw(t, "offset")
		hexAround(b, offset)
		textAround(b, offset)
	})
}

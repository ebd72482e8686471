package shadowpo

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSideFilesSurviveBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Side
		for range rapid.IntRange(0, 20).Draw(t, "lines") {
			s = append(s, SideField{rapid.StringMatching(`[a-z0-9._-]{1,32}`).Draw(t, "key"),
				strings.Map(func(r rune) rune {
					if r < ' ' || r == 0x7f {
						return '='
					}
					return r
				}, rapid.StringN(0, 50, 200).Draw(t, "value"))})
		}
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSide(b)
		if err != nil || !slices.Equal(got, s) {
			t.Fatalf("got %v, %v", got, err)
		}
		crlf, err := ParseSide([]byte(strings.ReplaceAll(string(b), "\n", "\r\n")))
		if err != nil || !slices.Equal(crlf, s) {
			t.Fatalf("with CRLF: got %v, %v", crlf, err)
		}
	})
}

func TestSideFilesThatAreNotTaken(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                   "",
		"another beginning":       "backbone side 2\nid=x\n",
		"cut short":               sideHead + "\nid=12",
		"no equals sign":          sideHead + "\nid\n",
		"a key with a capital":    sideHead + "\nID=x\n",
		"no key":                  sideHead + "\n=x\n",
		"a long key":              sideHead + "\n" + strings.Repeat("k", 33) + "=x\n",
		"a control character":     sideHead + "\nid=a\x1b[2J\n",
		"a NUL":                   sideHead + "\nid=a\x00\n",
		"a bare CR":               sideHead + "\nid=a\rb\n",
		"not UTF-8":               sideHead + "\nid=\xff\n",
		"a long value":            sideHead + "\nid=" + strings.Repeat("x", maxSideValue+1) + "\n",
		"an empty line":           sideHead + "\n\nid=x\n",
		"too many lines":          sideHead + "\n" + strings.Repeat("cc=x\n", maxSideLines+1),
		"more octets than a side": sideHead + "\n" + strings.Repeat("cc="+strings.Repeat("x", 4000)+"\n", 70),
	} {
		if s, err := ParseSide([]byte(text)); err == nil {
			t.Errorf("%s: taken as %v", name, s)
		}
	}
	for _, s := range []Side{{{"id", "a\nb"}}, {{"I", "x"}}, {{"", "x"}}, {{"id", "\xff"}}, slices.Repeat(Side{{"cc", "x"}}, maxSideLines+1)} {
		if _, err := s.Encode(); err == nil {
			t.Errorf("wrote %.60v", s)
		}
	}
}

func FuzzParseSide(f *testing.F) {
	f.Add([]byte(sideHead + "\nid=x\nhop=A/B\nhop=C\n"))
	f.Add([]byte(sideHead + "\r\nid=x\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseSide(in)
		if err != nil {
			return
		}
		b, err := s.Encode()
		if err != nil {
			t.Fatalf("%v cannot be written: %v", s, err)
		}
		if again, err := ParseSide(b); err != nil || !slices.Equal(again, s) {
			t.Fatalf("got %v, %v, want %v", again, err, s)
		}
	})
}

func FuzzReasonFile(f *testing.F) {
	f.Add("141-001-002 no\r\n; file A.MSG\r\n; offset 5\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		e := parseReason(in)
		again := parseReason(e.reasonFile())
		if !slices.Equal(e.Reasons, again.Reasons) || e.File != again.File || e.Key != again.Key || e.Subject != again.Subject || e.Offset != again.Offset {
			t.Fatalf("%+v read back as %+v", e, again)
		}
	})
}

func FuzzSentinel(f *testing.F) {
	f.Add("backbone drop 1\npostoffice=NORTHWIND/PO1\ninstance=X\n")
	f.Fuzz(func(t *testing.T, in string) {
		if id, err := parseSentinel(in); err == nil && (id.instance == "" || strings.Count(id.postOffice, "/") != 1) {
			t.Fatalf("%q taken as %+v", in, id)
		}
	})
}

package mmff_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"pgregory.net/rapid"

	"backbone/shadowpo/mmff"
)

var pages = []int{437, 737, 850, 852, 855, 857, 860, 862, 863, 865, 866, 869, 874, 932, 936, 949, 950,
	1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257}

func page(t testing.TB, n int) *mmff.CodePage {
	t.Helper()
	p, err := mmff.LookupCodePage(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every octet of every page becomes valid text, the same by both ways of decoding, and every character that came of
// it is written as that octet again. Octets that mean nothing are counted.
func TestAllOctetsOfAllCodePages(t *testing.T) {
	// Lead octets of double-byte pages mean nothing alone, and some pages have holes.
	undefined := map[int]int{857: 3, 869: 9, 874: 31, 932: 64, 936: 127, 949: 128, 950: 128,
		1250: 5, 1251: 1, 1252: 5, 1253: 17, 1254: 7, 1255: 22, 1257: 12}
	for _, n := range pages {
		p, lost := page(t, n), 0
		for c := range 256 {
			in := []byte{byte(c)}
			s, l := p.Decode(in)
			lost += l
			if !utf8.ValidString(s) || utf8.RuneCountInString(s) != 1 {
				t.Errorf("page %d, octet %02X: got %q", n, c, s)
			}
			if c < 0x80 && s != string(rune(c)) {
				t.Errorf("page %d, octet %02X: ASCII became %q", n, c, s)
			}
			if (l == 1) != (s == "\uFFFD") {
				t.Errorf("page %d, octet %02X: %q, lost %d", n, c, s, l)
			}
			if n == 932 && c == 0x80 {
				continue // read as the control that Windows makes of it, never written
			}
			if l == 0 {
				if back, loss := p.Encode(s); !bytes.Equal(back, in) || loss != (mmff.Loss{}) {
					t.Errorf("page %d, octet %02X: %q came back as % X, %+v", n, c, s, back, loss)
				}
			}
			if c != '\r' && c != '\n' {
				r := p.NewReader(bytes.NewReader(in))
				if b, err := io.ReadAll(r); err != nil || string(b) != s || r.Lost() != l {
					t.Errorf("page %d, octet %02X: stream gave %q, lost %d, %v", n, c, b, r.Lost(), err)
				}
			}
		}
		if lost != undefined[n] {
			t.Errorf("page %d: %d octets mean nothing, want %d", n, lost, undefined[n])
		}
	}
}

func TestNationalTextIsWhatItsUsersSee(t *testing.T) {
	for _, c := range []struct {
		page   int
		octets string
		text   string
	}{
		{437, "Stra\xe1e, \x9c 5", "Straße, £ 5"},
		{850, "\x9d\xd5 \xb6", "Øı Â"},
		{852, "P\xfd\xa1li\xe7 \xa7lu\x9c", "Příliš žluť"},
		{866, "\x8f\xe0\xa8\xa2\xa5\xe2", "Привет"},
		{932, "\x93\xfa\x96\x7b \xb1", "日本 ｱ"},
		{936, "\xd6\xd0\xb9\xfa", "中国"},
		{949, "\xc7\xd1\xb1\xdb", "한글"},
		{950, "\xa4\xa4\xa4\xe5", "中文"},
		{737, "\x89\x98\xa2\x9e\xa3\xe2\xa8\x98", "Καλημέρα"},
		{855, "\xdd\xe1\xb7\xeb\xa8\xe5", "Привет"},
		{857, "G\x94r\x81\x9fme \x98\xa7ne", "Görüşme İğne"},
		{860, "\x87\x84o", "ção"},
		{862, "\x99\x8c\x85\x8d", "שלום"},
		{863, "Qu\x82bec \x84", "Québec Â"},
		{865, "\x92r\x9b", "Ærø"},
		{869, "\xb5\xd6\xe5\xe1\xe6\x9d\xeb\xd6", "Καλημέρα"},
		{874, "\xca\xc7\xd1\xca\xb4\xd5", "สวัสดี"},
		{1250, "P\xf8\xedli\x9a", "Příliš"},
		{1251, "\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"},
		{1253, "\xca\xe1\xeb\xe7\xec\xdd\xf1\xe1", "Καλημέρα"},
		{1254, "G\xf6r\xfc\xfeme \xdd\xf0ne", "Görüşme İğne"},
		{1255, "\xf9\xec\xe5\xed", "שלום"},
		{1256, "\xd3\xe1\xc7\xe3", "سلام"},
		{1257, "\xc0\xfeuolas", "Ąžuolas"},
		{1252, "\x93na\xefve\x94 \x80 5", "“naïve” € 5"},
	} {
		p := page(t, c.page)
		if s, lost := p.Decode([]byte(c.octets)); s != c.text || lost != 0 {
			t.Errorf("page %d: got %q, lost %d, want %q", c.page, s, lost, c.text)
		}
		if b, loss := p.Encode(c.text); string(b) != c.octets || loss != (mmff.Loss{}) {
			t.Errorf("page %d: got % X, %+v, want % X", c.page, b, loss, c.octets)
		}
	}
	if _, err := mmff.LookupCodePage(1200); err == nil || !strings.Contains(err.Error(), "437, 737, 850") {
		t.Errorf("unknown page: got %v", err)
	}
}

func TestCharactersThatThePageLacksAreReplacedAndCounted(t *testing.T) {
	for _, c := range []struct {
		page          int
		in, want      string
		changed, lost int
	}{
		{850, "“Don’t” – 5 €…", `"Don't" - 5 EUR...`, 6, 0},
		{850, "e\u0301te\u0301", "\x82t\x82", 0, 0}, // combining accents are the page's own letters
		{437, "À", "A", 1, 0},
		{850, "Łódź", "L\xa2dz", 2, 0},
		{850, "日本", "??", 0, 2},
		{850, "x\u0301y", "x?y", 0, 1},
		{850, "a\xffb", "a?b", 0, 1},
		{850, "ﬁn ½ ™", "fin \xab TM", 2, 0},
		{866, "Grüße", "Grusse", 2, 0},
		{932, "が か\u3099", "\x82\xaa \x82\xaa", 0, 0},
	} {
		b, loss := page(t, c.page).Encode(c.in)
		if string(b) != c.want || loss != (mmff.Loss{Changed: c.changed, Lost: c.lost}) {
			t.Errorf("page %d, %q: got %q, %+v", c.page, c.in, b, loss)
		}
		var out bytes.Buffer
		w := page(t, c.page).NewWriter(&out, mmff.CRLF)
		if _, err := io.Copy(w, iotest.OneByteReader(strings.NewReader(c.in))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != c.want || w.Loss() != loss || w.Size() != int64(out.Len()) {
			t.Errorf("page %d, %q octet by octet: got %q, %+v, size %d", c.page, c.in, out.String(), w.Loss(), w.Size())
		}
	}
}

func TestLineEndsOfABody(t *testing.T) {
	in := "a\r\nb\rc\nd\r\r\ne\n\rf\r"
	r := mmff.CP850.NewReader(iotest.OneByteReader(strings.NewReader(in)))
	b, err := io.ReadAll(r)
	if want := "a\r\nb\r\nc\r\nd\r\n\r\ne\r\n\r\nf\r\n"; err != nil || string(b) != want {
		t.Fatalf("got %q, want %q, %v", b, want, err)
	}
	for _, end := range []mmff.LineEnd{mmff.CR, mmff.LF, mmff.CRLF} {
		var out bytes.Buffer
		w := mmff.CP850.NewWriter(&out, end)
		if _, err := io.Copy(w, iotest.OneByteReader(strings.NewReader(in))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(string(b), "\r\n", string(end)); out.String() != want {
			t.Errorf("%q: got %q, want %q", end, out.String(), want)
		}
	}
}

// What a page can say survives the way there and back, however the text is cut into reads and writes.
func TestTextSurvivesBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := mmff.LookupCodePage(rapid.SampledFrom(pages).Draw(t, "page"))
		if err != nil {
			t.Fatal(err)
		}
		octets := rapid.SliceOf(rapid.Byte()).Draw(t, "octets")
		first, _ := p.Decode(octets)
		b, _ := p.Encode(first)
		text, lost := p.Decode(b) // first without what meant nothing
		if lost != 0 {
			t.Fatalf("encoding %q gave % X, which does not decode", first, b)
		}
		again, loss := p.Encode(text)
		if loss != (mmff.Loss{}) {
			t.Fatalf("text of the page itself is lost: %q: %+v", text, loss)
		}
		if back, _ := p.Decode(again); back != text {
			t.Fatalf("got %q, want %q", back, text)
		}
		var out bytes.Buffer
		w := p.NewWriter(&out, mmff.LF)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "write")
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(p.NewReader(iotest.HalfReader(&out)))
		want := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(text)
		if err != nil || string(got) != want {
			t.Fatalf("got %q, want %q, %v", got, want, err)
		}
	})
}

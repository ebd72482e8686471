package t61

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestAccentsStandBeforeTheirLetter(t *testing.T) {
	for text, wire := range map[string]string{
		"plain #$ text": "plain #$ text", "Zürich": "Z\xc8urich", "Ægir": "\xe1gir", "ñandú £5": "\xc4nand\xc2u \xa35", "Łódź": "\xe8\xc2od\xc2z", "ß": "\xfb",
	} {
		b, lost := Encode(text)
		if string(b) != wire || lost != 0 {
			t.Errorf("%q: written as %q, %d lost", text, b, lost)
		}
		if got := Decode([]byte(wire)); got != text {
			t.Errorf("%q: read as %q", wire, got)
		}
	}
	if b, lost := Encode("漢字 a"); string(b) != "?? a" || lost != 2 {
		t.Errorf("got %q, %d lost", b, lost)
	}
	if got := Decode([]byte("\xc9u\xff\xc1")); got != "ü??" {
		t.Errorf("got %q", got)
	}
}

func TestWhatWasReadIsWrittenAndReadTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := Decode(rapid.SliceOf(rapid.Byte()).Draw(t, "wire"))
		b, _ := Encode(first)
		if second := Decode(b); second != first && !bytes.ContainsRune([]byte(first), '\u0332') {
			again, _ := Encode(second)
			if !bytes.Equal(again, b) && Decode(again) != second {
				t.Errorf("%q, then %q", first, second)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("Z\xc8urich"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		Encode(Decode(b))
	})
}

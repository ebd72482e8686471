package ber

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// shape prints an element's tree on one line.
func shape(e Element) string {
	if !e.Constructed {
		return e.Tag.String() + " " + hex.EncodeToString(e.Body)
	}
	var parts []string
	for m := range e.All() {
		parts = append(parts, shape(m))
	}
	return e.Tag.String() + "{" + strings.Join(parts, ", ") + "}"
}

func TestElementsAreReadInAllForms(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a definite SEQUENCE", "30 05 0201 05 0400", "SEQUENCE{INTEGER 05, OCTET STRING }"},
		{"an indefinite one in an indefinite one", "a0 80 31 80 0101ff 0000 0500 0000", "[0]{SET{BOOLEAN ff}, NULL }"},
		{"a definite one in an indefinite one holds what looks like its end", "30 80 0402 0000 0000", "SEQUENCE{OCTET STRING 0000}"},
		{"a length in more octets than it needs", "04 84 00000001 41", "OCTET STRING 41"},
		{"a tag number above 30", "bf 8148 00", "[200]{}"},
		{"an application tag", "63 80 61 04 1302 4742 0000", "[APPLICATION 3]{[APPLICATION 1]{PrintableString 4742}}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, tt.in)
			d := NewDecoder(b, DefaultLimits)
			e := d.Root()
			got := shape(e)
			if d.Err() != nil {
				t.Fatal(d.Err())
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if !bytes.Equal(e.Raw, b) {
				t.Errorf("raw octets %x", e.Raw)
			}
		})
	}
}

func TestBrokenEncodingsAreNamed(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "octet 0: the encoding breaks off"},
		{"no length", "30", "breaks off"},
		{"a length that is too long", "30 05 0101ff", "octet 0: SEQUENCE: 5 octets of contents, but only 3 are there"},
		{"a length of 2 GB", "04 84 7fffffff", "2147483647 octets of contents, but only 0"},
		{"a length of 17 octets", "04 91 01010101010101010101010101010101ff", "a length above 2^48"},
		{"an indefinite length without end", "30 80 0101ff", "breaks off"},
		{"an indefinite primitive", "04 80 0000", "indefinite length on a primitive"},
		{"a member that reaches beyond its parent", "30 04 0404 4142", "only 2 are there"},
		{"an end-of-contents in a definite body", "30 02 0000", "end-of-contents outside"},
		{"an end-of-contents with contents", "30 80 0001 41 0000", "end-of-contents with contents"},
		{"octets after the end", "0500 00", "octet 2: 1 octets follow"},
		{"a tag number without end", "9f ffffffffffff", "tag number above"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecoder(unhex(t, tt.in), DefaultLimits)
			shape(d.Root())
			if d.Err() == nil || !strings.Contains(d.Err().Error(), tt.want) {
				t.Errorf("got %v, want %q", d.Err(), tt.want)
			}
		})
	}
}

func TestStringsInPiecesAreJoined(t *testing.T) {
	in := unhex(t, "24 80 0402 4142 24 05 0401 43 0400 0401 44 0000")
	d := NewDecoder(in, DefaultLimits)
	e := d.Root()
	var w bytes.Buffer
	if err := e.WriteOctets(&w); err != nil {
		t.Fatal(err)
	}
	if e.Text() != "ABCD" || w.String() != "ABCD" || e.OctetLen() != 4 || d.Err() != nil {
		t.Errorf("got %q and %q of %d octets, %v", e.Text(), w.String(), e.OctetLen(), d.Err())
	}
	d = NewDecoder(in, Limits{Depth: 5, Elements: 100, Joined: 3})
	if d.Root().Octets(); d.Err() == nil {
		t.Error("four octets were joined where three are allowed")
	}
	d = NewDecoder(unhex(t, "24 03 8001 41"), DefaultLimits)
	if d.Root().Octets(); d.Err() == nil {
		t.Error("a context tag was taken for a piece of a string")
	}
}

func TestLimitsHoldAgainstHostileNesting(t *testing.T) {
	deep := bytes.Repeat([]byte{0x30, 0x80}, 100000)
	d := NewDecoder(deep, DefaultLimits)
	if d.Root(); d.Err() == nil || !strings.Contains(d.Err().Error(), "deeper than 96") {
		t.Error(d.Err())
	}
	var w Writer
	nest(&w, 200)
	b, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d = NewDecoder(b, DefaultLimits)
	if shape(d.Root()); d.Err() == nil || !strings.Contains(d.Err().Error(), "deeper than 96") {
		t.Error(d.Err())
	}
	d = NewDecoder(append(AppendHeader(nil, Sequence, true, 4<<20), bytes.Repeat([]byte{5, 0}, 2<<20)...), DefaultLimits)
	if shape(d.Root()); d.Err() == nil || !strings.Contains(d.Err().Error(), "more than 1048576 elements") {
		t.Error(d.Err())
	}
}

func nest(w *Writer, n int) {
	if n > 0 {
		w.Cons(Sequence, func() { nest(w, n-1) })
	}
}

func TestTimesOfTheFieldAreRead(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"981122222924Z", "1998-11-22T22:29:24Z"},
		{"9811222229Z", "1998-11-22T22:29:00Z"},
		{"261122222924Z", "2026-11-22T22:29:24Z"},
		{"490101000000Z", "2049-01-01T00:00:00Z"},
		{"500101000000Z", "1950-01-01T00:00:00Z"},
		{"981122222924+0100", "1998-11-22T21:29:24Z"},
		{"9811222229-0530", "1998-11-23T03:59:00Z"},
		{"1261122220855Z", "2026-11-22T22:08:55Z"},
		{"20261122220855Z", "2026-11-22T22:08:55Z"},
		{"", ""}, {"Z", ""}, {"981322222924Z", ""}, {"98112222292", ""}, {"981122222924+01", ""},
	} {
		got, ok := ParseTime(tt.in)
		if text := got.Format(time.RFC3339); (tt.want == "") == ok || (ok && text != tt.want) {
			t.Errorf("%q: got %s, %v, want %q", tt.in, text, ok, tt.want)
		}
	}
}

func TestValuesSurviveWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.Int64().Draw(t, "int")
		n := uint32(rapid.IntRange(0, 1<<28).Draw(t, "tag"))
		s := rapid.SliceOf(rapid.Byte()).Draw(t, "octets")
		oid := OID("2." + rapid.StringMatching(`[1-9][0-9]{0,8}(\.[1-9][0-9]{0,38}){0,5}`).Draw(t, "oid"))
		bits := NewBits(rapid.IntRange(0, 40).Draw(t, "size"), rapid.SliceOfN(rapid.IntRange(0, 63), 0, 5).Draw(t, "set")...)
		when := time.Unix(rapid.Int64Range(-631152000, 2524607999).Draw(t, "time"), 0).UTC()
		var w Writer
		w.Cons(Tag{ClassPrivate, n}, func() {
			w.Int(Context(n), i)
			w.Octets(OctetString, s)
			w.OID(ObjectIdentifier, oid)
			w.Bits(BitStr, bits)
			w.Bool(Boolean, i > 0)
			w.Time(UTCTime, when)
			w.Null(Null)
		})
		b, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		d := NewDecoder(b, DefaultLimits)
		var m []Element
		for e := range d.Root().All() {
			m = append(m, e)
		}
		if d.Err() != nil || len(m) != 7 || m[0].Tag != Context(n) {
			t.Fatalf("%v, %d members", d.Err(), len(m))
		}
		gotTime, ok := m[5].Time()
		if m[0].Int() != i || !bytes.Equal(m[1].Octets(), s) || m[2].OID() != oid || m[4].Bool() != (i > 0) || !gotTime.Equal(when) || !ok {
			t.Errorf("got %d %x %s %v", m[0].Int(), m[1].Octets(), m[2].OID(), gotTime)
		}
		if diff := cmp.Diff(bits, m[3].Bits()); diff != "" {
			t.Error(diff)
		}
		if d.Err() != nil {
			t.Error(d.Err())
		}
	})
}

func TestObjectIdentifiersOfAnySizeAreReadAndWritten(t *testing.T) {
	for _, tt := range []struct{ name, text, wire string }{
		{"id-ac-mts-transfer", "2.6.0.1.6", "06 04 56 00 01 06"},
		{"of the first two arcs", "0.39", "06 01 27"},
		{"a second component above 39", "2.999.3", "06 03 88 37 03"},
		{"PP's rfc-822-field-list", "0.9.2342.234219200300.200.1", "06 0c 09 92 26 86 e8 c4 b5 be 2c 81 48 01"},
		{"X.667's example, a UUID", "2.25.329800735698586629295641978511506172918",
			"06 14 69 83 f0 9d a7 eb cf de e0 c7 a1 a7 b2 c0 94 8c c8 f9 d7 76"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w Writer
			w.OID(ObjectIdentifier, OID(tt.text))
			b, err := w.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			d := NewDecoder(b, DefaultLimits)
			if got := d.Root().OID(); string(got) != tt.text || d.Err() != nil {
				t.Errorf("%x was read as %s, %v", b, got, d.Err())
			}
			if want := unhex(t, tt.wire); !bytes.Equal(b, want) {
				t.Errorf("written as %x, want %x", b, want)
			}
		})
	}
	for _, text := range []OID{"", "2", "3.1", "1.40", "2.-1", "2.+1", "2..1", OID("2." + strings.Repeat("9", 400))} {
		if text.Valid() {
			t.Errorf("%q is no object identifier", text)
		}
	}
	for _, wire := range []string{"0600", "060181", "2600", "068181" + strings.Repeat("81", 128) + "01"} {
		d := NewDecoder(unhex(t, wire), DefaultLimits)
		if got := d.Root().OID(); d.Err() == nil {
			t.Errorf("%s was read as %s", wire, got)
		}
	}
}

func TestAnImplicitTagTakesOverARawElement(t *testing.T) {
	got := Retagged(unhex(t, "30 80 0201 05 0000"), Context(4))
	if want := unhex(t, "a4 03 0201 05"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"30060201050400", "a08031800101ff000005000000", "248004024142240504014304000401440000", "bf814800", "3080", "170d3938313132323232323932345a"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDecoder(b, Limits{Depth: 20, Elements: 10000, Joined: 1000})
		var walk func(Element)
		walk = func(e Element) {
			if !e.Constructed {
				return
			}
			for m := range e.All() {
				if len(m.Raw) == 0 || m.Offset()+len(m.Raw) > len(b) {
					t.Fatalf("a member of %d octets at %d in %d", len(m.Raw), m.Offset(), len(b))
				}
				walk(m)
			}
		}
		e := d.Root()
		walk(e)
		if d.Err() == nil && !bytes.Equal(e.Raw, b) {
			t.Error("the root is not the whole")
		}
		for _, read := range []func(Element){
			func(e Element) { e.Int() }, func(e Element) { e.OID() }, func(e Element) { e.Bits() }, func(e Element) { e.Octets() },
			func(e Element) { e.Time() }, func(e Element) { e.Only() }, func(e Element) { e.Bool() },
		} {
			read(NewDecoder(b, DefaultLimits).Root())
		}
	})
}

func TestWhatBreaksOffIsMendedAtAnyOctet(t *testing.T) {
	whole := []byte{
		0x30, 0x80, // SEQUENCE, indefinite
		0x31, 0x0b, // SET
		0x02, 0x01, 0x05, // INTEGER
		0x24, 0x06, 0x04, 0x01, 'a', 0x04, 0x01, 'b', // OCTET STRING in pieces
		0xbf, 0x81, 0x05, 0x81, 0x03, 0x16, 0x01, 'c', // [133] { IA5String }
		0x00, 0x00,
	}
	read := func(b []byte) []byte {
		d := NewDecoder(b, DefaultLimits)
		var leaves []byte
		var walk func(Element)
		walk = func(e Element) {
			if !e.Constructed {
				leaves = append(leaves, e.Body...)
				return
			}
			for m := range e.All() {
				walk(m)
			}
		}
		walk(d.Root())
		if d.Err() != nil {
			t.Fatalf("%x is not whole: %v", b, d.Err())
		}
		return leaves
	}
	if got, missing := Mend(whole); missing || !bytes.Equal(got, whole) {
		t.Errorf("a whole one was mended: %x", got)
	}
	all := read(whole)
	for n := 2; n < len(whole); n++ {
		got, missing := Mend(whole[:n])
		if !missing {
			t.Fatalf("of %d octets nothing is said to be missing", n)
		}
		if leaves := read(got); !bytes.HasPrefix(all, leaves) || n >= 14 && len(leaves) < 2 {
			t.Errorf("%d octets are mended to %x, with %x", n, got, leaves)
		}
	}
	for name, b := range map[string][]byte{
		"octets behind the end":    {0x02, 0x01, 0x05, 0x30},
		"an end of nothing":        {0x00, 0x00, 0x30, 0x05},
		"an end of something else": {0x30, 0x09, 0x00, 0x00},
		"nested without end":       bytes.Repeat([]byte{0x30, 0x80}, 1000),
	} {
		if got, missing := Mend(b); missing || !bytes.Equal(got, b) {
			t.Errorf("%s: %x, %v", name, got, missing)
		}
	}
}

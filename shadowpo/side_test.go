package shadowpo

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"backbone/gateway/mail"
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

func TestSideFileTravelsWithItsMessage(t *testing.T) {
	m := newModel()
	good := Side{{SideID, "M1"}, {SideHop, "NORTHWIND/PO3"}, {SideHop, "SITEA"}}
	b, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m.write(submitDir, "A.X", string(b))
	m.write(submitDir, "A.MSG", message("a"))
	m.write(submitDir, "b.x", string(b))
	m.write(submitDir, "b.msg", message("b"))
	m.write(submitDir, "SEVERAL.X", string(b))
	m.write(submitDir, "SEVERAL.MSG", message("c")+message("d"))
	m.write(submitDir, "BROKEN.X", "not a side file")
	m.write(submitDir, "BROKEN.MSG", message("e"))
	wrong, err := Side{{SideHash, strings.Repeat("0", 64)}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m.write(submitDir, "WRONG.X", string(wrong))
	m.write(submitDir, "WRONG.MSG", message("f"))
	m.write(submitDir, "HUGE.X", sideHead+"\n"+strings.Repeat("cc="+strings.Repeat("x", 4000)+"\n", 100))
	m.write(submitDir, "HUGE.MSG", message("g"))
	inModel(t, m, Options{Stable: -1, Parallel: 1}, func(t *testing.T, d *Drop) {
		sides, notes := map[string]Side{}, map[string][]mail.Note{}
		stop := watching(t, d, func(_ context.Context, in *Inbound) error {
			sides[in.Message.Subject], notes[in.Message.Subject] = in.Side, in.Notes
			return nil
		})
		m.pause(time.Second)
		stop()
		for subject, want := range map[string]Side{"a": good, "b": good, "c": nil, "d": nil, "e": nil, "f": nil, "g": nil} {
			if got, ok := sides[subject]; !ok || !slices.Equal(got, want) {
				t.Errorf("%s: got %v", subject, got)
			}
			if lost := strings.Contains("cefg", subject); (len(notes[subject]) == 1) != lost {
				t.Errorf("%s: notes %v", subject, notes[subject])
			}
		}
		if left := sortedNames(m.folders[submitDir]); len(left) != 0 {
			t.Errorf("left %v", left)
		}
		got, err := d.Deliver(context.Background(), Outbound{Key: "k", Write: content(message("out")), Side: good})
		if err != nil {
			t.Fatal(err)
		}
		side, err := readSide(m.Folder(deliverDir), withExt(got.File, extSide))
		if err != nil || side.Get(SideID) != "M1" || len(side.Get(SideHash)) != 64 || len(side.All(SideHop)) != 2 {
			t.Errorf("got %v, %v", side, err)
		}
		// What we write, another gateway's drop takes.
		for _, n := range []string{got.File, withExt(got.File, extSide)} {
			m.write(submitDir, n, string(m.folders[deliverDir].names[n].data))
		}
		stop = watching(t, d, func(_ context.Context, in *Inbound) error {
			sides[in.Message.Subject], notes[in.Message.Subject] = in.Side, in.Notes
			return nil
		})
		m.pause(time.Second)
		stop()
		if sides["out"].Get(SideID) != "M1" || len(notes["out"]) != 0 {
			t.Errorf("got %v, %v", sides["out"], notes["out"])
		}
	})
}

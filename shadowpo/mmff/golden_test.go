package mmff_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// contents reads a content whole.
func contents(t testing.TB, c mail.Content) string {
	t.Helper()
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// decode gives every message and every bad one of a file, in order.
func decode(t testing.TB, file string, opt mmff.Options) (good []*mmff.Message, bad []*mmff.Bad) {
	t.Helper()
	d := mmff.NewDecoder(strings.NewReader(file), int64(len(file)), opt)
	for {
		m, err := d.Next()
		var b *mmff.Bad
		switch {
		case err == io.EOF:
			return good, bad
		case errors.As(err, &b):
			bad = append(bad, b)
		case err != nil:
			t.Fatal(err)
		default:
			good = append(good, m)
		}
	}
}

func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The capture in KB Q103801, its text as the article prints it without the article's indentation, its line ends as the declared sizes demand: nine
// body lines of 134 octets and sixteen attachment lines of 259, each with CRLF.
func TestAutomaticFileTransferCaptureHasItsDeclaredSizes(t *testing.T) {
	good, bad := decode(t, golden(t, "q103801.msg"), mmff.Options{})
	if len(good) != 1 || len(bad) != 0 {
		t.Fatalf("got %d good, %v", len(good), bad)
	}
	m := good[0]
	body, att := contents(t, m.Text), contents(t, m.Attachments[0].Content)
	if len(body) != 152 || len(att) != 291 {
		t.Errorf("got body %d, attachment %d octets, want 152 and 291", len(body), len(att))
	}
	if lines := strings.Count(body, "\r\n"); lines != 9 || len(body)-2*lines != 134 {
		t.Errorf("got %d body lines of %d octets, want 9 of 134", lines, len(body)-2*lines)
	}
	if lines := strings.Count(att, "\r\n"); lines != 16 || len(att)-2*lines != 259 {
		t.Errorf("got %d attachment lines of %d octets, want 16 of 259", lines, len(att)-2*lines)
	}
	if !strings.HasSuffix(body, "config.sys\r\n") || !strings.HasPrefix(att, "DEVICE=C:\\WIN\\HIMEM.SYS\r\n") {
		t.Errorf("body ends %q, attachment begins %q", body[len(body)-20:], att[:20])
	}
	if m.Attachments[0].Name != "config.sys" || m.Priority != "F" || m.From.String() != "MS:COMPANY/DEPT/SJONES" ||
		m.Subject != "Automatic File Transfer (1 files)" || m.Date != "1992-11-29" || m.Time != "23:44" {
		t.Errorf("got %+v", m)
	}
}

// KB Q117581: a subject of 65 characters, which the AppleTalk connection moves to BADMAIL. The article shows the header
// only; the TEXT line that ends it is ours.
func TestSubjectOf65CharactersIsReadAndCutOnlyForAPeerThatTakes63(t *testing.T) {
	good, bad := decode(t, golden(t, "q117581.msg"), mmff.Options{})
	if len(good) != 1 || len(bad) != 0 {
		t.Fatalf("got %d good, %v", len(good), bad)
	}
	m := good[0]
	if len(m.Subject) != 65 || m.To[0].Value != "MACNET/MACPO/T60009HO" {
		t.Fatalf("got subject of %d to %v", len(m.Subject), m.To)
	}
	var out bytes.Buffer
	notes, err := mmff.Encode(&out, m, mmff.EncodeOptions{SubjectMax: 63})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := decode(t, out.String(), mmff.Options{})
	if got := again[0].Subject; got != m.Subject[:63] {
		t.Errorf("got subject %q", got)
	}
	if len(notes) != 1 || notes[0].Field != "SUBJECT" || notes[0].Action != mail.NoteChanged {
		t.Errorf("got notes %v", notes)
	}
}

const workedExample = "VERSION:3.00\n" +
	"TO:CSI:NORTHWIND/PO2/MKUMAR\n" +
	"TO:NORTHWIND/PO2/JLEE\n" +
	"FROM:CSI:NORTHWIND/PO1/ASMITH\n" +
	"DATE:1997-03-14\n" +
	"TIME:09:05\n" +
	"SUBJECT:Q1 stock counts\n" +
	"PRIORITY:3\n" +
	"ATTACHMENT:COUNTS.TXT %ATT%\n" +
	"TEXT:%TEXT%\n" +
	"Hello both,\nCounts are attached below.\nAlex\nbin 1: 40\nbin 2: 12\n"

func worked(end mmff.LineEnd, text, att string) string {
	return strings.NewReplacer("%TEXT%", text, "%ATT%", att, "\n", string(end)).Replace(workedExample)
}

func TestWorkedExampleHasItsSizesInEachLineEndMode(t *testing.T) {
	for _, c := range []struct {
		name      string
		end       mmff.LineEnd
		text, att string
	}{
		{"CRLF, -f2", mmff.CRLF, "47", "22"},
		{"LF, -f1", mmff.LF, "44", "20"},
		{"CR, -f0", mmff.CR, "44", "20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := worked(c.end, c.text, c.att)
			good, bad := decode(t, in, mmff.Options{})
			if len(good) != 1 || len(bad) != 0 {
				t.Fatalf("got %d good, %v", len(good), bad)
			}
			m := good[0]
			e := string(c.end)
			if got, want := contents(t, m.Text), "Hello both,"+e+"Counts are attached below."+e+"Alex"+e; got != want {
				t.Errorf("got body %q, want %q", got, want)
			}
			if got, want := contents(t, m.Attachments[0].Content), "bin 1: 40"+e+"bin 2: 12"+e; got != want {
				t.Errorf("got attachment %q, want %q", got, want)
			}
			if len(m.To) != 2 || m.To[1].String() != "MS:NORTHWIND/PO2/JLEE" || m.LineEnd != c.end {
				t.Errorf("got to %v, line end %q", m.To, m.LineEnd)
			}
			var out bytes.Buffer
			if _, err := mmff.Encode(&out, m, mmff.EncodeOptions{}); err != nil {
				t.Fatal(err)
			}
			// The writer spells out the type of every address; nothing else differs.
			if want := strings.Replace(in, "TO:NORTHWIND", "TO:CSI:NORTHWIND", 1); out.String() != want {
				t.Errorf("written back:\n%q\nwant\n%q", out.String(), want)
			}
		})
	}
}

// A message cut off after any octet is one bad message that covers all of it, and nothing of it is handed on.
func TestGoldenFilesCutShortAtEachOctetAreRefusedWhole(t *testing.T) {
	for name, whole := range map[string]string{
		"Q103801": golden(t, "q103801.msg"), "Q117581": golden(t, "q117581.msg"),
		"worked CRLF": worked(mmff.CRLF, "47", "22"), "worked LF": worked(mmff.LF, "44", "20"), "worked CR": worked(mmff.CR, "44", "20"),
	} {
		for n := range len(whole) {
			good, bad := decode(t, whole[:n], mmff.Options{})
			if len(good) != 0 || len(bad) != 1 {
				t.Fatalf("%s cut after %d octets: got %d good, %d bad", name, n, len(good), len(bad))
			}
			if b := bad[0]; b.Place.Offset != 0 || b.Place.Length != int64(n) || !b.Short {
				t.Fatalf("%s cut after %d octets: got %+v", name, n, b)
			}
		}
	}
}

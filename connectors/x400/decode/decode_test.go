package decode

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/golden"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestEachCaptureIsDecodedWhole(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(golden.Dir(), "*.pcap"))
	if err != nil || len(files) != 7 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := Write(&out, b); err != nil {
				t.Error(err)
			}
			name := filepath.Join("testdata", filepath.Base(f)+".txt")
			if *update {
				if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("differs from %s:\n%s", name, out.String())
			}
		})
	}
}

func TestAnAPDUIsKnownByItsLook(t *testing.T) {
	b, err := os.ReadFile("../p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	external := append([]byte{0x28, 0x80, 2, 1, 5, 0xa0, 0x80}, append(bytes.Clone(b), 0, 0, 0, 0)...)
	for name, in := range map[string][]byte{"an MTS-APDU": b, "a transfer": external} {
		var out bytes.Buffer
		if err := Write(&out, in); err != nil {
			t.Error(name, err)
		}
		for _, want := range []string{"message\n", "    message-identifier\n", `local-identifier: "<m1@testa.test>"`, "content: 232 octets\n", `subject: "Hello over P1"`, "responsibility, originating-MTA-non-delivery-report, originator-non-delivery-report",
			"content-type: interpersonal-messaging-1988 (22)", "standard-extension: content-correlator (23)"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, out.String())
			}
		}
	}
}

// TestAnAPDUThatBreaksOffIsPrintedAsFarAsItGoes at each octet, also where lengths are definite.
func TestAnAPDUThatBreaksOffIsPrintedAsFarAsItGoes(t *testing.T) {
	b, err := os.ReadFile("../p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	for form, b := range map[string][]byte{"as it came": b, "of definite lengths": definite(t, b)} {
		var out bytes.Buffer
		if err := Write(&out, b); err != nil {
			t.Fatal(form, err)
		}
		size := regexp.MustCompile(`content: \d+ octets`)
		split := func() []string { return strings.Split(size.ReplaceAllString(out.String(), "content"), "\n") }
		whole, printed := split(), 0
		for n := range b {
			out.Reset()
			err := Write(&out, b[:n])
			if err == nil || n > 10 && !strings.Contains(err.Error(), "breaks off after") {
				t.Fatalf("%s, %d octets: %v", form, n, err)
			}
			lines := split()
			same := 0
			for same < len(whole) && same < len(lines) && lines[same] == whole[same] {
				same++
			}
			if same < printed-1 { // the last line may be an octet string or its number only in the whole
				t.Fatalf("%s, %d octets print %d lines, fewer octets did %d:\n%s", form, n, same, printed, out.String())
			}
			printed = max(printed, same)
		}
		if printed < len(whole)-5 {
			t.Errorf("%s: only %d lines of %d come before the last octet", form, printed, len(whole))
		}
	}
}

// definite gives every element its length.
func definite(t *testing.T, b []byte) []byte {
	d := ber.NewDecoder(b, ber.DefaultLimits)
	var write func(ber.Element) []byte
	write = func(e ber.Element) []byte {
		body := e.Body
		if e.Constructed {
			body = nil
			for m := range e.All() {
				body = append(body, write(m)...)
			}
		}
		return append(ber.AppendHeader(nil, e.Tag, e.Constructed, len(body)), body...)
	}
	out := write(d.Root())
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	return out
}

func FuzzWrite(f *testing.F) {
	if b, err := os.ReadFile("../p1/testdata/pp-message.ber"); err == nil {
		f.Add(b)
	}
	for _, file := range []string{"pp-ping88.pcap", "pp-ping84.pcap"} {
		if b, err := os.ReadFile(filepath.Join(golden.Dir(), file)); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		var out bytes.Buffer
		_ = Write(&out, b) // must end, whatever it says
	})
}

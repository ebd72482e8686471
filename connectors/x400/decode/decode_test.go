package decode

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	var out bytes.Buffer
	if err := Write(&out, b[:300]); err == nil {
		t.Error("half a message was no error")
	}
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

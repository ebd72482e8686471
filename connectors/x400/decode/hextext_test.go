package decode

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"backbone/connectors/x400/pcap"
)

func TestHexTextIsDecodedLikeItsOctets(t *testing.T) {
	b, err := os.ReadFile("../p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := Write(&want, b); err != nil {
		t.Fatal(err)
	}
	each := func(format, between string) string {
		var parts []string
		for _, o := range b {
			parts = append(parts, fmt.Sprintf(format, o))
		}
		return strings.Join(parts, between)
	}
	lines := func(line func(at int, part []byte) string) string {
		var out strings.Builder
		for at := 0; at < len(b); at += 16 {
			out.WriteString(line(at, b[at:min(at+16, len(b))]))
		}
		return out.String()
	}
	characters := func(part []byte) string {
		return strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, string(bytes.Map(func(r rune) rune { return min(r, 127) }, part)))
	}
	for name, text := range map[string]string{
		"one run of digits":      hex.EncodeToString(b),
		"capital letters, lines": strings.ToUpper(each("%02x", "\r\n")),
		"blanks":                 each("%02x", " "),
		"colons":                 each("%02x", ":"),
		"as C writes it":         each("0x%02x", ", "),
		"hexdump -C":             hex.Dump(b),
		"xxd":                    lines(func(at int, p []byte) string { return fmt.Sprintf("%08x: %-39s  %s\n", at, pairs(p), characters(p)) }),
		"tshark -x": lines(func(at int, p []byte) string {
			return fmt.Sprintf("%04x  %-47s   %s\n", at, fmt.Sprintf("% x", p), characters(p))
		}),
		"od -Ax -tx1":             lines(func(at int, p []byte) string { return fmt.Sprintf("%06x %s\n", at, fmt.Sprintf("% x", p)) }) + fmt.Sprintf("%06x\n", len(b)),
		"behind an empty line":    "\n\n" + hex.EncodeToString(b) + "\n",
		"a dump with line breaks": strings.ReplaceAll(hex.Dump(b), "\n", "\r\n"),
	} {
		var out bytes.Buffer
		if err := Write(&out, []byte(text)); err != nil || !bytes.Equal(out.Bytes(), want.Bytes()) {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}

// pairs are octets as xxd groups them.
func pairs(b []byte) string {
	var out []string
	for ; len(b) > 1; b = b[2:] {
		out = append(out, fmt.Sprintf("%x", b[:2]))
	}
	if len(b) > 0 {
		out = append(out, fmt.Sprintf("%x", b))
	}
	return strings.Join(out, " ")
}

func TestWhatIsNoEncodingIsNamed(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"nothing":                       {"", "nothing of it is X.400"},
		"a letter":                      {"Dear Sir, 30 80", "no hex text"},
		"half an octet":                 {"30 8", "no hex text"},
		"a dump with lines left out":    {"00000000  30 80 30 80 30 80 30 80  30 80 30 80 30 80 30 80  |................|\n*\n", "line 2 of the hex dump stands for lines left out"},
		"a dump with a wrong offset":    {"0000  30 80\n0001  30 80\n", `line 2 of the hex dump begins with "0001", not with offset 2`},
		"a dump with a word":            {"0000  30 80\n0002  zz\n", "line 2 of the hex dump"},
		"a capture file without octets": {"\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x01\x00\x00\x00", "nothing of it is X.400"},
		"an element that is too long":   {"\x30\x20\x01", "nothing of it is X.400"},
	} {
		var out bytes.Buffer
		if err := Write(&out, []byte(tt.in)); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want ErrNothing and %q", name, err, tt.want)
		}
	}
}

func TestATransferThatWasCutIsPrintedAsFarAsItWent(t *testing.T) {
	b, err := os.ReadFile("../testdata/captures/pp-e2e.pcap")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pcap.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for _, c := range all {
		var said []byte // by the caller
		for _, turn := range c.Turns {
			if turn.FromCaller {
				said = append(said, turn.Octets...)
			}
		}
		for at := 0; at+9 < len(said) && said[at] == 3; at += int(said[at+2])<<8 | int(said[at+3]) {
			if spdu := said[at+7:]; spdu[0] != 0x29 && (spdu[0] != 1 || spdu[2] != 0x29) { // ACTIVITY END, X.225 8.3.29
				continue
			}
			cuts++
			var out bytes.Buffer
			if err := Write(&out, said[:at]); err != nil || !strings.Contains(out.String(), "transfer of the connection, not ended") || !strings.Contains(out.String(), "Hello over P1") {
				t.Errorf("without its end: %v\n%s", err, out.String())
			}
			out.Reset()
			if err := Write(&out, said[:at-3]); err == nil || errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "breaks off within a packet") {
				t.Errorf("cut within a packet: %v", err)
			}
			break
		}
	}
	if cuts == 0 {
		t.Error("no transfer in the capture was cut")
	}
}

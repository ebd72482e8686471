package pcap

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestCapturesOfAnotherMTAAreRead(t *testing.T) {
	for _, tt := range []struct {
		file                 string
		conversations, turns int
		first                int // octets of the caller's first turn
	}{
		{"pp-ping88.pcap", 1, 7, 20}, {"pp-ping88o.pcap", 1, 7, 20}, {"pp-ping84.pcap", 1, 7, 19},
		{"pp-badpw88.pcap", 1, 5, 20}, {"pp-badpw-x410.pcap", 1, 5, 20}, {"pp-e2e.pcap", 11, 11, 23},
		{"public-sample-x400-ping-success-rebuilt.pcap", 1, 2, 205},
	} {
		t.Run(tt.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("..", "testdata", "captures", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Read(b)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != tt.conversations || len(got[0].Turns) != tt.turns || len(got[0].Turns[0].Octets) != tt.first {
				t.Errorf("%d conversations, the first of %d turns, the first of %d octets", len(got), len(got[0].Turns), len(got[0].Turns[0].Octets))
			}
		})
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	want := &Conversation{
		Caller: netip.MustParseAddrPort("127.0.0.1:40000"), Answerer: netip.MustParseAddrPort("127.0.0.2:102"),
		Turns: []Turn{{true, []byte("hello")}, {false, make([]byte, 100000)}, {true, []byte("bye")}},
	}
	got, err := Read(Append(nil, want, time.Unix(1e9, 0)))
	if err != nil || len(got) != 1 {
		t.Fatal(len(got), err)
	}
	if diff := cmp.Diff(want, got[0], cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Append(nil, &Conversation{Caller: netip.MustParseAddrPort("127.0.0.1:40000"), Answerer: netip.MustParseAddrPort("127.0.0.2:102"),
		Turns: []Turn{{true, []byte("hello")}}}, time.Unix(1e9, 0)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Read(b) // must end, whatever it says
	})
}

func TestIPVersion6IsRead(t *testing.T) {
	v4 := Append(nil, &Conversation{Caller: netip.MustParseAddrPort("127.0.0.1:40000"), Answerer: netip.MustParseAddrPort("127.0.0.2:102"),
		Turns: []Turn{{true, []byte("hello")}, {false, []byte("good day")}}}, time.Unix(1e9, 0))
	v6, rest := bytes.Clone(v4[:24]), v4[24:]
	at := func(host byte) []byte { return append(append([]byte{0xfd}, make([]byte, 14)...), host) }
	for len(rest) > 0 {
		n := 16 + int(binary.LittleEndian.Uint32(rest[8:]))
		ip, tcp := rest[16:36], rest[36:n]
		record := bytes.Clone(rest[:8])
		for range 2 {
			record = binary.LittleEndian.AppendUint32(record, uint32(40+len(tcp)))
		}
		v6 = append(append(v6, record...), 0x60, 0, 0, 0, 0, byte(len(tcp)), 6, 64)
		v6 = append(append(append(v6, at(ip[15])...), at(ip[19])...), tcp...)
		rest = rest[n:]
	}
	got, err := Read(v6)
	if err != nil || len(got) != 1 {
		t.Fatal(len(got), err)
	}
	want := &Conversation{Caller: netip.MustParseAddrPort("[fd00::1]:40000"), Answerer: netip.MustParseAddrPort("[fd00::2]:102"),
		Turns: []Turn{{true, []byte("hello")}, {false, []byte("good day")}}}
	if diff := cmp.Diff(want, got[0], cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
}

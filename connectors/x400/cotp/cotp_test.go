package cotp

import (
	"backbone/connectors/x400/golden/beginnings"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backbone/connectors/x400/pcap"
	"backbone/connectors/x400/tpkt"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// packets is a peer that has said everything already, and remembers what it hears.
type packets struct {
	in  [][]byte
	out [][]byte
}

func (p *packets) ReadPacket() ([]byte, error) {
	if len(p.in) == 0 {
		return nil, io.EOF
	}
	b := p.in[0]
	p.in = p.in[1:]
	return b, nil
}

func (p *packets) WritePacket(parts ...[]byte) error {
	p.out = append(p.out, bytes.Join(parts, nil))
	return nil
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTPDUsAreReadAndWrittenAsOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     TPDU
	}{
		{"PP's connection request", "0f e0 0000 7cce 00 c2 04 7838386e c0 01 0b", TPDU{Code: CR, Src: 0x7cce, Called: []byte("x88n"), Size: 2048}},
		{"PP's connection confirm", "09 d0 7cce 7cd1 00 c0 01 0b", TPDU{Code: CC, Dst: 0x7cce, Src: 0x7cd1, Size: 2048}},
		{"PP's disconnect request", "06 80 7cd1 7cce 80", TPDU{Code: DR, Dst: 0x7cd1, Src: 0x7cce, Reason: ReasonNormal}},
		{"a last data TPDU", "02 f0 80 4142", TPDU{Code: DT, EOT: true, Data: []byte("AB")}},
		{"a data TPDU with more to come", "02 f0 00 41", TPDU{Code: DT, Data: []byte("A")}},
		{"an error", "07 70 0001 02 c1 01 ff", TPDU{Code: ER, Dst: 1, Reason: 2, Info: []byte{0xff}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, tt.in)
			got, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if again := got.Append(nil); !bytes.Equal(again, b) {
				t.Errorf("written as %x, want %x", again, b)
			}
		})
	}
}

func TestTPDUsThatClassZeroDoesNotHaveAreRefused(t *testing.T) {
	for name, in := range map[string]string{
		"expedited data": "04 10 0001 80", "a header beyond the TPDU": "0f e0 0000 7cce 00", "a header too short": "05 e0 0000 7cce",
		"a parameter that breaks off": "08 e0 0000 7cce 00 c2 04", "a size of 64": "09 e0 0000 7cce 00 c0 01 06", "nothing": "00",
	} {
		if got, err := Parse(unhex(t, in)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func TestAConnectionIsAskedForAndConfirmed(t *testing.T) {
	p := &packets{in: [][]byte{unhex(t, "09 d0 7cce 7cd1 00 c0 01 0b"), unhex(t, "02 f0 00 4142"), unhex(t, "02 f0 80 43"), unhex(t, "06 80 7cce 7cd1 80")}}
	c, err := Connect(p, nil, []byte("x88n"), 0x7cce)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "0f e0 0000 7cce 00 c2 04 7838386e c0 01 0d"); !bytes.Equal(p.out[0], want) {
		t.Errorf("asked with %x, want %x", p.out[0], want)
	}
	if got, err := c.ReadTSDU(); err != nil || string(got) != "ABC" {
		t.Errorf("got %q, %v", got, err)
	}
	var gone *Disconnected
	if _, err := c.ReadTSDU(); !errors.As(err, &gone) || gone.Reason != ReasonNormal {
		t.Errorf("got %v at the end", err)
	}
	if err := c.WriteTSDU(make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{2048, 2048, 913} {
		if got := len(p.out[1+i]); got != want {
			t.Errorf("TPDU %d has %d octets, want %d", i, got, want)
		}
	}
	for _, answer := range []string{"06 80 7cce 0000 03", "02 f0 80 43", "09 d0 0001 7cd1 00 c0 01 0b", "09 d0 7cce 7cd1 40 c0 01 0b"} {
		if _, err := Connect(&packets{in: [][]byte{unhex(t, answer)}}, nil, nil, 0x7cce); err == nil {
			t.Errorf("%s was taken for a confirm", answer)
		}
	}
}

func TestARequestIsAnswered(t *testing.T) {
	p := &packets{in: [][]byte{unhex(t, "0f e0 0000 7cce 00 c2 04 7838386e c0 01 0b")}}
	call, err := Accept(p)
	if err != nil || string(call.Called) != "x88n" {
		t.Fatal(call, err)
	}
	if _, err := call.Confirm(0x7cd1); err != nil {
		t.Fatal(err)
	}
	if err := call.Refuse(ReasonUnknown); err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "09 d0 7cce 7cd1 00 c0 01 0b"); !bytes.Equal(p.out[0], want) {
		t.Errorf("confirmed with %x, want %x", p.out[0], want)
	}
	if want := unhex(t, "06 80 7cce 0000 03"); !bytes.Equal(p.out[1], want) {
		t.Errorf("refused with %x, want %x", p.out[1], want)
	}
}

func TestATSDUSurvivesAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "tsdu")
		p := &packets{}
		if err := newConn(p, 1, 2, rapid.SampledFrom([]int{128, 256, 8192, 65531}).Draw(t, "size")).WriteTSDU(want); err != nil {
			t.Fatal(err)
		}
		got, err := newConn(&packets{in: p.out}, 1, 2, 128).ReadTSDU()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %d octets, %v, want %d", len(got), err, len(want))
		}
	})
}

// place is a Spill in memory.
type place struct {
	bytes.Buffer
	closed bool
}

func (p *place) Bytes() ([]byte, error) { return p.Buffer.Bytes(), nil }
func (p *place) Close() error           { p.closed = true; return nil }

func TestALongTSDUIsNeitherHeldHereNorThere(t *testing.T) {
	whole := bytes.Repeat([]byte("0123456789"), 100_000)
	for _, tt := range []struct {
		name string
		n    int
		want bool // spilled
	}{{"a short one", 1000, false}, {"one that just fits", spillAt, false}, {"a longer one", spillAt + 1, true}, {"a long one", len(whole), true}} {
		t.Run(tt.name, func(t *testing.T) {
			p := &packets{}
			if err := newConn(p, 1, 2, 8192).WriteFrom(whole[:3], bytes.NewReader(whole[3:]), int64(tt.n-3)); err != nil {
				t.Fatal(err)
			}
			var at *place
			c := newConn(&packets{in: append(p.out, []byte{2, 0xf0, 0x80, 'x'})}, 1, 2, 8192)
			c.Spill = func() (Spill, error) { at = &place{}; return at, nil }
			got, err := c.ReadTSDU()
			if err != nil || !bytes.Equal(got, whole[:tt.n]) {
				t.Errorf("got %d octets, %v, want %d", len(got), err, tt.n)
			}
			if (at != nil) != tt.want || at != nil && (at.closed || cap(c.tsdu) > 2*spillAt) {
				t.Errorf("spilled: %v, %d octets held", at != nil, cap(c.tsdu))
			}
			if got, err := c.ReadTSDU(); err != nil || string(got) != "x" || at != nil && !at.closed {
				t.Errorf("after it came %q, %v", got, err)
			}
		})
	}
	if err := newConn(&packets{}, 1, 2, 128).WriteFrom(nil, strings.NewReader("abc"), 4); err == nil {
		t.Error("four octets of three were sent")
	}
	c := newConn(&packets{in: [][]byte{append([]byte{2, 0xf0, 0}, whole[:spillAt]...), []byte{2, 0xf0, 0x80, 1}}}, 1, 2, 8192)
	c.Spill = func() (Spill, error) { return nil, errors.New("disk full") }
	if _, err := c.ReadTSDU(); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Error(err)
	}
}

func TestATSDUWithoutEndIsBounded(t *testing.T) {
	p := &packets{}
	for range 10 {
		p.in = append(p.in, unhex(t, "02 f0 00 41424344"))
	}
	c := newConn(p, 1, 2, 128)
	c.MaxTSDU = 30
	if _, err := c.ReadTSDU(); err == nil || !strings.Contains(err.Error(), "more than 30 octets") {
		t.Error(err)
	}
}

// TestCapturesAreReadWhole reads every TPDU of the captures.
func TestCapturesAreReadWhole(t *testing.T) {
	files, err := filepath.Glob("../testdata/captures/*.pcap")
	if err != nil || len(files) != 7 {
		t.Fatal(files, err)
	}
	seen := map[Code]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		conversations, err := pcap.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range conversations {
			for _, turn := range c.Turns {
				p := tpkt.New(struct {
					io.Reader
					io.Writer
				}{bytes.NewReader(turn.Octets), nil})
				for {
					b, err := p.ReadPacket()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						t.Fatal(f, err)
					}
					u, err := Parse(b)
					if err != nil {
						t.Fatal(f, err)
					}
					seen[u.Code]++
				}
			}
		}
	}
	if diff := cmp.Diff(map[Code]int{CR: 16, CC: 16, DR: 16, DT: 106}, seen); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0fe000007cce00c2047838386ec0010b", "09d07cce7cd100c0010b", "06807cd17cce80", "02f0804142", "0770000102c101ff"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(u.Append(nil))
		if err == nil && (again.Code != u.Code || again.Dst != u.Dst || again.EOT != u.EOT || !bytes.Equal(again.Data, u.Data)) {
			t.Errorf("%x: %+v, then %+v", b, u, again)
		}
	})
}

func TestTruncationAnywhereIsNamed(t *testing.T) {
	for _, s := range []string{"0fe000007cce00c2047838386ec0010b", "09d07cce7cd100c0010b", "06807cd17cce80", "02f080", "0770000102c101ff"} {
		beginnings.Fail(t, s, unhex(t, s), func(b []byte) error { _, err := Parse(b); return err })
	}
}

package session

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

	"backbone/connectors/x400/cotp"
	"backbone/connectors/x400/pcap"
	"backbone/connectors/x400/tpkt"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wire is a transport whose peer has said everything already.
type wire struct{ in, out [][]byte }

func (w *wire) ReadTSDU() ([]byte, error) {
	if len(w.in) == 0 {
		return nil, io.EOF
	}
	b := w.in[0]
	w.in = w.in[1:]
	return b, nil
}

func (w *wire) WriteTSDU(parts ...[]byte) error {
	w.out = append(w.out, bytes.Join(parts, nil))
	return nil
}

func (w *wire) WriteFrom(head []byte, r io.Reader, n int64) error {
	b, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return err
	}
	return w.WriteTSDU(head, b)
}

func rtse() *Requirements { r := ForRTSE; return &r }
func octet(b byte) *byte  { return &b }

func TestSPDUsAreReadAndWrittenAsOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     SPDU
	}{
		{"a connect", "0d 38 01 15 0a 04 1402766d 0b 0d 3131303130313030303030305a 05 0f 13 01 00 15 04 07f907f9 16 01 03 1a 01 00 14 02 0249 33 02 4141 34 01 42 c1 03 010203",
			SPDU{Type: CN, Ref: Ref{Calling: []byte("\x14\x02vm"), Common: []byte("110101000000Z")}, MaxTSDU: [2]uint16{2041, 2041}, Versions: 3,
				Requirements: rtse(), Calling: []byte("AA"), Called: []byte("B"), UserData: []byte{1, 2, 3}}},
		{"an accept with an empty selector", "0e 1c 01 06 09 01 43 0b 01 44 05 09 13 01 00 16 01 02 1a 01 00 14 02 0249 34 00 c1 01 ff",
			SPDU{Type: AC, Ref: Ref{Called: []byte("C"), Common: []byte("D")}, Versions: 2, Requirements: rtse(), Called: []byte{}, UserData: []byte{0xff}}},
		{"a finish", "09 08 11 01 01 c1 03 010203", SPDU{Type: FN, Transport: octet(1), UserData: []byte{1, 2, 3}}},
		{"a disconnect without data", "0a 00", SPDU{Type: DN}},
		{"an abort", "19 03 11 01 0b", SPDU{Type: AB, Transport: octet(0x0b)}},
		{"an activity start", "0100 2d05 29 03 020101", SPDU{Type: AS, ActivityID: []byte{2, 1, 1}}},
		{"data", "0100 0100 4142", SPDU{Type: DT, UserData: []byte("AB")}},
		{"a sync point", "0100 3103 2a 01 35", SPDU{Type: MIP, Serial: 5}},
		{"a sync point without confirmation", "0100 3107 0f 01 01 2a 02 3130", SPDU{Type: MIP, Serial: 10, NoAck: true}},
		{"its ack", "0200 3203 2a 01 32", SPDU{Type: MIA, Serial: 2}},
		{"an activity end", "0100 2903 2a 01 31", SPDU{Type: AE, Serial: 1}},
		{"its ack", "0200 2a03 2a 01 31", SPDU{Type: AEA, Serial: 1}},
		{"an interrupt", "0100 19 03 32 01 01", SPDU{Type: AI, Reason: []byte{1}}},
		{"its ack", "0200 1a 00", SPDU{Type: AIA}},
		{"a discard", "0100 39 00", SPDU{Type: AD}},
		{"its ack", "0200 3a 00", SPDU{Type: ADA}},
		{"an exception of the user", "0200 30 03 32 01 01", SPDU{Type: ED, Reason: []byte{1}}},
		{"a resume", "0100 1d 16 21 0f 0a 01 41 0b 01 42 29 03 020107 2a 02 3132 29 03 020108",
			SPDU{Type: AR, Ref: Ref{Calling: []byte("A"), Common: []byte("B")}, OldActivity: []byte{2, 1, 7}, Serial: 12, ActivityID: []byte{2, 1, 8}}},
		{"a wish for the tokens", "02 08 10 01 11 c1 03 020100", SPDU{Type: PT, Tokens: 0x11, UserData: []byte{2, 1, 0}}},
		{"all tokens given", "0100 1500", SPDU{Type: GTC}},
		{"and taken", "0200 1600", SPDU{Type: GTA}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, tt.in)
			got, err := Parse(b)
			if err != nil || len(got) != 1 {
				t.Fatal(len(got), err)
			}
			if diff := cmp.Diff(&tt.want, got[0], cmp.AllowUnexported(SPDU{})); diff != "" {
				t.Error(diff)
			}
			if again := got[0].Append(nil); !bytes.Equal(again, b) {
				t.Errorf("written as % x, want % x", again, b)
			}
		})
	}
}

func TestBrokenTSDUsAreRefused(t *testing.T) {
	for name, in := range map[string]string{
		"nothing but a prefix": "0100", "an ack after the wrong prefix": "0100 2a03 2a 01 31", "expedited data": "05 00",
		"a parameter beyond its SPDU": "0100 2d05 29 04 020101", "an SPDU beyond its TSDU": "0d b2 01", "a serial that is no number": "0100 3103 2a 01 41",
		"octets after a finish": "0900 00", "a group in a group": "0d 06 01 04 05 02 1300",
	} {
		if got, err := Parse(unhex(t, in)); err == nil {
			t.Errorf("%s: read as %v", name, got[0])
		}
	}
}

func TestThePeerIsHeldToTheRulesOfAnActivity(t *testing.T) {
	const start, data, end1 = "0100 2d05 29 03 020101", "0100 0100 41", "0100 2903 2a 01 31"
	for _, tt := range []struct {
		name string
		in   []string
		want string
	}{
		{"a whole activity", []string{start, data, "0100 3103 2a 01 31", data, "0100 2903 2a 01 32"}, ""},
		{"two activities", []string{start, data, end1, start, data, end1}, ""},
		{"an activity that is discarded", []string{start, data, "0100 3900", start, data, end1}, ""},
		{"data outside an activity", []string{data}, "outside an activity"},
		{"an end outside an activity", []string{end1}, "outside an activity"},
		{"a start inside an activity", []string{start, start}, "inside an activity"},
		{"a serial that is skipped", []string{start, data, "0100 3103 2a 01 32"}, "where 1 was due"},
		{"an end with the sync point's serial", []string{start, data, "0100 3103 2a 01 31", end1}, "where 2 was due"},
		{"a segment without its beginning", []string{start, "0100 0103 190102 41"}, "out of place"},
		{"a beginning inside another", []string{start, "0100 0103 190101 41", "0100 0103 190101 41"}, "out of place"},
		{"a sync point between segments", []string{start, "0100 0103 190101 41", "0100 3103 2a 01 31"}, "between segments"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &wire{}
			for _, s := range tt.in {
				w.in = append(w.in, unhex(t, s))
			}
			c := New(w)
			var err error
			for err == nil {
				_, err = c.Receive()
			}
			if tt.want == "" && !errors.Is(err, io.EOF) || tt.want != "" && (!errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDataSurvivesSegmentingToAnyTSDUSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(t, "data")
		limit := uint16(rapid.IntRange(8, 600).Draw(t, "limit"))
		w := &wire{}
		c := New(w)
		c.Limit(limit)
		dt := &SPDU{Type: DT, UserData: data}
		if held := rapid.IntRange(0, len(data)).Draw(t, "held"); held < len(data) { // the rest as it is read
			dt.UserData, dt.More, dt.MoreLen = data[:held], bytes.NewReader(data[held:]), int64(len(data)-held)
		}
		for _, s := range []*SPDU{{Type: AS, ActivityID: []byte{1}}, dt, {Type: AE, Serial: 1}} {
			if err := c.Send(s); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range w.out[1 : len(w.out)-1] {
			if len(b) > int(limit) {
				t.Errorf("a TSDU of %d octets, limit %d", len(b), limit)
			}
		}
		r := New(&wire{in: w.out})
		var got []byte
		for range 3 {
			s, err := r.Receive()
			if err != nil {
				t.Fatal(err)
			}
			if s.Type == DT {
				got = bytes.Clone(s.UserData)
			}
		}
		if !bytes.Equal(got, data) {
			t.Errorf("got %d octets, want %d", len(got), len(data))
		}
	})
}

// TestCapturesAreReadWholeAndWrittenBack reads each TSDU of the captures and writes it again.
func TestCapturesAreReadWholeAndWrittenBack(t *testing.T) {
	files, err := filepath.Glob("../testdata/captures/*.pcap")
	if err != nil || len(files) != 7 {
		t.Fatal(files, err)
	}
	seen := map[string]int{}
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
						t.Fatal(err)
					}
					u, err := cotp.Parse(b)
					if err != nil || u.Code != cotp.DT {
						continue
					}
					all, err := Parse(u.Data)
					if err != nil || len(all) != 1 {
						t.Fatalf("%s: % x: %d, %v", f, u.Data, len(all), err)
					}
					seen[all[0].Type.String()]++
					if again := all[0].Append(nil); !bytes.Equal(again, u.Data) {
						t.Fatalf("%s: %s: written as\n% x, want\n% x", f, all[0], again, u.Data)
					}
				}
			}
		}
	}
	want := map[string]int{"CONNECT": 17, "ACCEPT": 15, "REFUSE": 2, "FINISH": 14, "DISCONNECT": 14, "ACTIVITY START": 1, "DATA TRANSFER": 1}
	for k, n := range want {
		if seen[k] < n {
			t.Errorf("%d of %s, want %d or more: %v", seen[k], k, n, seen)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0100 2d05 29 03 020101", "0100 0100 4142", "0100 3107 0f 01 01 2a 02 3130", "0200 2a03 2a 01 31", "09 08 11 01 01 c1 03 010203",
		"0d1c01060901430b0144050913010016010 21a010014020249c101ff", "0100 0103 190101 41", "02 08 10 01 11 c1 03 020100"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Parse(b)
		if err != nil {
			return
		}
		for _, s := range all {
			again, err := Parse(s.Append(nil))
			if err == nil && (again[0].Type != s.Type || again[0].Serial != s.Serial) {
				t.Errorf("% x: %v, then %v", b, s, again[0])
			}
		}
		c := New(&wire{in: [][]byte{b}})
		for err == nil {
			_, err = c.Receive()
		}
	})
}

func TestTruncationAnywhereIsNamed(t *testing.T) {
	seen := map[Type]bool{}
	for _, s := range []SPDU{
		{Type: CN, Ref: Ref{Calling: []byte("a"), Common: []byte("b")}, Versions: 3, Calling: []byte("s"), Called: []byte("t"), UserData: []byte("user")},
		{Type: AC, Ref: Ref{Called: []byte("a")}, Versions: 2, UserData: []byte("user")}, {Type: RF, Reason: []byte{2}, UserData: []byte("user")},
		{Type: FN, UserData: []byte("x")}, {Type: DN, UserData: []byte("x")}, {Type: AB, Transport: new(byte), UserData: []byte("x")},
		{Type: PT, Tokens: 1, UserData: []byte{2, 1, 1}}, {Type: GT, Tokens: 1}, {Type: DT}, {Type: DT, enclosure: encloseMiddle}, {Type: AS, ActivityID: []byte{1}},
		{Type: AR, Ref: Ref{Calling: []byte("a")}, OldActivity: []byte{1}, Serial: 2, ActivityID: []byte{2}}, {Type: MIP, Serial: 12, NoAck: true},
		{Type: MIA, Serial: 12}, {Type: AE, Serial: 13}, {Type: AEA, Serial: 13}, {Type: AI, Reason: []byte{1}}, {Type: AIA}, {Type: AD, Reason: []byte{1}},
		{Type: ADA}, {Type: ED, Reason: []byte{1}}, {Type: ER, Reason: []byte{1}}, {Type: GTC}, {Type: GTA},
	} {
		seen[s.Type] = true
		beginnings.Fail(t, s.Type.String(), s.Append(nil), func(b []byte) error { _, err := Parse(b); return err })
	}
	for typ := range takes {
		if !seen[typ] && typ != NF {
			t.Errorf("%s was not tried", typ)
		}
	}
}

package tpkt

import (
	"backbone/connectors/x400/golden/beginnings"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

type pipe struct {
	io.Reader
	bytes.Buffer
}

func (p *pipe) Read(b []byte) (int, error) { return p.Reader.Read(b) }

func reading(s string) *Conn { return New(&pipe{Reader: strings.NewReader(s)}) }

func TestPacketsAreReadHoweverTheyAreCut(t *testing.T) {
	in := "\x03\x00\x00\x07abc\x03\xff\x00\x08defg"
	for name, r := range map[string]io.Reader{"together": strings.NewReader(in), "octet by octet": iotest.OneByteReader(strings.NewReader(in))} {
		c := New(&pipe{Reader: r})
		for _, want := range []string{"abc", "defg"} {
			if got, err := c.ReadPacket(); err != nil || string(got) != want {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
		if _, err := c.ReadPacket(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v at the end", name, err)
		}
	}
}

func TestABrokenHeaderIsAnError(t *testing.T) {
	for in, want := range map[string]string{
		"\x03\x00\x00\x07ab": "breaks off", "\x03\x00": "breaks off", "GET / HTTP": "version 71", "\x03\x00\x00\x06ab": "holds no TPDU", "\x03\x00\x00\x00": "holds no TPDU",
	} {
		if _, err := reading(in).ReadPacket(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	var b pipe
	c := New(&b)
	if err := c.WritePacket([]byte{2}, []byte("xyz")); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "\x03\x00\x00\x08\x02xyz"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := c.WritePacket(make([]byte, MaxPayload)); err != nil {
		t.Error(err)
	}
	if err := c.WritePacket(make([]byte, MaxPayload), []byte{1}); err == nil {
		t.Error("an octet too many was written")
	}
}

func FuzzReadPacket(f *testing.F) {
	f.Add([]byte("\x03\x00\x00\x07abc\x03\xff\x00\x08defg"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(&pipe{Reader: bytes.NewReader(b)})
		total := 0
		for {
			p, err := c.ReadPacket()
			if err != nil {
				break
			}
			total += len(p) + headerLen
		}
		if total > len(b) {
			t.Errorf("%d octets out of %d", total, len(b))
		}
	})
}

func TestTruncationAnywhereIsNamed(t *testing.T) {
	whole := []byte("\x03\x00\x00\x07abc\x03\xff\x00\x08defg")
	beginnings.Fail(t, "two packets", whole, func(b []byte) error {
		c := New(&pipe{Reader: bytes.NewReader(b)})
		for {
			if _, err := c.ReadPacket(); err == io.EOF && (len(b) == 0 || len(b) == 7) {
				return errors.New("tpkt: octet 0: between packets nothing breaks off")
			} else if err != nil {
				return err
			}
		}
	})
}

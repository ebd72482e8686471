// Package golden gives tests what another MTA said in the captures under testdata, layer by layer. It is for tests only.
package golden

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"backbone/connectors/x400/cotp"
	"backbone/connectors/x400/pcap"
	"backbone/connectors/x400/session"
	"backbone/connectors/x400/tpkt"
)

// Said is one SPDU of a capture.
type Said struct {
	File       string // base name
	FromCaller bool
	Selector   string // called transport selector of its connection
	*session.SPDU
}

// Dir is the folder of the captures.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "testdata", "captures")
}

// Conversations are those of one capture.
func Conversations(t testing.TB, file string) []*pcap.Conversation {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Dir(), file))
	if err != nil {
		t.Fatal(err)
	}
	c, err := pcap.Read(b)
	if err != nil {
		t.Fatal(file, err)
	}
	return c
}

// P1 are the captures' SPDUs of connections between MTAs; the others of pp-e2e.pcap belong to PP's queue manager.
func P1(t testing.TB) []Said {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Dir(), "*.pcap"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var out []Said
	for _, f := range files {
		for _, c := range Conversations(t, filepath.Base(f)) {
			said := conversation(t, filepath.Base(f), c)
			if filepath.Base(f) != "pp-e2e.pcap" || (len(said) > 0 && said[0].Selector == "x88n") {
				out = append(out, said...)
			}
		}
	}
	return out
}

func conversation(t testing.TB, file string, c *pcap.Conversation) []Said {
	var out []Said
	selector := ""
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
				t.Fatal(file, err)
			}
			u, err := cotp.Parse(bytes.Clone(b))
			if err != nil {
				t.Fatal(file, err)
			}
			if u.Code == cotp.CR {
				selector = string(u.Called)
			}
			if u.Code != cotp.DT {
				continue
			}
			all, err := session.Parse(u.Data)
			if err != nil {
				t.Fatal(file, err)
			}
			for _, s := range all {
				out = append(out, Said{file, turn.FromCaller, selector, s})
			}
		}
	}
	return out
}

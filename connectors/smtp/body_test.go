package smtp

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"backbone/connectors"

	"pgregory.net/rapid"
)

// fakeWire is a connection that gives blocks of octets, one a read.
type fakeWire struct {
	blocks  [][]byte
	written bytes.Buffer
}

func (w *fakeWire) Read(p []byte) (int, error) {
	for len(w.blocks) > 0 && len(w.blocks[0]) == 0 {
		w.blocks = w.blocks[1:]
	}
	if len(w.blocks) == 0 {
		return 0, io.EOF
	}
	n := copy(p, w.blocks[0])
	w.blocks[0] = w.blocks[0][n:]
	return n, nil
}
func (w *fakeWire) Write(p []byte) (int, error)    { return w.written.Write(p) }
func (*fakeWire) Close() error                     { return nil }
func (*fakeWire) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }
func (*fakeWire) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1025} }
func (*fakeWire) SetDeadline(time.Time) error      { return nil }
func (*fakeWire) SetReadDeadline(time.Time) error  { return nil }
func (*fakeWire) SetWriteDeadline(time.Time) error { return nil }

// bareSource is enough of a source for a gate.
func bareSource(change func(*Config)) *Source {
	cfg := NewConfig()
	if change != nil {
		change(cfg)
	}
	return &Source{name: "mail", cfg: cfg, hostname: "mx.sitea.example", domain: "sitea.example", normalise: cfg.LineEnds == "normalise",
		log: slog.New(slog.DiscardHandler), sessions: newSessions(cfg), relay: newRelayPolicy(connectors.Site{}, cfg)}
}

// gateOver is a gate in front of such blocks.
func gateOver(src *Source, blocks ...[]byte) *gate {
	return newGate(&fakeWire{blocks: blocks}, src, func() {})
}

func lineEndsSource(policy string, limit int64) *Source {
	return bareSource(func(c *Config) { c.LineEnds, c.MaxSize = policy, limit })
}

// referenceBody is what body does, said in the plainest way: on the whole input at once.
func referenceBody(in []byte) (message, rest []byte, bare, complete bool) {
	end := -1
	if bytes.HasPrefix(in, []byte(".\r\n")) {
		end = 0
	} else if i := bytes.Index(in, []byte("\r\n.\r\n")); i >= 0 {
		end = i + 2
	}
	if end < 0 {
		return nil, nil, false, false
	}
	text, rest := string(in[:end]), in[end+3:]
	var lines []string
	for l := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		lines = append(lines, strings.TrimPrefix(l, "."))
	}
	if text == "" {
		return nil, rest, false, true
	}
	var out strings.Builder
	for _, l := range lines {
		bare = bare || strings.ContainsAny(l, "\r\n")
		// A run of CR belongs to the line end behind it, be that a bare LF, the line's own CRLF, or itself.
		for strings.HasSuffix(l, "\r") {
			l = strings.TrimSuffix(l, "\r")
		}
		for strings.Contains(l, "\r\r") {
			l = strings.ReplaceAll(l, "\r\r", "\r")
		}
		l = strings.ReplaceAll(l, "\r\n", "\n")
		l = strings.ReplaceAll(l, "\r", "\n")
		out.WriteString(strings.ReplaceAll(l, "\n", "\r\n") + "\r\n")
	}
	return []byte(out.String()), rest, bare, true
}

// readOff reads a body as Session.Data does.
func readOff(g *gate, small int) (message []byte, b *body, err error) {
	b = g.takeBody()
	var out bytes.Buffer
	if small > 0 {
		buf := make([]byte, small)
		for err == nil {
			var n int
			n, err = b.Read(buf)
			out.Write(buf[:n])
		}
		if err == io.EOF {
			err = nil
		}
	} else {
		_, err = io.Copy(&out, struct{ io.Reader }{b})
	}
	if err != nil && !b.wire {
		if derr := b.Drain(); derr != nil {
			err = derr
		}
	}
	g.endBody(b)
	return out.Bytes(), b, err
}

func checkBody(t interface{ Fatalf(string, ...any) }, in []byte, cutAt, small int) {
	want, rest, bare, complete := referenceBody(in)
	blocks := func() [][]byte {
		return [][]byte{bytes.Clone(in[:cutAt]), bytes.Clone(in[cutAt:])}
	}
	g := gateOver(lineEndsSource("normalise", 0), blocks()...)
	got, _, err := readOff(g, small)
	if complete != (err == nil) {
		t.Fatalf("%q: complete %v, error %v", in, complete, err)
	}
	if !complete {
		if g.mode != modeOver {
			t.Fatalf("%q: the session goes on after a body that broke off", in)
		}
		return
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%q cut at %d: normalised to %q, want %q", in, cutAt, got, want)
	}
	if left := g.left(); !bytes.Equal(left, rest) {
		t.Fatalf("%q: %q is left for commands, want %q", in, left, rest)
	}
	g = gateOver(lineEndsSource("reject", 0), blocks()...)
	got, b, err := readOff(g, small)
	if bare != errors.Is(err, errBareLineEnd) || bare != (b.mended > 0) {
		t.Fatalf("%q: bare line ends %v, error %v", in, bare, err)
	}
	if !bare && !bytes.Equal(got, want) {
		t.Fatalf("%q: read as %q, want %q", in, got, want)
	}
	if left := g.left(); !bytes.Equal(left, rest) || g.mode != modeTaken {
		t.Fatalf("%q refused: %q is left for commands, want %q", in, left, rest)
	}
}

// left is what is still to come.
func (g *gate) left() []byte {
	out := bytes.Clone(g.buf[g.r:g.w])
	for _, b := range g.Conn.(*fakeWire).blocks {
		out = append(out, b...)
	}
	return out
}

func TestBodyAgainstTheReference(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "b.", ".", "..", "\r\n", "\r", "\n", "\r\n.\r\n", "\r\n.", ".\r\n", "\n.\n", "\x00", "é"})
	rapid.Check(t, func(t *rapid.T) {
		in := []byte(strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), ""))
		if rapid.Bool().Draw(t, "ended") {
			in = append(in, "\r\n.\r\nQUIT\r\n"...)
		}
		checkBody(t, in, rapid.IntRange(0, len(in)).Draw(t, "cut"), rapid.IntRange(0, 3).Draw(t, "buffer"))
	})
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{"hi\r\n.\r\n", ".\r\n", "a\r\n..b\r\n.\r\nQUIT\r\n", "hi\r\r\n.\r\n", "hi\r\n.\r\r\n.\r\n", "\n.\n\r\n.\r\n", "x\r\n.\rfoo\r\n.\r\n"} {
		f.Add([]byte(s), 3, 2)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut, small int) {
		cut, small = min(max(cut, 0), len(in)), min(max(small, 0), 100)
		checkBody(t, in, cut, small)
	})
}

func TestBodyOverItsLimit(t *testing.T) {
	long := strings.Repeat("0123456789abcdef\r\n", 1000)
	for name, in := range map[string]string{"in many reads": long, "at the very end": strings.Repeat("x", 99) + "\r\n"} {
		g := gateOver(lineEndsSource("reject", 100), []byte(in+".\r\nQUIT\r\n"))
		_, b, err := readOff(g, 0)
		if !errors.Is(err, errTooLarge) || b.wire || g.mode != modeTaken || string(g.left()) != "QUIT\r\n" {
			t.Errorf("%s: %v, left %q", name, err, g.left())
		}
	}
	exact := strings.Repeat("x", 98) + "\r\n"
	if _, _, err := readOff(gateOver(lineEndsSource("reject", 100), []byte(exact+".\r\n")), 0); err != nil {
		t.Errorf("a message of exactly the limit: %v", err)
	}
}

func TestABodyWithoutEndIsCutOff(t *testing.T) {
	g := gateOver(lineEndsSource("reject", 1000))
	g.wire = &endless{}
	g.Conn = g.wire
	b := g.takeBody()
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{b}); !errors.Is(err, errTooLarge) {
		t.Fatal(err)
	}
	if err := b.Drain(); err == nil {
		t.Error("draining ended")
	}
	g.endBody(b)
	if g.mode != modeOver {
		t.Error("the session goes on")
	}
}

type endless struct{ fakeWire }

func (*endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

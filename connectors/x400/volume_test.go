package x400

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"backbone/gateway/mail"
)

// long is a content of many equal lines, which are made as they are read.
type long struct {
	head, line, tail string
	lines            int64
}

func (l *long) Size() int64 {
	return int64(len(l.head)+len(l.tail)) + l.lines*int64(len(l.line))
}

func (l *long) Open() (io.ReadSeekCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{io.NewSectionReader(l, 0, l.Size()), io.NopCloser(nil)}, nil
}

func (l *long) ReadAt(b []byte, at int64) (int, error) {
	n := 0
	for n < len(b) && at < l.Size() {
		body := at - int64(len(l.head))
		var from string
		switch {
		case body < 0:
			from = l.head[at:]
		case body < l.lines*int64(len(l.line)):
			from = l.line[body%int64(len(l.line)):]
		default:
			from = l.tail[body-l.lines*int64(len(l.line)):]
		}
		k := copy(b[n:], from)
		n, at = n+k, at+int64(k)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryDoesNotGrowWithTheMessage hands over 50 MB, as text and as a file, and looks at the heap meanwhile. Spool files
// are on disk, and read by way of the page cache.
func TestMemoryDoesNotGrowWithTheMessage(t *testing.T) {
	const size, less, most = 50 << 20, 12 << 20, 8 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // what is looked at has less garbage in it
	head := "From: <o@sitea.example>\r\nTo: <user1@siteb.example>\r\nSubject: large\r\nMessage-ID: <l@sitea.example>\r\nMIME-Version: 1.0\r\n"
	text, base64 := strings.Repeat("a word ", 10)+"x\r\n", strings.Repeat("QUJD", 19)+"\r\n"
	for name, content := range map[string]*long{
		"text": {head: head + "Content-Type: text/plain\r\n\r\n", line: text, lines: size / int64(len(text))},
		"a file": {head: head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee there\r\n" +
			"--b\r\nContent-Type: application/octet-stream; name=A.BIN\r\nContent-Disposition: attachment; filename=A.BIN\r\nContent-Transfer-Encoding: base64\r\n\r\n",
			line: base64, lines: less / int64(len(base64)), tail: "--b--\r\n"},
		"a file without checkpoints": {head: head + "Content-Type: application/octet-stream; name=A.BIN\r\nContent-Transfer-Encoding: base64\r\n\r\n", line: base64, lines: less / int64(len(base64))},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, func(caller, answerer *Config) {
				caller.Transport, answerer.Transport = "rfc1006", "rfc1006"
				if name == "a file without checkpoints" {
					caller.CheckpointSize = 0
				}
			})
			b.gw.DiscardContent()
			c := a.opened.Connectors[0]
			if got := c.Deliver(context.Background(), message("WARM", 1<<20))[0]; got.State != mail.Delivered {
				t.Fatal(got.Failure)
			}
			before, top, samples := heap(), int64(0), 0
			m := message("LARGE", 0)
			m.Content = content
			done := make(chan mail.Outcome, 1)
			go func() { done <- c.Deliver(context.Background(), m)[0] }()
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for running := true; running; {
				select {
				case got := <-done:
					if got.State != mail.Delivered {
						t.Fatal(got.Failure)
					}
					running = false
				case <-tick.C:
					samples++
					top = max(top, heap())
				}
			}
			if samples < 3 {
				t.Errorf("only %d looks at the heap", samples)
			}
			if grown := top - before; grown > most {
				t.Errorf("the heap grew by %d octets for a message of %d", grown, content.Size())
			}
			if err := link(a, b).Close(); err != nil {
				t.Error(err)
			}
			if last := b.gw.Taken()[1]; last.Size < content.Size()*7/10 {
				t.Errorf("%d octets arrived", last.Size)
			}
		})
	}
}

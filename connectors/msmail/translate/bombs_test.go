package translate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"backbone/connectors/connectortest"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// bombs are messages that cost more than they weigh, unless someone counts.
func bombs() map[string][]byte {
	var parts, levels, embedded bytes.Buffer
	parts.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for range 10_000 {
		parts.WriteString("--b\r\n\r\nx\r\n")
	}
	for i := range 4000 {
		fmt.Fprintf(&levels, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		embedded.WriteString("Content-Type: message/rfc822\r\n\r\n")
	}
	return map[string][]byte{
		"10,000 parts":             parts.Bytes(),
		"4,000 levels":             levels.Bytes(),
		"4,000 embedded messages":  embedded.Bytes(),
		"a million header fields":  []byte(strings.Repeat("X: y\r\n", 1_000_000) + "\r\nx\r\n"),
		"a million fields in part": []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + strings.Repeat("X: y\r\n", 1_000_000) + "\r\nx\r\n--b--\r\n"),
		"a preamble of a megabyte": []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("x", 1<<20) + "\r\n--b\r\n\r\ntext\r\n--b--\r\n"),
		"an HTML tag of megabytes": []byte("Content-Type: text/html\r\n\r\n<p>a<img src=\"data:" + strings.Repeat("x", 5<<18) + "\">b</p>\r\n"),
		"blockquotes":              []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<blockquote>x", 20_000)),
		"a boundary of 5,000":      []byte("Content-Type: multipart/mixed; boundary=\"" + strings.Repeat("b", 5000) + "\"\r\n\r\n--" + strings.Repeat("b", 5000) + "\r\n\r\nx\r\n"),
		"UTF-7 without end":        []byte("Content-Type: text/plain; charset=utf-7\r\n\r\n+" + strings.Repeat("A", 5<<18)),
		"one long line":            []byte("Subject: x\r\n\r\n" + strings.Repeat("y", 1<<20)),
	}
}

func TestBombsAreCarriedWithoutGoingOff(t *testing.T) {
	for name, content := range bombs() {
		for _, embeddedText := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, embedded as text %v", name, embeddedText), func(t *testing.T) {
				po := postOffice(t, "NORTHWIND/PO2", 850)
				po.EmbeddedText = embeddedText
				env := envelope(smtp("eve@example.org"))
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				out, err := po.Out(&env, connectortest.Bytes(content), book())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := mmff.Encode(io.Discard, out.Message, po.EncodeOptions()); err != nil {
					t.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("took %v", d)
				}
				if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 96 {
					t.Errorf("allocated %d MiB for a message of %d KiB", n, len(content)>>10)
				}
				if err := out.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// failing gives n octets of a message, then an error.
type failing struct {
	b []byte
	n int64
}

func (f failing) Size() int64 { return int64(len(f.b)) }
func (f failing) Open() (io.ReadSeekCloser, error) {
	return &forward{Reader: io.MultiReader(bytes.NewReader(f.b[:f.n]), iotest.ErrReader(errDisk)), Closer: io.NopCloser(nil)}, nil
}

var errDisk = errors.New("input/output error")

func TestADiskErrorIsNeverTheMessagesFault(t *testing.T) {
	po := postOffice(t, "NORTHWIND/PO2", 850)
	po.EmbeddedText = true
	for _, name := range inputs(t, "testdata/out/*.eml") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n <= len(b); n += 37 {
			env := envelope(smtp("ben@example.org"))
			if strings.Contains(name, "dsn") {
				env.Kind = mail.KindReport
			}
			_, err := po.Out(&env, failing{b, int64(n)}, book())
			if f := mail.AsFailure(err); err == nil || f.Class != mail.Local || !errors.Is(err, errDisk) {
				t.Fatalf("%s, error after %d octets: got %v, want a local failure that names the cause", name, n, err)
			}
		}
	}
}

func FuzzOut(f *testing.F) {
	for _, name := range inputs(f, "testdata/out/*.eml") {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(0))
		f.Add(b, uint8(255))
	}
	for _, b := range bombs() {
		f.Add(b[:min(len(b), 4096)], uint8(0))
	}
	f.Fuzz(func(t *testing.T, content []byte, settings uint8) {
		po := postOffice(t, "NORTHWIND/PO2", codePages[int(settings>>4)%len(codePages)])
		po.EmbeddedText, po.Heading, po.DOSNames = settings&1 != 0, settings&2 != 0, settings&4 != 0
		if settings&8 != 0 {
			po.Wrap = 78
		}
		env := envelope(smtp("ben@example.org"))
		env.Kind = []mail.Kind{mail.KindMessage, mail.KindReport, mail.KindReceipt}[int(settings>>2)%3]
		if settings&32 != 0 {
			env.Originator = asmith
		}
		out, err := po.Out(&env, connectortest.Bytes(content), book())
		if err != nil {
			t.Fatalf("Out: %v", err)
		}
		defer out.Close()
		var file bytes.Buffer
		if _, err := mmff.Encode(&file, out.Message, po.EncodeOptions()); err != nil {
			t.Fatalf("can't be written: %v", err)
		}
		if _, err := out.Side.Encode(); err != nil {
			t.Fatalf("side file can't be written: %v", err)
		}
		// Whatever the content, the file holds one message, for whom it is, with what it was given.
		d := mmff.NewDecoder(bytes.NewReader(file.Bytes()), int64(file.Len()), mmff.Options{CodePage: po.Page})
		m, err := d.Next()
		if err != nil {
			t.Fatalf("can't be read back: %v\n%q", err, file.Bytes())
		}
		if len(m.To) != 1 || m.To[0] != mkumar || len(m.Attachments) != len(out.Message.Attachments) || m.From != out.Message.From {
			t.Fatalf("to %v, from %v, %d attachments", m.To, m.From, len(m.Attachments))
		}
		for i, a := range m.Attachments {
			if octets(t, a.Content) != octets(t, out.Message.Attachments[i].Content) {
				t.Fatalf("attachment %d differs", i)
			}
		}
		if _, err := d.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("a second message: %v", err)
		}
	})
}

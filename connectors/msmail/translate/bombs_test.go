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

// bomb is a message that costs more than it weighs, unless someone counts.
type bomb struct {
	name    string
	content []byte
	// opaque says that it is carried as one attachment; else its text is shown, and has as many of text as said.
	opaque bool
	text   string
	n      int
}

func bombs() []bomb {
	var parts, levels, embedded bytes.Buffer
	parts.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for range 10_000 {
		parts.WriteString("--b\r\n\r\nx\r\n")
	}
	parts.WriteString("--b--\r\n")
	for i := range 4000 {
		fmt.Fprintf(&levels, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		embedded.WriteString("Content-Type: message/rfc822\r\n\r\n")
	}
	return []bomb{
		{"10,000 parts", parts.Bytes(), true, "", 0},
		{"one level too many", []byte(nest(maxDepth + 1)), true, "", 0},
		{"as many levels as allowed", []byte(nest(maxDepth)), false, "the text", 1},
		{"4,000 levels", levels.Bytes(), true, "", 0},
		{"4,000 embedded messages", embedded.Bytes(), false, strings.Repeat("-", 30), maxDepth},
		{"a million header fields", []byte(strings.Repeat("X: y\r\n", 1_000_000) + "\r\nx\r\n"), true, "", 0},
		{"a million fields in a part", []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + strings.Repeat("X: y\r\n", 1_000_000) + "\r\nx\r\n--b--\r\n"), true, "", 0},
		{"a preamble of a megabyte", []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("x", 1<<20) + "\r\n--b\r\n\r\ntext\r\n--b--\r\n"), true, "", 0},
		{"an HTML tag of megabytes", []byte("Content-Type: text/html\r\n\r\n<p>a<img src=\"data:" + strings.Repeat("x", 5<<18) + "\">b</p>\r\n"), false, "a", 0},
		{"blockquotes", []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<blockquote>x", 20_000)), false, "> ", 20_000*maxQuote - 28},
		{"a boundary of 1,000", []byte("Content-Type: multipart/mixed; boundary=\"" + strings.Repeat("b", 1000) + "\"\r\n\r\n--" + strings.Repeat("b", 1000) + "\r\n\r\nx\r\n"), true, "", 0},
		{"UTF-7 without end", []byte("Content-Type: text/plain; charset=utf-7\r\n\r\n+" + strings.Repeat("A", 5<<18)), true, "", 0},
		{"one long line", []byte("Subject: x\r\n\r\n" + strings.Repeat("y", 1<<20)), false, "y", 1 << 20},
	}
}

// nest is a text in n multiparts.
func nest(n int) string {
	s := "Content-Type: text/plain\r\n\r\nthe text\r\n"
	for i := range n {
		s = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s\r\n--b%d--\r\n", i, i, s, i)
	}
	return s
}

func TestBombsAreCarriedWithoutGoingOff(t *testing.T) {
	for _, b := range bombs() {
		for _, embeddedText := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, embedded as text %v", b.name, embeddedText), func(t *testing.T) {
				po := postOffice(t, "NORTHWIND/PO2", 850)
				po.EmbeddedText = embeddedText
				env := envelope(smtp("eve@example.org"))
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				out, err := po.Out(&env, connectortest.Bytes(b.content), book())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := mmff.Encode(io.Discard, out.Message, po.EncodeOptions()); err != nil {
					t.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				if d := time.Since(start); d > 10*time.Second {
					t.Errorf("took %v", d)
				}
				if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 96 {
					t.Errorf("allocated %d MiB for a message of %d KiB", n, len(b.content)>>10)
				}
				opaque := len(out.Message.Attachments) == 1 && out.Message.Attachments[0].Name == "MESSAGE.EML"
				if opaque != b.opaque {
					t.Errorf("carried opaque: %v, want %v: %v", opaque, b.opaque, out.Notes)
				}
				if n := strings.Count(octets(t, out.Message.Text), b.text); !b.opaque && n != b.n && (embeddedText || b.n != maxDepth) {
					t.Errorf("the text has %q %d times, want %d", b.text, n, b.n)
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

func TestATornBodyIsNeverDelivered(t *testing.T) {
	po := postOffice(t, "NORTHWIND/PO2", 850)
	env := envelope(smtp("ben@example.org"))
	_, err := po.Out(&env, torn{connectortest.Bytes([]byte("Subject: x\r\n\r\nhalf of what w"))}, book())
	if f := mail.AsFailure(err); err == nil || f.Class != mail.Local {
		t.Errorf("got %v, want a local failure", err)
	}
}

// torn promises more than it has.
type torn struct{ mail.Content }

func (t torn) Size() int64 { return t.Content.Size() + 10 }

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
		f.Add(b.content[:min(len(b.content), 4096)], uint8(0))
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

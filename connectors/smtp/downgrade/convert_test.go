package downgrade

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write golden files")

// wire turns the readable form of testdata into octets: lines end with CRLF; \r \n \0 \xNN \\ are octets, and a line that ends in
// a lone backslash has no line end at all.
func wire(t testing.TB, s string) []byte {
	t.Helper()
	s = strings.ReplaceAll(s, "\n", "\r\n")
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case '\r':
			i++
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		case '0':
			b.WriteByte(0)
		case 'x':
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.Bytes()
}

// readable is wire's inverse.
func readable(b []byte) string {
	var out strings.Builder
	s := string(b)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], "\r\n"):
			out.WriteByte('\n')
			i++
		case c == '\r':
			out.WriteString(`\r`)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\\':
			out.WriteString(`\\`)
		case c < ' ' && c != '\t' || c > '~':
			fmt.Fprintf(&out, `\x%02x`, c)
		default:
			out.WriteByte(c)
		}
	}
	if !strings.HasSuffix(s, "\r\n") {
		out.WriteString("\\\n")
	}
	return out.String()
}

func convert(t testing.TB, in []byte, o Options) ([]byte, []string) {
	t.Helper()
	var out bytes.Buffer
	changes, err := Convert(&out, func() (io.Reader, error) { return bytes.NewReader(in), nil }, o)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), changes
}

func factsOf(b []byte) Facts {
	var f Facts
	f.Write(b)
	f.End()
	return f
}

// TestGolden converts testdata/*.txt. Each holds "in", "options" and "out"; "repeat N text" lines of "in" are expanded.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			file := sections(t, path)
			options := file["options"]
			o := Options{SevenBit: strings.Contains(options, "seven-bit"), ASCIIHeader: strings.Contains(options, "ascii-header"),
				Drop: func(name string) bool { return name == "X-Dropped" }}
			got, changes := convert(t, wire(t, file["in"]), o)
			text := readable(got)
			for _, c := range changes {
				text += "# " + c + "\n"
			}
			if *update {
				file["out"] = text
				all := "-- in --\n" + file["in"] + "-- options --\n" + options + "-- out --\n" + text
				if err := os.WriteFile(path, []byte(all), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(file["out"], text); diff != "" {
				t.Error(diff)
			}
			fit(t, got, o)
		})
	}
}

// sections are a golden file's parts, by the name in the line "-- name --" above each.
func sections(t testing.TB, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, name := map[string]string{}, ""
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(strings.TrimSuffix(line, " --\n"), "-- "); ok && strings.HasSuffix(line, " --\n") {
			name = n
			continue
		}
		out[name] += line
	}
	return out
}

// fit tells what the peer that o describes would still not take.
func fit(t interface{ Errorf(string, ...any) }, out []byte, o Options) {
	f := factsOf(out)
	if f.Malformed() {
		t.Errorf("output has bare or long lines or NUL: %+v\n%s", f, readable(out))
	}
	if o.SevenBit && o.ASCIIHeader && f.EightBit() {
		t.Errorf("output has octets above 127: %+v\n%s", f, readable(out))
	}
}

// leaves are the decoded bodies of a message.
func leaves(e *message.Entity, depth int) ([]string, error) {
	if typ, _, err := e.Header.ContentType(); err == nil && typ == "message/rfc822" && depth < 10 {
		in, err := message.Read(e.Body)
		if err != nil && !message.IsUnknownCharset(err) {
			return nil, err
		}
		return leaves(in, depth+1)
	}
	mr := e.MultipartReader()
	if mr == nil || depth > 10 {
		b, err := io.ReadAll(e.Body)
		return []string{string(b)}, err
	}
	var out []string
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil && !message.IsUnknownCharset(err) {
			return out, err
		}
		l, err := leaves(p, depth+1)
		if out = append(out, l...); err != nil {
			return out, err
		}
	}
}

// TestBodiesSurvive: what a reader decodes is the same before and after.
func TestBodiesSurvive(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab=.-é\t €\n")), 0, 300, -1)
	rapid.Check(t, func(rt *rapid.T) {
		var part func(depth int) string
		n := 0
		part = func(depth int) string {
			n++
			switch k := rapid.IntRange(0, 6).Draw(rt, "kind"); {
			case k == 0 && depth < 3:
				b := fmt.Sprintf("b%d", n)
				s := "Content-Type: multipart/mixed; boundary=" + b + "\r\n\r\npreamble\r\n"
				for range rapid.IntRange(1, 3).Draw(rt, "parts") {
					s += "--" + b + "\r\n" + part(depth+1) + "\r\n"
				}
				return s + "--" + b + "--\r\nepilogue\r\n"
			case k == 1 && depth < 3:
				return "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\n" + part(depth+1)
			case k == 2:
				return "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + crlfText(text.Draw(rt, "octets"))
			case k == 3:
				return "Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("caf=C3=A9 ", rapid.IntRange(0, 200).Draw(rt, "n")) + "end\r\n"
			case k == 4:
				return "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("AAAA", rapid.IntRange(1, 400).Draw(rt, "n")) + "\r\n"
			}
			return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + crlfText(text.Draw(rt, "text"))
		}
		in := []byte("Subject: x\r\nMIME-Version: 1.0\r\n" + part(0))
		o := Options{SevenBit: rapid.Bool().Draw(rt, "seven"), ASCIIHeader: true}
		out, _ := convert(t, in, o)
		fit(rt, out, o)
		before, err1 := readLeaves(in)
		after, err2 := readLeaves(out)
		if err1 != nil {
			rt.Skip("generator made something that the reader refuses")
		}
		if err2 != nil {
			rt.Fatalf("output can't be read: %v\n%s", err2, readable(out))
		}
		if diff := cmp.Diff(before, after); diff != "" {
			rt.Fatalf("%s\nin:\n%s\nout:\n%s", diff, readable(in), readable(out))
		}
	})
}

func crlfText(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func readLeaves(b []byte) ([]string, error) {
	e, err := message.Read(bytes.NewReader(b))
	if err != nil && !message.IsUnknownCharset(err) {
		return nil, err
	}
	l, err := leaves(e, 0)
	for i := range l {
		l[i] = strings.TrimRight(l[i], "\r\n")
	}
	return l, err
}

// TestAFitMessageIsNotTouched: nothing to do means nothing done.
func TestAFitMessageIsNotTouched(t *testing.T) {
	in := []byte("Subject: x\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"b\"\r\n\r\npre\r\n--b\r\n\r\nbody\r\n--b\r\nContent-Type: text/html\r\n\r\n\r\n--b--\r\nepi\r\n")
	out, changes := convert(t, in, Options{SevenBit: true, ASCIIHeader: true})
	if diff := cmp.Diff(string(in), string(out)); diff != "" || len(changes) > 0 {
		t.Errorf("%s %v", diff, changes)
	}
}

func TestBombsAreCarried(t *testing.T) {
	var nested, wide bytes.Buffer
	for i := range 4000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	nested.WriteString("\r\n\xe9\r\n")
	wide.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for range 20_000 {
		wide.WriteString("--b\r\n\r\n\xe9\r\n")
	}
	wide.WriteString("--b--\r\n")
	for name, in := range map[string][]byte{
		"4,000 levels":                 nested.Bytes(),
		"20,000 parts":                 wide.Bytes(),
		"a header field of 1 MB":       []byte("X: " + strings.Repeat("x\xe9", 500_000) + "\r\n\r\nbody\r\n"),
		"a field folded 100,000 times": []byte("X: y" + strings.Repeat("\r\n \xe9", 100_000) + "\r\n\r\nbody\r\n"),
		"100,000 fields":               []byte(strings.Repeat("X: \xe9\r\n", 100_000) + "\r\nbody\r\n"),
		"a body line of 1 MB":          []byte("\r\n" + strings.Repeat("z", 1<<20)),
		"CR without end":               []byte("Subject: x\r\n\r\n" + strings.Repeat("\r", 100_000)),
	} {
		out, _ := convert(t, in, Options{SevenBit: true, ASCIIHeader: true})
		f := factsOf(out)
		if f.Malformed() || f.EightBit() {
			t.Errorf("%s: %+v", name, f)
		}
		if len(out) > 8*len(in)+1000 {
			t.Errorf("%s: %d octets became %d", name, len(in), len(out))
		}
	}
}

func TestReadersErrorsAreReturned(t *testing.T) {
	broken := errors.New("input/output error")
	for _, n := range []int{0, 10, 30} {
		open := func() (io.Reader, error) {
			return io.MultiReader(strings.NewReader("Subject: x\r\n\r\nbody \xe9 of some length\r\n"[:n]), errReader{broken}), nil
		}
		if _, err := Convert(io.Discard, open, Options{SevenBit: true}); !errors.Is(err, broken) {
			t.Errorf("after %d octets: %v", n, err)
		}
	}
	if _, err := Convert(io.Discard, func() (io.Reader, error) { return nil, broken }, Options{}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestFacts(t *testing.T) {
	long := strings.Repeat("x", 998)
	for _, tt := range []struct {
		name, in string
		want     Facts
	}{
		{"nothing", "", Facts{}},
		{"plain", "Subject: x\r\n\r\nbody\r\n", Facts{}},
		{"8-bit header", "Subject: \xe9\r\n\r\nbody\r\n", Facts{EightBitHeader: true}},
		{"8-bit body", "Subject: x\r\n\r\nbod\xe9\r\n", Facts{EightBitBody: true}},
		{"bare LF", "Subject: x\n\r\nbody\r\n", Facts{BareLineEnd: true}},
		{"bare CR", "Subject: x\r\n\r\nbo\rdy\r\n", Facts{BareLineEnd: true}},
		{"CR at the very end", "Subject: x\r\n\r\nbody\r", Facts{BareLineEnd: true}},
		{"CR CR LF", "Subject: x\r\n\r\nbody\r\r\n", Facts{BareLineEnd: true}},
		{"998 octets are allowed", long + "\r\n", Facts{}},
		{"999 are not", long + "y\r\n", Facts{LongLine: true}},
		{"999 without line end", "\r\n" + long + "y", Facts{LongLine: true}},
		{"NUL", "Subject: x\r\n\r\nbody of some length\x00\r\n", Facts{NUL: true}},
	} {
		for cut := range len(tt.in) + 1 {
			var f Facts
			for _, p := range []string{tt.in[:cut], tt.in[cut:]} {
				f.Write([]byte(p))
			}
			f.End()
			f.inBody, f.line, f.cr = false, 0, false
			if f != tt.want {
				t.Fatalf("%s, cut at %d: %+v, want %+v", tt.name, cut, f, tt.want)
			}
		}
	}
}

func TestAddressesBeyondASCII(t *testing.T) {
	for field, want := range map[string]bool{
		"From: Müller <m@x.example>":       false,
		"From: m@x.example (Müller)":       false,
		"To: müller@x.example":             true,
		"Cc: a@x.example, Ä <ä@x.example>": true,
		"Subject: müller@x.example":        false,
		"From: not <an address ä":          false,
		"Reply-To: a@exämple.example":      true,
	} {
		if got := AddressesBeyondASCII([]byte(field)); got != want {
			t.Errorf("%s: %v, want %v", field, got, want)
		}
	}
}

func FuzzConvert(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		f.Add(wire(f, sections(f, p)["in"]), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, seven bool) {
		o := Options{SevenBit: seven, ASCIIHeader: seven}
		out, _ := convert(t, in, o)
		fit(t, out, o)
		if len(out) > 10*len(in)+2000 {
			t.Errorf("%d octets became %d", len(in), len(out))
		}
	})
}

package mmff_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// lines is a file with CRLF line ends.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n" }

// plain is a good message.
func plain(subject, body string) string {
	return lines("VERSION:3.00", "TO:CSI:NET/PO2/BOB", "FROM:CSI:NET/PO1/ANN", "SUBJECT:"+subject, fmt.Sprintf("TEXT:%d", len(body))) + body
}

// codes are what was wrong with a message, without the texts: "141-001-004@57".
func codes(b *mmff.Bad) []string {
	var out []string
	for _, e := range b.Errors {
		out = append(out, fmt.Sprintf("%03d-%03d-%03d@%d", e.Code, e.Message, e.Line, e.Offset))
	}
	return out
}

// What is wrong with a single message, by FFAPI's number, ordinal, line and offset.
func TestMistakesAreToldByNumberMessageLineAndOffset(t *testing.T) {
	head := lines("VERSION:3.00", "TO:CSI:NET/PO2/BOB", "FROM:CSI:NET/PO1/ANN")
	for _, c := range []struct {
		name string
		in   string
		want []string
	}{
		{"an unknown token", head + lines("COLOUR:red", "TEXT:0"), []string{"141-001-004@56"}},
		{"CC is no basic token", head + lines("CC:CSI:NET/PO2/JIM", "TEXT:0"), []string{"141-001-004@56"}},
		{"every mistake is told", lines("VERSION:3.00", "TO:X", "FROM:CSI:NET/PO1/ANN", "BCC:Y", "NOISE", "TEXT:0"),
			[]string{"142-001-002@14", "141-001-004@42", "144-001-005@49"}},
		{"a line without colon", head + lines("SUBJECT", "TEXT:0"), []string{"144-001-004@56"}},
		{"an empty line in the header", head + lines("", "TEXT:0"), []string{"144-001-004@56"}},
		{"LF in a CRLF file", head + "SUBJECT:x\n" + lines("TEXT:0"), []string{"144-001-004@56"}},
		{"CR in a CRLF file", head + "SUBJECT:x\rTIME:10:00\r\n" + lines("TEXT:0"), []string{"144-001-004@56"}},
		{"CRLF in an LF file", "VERSION:3.00\nTO:CSI:NET/PO2/BOB\r\nFROM:CSI:NET/PO1/ANN\nTEXT:0\n", []string{"144-001-002@13"}},
		{"CRLF in a CR file", "VERSION:3.00\rTO:CSI:NET/PO2/BOB\r\nFROM:CSI:NET/PO1/ANN\rTEXT:0\r", []string{"144-001-003@32"}},
		{"a network of 11 characters", lines("VERSION:3.00", "TO:ABCDEFGHIJK/PO/MBX", "FROM:NET/PO1/ANN", "TEXT:0"), []string{"142-001-002@14"}},
		{"a post office of 11 characters", lines("VERSION:3.00", "TO:NET/ABCDEFGHIJK/MBX", "FROM:NET/PO1/ANN", "TEXT:0"), []string{"142-001-002@14"}},
		{"a mailbox of 11 characters", lines("VERSION:3.00", "TO:NET/PO/ABCDEFGHIJK", "FROM:NET/PO1/ANN", "TEXT:0"), []string{"142-001-002@14"}},
		{"PCM is a service of DirSync only", lines("VERSION:3.00", "TO:PCM:NET/PO/MBX", "FROM:NET/PO1/ANN", "TEXT:0"), []string{"151-001-002@14"}},
		{"MS is the client's spelling", lines("VERSION:3.00", "TO:NET/PO/MBX", "FROM:MS:NET/PO1/ANN", "TEXT:0"), []string{"151-001-003@29"}},
		{"no TO line", lines("VERSION:3.00", "FROM:NET/PO1/ANN", "TEXT:0"), []string{"142-001-000@0"}},
		{"no FROM line", lines("VERSION:3.00", "TO:NET/PO/MBX", "TEXT:0"), []string{"142-001-000@0"}},
		{"two FROM lines", head + lines("FROM:CSI:NET/PO1/EVE", "TEXT:0"), []string{"143-001-004@56"}},
		{"a version from another world", lines("VERSION:9.00", "TO:NET/PO2/BOB", "FROM:NET/PO1/ANN", "TEXT:0"), []string{"143-001-001@0"}},
		{"XTEXT where it is not allowed", head + lines("XTEXT:BODY.TXT"), []string{"146-001-004@56"}},
		{"XATTACH where it is not allowed", head + lines("XATTACH:C:\\AUTOEXEC.BAT", "TEXT:0"), []string{"146-001-004@56"}},
		{"TEXT larger than the file", head + lines("TEXT:10") + "123456789", []string{"143-001-000@0"}},
		{"an attachment larger than the file", head + lines("ATTACHMENT:A.TXT 10", "TEXT:0") + "123456789", []string{"143-001-000@0"}},
		{"sizes whose sum overflows", head + lines("ATTACHMENT:A 9223372036854775807", "ATTACHMENT:B 9223372036854775807", "TEXT:9"), []string{"143-001-000@0"}},
		{"a size that is too long for a number", head + lines("TEXT:99999999999999999999"), []string{"143-001-004@56"}},
		{"a negative size", head + lines("TEXT:-1"), []string{"143-001-004@56"}},
		{"no size", head + lines("TEXT:"), []string{"143-001-004@56"}},
		{"an attachment without size", head + lines("ATTACHMENT:COUNTS.TXT", "TEXT:0"), []string{"143-001-004@56"}},
		{"an attachment without name", head + lines("ATTACHMENT: 5", "TEXT:0") + "12345", []string{"143-001-004@56"}},
		{"no TEXT line", head, []string{"143-001-000@0"}},
		{"not MMFF at all", "Hello,\r\nhow are you?\r\n", []string{"144-001-001@0", "144-001-002@8", "143-001-000@0"}},
		{"no line end", strings.Repeat("x", 100), []string{"144-001-000@0"}},
		{"no line end in a long file", strings.Repeat("\x00", 100000), []string{"144-001-000@0"}},
		{"an empty file", "", []string{"143-001-000@0"}},
		{"another token first", lines("TO:NET/PO2/BOB", "VERSION:3.00"), []string{"141-001-001@0", "143-001-002@16"}},
		{"a header line without end", head + "SUBJECT:" + strings.Repeat("x", 9000) + "\r\nTEXT:0\r\n", []string{"144-001-004@56", "144-001-005@8248"}},
		{"no FROM address after a bad one", lines("VERSION:3.00", "TO:NET/PO2/BOB", "FROM:nobody", "TEXT:0"), []string{"142-001-003@30"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, bad := decode(t, c.in, mmff.Options{})
			if len(good) != 0 || len(bad) == 0 {
				t.Fatalf("got %d good, %d bad", len(good), len(bad))
			}
			if d := cmp.Diff(c.want, codes(bad[0])); d != "" {
				t.Errorf("-want +got\n%s%v", d, bad[0].Errors)
			}
			for _, e := range bad[0].Errors {
				back, ok := mmff.ParseError(e.Error())
				if d := cmp.Diff(e, back); !ok || d != "" {
					t.Errorf("%s read back: %v\n%s", e, ok, d)
				}
				if strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || r > '~' }) || len(e.Error()) > 400 {
					t.Errorf("reason is not one short printable line: %q", e)
				}
			}
		})
	}
}

func TestMessagesThatMustBeTaken(t *testing.T) {
	head := lines("VERSION:3.00", "TO:CSI:NET/PO2/BOB", "FROM:CSI:NET/PO1/ANN")
	for _, c := range []struct {
		name  string
		in    string
		check func(m *mmff.Message, text, att string) bool
	}{
		{"TEXT:0", head + lines("TEXT:0"), func(_ *mmff.Message, text, _ string) bool { return text == "" }},
		{"lower-case tokens", strings.ReplaceAll(strings.ToLower(head), "net/", "NET/") + lines("text:2") + "hi", func(m *mmff.Message, text, _ string) bool {
			return text == "hi" && m.To[0].Value == "NET/PO2/BOB"
		}},
		{"Date in mixed case, as the KB prints it", head + lines("Date:1997-03-14", "TEXT:0"), func(m *mmff.Message, _, _ string) bool { return m.Date == "1997-03-14" }},
		{"ATTACHMENTS, as the token table has it", head + lines("ATTACHMENTS:A.TXT 3", "TEXT:0") + "abc", func(m *mmff.Message, _, att string) bool {
			return att == "abc" && m.Attachments[0].Name == "A.TXT"
		}},
		{"blanks in an attachment's name", head + lines("ATTACHMENT:my 3 files 2.txt 3", "TEXT:0") + "abc", func(m *mmff.Message, _, att string) bool {
			return att == "abc" && m.Attachments[0].Name == "my 3 files 2.txt"
		}},
		{"an attachment that looks like a message", head + lines("ATTACHMENT:A.MSG 15", "TEXT:0") + "\r\nVERSION:3.00\r", func(_ *mmff.Message, _, att string) bool {
			return att == "\r\nVERSION:3.00\r"
		}},
		{"a body that begins with an empty line", head + lines("TEXT:4") + "\r\nhi", func(_ *mmff.Message, text, _ string) bool { return text == "\r\nhi" }},
		{"NUL and Ctrl-Z in an attachment", head + lines("ATTACHMENT:A.BIN 4", "TEXT:1") + "t\x00\x1a\x00\x1a", func(_ *mmff.Message, text, att string) bool {
			return text == "t" && att == "\x00\x1a\x00\x1a"
		}},
		{"a Ctrl-Z behind the last message", head + lines("TEXT:2") + "hi\r\n\x1a\x1a", func(_ *mmff.Message, text, _ string) bool { return text == "hi" }},
		{"a subject of 255 octets", head + lines("SUBJECT:"+strings.Repeat("s", 255), "TEXT:0"), func(m *mmff.Message, _, _ string) bool { return len(m.Subject) == 255 }},
		{"^0D in a subject", head + lines("SUBJECT:a^0Db 10^20 ^5E0D", "TEXT:0"), func(m *mmff.Message, _, _ string) bool { return m.Subject == "a\rb 10^20 ^0D" }},
		{"^0D in a fax address", lines("VERSION:3.00", "TO:FAX:Ann^0DOslo^0DACME^0D555^0D", "FROM:NET/PO1/ANN", "TEXT:0"), func(m *mmff.Message, _, _ string) bool {
			return m.To[0] == address.Address{Type: "FAX", Value: "Ann^0DOslo^0DACME^0D555^0D"}
		}},
		{"$SYSTEM and *SPECIAL", lines("VERSION:3.00", "TO:CSI:NET/HUB/$system", "TO:CSI:NET/HUB/*SPECIAL", "FROM:NET/PO1/ANN", "TEXT:0"), func(m *mmff.Message, _, _ string) bool {
			return m.To[0].Value == "NET/HUB/$SYSTEM" && m.To[1].Value == "NET/HUB/*SPECIAL"
		}},
		{"high letters of code page 850", head + lines("SUBJECT:Gr\x81\xe1e", "TEXT:0"), func(m *mmff.Message, _, _ string) bool { return m.Subject == "Grüße" }},
		{"a version of the 2.1 kits", strings.Replace(head, "3.00", "2.10", 1) + lines("TEXT:0"), func(m *mmff.Message, _, _ string) bool { return m.Version == "2.10" }},
		{"SMTP and X.400 recipients", lines("VERSION:3.00", "TO:SMTP:ann@example.com", "TO:X400:/c=US/a= /p=Northwind/o=SITEB/s=Kumar/g=Mira", "FROM:NET/PO1/ANN", "TEXT:0"), func(m *mmff.Message, _, _ string) bool {
			return m.To[0].Type == address.SMTP && m.To[1].Type == address.X400
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, bad := decode(t, c.in, mmff.Options{})
			if len(good) != 1 || len(bad) != 0 {
				t.Fatalf("got %d good, bad %v", len(good), bad)
			}
			m, att := good[0], ""
			if len(m.Attachments) > 0 {
				att = contents(t, m.Attachments[0].Content)
			}
			if text := contents(t, m.Text); !c.check(m, text, att) {
				t.Errorf("got %+v, text %q, attachment %q", m, text, att)
			}
		})
	}
}

func TestBadMessagesLeaveTheirNeighbours(t *testing.T) {
	one, two, three := plain("one", "1\r\n"), plain("two", "22\r\n"), plain("three", "3")
	inner := plain("inner", "an old message, forwarded as a file\r\n")
	broken := func(s string) string { return strings.Replace(s, "TEXT:", "TEXT:x", 1) }
	known := strings.Replace(two, "SUBJECT", "COLOUR", 1) // its end is known all the same
	for _, c := range []struct {
		name string
		in   []string
		bad  []int // which of in are bad; -1 joins its neighbours to one bad message
	}{
		{"the first of three, its end known", []string{known, one, three}, []int{0}},
		{"the middle of three, its end known", []string{one, known, three}, []int{1}},
		{"the last of three, its end known", []string{one, three, known}, []int{2}},
		{"the middle of three, its end unknown", []string{one, broken(two), three}, []int{1}},
		{"the first of three, its end unknown", []string{broken(two), one, three}, []int{0}},
		{"two whose ends are known, and one whose is not", []string{known, broken(two), known, one}, []int{0, 1, 2}},
		{"a size beyond the file in the middle", []string{one, strings.Replace(two, "TEXT:4", "TEXT:4444", 1), three}, []int{1}},
		{"a message without TEXT", []string{one, lines("VERSION:3.00", "TO:NET/PO2/BOB", "FROM:NET/PO1/ANN"), three}, []int{1}},
		{"junk in front", []string{"junk\r\n", one, two}, []int{0}},
		{"junk behind, the last data without line end", []string{one, three, "junk\r\n"}, []int{2}},
		{"two whose ends are unknown: what lies between cannot be told from their data", []string{one, broken(two), two, broken(two), three}, []int{1, -1, 2, -1, 3}},
		{"a file cut off within an attachment that is a file of messages", []string{one,
			lines("VERSION:3.00", "TO:NET/PO2/BOB", "FROM:NET/PO1/ANN", "ATTACHMENT:OLD.MSG 5000", "TEXT:0") + inner + inner + inner[:40]}, []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := strings.Join(c.in, "")
			var want [][2]int // offset and length of bad ones
			off, wantGood := 0, 0
			for i, s := range c.in {
				switch k := slices.Index(c.bad, i); {
				case k < 0:
					wantGood++
				case k > 0 && c.bad[k-1] == -1:
					want[len(want)-1][1] += len(s)
				default:
					want = append(want, [2]int{off, len(s)})
				}
				off += len(s)
			}
			good, bad := decode(t, file, mmff.Options{})
			var got [][2]int
			for _, b := range bad {
				got = append(got, [2]int{int(b.Place.Offset), int(b.Place.Length)})
			}
			if d := cmp.Diff(want, got); d != "" || len(good) != wantGood {
				t.Errorf("got %d good, want %d; bad ranges -want +got\n%s", len(good), wantGood, d)
			}
			for _, m := range good {
				if m.Subject == "inner" {
					t.Error("an attachment was taken for mail")
				}
			}
		})
	}
}

func TestFiftyAndFiftyOneMessages(t *testing.T) {
	for _, n := range []int{50, 51} {
		var b strings.Builder
		for i := range n {
			b.WriteString(plain(fmt.Sprint(i), "text"))
		}
		good, bad := decode(t, b.String(), mmff.Options{})
		if len(good) != n || len(bad) != 0 {
			t.Errorf("got %d good, %d bad of %d", len(good), len(bad), n)
		}
		if last := good[n-1]; last.Subject != fmt.Sprint(n-1) || last.Place.Number != n {
			t.Errorf("got %+v", last)
		}
	}
}

func TestRecipientsAreTakenUpToTheLimit(t *testing.T) {
	file := func(n int) string {
		var b strings.Builder
		b.WriteString("VERSION:3.00\nFROM:NET/PO1/ANN\n")
		for i := range n {
			fmt.Fprintf(&b, "TO:CSI:NET/PO2/U%d\n", i)
		}
		return b.String() + "TEXT:0\n"
	}
	good, _ := decode(t, file(5000), mmff.Options{})
	if len(good) != 1 || len(good[0].To) != 5000 {
		t.Fatalf("5000 recipients: got %d messages", len(good))
	}
	_, bad := decode(t, file(5001), mmff.Options{})
	if len(bad) != 1 || bad[0].Errors[0].Code != mmff.CodeTooMany || len(bad[0].Errors) != 1 || bad[0].Errors[0].Line != 5003 {
		t.Fatalf("5001 recipients: got %v", bad)
	}
}

func TestCCIsTakenWhereItIsAccepted(t *testing.T) {
	in := lines("VERSION:3.00", "TO:CSI:NET/PO2/BOB", "cc:CSI:NET/PO2/JIM", "FROM:CSI:NET/PO1/ANN", "TEXT:0")
	good, bad := decode(t, in, mmff.Options{AcceptCC: true})
	if len(bad) != 0 || len(good) != 1 || len(good[0].CC) != 1 || good[0].CC[0].Value != "NET/PO2/JIM" {
		t.Fatalf("got %v, %v", good, bad)
	}
}

func TestFilesBesideTheMessageAreTakenOnlyByPlainName(t *testing.T) {
	var asked []string
	opt := mmff.Options{Files: func(name string) (mail.Content, error) {
		asked = append(asked, name)
		switch name {
		case "BODY.TXT":
			return mmff.Bytes([]byte("the body")), nil
		case "PIC.GIF":
			return mmff.Bytes([]byte("GIF89a")), nil
		case "SECRET.MSG":
			return nil, mmff.ErrRefused
		case "BROKEN.TXT":
			return nil, errors.New("i/o error")
		}
		return nil, fs.ErrNotExist
	}}
	head := lines("VERSION:3.00", "TO:CSI:NET/PO2/BOB", "FROM:CSI:NET/PO1/ANN")
	good, bad := decode(t, head+lines("XATTACH:PIC.GIF,my picture.gif", "ATTACHMENT:A.TXT 1", "XATTACH:PIC.GIF", "XTEXT:BODY.TXT")+"a"+plain("next", ""), opt)
	if len(good) != 2 || len(bad) != 0 {
		t.Fatalf("got %d good, %v", len(good), bad)
	}
	m := good[0]
	if got := contents(t, m.Text); got != "the body" {
		t.Errorf("got text %q", got)
	}
	for i, want := range []struct{ name, data string }{{"my picture.gif", "GIF89a"}, {"A.TXT", "a"}, {"PIC.GIF", "GIF89a"}} {
		if got := m.Attachments[i]; got.Name != want.name || contents(t, got.Content) != want.data {
			t.Errorf("attachment %d: got %q", i, got.Name)
		}
	}
	if len(m.Notes) != 3 {
		t.Errorf("got notes %v", m.Notes)
	}

	asked = nil
	for _, name := range []string{"../../etc/passwd", "/etc/passwd", `C:\AUTOEXEC.BAT`, "C:BODY.TXT", `..\BODY.TXT`, "", ".", "..", "BODY.TXT ", "body.txt:stream",
		"CON", "con.txt", "LPT1.TXT", "A*.TXT", "LONGNAME99.TXT", "A.HTML", "BODY.", ".backbone", "BODY\x00.TXT", "a/b"} {
		_, bad := decode(t, head+lines("XTEXT:"+name), opt)
		if name == "BODY.TXT " {
			continue // outer blanks are the line's
		}
		if len(bad) != 1 || bad[0].Errors[0].Code != mmff.CodeExternalName {
			t.Errorf("XTEXT:%q: got %v", name, bad)
		}
	}
	if !slices.Equal(asked, []string{"BODY.TXT"}) {
		t.Errorf("asked for %q", asked)
	}
	for name, code := range map[string]int{"SECRET.MSG": mmff.CodeExternalName, "GONE.TXT": mmff.CodeTextFile} {
		if _, bad := decode(t, head+lines("XTEXT:"+name), opt); len(bad) != 1 || bad[0].Errors[0].Code != code {
			t.Errorf("XTEXT:%s: got %v, want %d", name, bad, code)
		}
	}
	if _, bad := decode(t, head+lines("XATTACH:GONE.TXT", "TEXT:0"), opt); len(bad) != 1 || bad[0].Errors[0].Code != mmff.CodeOpen {
		t.Errorf("XATTACH: got %v", bad)
	}

	// A disk that fails is no fault of the message.
	in := head + lines("XTEXT:BROKEN.TXT")
	_, err := mmff.NewDecoder(strings.NewReader(in), int64(len(in)), opt).Next()
	if _, isBad := errors.AsType[*mmff.Bad](err); err == nil || isBad {
		t.Errorf("got %v", err)
	}
}

// failing gives an error behind some octets, as a share that goes away.
type failing struct {
	io.ReaderAt
	from int64
	err  error
}

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.from {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, off)
}

func TestInputErrorsAreNotTheMessages(t *testing.T) {
	whole := plain("x", strings.Repeat("y", 20000))
	for _, size := range []int64{0, 50, 15000} {
		d := mmff.NewDecoder(failing{strings.NewReader(whole), size, errors.New("stale file handle")}, int64(len(whole)), mmff.Options{})
		m, err := d.Next()
		if err == nil {
			r, oerr := m.Text.Open()
			if oerr != nil {
				t.Fatal(oerr)
			}
			_, err = io.Copy(io.Discard, r)
		}
		if err == nil || !strings.Contains(err.Error(), "stale") {
			t.Errorf("input fails at %d: got %v", size, err)
		}
	}
	// The file became shorter after its size was asked: an error too, at once or while reading.
	for n := range len(whole) {
		if n > 100 && n < len(whole)-5 {
			continue
		}
		d := mmff.NewDecoder(strings.NewReader(whole[:n]), int64(len(whole)), mmff.Options{})
		m, err := d.Next()
		if err == nil {
			r, oerr := m.Text.Open()
			if oerr != nil {
				t.Fatal(oerr)
			}
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("file of %d octets now has %d: got %v", len(whole), n, err)
		}
	}
}

// sparse is a large file of which little is there.
type sparse struct{ head string }

func (s sparse) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(s.head)) {
		copy(b, s.head[off:])
	}
	return len(b), nil
}

func TestLargeMessagesCostNoMemory(t *testing.T) {
	const size = 35 << 20
	head := lines("VERSION:3.00", "TO:NET/PO2/BOB", "FROM:NET/PO1/ANN", fmt.Sprintf("ATTACHMENT:BIG.BIN %d", size), "TEXT:0")
	in := sparse{head}
	total := int64(len(head)) + size
	bytes := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			m, err := mmff.NewDecoder(in, total, mmff.Options{}).Next()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := mmff.Encode(io.Discard, m, mmff.EncodeOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if bytes > 256<<10 {
		t.Errorf("decoding and encoding an attachment of 35 MB takes %d octets of memory", bytes)
	}
}

// A file of nothing but beginnings must not make resynchronising quadratic.
func TestResynchronisingIsBoundedByTheFilesSize(t *testing.T) {
	head := strings.Repeat("TO:CSI:NET/PO2/BOB\r\n", 20)
	unit := "VERSION:3.00\r\n" + head + "TEXT:0\r\n"
	in := "VERSION:3.00\r\n" + strings.Repeat(unit, 20000) + "VERSION:3.00\r\nTEXT:1\r\n"
	reads := &countingReader{r: strings.NewReader(in)}
	d := mmff.NewDecoder(reads, int64(len(in)), mmff.Options{})
	if _, err := d.Next(); err == nil {
		t.Fatal("taken")
	}
	if limit := int64(len(in)) * 12; reads.n > limit {
		t.Errorf("read %d octets of a file of %d", reads.n, len(in))
	}
}

type countingReader struct {
	r io.ReaderAt
	n int64
}

func (c *countingReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(b, off)
	c.n += int64(n)
	return n, err
}

func TestWholeToldFromCutShort(t *testing.T) {
	two := plain("one", "1") + plain("two", "22")
	for n := range len(two) {
		ok, err := mmff.Whole(strings.NewReader(two[:n]), int64(n), mmff.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if atBoundary := n == len(plain("one", "1")); ok != atBoundary {
			t.Errorf("%d of %d octets: whole = %v", n, len(two), ok)
		}
	}
	bad := strings.Replace(two, "CSI", "XYZZYXYZZY", 1)
	if ok, err := mmff.Whole(strings.NewReader(bad), int64(len(bad)), mmff.Options{}); !ok || err != nil {
		t.Errorf("a bad message that is whole: got %v, %v", ok, err)
	}
}

package mmff_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// Whatever the octets: decoding ends, its messages and bad ones cover the file from its beginning without overlap,
// contents lie within the file, reasons are printable, and a good message can be written and read again.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		golden(f, "q103801.msg"), golden(f, "q117581.msg"), worked(mmff.CR, "44", "20"), worked(mmff.LF, "44", "20"),
		plain("one", "1") + plain("two", "2"),
		"VERSION:3.00\nTO:X400:/c=US/a= /p=N/s=K\nFROM:FAX:a^0Db\nXATTACH:A.TXT,b c\nXTEXT:B.TXT\n",
		"VERSION:3.00\r\nTEXT:x\r\nVERSION:3.00\r\nTO:A/B/C\r\nFROM:A/B/D\r\nTEXT:0\r\n",
	} {
		f.Add([]byte(s), 850, true)
		f.Add([]byte(s), 932, false)
	}
	f.Fuzz(func(t *testing.T, in []byte, number int, cc bool) {
		p, err := mmff.LookupCodePage(number)
		if err != nil {
			p = mmff.CP850
		}
		opt := mmff.Options{CodePage: p, AcceptCC: cc, MaxRecipients: 50, Files: func(name string) (mail.Content, error) {
			if !mmff.Plain83(name) {
				t.Errorf("asked for %q", name)
			}
			if strings.HasPrefix(name, "A") {
				return mmff.Bytes([]byte("abc")), nil
			}
			return nil, fs.ErrNotExist
		}}
		d := mmff.NewDecoder(bytes.NewReader(in), int64(len(in)), opt)
		at := int64(0)
		for n := 1; ; n++ {
			m, err := d.Next()
			if err == io.EOF {
				break
			}
			place := mmff.Place{}
			if bad, ok := errors.AsType[*mmff.Bad](err); ok {
				place = bad.Place
				if len(bad.Errors) == 0 || len(bad.Errors) > 20 || bad.Header == nil {
					t.Fatalf("bad message: %+v", bad)
				}
				for _, e := range bad.Errors {
					if strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
						t.Fatalf("reason %q", e.Error())
					}
					if e.Message != n || e.Offset < place.Offset || e.Offset > place.Offset+place.Length {
						t.Fatalf("error %+v in message %d at %+v", e, n, place)
					}
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				place = m.Place
				rewrite(t, m, p)
			}
			if place.Number != n || place.Offset != at || place.Length < 0 || place.Length == 0 && len(in) > 0 {
				t.Fatalf("message %d at %+v, want octet %d", n, place, at)
			}
			at += place.Length
		}
		if tail := in[min(at, int64(len(in))):]; at > int64(len(in)) || len(bytes.Trim(tail, "\r\n\x1a")) != 0 {
			t.Fatalf("decoded to octet %d of %d", at, len(in))
		}
		if _, err := mmff.Whole(bytes.NewReader(in), int64(len(in)), opt); err != nil {
			t.Fatal(err)
		}
	})
}

// rewrite checks that what was decoded survives being written.
func rewrite(t *testing.T, m *mmff.Message, p *mmff.CodePage) {
	want := viewOf(t, m)
	for _, a := range m.Attachments {
		if strings.Contains(a.Name, "\uFFFD") {
			return
		}
	}
	if strings.Contains(m.Subject, "\uFFFD") || len(m.CC) > 0 {
		return
	}
	m.LineEnd = mmff.CRLF // names may hold another mode's line ends
	want.LineEnd = m.LineEnd
	var out bytes.Buffer
	notes, err := mmff.Encode(&out, m, mmff.EncodeOptions{CodePage: p})
	if err != nil || len(notes) > 0 {
		return // dates with blanks, subjects over the limit: what is read is wider than what is written
	}
	d := mmff.NewDecoder(bytes.NewReader(out.Bytes()), int64(out.Len()), mmff.Options{CodePage: p})
	back, err := d.Next()
	if err != nil {
		t.Fatalf("written back as %q: %v", out.Bytes(), err)
	}
	if diff := cmp.Diff(want, viewOf(t, back)); diff != "" {
		t.Fatalf("written back: -want +got\n%s", diff)
	}
}

// Text written in any code page is whole characters of it, and reading it back loses nothing.
func FuzzEncodeText(f *testing.F) {
	f.Add("Grüße “x” 日本 e\u0301", 850)
	f.Add("か\u3099\xff\r\n", 932)
	f.Fuzz(func(t *testing.T, s string, number int) {
		p, err := mmff.LookupCodePage(number)
		if err != nil {
			p = mmff.CP850
		}
		b, loss := p.Encode(s)
		back, lost := p.Decode(b)
		if lost != 0 {
			t.Fatalf("%q became % X, which does not decode: %q", s, b, back)
		}
		if loss == (mmff.Loss{}) {
			if again, l := p.Encode(back); !bytes.Equal(again, b) || l != loss {
				t.Fatalf("%q: % X, then % X, %+v", s, b, again, l)
			}
		}
	})
}

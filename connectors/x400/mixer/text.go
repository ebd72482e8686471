package mixer

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p22"
	"backbone/gateway/address/t61"
	"backbone/gateway/mail"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// Registered character sets of general text (ISO register; RFC 2157 appendix). 1 and 6 are controls and ASCII, which
// every text has; Exchange refuses one without both 6 and 100 (KB Q156369).
var rightHalves = []struct {
	name string
	set  int64
	code encoding.Encoding
}{
	{"iso-8859-1", 100, charmap.ISO8859_1}, {"iso-8859-2", 101, charmap.ISO8859_2}, {"iso-8859-3", 109, charmap.ISO8859_3},
	{"iso-8859-4", 110, charmap.ISO8859_4}, {"iso-8859-5", 144, charmap.ISO8859_5}, {"iso-8859-6", 127, charmap.ISO8859_6},
	{"iso-8859-7", 126, charmap.ISO8859_7}, {"iso-8859-8", 138, charmap.ISO8859_8}, {"iso-8859-9", 148, charmap.ISO8859_9},
	{"iso-8859-15", 203, charmap.ISO8859_15},
}

const (
	setUTF8   = 196
	enterUTF8 = "\x1b%G" // ISO 2022: other coding system, UTF-8
	leaveUTF8 = "\x1b%@"
)

// charset finds an encoding by its MIME name; nil when it is UTF-8, ASCII or unknown.
func charset(name string) encoding.Encoding {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, r := range rightHalves {
		if r.name == name {
			return r.code // htmlindex takes iso-8859-1 for windows-1252
		}
	}
	switch name {
	case "", "us-ascii", "ascii", "utf-8":
		return nil
	case "cp437", "ibm437":
		return charmap.CodePage437
	case "cp850", "ibm850":
		return charmap.CodePage850
	case "cp852", "ibm852":
		return charmap.CodePage852
	case "cp865", "ibm865":
		return charmap.CodePage865
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	return e
}

// text writes a text part: IA5 when it is all ASCII, else general text in the set that has all of it, else in UTF-8.
func (m *Mapper) text(s *ber.Stream, name string, r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err != nil {
		return fmt.Errorf("mixer: text: %w", err)
	}
	if len(b) > maxText {
		m.Note(mail.Note{Field: "text", Action: mail.NoteChanged, Detail: "a text this long goes as a file"})
		p22.PartFile(s, p22.BodyPart{Filename: "text.txt"}, io.MultiReader(bytes.NewReader(b), r))
		return s.Err()
	}
	if ascii(b) {
		p22.PartIA5(s, bytes.NewReader(b))
		return s.Err()
	}
	code := charset(name)
	if code == nil && !utf8.Valid(b) {
		code = charmap.Windows1252 // what 8 bits without a name mostly are
		m.Note(mail.Note{Field: "text", Action: mail.NoteChanged, Detail: fmt.Sprintf("octets above 127 without a known character set (%q) were taken for windows-1252", name)})
	}
	if code != nil {
		if b, err = code.NewDecoder().Bytes(b); err != nil {
			return fmt.Errorf("mixer: text in %s: %w", name, err)
		}
	}
	if m.Options.Stack1984 {
		down := strings.Map(func(r rune) rune {
			if r >= 0x80 {
				return '?'
			}
			return r
		}, string(b))
		m.Note(mail.Note{Field: "text", Action: mail.NoteLost, Detail: "characters outside IA5, which is all that 1984 has"})
		p22.PartIA5(s, strings.NewReader(down))
		return s.Err()
	}
	for _, r := range rightHalves {
		if out, err := r.code.NewEncoder().Bytes(b); err == nil && !control(out) {
			p22.PartGeneral(s, []int64{1, 6, r.set}, bytes.NewReader(out))
			return s.Err()
		}
	}
	p22.PartGeneral(s, []int64{1, 6, setUTF8}, io.MultiReader(strings.NewReader(enterUTF8), bytes.NewReader(b), strings.NewReader(leaveUTF8)))
	return s.Err()
}

// control tells octets that a reader of ISO 2022 would take for something else.
func control(b []byte) bool { return bytes.IndexByte(b, 0x1b) >= 0 }

// textOf gives a text part in UTF-8.
func textOf(p p22.BodyPart) string {
	var b bytes.Buffer
	for i, d := range p.Data {
		if i > 0 {
			b.WriteString("\f") // between the pages of teletex
		}
		if err := d.WriteOctets(&b); err != nil {
			break
		}
	}
	switch p.Kind {
	case p22.Teletex:
		return t61.Decode(b.Bytes())
	case p22.IA5:
		return latin(b.Bytes(), charmap.ISO8859_1)
	}
	raw := b.Bytes()
	if rest, ok := bytes.CutPrefix(raw, []byte(enterUTF8)); ok {
		rest = bytes.TrimSuffix(rest, []byte(leaveUTF8))
		return strings.ToValidUTF8(string(rest), "?")
	}
	code := encoding.Encoding(charmap.ISO8859_1)
	for _, set := range p.Sets {
		if set == setUTF8 {
			return strings.ToValidUTF8(string(raw), "?")
		}
		for _, r := range rightHalves {
			if r.set == set {
				code = r.code
			}
		}
	}
	return latin(withoutEscapes(raw), code)
}

func latin(b []byte, code encoding.Encoding) string {
	if ascii(b) {
		return string(b)
	}
	out, err := code.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "?")
	}
	return string(out)
}

// withoutEscapes strips ISO 2022 escape sequences, which some peers write before text (KB Q151417).
func withoutEscapes(b []byte) []byte {
	if !control(b) {
		return b
	}
	var out []byte
	for i := 0; i < len(b); i++ {
		if b[i] != 0x1b {
			out = append(out, b[i])
			continue
		}
		for i++; i < len(b) && b[i] >= 0x20 && b[i] < 0x30; i++ {
		}
	}
	return out
}

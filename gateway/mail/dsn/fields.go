package dsn

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"backbone/gateway/address"
)

// FormatAddress is the typed form of RFC 3464 2.3.1: "rfc822; a@b", "x400; c=US;...", "ms; NET/PO/MBX". An SMTP
// address beyond ASCII has type utf-8 and RFC 6533's \x{HEX} escapes. Neither "ms" nor "x400" is registered with
// IANA for this use; X.400 has the spelling that MIXER gateways write (RFC 2156), "ms" is ours.
func FormatAddress(a address.Address) string {
	switch a.Type {
	case "":
		return "unknown; "
	case address.SMTP:
		if !ascii(a.Value) {
			return "utf-8; " + escapeUTF8(a.Value)
		}
		return "rfc822; " + a.Value
	}
	return strings.ToLower(oneWord(string(a.Type))) + "; " + a.Value
}

// ParseAddress reads a typed address; blanks after the semicolon are optional, as in RFC 3461's ORCPT. A bare
// address with an @ is taken for rfc822. Anything else is the zero Address. The value is not validated: it comes from
// a foreign report and serves people and comparison.
func ParseAddress(s string) address.Address {
	typ, value, ok := strings.Cut(s, ";")
	typ, value = strings.TrimSpace(typ), clean(value)
	if !ok || strings.Contains(typ, "@") {
		value = strings.Trim(clean(s), "<>")
		if !strings.Contains(value, "@") {
			return address.Address{}
		}
		return address.Address{Type: address.SMTP, Value: lowerDomain(value)}
	}
	switch typ = strings.ToUpper(oneWord(typ)); {
	case value == "" || typ == "UNKNOWN" || typ == "":
		return address.Address{}
	case typ == "RFC822":
		return address.Address{Type: address.SMTP, Value: lowerDomain(strings.Trim(value, "<>"))}
	case typ == "UTF-8":
		return address.Address{Type: address.SMTP, Value: lowerDomain(unescapeUTF8(value))}
	case len(typ) > 8:
		return address.Address{}
	}
	return address.Address{Type: address.Type(typ), Value: value}
}

func lowerDomain(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	return s[:at] + strings.ToLower(s[at:])
}

// escapeUTF8 and unescapeUTF8 are RFC 6533's utf-8-addr-xtext.
func escapeUTF8(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r <= 0x20 || r >= 0x7f || r == '\\' || r == '+' || r == '=' {
			fmt.Fprintf(&b, `\x{%X}`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unescapeUTF8(s string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		hex, rest, ok := strings.Cut(after, "}")
		n, err := strconv.ParseUint(hex, 16, 21)
		if !ok || err != nil || !utf8.ValidRune(rune(n)) || unicode.IsControl(rune(n)) {
			b.WriteString(`\x{`)
			s = after
			continue
		}
		b.WriteRune(rune(n))
		s = rest
	}
}

func parseMTA(s string) MTA {
	typ, name, ok := strings.Cut(s, ";")
	if !ok {
		typ, name = "", typ
	}
	m := MTA{Type: strings.ToLower(oneWord(typ)), Name: clean(name)}
	if m.Type == "dns" || m.Name == "" {
		m.Type = ""
	}
	return m
}

// clean makes foreign text safe for a header field and a terminal: valid UTF-8, no control characters, no
// directional overrides, no blanks at the ends.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '\ufffd'
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// longestWord is the longest run without a blank that a folded line can hold beside its field name.
const longestWord = 900

// encodeText writes a field's text as it is when it is plain, else as RFC 2047 encoded words. Text that could be taken
// for an encoded word, or that folding could not break, is encoded too, so that decodeText gives back exactly s.
func encodeText(s string) string {
	plain := ascii(s) && !strings.Contains(s, "=?") && !strings.Contains(s, "  ")
	for w := range strings.SplitSeq(s, " ") {
		plain = plain && len(w) <= longestWord
	}
	if plain {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		n := 0
		for n < len(s) {
			_, size := utf8.DecodeRuneInString(s[n:])
			if n+size > 42 { // 42 octets are 56 in base64: 68 with the frame, under RFC 2047's 75
				break
			}
			n += size
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(s[:n])) + "?=")
		s = s[n:]
	}
	return b.String()
}

// words decodes RFC 2047; a charset that the standard library lacks leaves the text as it is.
var words mime.WordDecoder

func decodeText(s string) string {
	if d, err := words.DecodeHeader(s); err == nil {
		s = d
	}
	return clean(s)
}

// field writes "Name: value" folded at blanks to 76 columns where it can be. An empty value writes nothing.
func field(b *strings.Builder, name, value string) {
	if value == "" {
		return
	}
	b.WriteString(name + ":")
	column := len(name) + 1
	for i, w := range strings.Split(value, " ") {
		if i > 0 && w != "" && column+1+len(w) > 76 {
			b.WriteString("\r\n")
			column = 0
		}
		b.WriteString(" " + w)
		column += 1 + len(w)
	}
	b.WriteString("\r\n")
}

// oneWord is clean text without blanks, for identifiers and types.
func oneWord(s string) string {
	return strings.Join(strings.FieldsFunc(clean(s), isBlankOrBracket), "")
}

func isBlankOrBracket(r rune) bool { return unicode.IsSpace(r) || r == '<' || r == '>' || r > 126 }

// addressField and MTA.field encode the value only, so that a stranger still reads the type.
func addressField(a address.Address) string {
	typ, value, _ := strings.Cut(FormatAddress(address.Address{Type: a.Type, Value: clean(a.Value)}), "; ")
	return typ + "; " + encodeText(value)
}

func (m MTA) field() string {
	name := clean(m.Name)
	if name == "" {
		return ""
	}
	typ := oneWord(m.Type)
	if typ == "" {
		typ = "dns"
	}
	return typ + "; " + encodeText(name)
}

// fieldTime is RFC 5322's date-time, "" for the zero time.
func fieldTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC1123Z)
}

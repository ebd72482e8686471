package downgrade

import (
	"mime"
	netmail "net/mail"
	"strings"
	"unicode/utf8"
)

// addressFields hold addresses; the other fields that hold more than words are Content-*.
var addressFields = map[string]bool{
	"from": true, "to": true, "cc": true, "bcc": true, "sender": true, "reply-to": true, "resent-from": true, "resent-to": true,
	"resent-cc": true, "resent-bcc": true, "resent-sender": true, "resent-reply-to": true, "return-path": true, "disposition-notification-to": true,
}

// AddressesBeyondASCII tells that a header's fields, each as one line, name mailboxes which only SMTPUTF8 can carry
// (RFC 6532). Names and comments beyond ASCII are no reason: they can be encoded.
func AddressesBeyondASCII(field []byte) bool {
	high, _ := octets(field)
	if n := nameLen(field); !high || !addressFields[strings.ToLower(string(field[:n]))] {
		return false
	}
	list, err := netmail.ParseAddressList(value(field))
	if err != nil {
		return false
	}
	for _, a := range list {
		if high, _ := octets([]byte(a.Address)); high {
			return true
		}
	}
	return false
}

// asciiField says the same in ASCII: names and texts as encoded words (RFC 2047), parameters in RFC 2231's form.
func asciiField(name string, f []byte) []byte {
	v, lower := value(f), strings.ToLower(name)
	out := name + ": "
	switch {
	case addressFields[lower]:
		list, err := netmail.ParseAddressList(v)
		if err != nil {
			out += encodeWords(v)
			break
		}
		for i, a := range list {
			if i > 0 {
				out += ",\n "
			}
			out += question(a.String())
		}
	case strings.HasPrefix(lower, "content-"):
		typ, params, err := mime.ParseMediaType(v)
		if err != nil || mime.FormatMediaType(typ, params) == "" {
			out += question(v)
			break
		}
		out += strings.ReplaceAll(mime.FormatMediaType(typ, params), "; ", ";\n ")
	default:
		out += encodeWords(v)
	}
	return []byte(out)
}

// encodeWords makes encoded words of what is beyond ASCII, with the blanks between two of them inside, since a reader
// drops the blanks between encoded words.
func encodeWords(s string) string {
	charset := "utf-8"
	if !utf8.ValidString(s) {
		charset = "unknown-8bit" // RFC 1428
	}
	words := strings.Split(s, " ")
	var out []string
	for i := 0; i < len(words); {
		j := i
		for j < len(words) && !isASCII(words[j]) {
			j++
		}
		if j == i {
			out = append(out, words[i])
			i++
			continue
		}
		out = append(out, strings.ReplaceAll(mime.QEncoding.Encode(charset, strings.Join(words[i:j], " ")), "?= =?", "?=\n =?"))
		i = j
	}
	return strings.Join(out, " ")
}

func isASCII(s string) bool {
	high, _ := octets([]byte(s))
	return !high
}

// question replaces what is beyond ASCII.
func question(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// foldField gives a field with CRLF line ends and lines that SMTP carries. A CR inside it is a blank: as a line end it
// would begin another field.
func foldField(f []byte) string {
	var b strings.Builder
	b.Grow(len(f) + 8)
	for line := range strings.SplitSeq(string(f), "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.ContainsAny(line, "\r\x00") {
			line = strings.NewReplacer("\r", " ", "\x00", "?").Replace(line)
		}
		if b.Len() > 0 && strings.Trim(line, " \t") == "" {
			continue // a fold of blanks alone would look like the header's end to some
		}
		for len(line) > MaxLine {
			at := strings.LastIndexAny(line[1:MaxLine-1], " \t") + 1
			if at <= 1 {
				b.WriteString(line[:MaxLine-1] + "\r\n")
				line = " " + line[MaxLine-1:]
				continue
			}
			b.WriteString(line[:at] + "\r\n")
			line = line[at:]
		}
		b.WriteString(line + "\r\n")
	}
	return b.String()
}

package smtp

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// parseORCPT reads an ORCPT value, address-type ";" xtext (RFC 3461 4.2), and gives it with the xtext undone. Any
// address type is taken. An address of type utf-8 has its own encoding (RFC 6533 3) and stays as it is.
func parseORCPT(s string) (string, error) {
	typ, value, ok := strings.Cut(s, ";")
	if !ok || typ == "" || value == "" || len(s) > 3000 {
		return "", errors.New("ORCPT is not type;address")
	}
	for i := range len(typ) {
		if c := typ[i] | 0x20; (c < 'a' || c > 'z') && (typ[i] < '0' || typ[i] > '9') && typ[i] != '-' {
			return "", errors.New("ORCPT has a malformed address type")
		}
	}
	if strings.EqualFold(typ, "utf-8") {
		if !utf8.ValidString(value) {
			return "", errors.New("ORCPT is not UTF-8")
		}
		return s, nil
	}
	value, ok = decodeXtext(value)
	if !ok {
		return "", errors.New("ORCPT is not xtext")
	}
	return typ + ";" + value, nil
}

// formatORCPT is the ORCPT parameter's value for what parseORCPT gave, or "" when there is none or it can't be sent.
func formatORCPT(orcpt string, smtputf8 bool) string {
	typ, value, ok := strings.Cut(orcpt, ";")
	value = strings.TrimSpace(value)
	if !ok || typ == "" || value == "" || strings.ContainsAny(typ, " =+") {
		return ""
	}
	if strings.EqualFold(typ, "utf-8") {
		if strings.ContainsAny(value, " \r\n") || !smtputf8 && !ascii([]byte(value)) {
			return ""
		}
		return typ + ";" + value
	}
	if !ascii([]byte(value)) {
		return ""
	}
	return typ + ";" + encodeXtext(value)
}

// decodeXtext undoes RFC 3461's xtext. An equals sign is tolerated. Only printable ASCII comes out.
func decodeXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			hi, ok1 := hexDigit(s[i+1])
			lo, ok2 := hexDigit(s[i+2])
			if !ok1 || !ok2 {
				return "", false
			}
			c = hi<<4 | lo
			i += 2
		}
		if c < ' ' || c > '~' {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

func encodeXtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= '!' && c <= '~' && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}

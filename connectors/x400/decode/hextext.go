package decode

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// octets gives what b says when it is text: hex digits in any grouping ("30 80 a0", "3080a0", "30:80:a0", "0x30, 0x80"), or
// the dumps of xxd, hexdump -C, od -Ax -tx1 and tshark -x with their offsets. Anything else is taken as it is.
func octets(b []byte) ([]byte, error) {
	text := string(bytes.TrimSpace(b))
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r > '~' || (r < ' ' && !unicode.IsSpace(r)) }) {
		return b, nil
	}
	lines := strings.Split(text, "\n")
	if out, ok, err := dump(lines); ok || err != nil {
		return out, err
	}
	digits := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == ':' || r == ',' {
			return -1
		}
		return r
	}, strings.NewReplacer("0x", "", "0X", "").Replace(text))
	out, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("decode: neither a capture file nor an encoding, and no hex text: %w", err)
	}
	return out, nil
}

// dump reads lines of an offset, octets and perhaps their characters. ok is false when the first lines' offsets don't
// count octets: then it is no dump.
func dump(lines []string) (out []byte, ok bool, err error) {
	for n, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		offset, rest, _ := strings.Cut(line, " ")
		if offset == "*" {
			return nil, true, fmt.Errorf("decode: line %d of the hex dump stands for lines left out: make it with -v", n+1)
		}
		at, perr := strconv.ParseInt(strings.TrimSuffix(offset, ":"), 16, 64)
		if len(offset) < 4 || perr != nil || at != int64(len(out)) {
			if ok {
				return nil, true, fmt.Errorf("decode: line %d of the hex dump begins with %.20q, not with offset %x", n+1, offset, len(out))
			}
			return nil, false, nil
		}
		ok = true
		column, err := hex.DecodeString(strings.ReplaceAll(dumped(rest, strings.HasSuffix(offset, ":")), " ", ""))
		if err != nil {
			return nil, true, fmt.Errorf("decode: line %d of the hex dump: %w", n+1, err)
		}
		out = append(out, column...)
	}
	return out, ok, nil
}

// dumped cuts the characters off a dump's line. They stand behind two blanks or more; hexdump -C has two in the middle as
// well, but sets bars around the characters.
func dumped(rest string, xxd bool) string {
	rest = strings.TrimLeft(rest, " ")
	if before, _, bars := strings.Cut(rest, "  |"); bars && !xxd && strings.HasSuffix(rest, "|") {
		return before
	}
	before, _, _ := strings.Cut(rest, "  ")
	return before
}

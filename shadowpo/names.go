package shadowpo

import (
	"io/fs"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// splitName gives stem and extension with its dot, both in capitals: DOS and shares do not tell case apart, and
// agents write all upper or all lower (KB Q95521).
func splitName(name string) (stem, ext string) {
	name = strings.ToUpper(name)
	ext = filepath.Ext(name)
	return strings.TrimSuffix(name, ext), ext
}

// withExt replaces the extension of a name, in the name's own case, which a case-telling file system needs.
func withExt(name, ext string) string {
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	if stem == strings.ToLower(stem) && stem != strings.ToUpper(stem) {
		ext = strings.ToLower(ext)
	}
	return stem + ext
}

const nameDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford: no I, L, O, U

// numberName is a number of 40 bits as eight characters. Names of delivered files are such numbers, rising, so that
// an agent that takes files by name takes them in our order.
func numberName(n uint64) string {
	var b [8]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = nameDigits[n&31]
		n >>= 5
	}
	return string(b[:])
}

func nameNumber(stem string) (uint64, bool) {
	if len(stem) != 8 {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(stem); i++ {
		v := strings.IndexByte(nameDigits, stem[i])
		if v < 0 {
			return 0, false
		}
		n = n<<5 | uint64(v)
	}
	return n, true
}

// clockNumber is the time in hundredths of a second since 2020: 40 bits of it last 348 years. Starting from the
// clock keeps names rising even when the journal was lost; the journal keeps them rising when the clock goes back.
func clockNumber(t time.Time) uint64 {
	d := t.Sub(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	return max(firstNumber, uint64(max(d, 0)/(10*time.Millisecond))&(1<<40-1))
}

// firstNumber is below every name of ours: 2026, whatever the clock says. A writer that counts its files from one has
// no such names.
const firstNumber = 6 * 365 * 24 * 3600 * 100

// kindOf names what a directory entry is when it is not a file.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}

// printable makes hostile text fit for a log line, a terminal or a reason file: no controls, no invisible or
// direction-changing characters, one line.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\t' || r == '\r' || r == '\n' {
			return ' '
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s))
}

package translate

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxName is how many characters an attachment's name keeps. *Ours:* FFAPI's own limit is not public.
const maxName = 100

// SafeName makes a file name of what a stranger calls one: its last path element, without control characters,
// directional overrides, the characters that DOS forbids, drive letters, streams (a:b), runs of blanks, blanks or dots at
// the ends, and not a device. A name of which nothing is left becomes "". It is for showing and suggesting: nothing of ours opens it.
func SafeName(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	if len(name) > 1 && name[1] == ':' { // C:COUNTS.TXT
		name = name[2:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '_'
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			return -1
		case strings.ContainsRune(`<>|"?*:`, r):
			return '_'
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, name)
	name = strings.TrimRight(strings.Join(strings.Fields(name), " "), " .")
	if device(name) {
		name = "_" + name
	}
	return strings.TrimRight(shorten(name, maxName), " .")
}

// device tells the names that DOS and Windows give to devices, whatever their extension.
func device(name string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch base = strings.TrimRight(base, " "); base {
	case "CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$":
		return true
	}
	if n, ok := strings.CutPrefix(base, "COM"); ok || strings.HasPrefix(base, "LPT") {
		if !ok {
			n = base[3:]
		}
		return utf8.RuneCountInString(n) == 1 && strings.Contains("123456789¹²³", n)
	}
	return false
}

// shorten cuts the part before the extension.
func shorten(name string, limit int) string {
	if utf8.RuneCountInString(name) <= limit {
		return name
	}
	base, ext := splitName(name)
	ext = cut(ext, 16)
	return cut(base, limit-utf8.RuneCountInString(ext)) + ext
}

// splitName parts COUNTS.TXT into COUNTS and .TXT.
func splitName(name string) (base, ext string) {
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return name[:i], name[i:]
	}
	return name, ""
}

// dosName is name in eight and three characters, for post offices whose clients know no others.
func dosName(name string) string {
	base, ext := splitName(name)
	base, ext = dosPart(base, 8), dosPart(strings.TrimPrefix(ext, "."), 3)
	if base == "" {
		base = "FILE"
	}
	if device(base) {
		base = "_" + base[:min(len(base), 7)]
	}
	if ext != "" {
		ext = "." + ext
	}
	return base + ext
}

func dosPart(s string, limit int) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(s) {
		if b.Len() == limit {
			break
		}
		r = unicode.ToUpper(r)
		switch {
		case r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-$~!#%&'()@^`{}", r)):
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r), r == ' ', r == '.':
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

// nameSet gives each attachment of a message a name of its own: post offices save them side by side.
type nameSet struct {
	dos  bool
	seen map[string]bool
}

func (n *nameSet) take(name string) string {
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	if n.dos {
		name = dosName(name)
	}
	base, ext := splitName(name)
	for i := 2; n.seen[strings.ToUpper(name)]; i++ {
		tail := fmt.Sprintf("~%d", i)
		limit := maxName - len(ext)
		if n.dos {
			limit = 8
		}
		name = string([]rune(base)[:min(utf8.RuneCountInString(base), limit-len(tail))]) + tail + ext
	}
	n.seen[strings.ToUpper(name)] = true
	return name
}

// types by extension. The table is here and not the machine's, so that the same input gives the same bytes everywhere.
// A message/* or multipart/* type is never given: it could not be carried in base64 (RFC 2046 5.2.1).
var types = []struct{ ext, typ string }{
	{".TXT", "text/plain"}, {".HTM", "text/html"}, {".HTML", "text/html"}, {".CSV", "text/csv"}, {".RTF", "application/rtf"},
	{".ICS", "text/calendar"}, {".VCF", "text/vcard"}, {".XML", "application/xml"},
	{".DOC", "application/msword"}, {".XLS", "application/vnd.ms-excel"}, {".PPT", "application/vnd.ms-powerpoint"},
	{".MPP", "application/vnd.ms-project"}, {".WRI", "application/x-mswrite"}, {".MDB", "application/x-msaccess"},
	{".PDF", "application/pdf"}, {".PS", "application/postscript"}, {".ZIP", "application/zip"},
	{".GIF", "image/gif"}, {".JPG", "image/jpeg"}, {".JPEG", "image/jpeg"}, {".PNG", "image/png"}, {".TIF", "image/tiff"},
	{".TIFF", "image/tiff"}, {".BMP", "image/bmp"}, {".PCX", "image/x-pcx"}, {".WAV", "audio/x-wav"}, {".AVI", "video/x-msvideo"},
	{".P7S", "application/pkcs7-signature"}, {".P7M", "application/pkcs7-mime"},
}

// tnefName is the hidden attachment in which Windows clients keep rich text (KB Q148515, Q126648).
const (
	tnefName = "WINMAIL.DAT"
	tnefType = "application/ms-tnef"
)

func typeOf(name string) string {
	name = strings.ToUpper(name)
	if name == tnefName {
		return tnefType
	}
	_, ext := splitName(name)
	for _, t := range types {
		if t.ext == ext {
			return t.typ
		}
	}
	return "application/octet-stream"
}

// nameless is what a part without a name of its own is called.
func nameless(typ string, number int) string {
	switch typ {
	case tnefType, "application/vnd.ms-tnef":
		return tnefName
	case "message/rfc822", "message/global":
		return fmt.Sprintf("MSG%05d.EML", number)
	case "message/delivery-status", "message/disposition-notification":
		return fmt.Sprintf("DTL%05d.TXT", number)
	}
	for _, t := range types {
		if t.typ == typ {
			return fmt.Sprintf("ATT%05d%s", number, t.ext)
		}
	}
	return fmt.Sprintf("ATT%05d.DAT", number)
}

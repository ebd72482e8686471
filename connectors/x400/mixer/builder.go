package mixer

import (
	"bytes"
	"mime"
	"strings"
)

// builder collects header fields. Nothing that it is given can begin a field of its own.
type builder struct {
	bytes.Buffer
	contentType string
}

// field adds a field unless its value is empty. Lines of the value go on after CRLF and a blank.
func (b *builder) field(name, value string) {
	if value == "" {
		return
	}
	var out []string
	for _, line := range strings.Split(value, "\r\n") {
		out = append(out, clean(line))
	}
	b.WriteString(name + ": " + strings.TrimLeft(strings.Join(out, "\r\n "), " ") + "\r\n")
	if strings.EqualFold(name, "Content-Type") {
		b.contentType = value
	}
}

// clean takes out what would end a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

func encodeWords(s string) string {
	if s == "" {
		return ""
	}
	return mime.QEncoding.Encode("utf-8", clean(s))
}

// verbatim adds a field that came whole, folded as it was, when it is one and may stand in a message's header: none that
// describes the body, and none that is there already, except those that may be many.
func (b *builder) verbatim(field string, seen map[string]bool) {
	name, value, ok := strings.Cut(field, ":")
	key := strings.ToLower(name)
	if !ok || !token(name) || strings.HasPrefix(key, "content-") || key == "mime-version" || key == "bcc" {
		return
	}
	if seen[key] && key != "received" && key != "comments" && key != "keywords" && !strings.HasPrefix(key, "resent-") {
		return
	}
	seen[key] = true
	b.WriteString(name + ":" + folded(value) + "\r\n")
}

// folded keeps the folds of a value and nothing else that ends a line.
func folded(value string) string {
	lines := strings.Split(strings.ReplaceAll(value, "\r\n", "\n"), "\n")
	out := clean(lines[0])
	for _, l := range lines[1:] {
		l = clean(l)
		if strings.TrimSpace(l) == "" {
			continue
		}
		if l[0] != ' ' && l[0] != '\t' {
			l = " " + l
		}
		out += "\r\n" + l
	}
	return out
}

func token(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return s != ""
}

// partFields adds the fields that a part had, of those that may describe one.
func (b *builder) partFields(fields string) {
	for _, f := range unfold(fields) {
		name, value, ok := strings.Cut(f, ":")
		key := strings.ToLower(name)
		if !ok || !token(name) || (!strings.HasPrefix(key, "content-") && key != "x-mmff-name" && key != "x-mmff-body") || key == "content-transfer-encoding" {
			continue
		}
		v := folded(value)
		if key == "content-type" {
			t := strings.ToLower(strings.TrimSpace(v))
			if b.contentType != "" || strings.HasPrefix(t, "multipart/") || strings.HasPrefix(t, "message/") {
				continue
			}
			b.contentType = strings.TrimSpace(strings.ReplaceAll(v, "\r\n", ""))
		}
		b.WriteString(name + ":" + v + "\r\n")
	}
}

// unfold cuts a header into fields, each with its folds.
func unfold(s string) []string {
	var out []string
	for _, line := range strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
		switch {
		case line == "":
		case (line[0] == ' ' || line[0] == '\t') && len(out) > 0:
			out[len(out)-1] += "\n" + line
		default:
			out = append(out, line)
		}
	}
	return out
}

// drop takes out a field.
func (b *builder) drop(name string) {
	kept := unfold(b.String())
	b.Reset()
	for _, f := range kept {
		if n, _, _ := strings.Cut(f, ":"); !strings.EqualFold(n, name) {
			b.WriteString(strings.ReplaceAll(f, "\n", "\r\n") + "\r\n")
		}
	}
	if strings.EqualFold(name, "Content-Type") {
		b.contentType = ""
	}
}

// names are the fields that were added, in lower case.
func (b *builder) names() map[string]bool {
	out := map[string]bool{}
	for _, f := range unfold(b.String()) {
		n, _, _ := strings.Cut(f, ":")
		out[strings.ToLower(n)] = true
	}
	return out
}

package mixer

import (
	"strings"

	"backbone/connectors/x400/p22"
)

// The P2 of 1984 has no heading extensions. Between two gateways of our kind the fields for which a heading has no place go
// in a first text part instead, marked as RFC 987 and RFC 1327 mark the fields that they put there. What follows the mark
// is *ours*: the message's fields, then the fields of each body part, with an empty line between.
const (
	besideMark = "RFC-822-HEADERS:\r\n"
	besideGap  = "\r\n\r\n"
)

// beside tells that fields go, or came, in a part of their own.
func (m *Mapper) beside() bool { return m.Options.Stack1984 && !m.Theirs.IsZero() }

// fieldsPart writes that part. It is never left out, so that no text of a user's can be taken for it.
func (w *walker) fieldsPart(h *p22.Heading) {
	if !w.m.beside() {
		return
	}
	sections := []string{strings.Join(h.Fields(p22.HeaderFields), "\r\n")}
	for _, part := range h.Fields(p22.PartFields) {
		sections = append(sections, strings.TrimSuffix(part, "\r\n"))
	}
	p22.PartIA5(w.s, strings.NewReader(besideMark+strings.Join(sections, besideGap)))
}

// withFields gives ipm as if the fields in its first part had come in the heading's extensions; ipm itself when it has no such
// part. Only a gateway of our kind is believed: anybody's text could begin so.
func (m *Mapper) withFields(ipm *p22.IPM) *p22.IPM {
	if !m.beside() || len(ipm.Body) == 0 || ipm.Body[0].Kind != p22.IA5 {
		return ipm
	}
	var text strings.Builder
	if size := ipm.Body[0].Size(); size > maxHeader+maxHeader/16*maxParts || ipm.Body[0].Octets(&text) != nil {
		return ipm
	}
	sections, ok := strings.CutPrefix(text.String(), besideMark)
	if !ok {
		return ipm
	}
	all := strings.Split(sections, besideGap)
	out := *ipm
	out.Body = ipm.Body[1:]
	parts := all[1:]
	for i := range parts {
		if parts[i] != "" {
			parts[i] += "\r\n"
		}
	}
	if err := addFields(&out.Heading, unfoldRaw(all[0]), parts); err != nil {
		return ipm
	}
	return &out
}

// unfoldRaw cuts a header into fields, each with its folds as they stand.
func unfoldRaw(header string) []string {
	fields := unfold(header)
	for i := range fields {
		fields[i] = strings.ReplaceAll(fields[i], "\n", "\r\n")
	}
	return fields
}

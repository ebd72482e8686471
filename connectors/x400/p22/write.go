package p22

import (
	"io"
	"strings"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/gateway/address"
)

// WriteIPM writes an interpersonal message to s: its heading, then the body that body writes with the Part functions.
func WriteIPM(s *ber.Stream, h *Heading, o p1.Options, body func()) {
	writeIPM(s, ber.Context(0), h, o, body)
}

func writeIPM(s *ber.Stream, t ber.Tag, h *Heading, o p1.Options, body func()) {
	s.Cons(t, func() {
		s.Write(func(w *ber.Writer) { h.write(w, o) })
		s.Cons(ber.Sequence, body)
	})
}

// PartIA5 writes an IA5 text part; r gives 7-bit text.
func PartIA5(s *ber.Stream, r io.Reader) {
	s.Cons(ber.Context(0), func() {
		s.Write(func(w *ber.Writer) { w.Cons(ber.Set, func() { w.Int(ber.Context(0), 5) }) })
		s.Octets(ber.IA5String, r)
	})
}

// PartGeneral writes a general text part in the registered sets; r gives the octets.
func PartGeneral(s *ber.Stream, sets []int64, r io.Reader) {
	s.Cons(ber.Context(15), func() {
		s.Write(func(w *ber.Writer) {
			w.External(ber.Context(0), epGeneralText, -1, func() {
				w.Cons(ber.Set, func() {
					for _, n := range sets {
						w.Int(ber.Integer, n)
					}
				})
			})
		})
		external(s, etGeneralText, func() { s.Octets(ber.GeneralString, r) })
	})
}

// external writes an EXTERNAL with a direct reference, whose value f writes.
func external(s *ber.Stream, oid ber.OID, f func()) {
	s.Cons(ber.ExternalType, func() {
		s.Write(func(w *ber.Writer) { w.OID(ber.ObjectIdentifier, oid) })
		s.Cons(ber.Context(0), f)
	})
}

// PartBilateral writes octets without attributes, all that 1984 has for a file.
func PartBilateral(s *ber.Stream, r io.Reader) {
	s.Octets(ber.Context(14), r)
}

// PartFile writes a file; of p Filename and Description count.
func PartFile(s *ber.Stream, p BodyPart, r io.Reader) {
	s.Cons(ber.Context(15), func() {
		s.Write(func(w *ber.Writer) {
			w.External(ber.Context(0), epFile, -1, func() { p.parameters(w) })
		})
		external(s, etFile, func() {
			s.Cons(ber.Sequence, func() {
				s.Cons(ber.ExternalType, func() {
					s.Write(func(w *ber.Writer) { w.OID(ber.ObjectIdentifier, unstructured) })
					s.Octets(ber.Context(1), r)
				})
			})
		})
	})
}

func (p BodyPart) parameters(w *ber.Writer) {
	w.Cons(ber.Sequence, func() {
		if p.Description != "" {
			w.Cons(ber.Context(2), func() { // environment
				w.Cons(ber.Context(3), func() { w.Octets(ber.GraphicString, graphic(p.Description)) })
			})
		}
		if p.Filename != "" {
			w.Cons(ber.Context(4), func() { // file attributes, incomplete pathname
				w.Cons(ber.Context(0), func() { w.Octets(ber.GraphicString, graphic(p.Filename)) })
			})
		}
	})
}

// graphic is s as a GraphicString, in ASCII and ISO 8859-1; what that lacks becomes '_'.
func graphic(s string) []byte {
	var b []byte
	for _, r := range s {
		if r < 0x20 || r > 0xff || (r >= 0x7f && r < 0xa0) {
			r = '_'
		}
		b = append(b, byte(r))
	}
	return b
}

// PartMessage writes a forwarded message with the body that body writes.
func PartMessage(s *ber.Stream, h *Heading, o p1.Options, body func()) {
	s.Cons(ber.Context(9), func() {
		s.Raw([]byte{0x31, 0x00})
		writeIPM(s, ber.Sequence, h, o, body)
	})
}

// PartRaw writes a part that is encoded already.
func PartRaw(s *ber.Stream, raw []byte) { s.Raw(raw) }

// NewFields is the extension t, HeaderFields or PartFields.
func NewFields(t ber.OID, fields []string) (Extension, error) {
	var w ber.Writer
	w.Cons(ber.Sequence, func() {
		for _, f := range fields {
			w.Text(ber.IA5String, f)
		}
	})
	b, err := w.Bytes()
	return Extension{Type: t, Value: b}, err
}

// Fields are what the extension t carries; of HeaderFields also what HeaderField does.
func (h *Heading) Fields(t ber.OID) []string {
	var out []string
	for _, x := range h.Extensions {
		d := ber.NewDecoder(x.Value, Limits)
		var fields []string
		switch {
		case x.Type == t:
			for m := range d.Root().All() {
				fields = append(fields, strings.Clone(m.Text()))
			}
		case x.Type == HeaderField && t == HeaderFields:
			fields = append(fields, strings.Clone(d.Root().Text()))
		}
		if d.Err() == nil {
			out = append(out, fields...)
		}
	}
	return out
}

// NewIncompleteCopy says that parts are missing from a forwarded message.
func NewIncompleteCopy() Extension {
	return Extension{Type: IncompleteCopy, Value: []byte{0x05, 0}}
}

// NewLanguages is the extension for codes of two letters (ISO 639); false when one is something else.
func NewLanguages(codes []string) (Extension, bool) {
	var w ber.Writer
	ok := len(codes) > 0
	w.Cons(ber.Set, func() {
		for _, c := range codes {
			ok = ok && len(c) == 2 && address.PrintableString(c)
			w.Text(ber.PrintableString, c)
		}
	})
	b, err := w.Bytes()
	return Extension{Type: Languages, Value: b}, ok && err == nil
}

// Texts are the strings of an extension that is a list of such.
func (x Extension) Texts() []string {
	d := ber.NewDecoder(x.Value, Limits)
	var out []string
	for m := range d.Root().All() {
		out = append(out, strings.Clone(m.Text()))
	}
	if d.Err() != nil {
		return nil
	}
	return out
}

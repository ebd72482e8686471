package p22

import (
	"io"
	"strings"

	"backbone/connectors/x400/ber"
)

// Kind of a body part.
type Kind uint8

const (
	Opaque      Kind = iota // of a type that is not looked into; Raw has it
	IA5                     // text of 7 bits, lines ending in CRLF
	Teletex                 // T.61 pages
	GeneralText             // text with registered character sets
	Message                 // a forwarded message
	Bilateral               // bilaterally defined: octets (body part 14)
	File                    // file transfer (body part 15): octets with attributes
)

var kindNames = []string{"opaque", "ia5-text", "teletex", "general-text", "message", "bilaterally-defined", "file-transfer"}

func (k Kind) String() string { return kindNames[k] }

// BodyPart is one part of a body as it was read.
type BodyPart struct {
	Kind Kind
	Raw  []byte // the whole encoding
	// Data are the octets of text or of a file, to be read through WriteOctets; a teletex part has one for each page, a file may.
	Data []ber.Element
	Sets []int64 // GeneralText: registered character sets
	// File attributes.
	Filename    string
	Description string  // user-visible string of the environment
	Application ber.OID // application reference
	Message     *IPM
	// Type is the object identifier of an extended part, or the number of a basic one as text.
	Type string
}

// Octets writes the octets of text or of a file, piece by piece.
func (p BodyPart) Octets(w io.Writer) error {
	for _, d := range p.Data {
		if err := d.WriteOctets(w); err != nil {
			return err
		}
	}
	return nil
}

// Size is how many octets those are.
func (p BodyPart) Size() int64 {
	n := int64(0)
	for _, d := range p.Data {
		n += d.OctetLen()
	}
	return n
}

// Object identifiers (X.420 annex C).
const (
	etIA5         ber.OID = "2.6.1.4.0"
	etTeletex     ber.OID = "2.6.1.4.4"
	etMessage     ber.OID = "2.6.1.4.7"
	etBilateral   ber.OID = "2.6.1.4.9"
	etGeneralText ber.OID = "2.6.1.4.11"
	etFile        ber.OID = "2.6.1.4.12"
	epGeneralText ber.OID = "2.6.1.11.11"
	epFile        ber.OID = "2.6.1.11.12"
	unstructured  ber.OID = "1.0.8571.5.3"
)

// Heading extensions that RFC 5322 needs and X.420 lacks.
//
// HeaderFields is MIXER's rfc-822-field-list (RFC 1327 and RFC 2156, appendix D), a SEQUENCE OF IA5String: the header fields for
// which a heading has no place. Its identifier is the one that PP writes, whose authors wrote the RFCs; HeaderField is the single
// field that it also reads.
//
// PartFields is *ours*, since neither RFC 2156 nor RFC 2157 carries the fields of parts: a SEQUENCE OF IA5String with one for each
// body part, the fields that the part had in MIME. No number is registered for this program, so it has one that needs no
// registration, made of the UUID a224e164-ece3-44ee-8e3f-0def9033d98f (X.667: 2.25 and the UUID as one integer), then 1.
const (
	HeaderFields ber.OID = "0.9.2342.234219200300.200.1"
	HeaderField  ber.OID = "0.9.2342.234219200300.200.0"
	PartFields   ber.OID = "2.25.215526429542353912257708797439142779279.1"
)

// Heading extensions of X.420 (annex B) that have a header field (RFC 2156 5.1.1).
const (
	IncompleteCopy ber.OID = "2.6.1.5.0"
	Languages      ber.OID = "2.6.1.5.1"
)

func readBodyPart(e ber.Element) BodyPart {
	p := BodyPart{Raw: e.Raw, Type: strings.Trim(e.Tag.String(), "[]")}
	switch e.Tag {
	case ber.Context(0):
		p.text(e, IA5)
	case ber.Context(5):
		p.pages(e)
	case ber.Context(9):
		p.message(e)
	case ber.Context(14):
		p.Kind, p.Data = Bilateral, []ber.Element{e}
	case ber.Context(15):
		p.extended(e)
	}
	return p
}

// text reads a SEQUENCE of parameters and a string.
func (p *BodyPart) text(e ber.Element, k Kind) {
	p.Kind = k
	n := 0
	for m := range e.All() {
		if n++; n == 2 {
			p.Data = []ber.Element{m}
		}
	}
	if len(p.Data) == 0 {
		e.Failf("%s without text", k)
	}
}

func (p *BodyPart) pages(e ber.Element) {
	p.Kind = Teletex
	n := 0
	for m := range e.All() {
		if n++; n == 2 {
			for page := range m.All() {
				p.Data = append(p.Data, page)
			}
		}
	}
}

func (p *BodyPart) message(e ber.Element) {
	p.Kind = Message
	n := 0
	for m := range e.All() {
		if n++; n == 2 {
			p.Message = readIPM(m)
		}
	}
	if p.Message == nil {
		e.Failf("a forwarded message without one")
	}
}

// extended reads an externally defined part. One whose inside is not as its type has it stays opaque.
func (p *BodyPart) extended(e ber.Element) {
	var parameters, data ber.External
	for m := range e.All() {
		if m.Is(ber.Context(0)) {
			parameters = m.External()
		} else {
			data = m.External()
		}
	}
	p.Type = string(data.Direct)
	v := data.Value
	switch data.Direct {
	case etIA5:
		p.Kind, p.Data = IA5, []ber.Element{v}
	case etTeletex:
		p.Kind = Teletex
		for page := range v.All() {
			p.Data = append(p.Data, page)
		}
	case etMessage:
		p.Kind, p.Message = Message, readIPM(v)
	case etBilateral:
		p.Kind, p.Data = Bilateral, []ber.Element{v}
	case etGeneralText:
		p.Kind, p.Data = GeneralText, []ber.Element{v}
		if parameters.Value.Constructed {
			for set := range parameters.Value.All() {
				p.Sets = append(p.Sets, set.Int())
			}
		}
	case etFile:
		p.Kind = File
		p.file(parameters.Value, v)
	}
}

// file reads FileTransferParameters and FileTransferData (X.420 annex B).
func (p *BodyPart) file(parameters, data ber.Element) {
	if parameters.Present() {
		for m := range parameters.All() {
			switch m.Tag {
			case ber.Context(2): // environment
				for x := range m.All() {
					switch x.Tag {
					case ber.Context(0):
						if a := x.First(); a.Is(ber.ObjectIdentifier) {
							p.Application = a.OID()
						}
					case ber.Context(3):
						p.Description = joined(x)
					}
				}
			case ber.Context(4): // file attributes
				for x := range m.All() {
					switch x.Tag {
					case ber.Context(0): // pathname: incomplete or, in [23], complete
						p.Filename = lastOf(x)
					case ber.Context(23):
						p.Filename = lastOf(x)
					}
				}
			}
		}
	}
	for m := range data.All() {
		p.Data = append(p.Data, m.External().Value)
	}
}

// joined puts the GraphicStrings of a list together.
func joined(e ber.Element) string {
	var all []string
	for m := range e.All() {
		all = append(all, latin1(m.Octets()))
	}
	return strings.Join(all, " ")
}

// lastOf is the last component of a pathname.
func lastOf(e ber.Element) string {
	var last string
	for m := range e.All() {
		if m.Constructed {
			last = lastOf(m)
			continue
		}
		last = latin1(m.Octets())
	}
	return last
}

// latin1 reads a GraphicString: its sets are announced by escapes; ASCII and ISO 8859-1 are what occurs.
func latin1(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); i++ {
		if b[i] == 0x1b { // ESC, intermediates, final
			for i++; i < len(b) && b[i] >= 0x20 && b[i] < 0x30; i++ {
			}
			continue
		}
		s.WriteRune(rune(b[i]))
	}
	return s.String()
}

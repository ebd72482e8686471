package p1

import (
	"fmt"

	"backbone/connectors/x400/ber"
)

// APDU is an MTS-APDU: one of Message, Probe and Report is set.
type APDU struct {
	Message *Message
	Probe   *Envelope
	Report  *Report
}

// Message is an envelope with its content.
type Message struct {
	*Envelope
	// Content is the OCTET STRING as it was read. Its octets may be in pieces; they are read through WriteOctets.
	Content ber.Element
}

// Limits for an APDU: those of ber, with room for the recipients that X.411 allows.
var Limits = ber.Limits{Depth: 96, Elements: 4 << 20, Joined: 1 << 20}

// Parse reads an MTS-APDU, or a P1 protocol data unit of 1984. What it returns points into b.
func Parse(b []byte) (*APDU, error) {
	d := ber.NewDecoder(b, Limits)
	root := d.Root()
	var a APDU
	switch root.Tag {
	case ber.Context(0):
		a.Message = &Message{}
		for m := range root.All() {
			switch m.Tag {
			case ber.Set:
				a.Message.Envelope = readEnvelope(m, false)
			case ber.OctetString:
				a.Message.Content = m
			}
		}
		if d.Err() == nil && (a.Message.Envelope == nil || !a.Message.Content.Present()) {
			root.Failf("a message without envelope or content")
		}
	case ber.Context(1):
		a.Report = readReport(root)
	case ber.Context(2):
		a.Probe = readEnvelope(root, true)
	default:
		root.Failf("no MTS-APDU")
	}
	if d.Err() != nil {
		return nil, fmt.Errorf("p1: %w", d.Err())
	}
	return &a, nil
}

// Header is everything of a message's encoding that stands before the octets of its content, of which there are n: the
// content follows as it is, and ends the encoding.
func (v *Envelope) Header(n int64, o Options) ([]byte, error) {
	var w ber.Writer
	v.write(&w, ber.Set, o)
	envelope, err := w.Bytes()
	if err != nil {
		return nil, fmt.Errorf("p1: message: %w", err)
	}
	content := ber.AppendHeader(nil, ber.OctetString, false, int(n))
	out := ber.AppendHeader(nil, ber.Context(0), true, len(envelope)+len(content)+int(n))
	return append(append(out, envelope...), content...), nil
}

// EncodeProbe writes a probe.
func (v *Envelope) EncodeProbe(o Options) ([]byte, error) {
	var w ber.Writer
	v.write(&w, ber.Context(2), o)
	b, err := w.Bytes()
	if err != nil {
		return nil, fmt.Errorf("p1: probe: %w", err)
	}
	return b, nil
}

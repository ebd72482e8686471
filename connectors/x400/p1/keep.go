package p1

import (
	"bytes"

	"backbone/connectors/x400/ber"
)

// EncodeTrace and ParseTrace keep a trace as octets beside a message that is relayed. What does not decode is nothing.
func EncodeTrace(all []TraceElement) []byte {
	var w ber.Writer
	writeTrace(&w, all)
	b, err := w.Bytes()
	if err != nil {
		return nil
	}
	return b
}

// ParseTrace undoes EncodeTrace.
func ParseTrace(b []byte) []TraceElement {
	d := ber.NewDecoder(b, Limits)
	out := readTrace(d.Root())
	if d.Err() != nil {
		return nil
	}
	return out
}

// EncodeExtensions and ParseExtensions do the same for extensions.
func EncodeExtensions(all []Extension) []byte {
	var w ber.Writer
	writeExtensions(&w, ber.Set, all, Options{})
	b, err := w.Bytes()
	if err != nil {
		return nil
	}
	return b
}

// ParseExtensions undoes EncodeExtensions.
func ParseExtensions(b []byte) []Extension {
	d := ber.NewDecoder(b, Limits)
	out := readExtensions(d.Root())
	if d.Err() != nil {
		return nil
	}
	return out
}

// EncodeRecipients and ParseRecipients do the same for what an envelope says of each recipient: name as it came, explicit
// conversion, extensions.
func EncodeRecipients(all []Recipient) []byte {
	var w ber.Writer
	w.Cons(ber.Sequence, func() {
		for _, r := range all {
			r.write(&w, Options{})
		}
	})
	b, err := w.Bytes()
	if err != nil {
		return nil
	}
	return b
}

// ParseRecipients undoes EncodeRecipients.
func ParseRecipients(b []byte) []Recipient {
	d := ber.NewDecoder(b, Limits)
	var out []Recipient
	for m := range d.Root().All() {
		out = append(out, readRecipient(m))
	}
	if d.Err() != nil {
		return nil
	}
	return out
}

// EncodeORName and ParseORName do the same for a name.
func EncodeORName(n ORName) []byte {
	var w ber.Writer
	n.Write(&w, ber.Application(0), Options{})
	b, err := w.Bytes()
	if err != nil {
		return nil
	}
	return b
}

// ParseORName undoes EncodeORName; ok is false when b holds no name.
func ParseORName(b []byte) (n ORName, ok bool) {
	d := ber.NewDecoder(b, Limits)
	n = ReadORName(d.Root())
	return n, d.Err() == nil && n.Raw != nil
}

// Plain tells that the name's Address says all that its encoding does.
func (n ORName) Plain() bool {
	return n.Raw == nil || bytes.Equal(ber.Retagged(n.Raw, ber.Application(0)), EncodeORName(ORName{Address: n.Address}))
}

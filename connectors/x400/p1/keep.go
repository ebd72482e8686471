package p1

import "backbone/connectors/x400/ber"

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

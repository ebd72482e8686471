package ber

// Mend makes a whole encoding of one that breaks off, for showing it: what had begun ends where the octets do, and a
// constructed element that did is given the indefinite form. missing is false, and whole is b, when nothing is missing, or
// when b is wrong in another way too.
func Mend(b []byte) (whole []byte, missing bool) {
	d := NewDecoder(b, DefaultLimits)
	var open []bool // elements that have no end: true for those of indefinite length
	for at := 0; at < len(b); {
		h := d.header(at, len(b))
		if d.err != nil {
			if len(b)-at > maxHeader {
				return b, false
			}
			missing = true // it may be the beginning of one
			break
		}
		end := h.body + h.length
		switch {
		case h.tag == (Tag{}):
			if len(open) == 0 || !open[len(open)-1] {
				return b, false
			}
			open = open[:len(open)-1]
		case h.indefinite, h.constructed && end > len(b):
			open = append(open, h.indefinite)
			if len(open) > d.limits.Depth {
				return b, false
			}
			if end = h.body; !h.indefinite {
				whole = append(appendTag(whole, h.tag, true), 0x80)
				at = end
				continue
			}
		case end > len(b):
			whole = append(AppendHeader(whole, h.tag, false, len(b)-h.body), b[h.body:]...)
			missing = true
			at = len(b)
			continue
		}
		whole = append(whole, b[at:end]...)
		at = end
		if len(open) == 0 {
			if !missing {
				return b, false // whole, whatever follows it
			}
			break
		}
	}
	if len(open) == 0 && !missing {
		return b, false
	}
	for range open {
		whole = append(whole, 0, 0)
	}
	return whole, true
}

// maxHeader is what identifier and length octets have at most here.
const maxHeader = 16

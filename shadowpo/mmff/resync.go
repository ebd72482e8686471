package mmff

import (
	"bytes"
	"io"
)

// resync finds where the message behind a broken one begins, when the broken one does not say where it ends, and
// returns the end of the file when that cannot be decided.
//
// A line that begins with VERSION: is not enough: a forwarded MMFF file within the broken message has such lines too,
// and delivering its content again as mail would be worse than asking the operator. So a candidate counts only when
// from there on message follows message exactly up to the end of the file. That decides the common case (one broken
// header among good messages) and refuses the dangerous one (a file cut off within an attachment).
func (d *Decoder) resync(off int64, number int) (int64, error) {
	budget := 2*d.size + maxHeader // octets of header read while trying: keeps the whole search linear
	mark := append([]byte(d.end), version...)
	const chunk = 64 << 10
	b := make([]byte, chunk+len(mark)-1)
	for at := off; at < d.size && budget > 0; at += chunk {
		n, err := d.src.ReadAt(b[:min(int64(len(b)), d.size-at)], at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		for i := 0; i+len(mark) <= n; i++ {
			j := bytes.Index(b[i:n], mark[:len(d.end)])
			if j < 0 || i+j+len(mark) > n {
				break
			}
			i += j
			begin := at + int64(i+len(d.end))
			if !beginsVersion(b[i+len(d.end) : n]) {
				continue
			}
			ok, err := d.chain(begin, number+1, &budget)
			if err != nil {
				return 0, err
			}
			if ok {
				return begin, nil
			}
		}
	}
	return d.size, nil
}

// chain tells whether messages of known length follow each other from off to the end of the file.
func (d *Decoder) chain(off int64, number int, budget *int64) (bool, error) {
	for ; *budget > 0; number++ {
		h, err := d.readHeader(off, number)
		if err != nil {
			return false, err
		}
		end := h.end()
		if !h.sized || end < 0 || end > d.size {
			*budget -= maxLine
			return false, nil
		}
		*budget -= h.data - off
		if over, err := d.over(end); over || err != nil {
			return over, err
		}
		if next, err := d.boundary(end); !next || err != nil {
			return false, err
		}
		off = end
	}
	return false, nil
}

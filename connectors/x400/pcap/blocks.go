package pcap

import (
	"encoding/binary"
	"fmt"
)

// Block types of the newer format (pcapng).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockSimple    = 3
	blockEnhanced  = 6
)

// blocks reads a file of the newer format. Blocks of other types are stepped over.
func (r *reader) blocks(b []byte) error {
	var o binary.ByteOrder = binary.LittleEndian
	var links []uint32
	for n := 1; len(b) >= 12; n++ {
		kind := o.Uint32(b)
		if kind == blockSection {
			if o = binary.LittleEndian; o.Uint32(b[8:]) != 0x1a2b3c4d {
				o = binary.BigEndian
			}
			links = nil
		}
		size := int(o.Uint32(b[4:]))
		if size < 12 || size > len(b) || size%4 != 0 {
			return fmt.Errorf("pcap: block %d breaks off", n)
		}
		body := b[8 : size-4]
		switch {
		case kind == blockInterface && len(body) >= 8:
			links = append(links, uint32(o.Uint16(body)))
		case kind == blockEnhanced && len(body) >= 20:
			on, captured := int(o.Uint32(body)), int(o.Uint32(body[12:]))
			if on < len(links) && captured <= len(body)-20 {
				r.packet(networkLayer(links[on], body[20:20+captured]))
			}
		case kind == blockSimple && len(body) >= 4 && len(links) > 0:
			r.packet(networkLayer(links[0], body[4:min(len(body), 4+int(o.Uint32(body)))]))
		}
		b = b[size:]
	}
	return nil
}

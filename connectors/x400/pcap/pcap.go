// Package pcap reads the TCP conversations of a capture file and writes one that tshark reads: the form in which
// operators keep what two MTAs said to each other.
//
// It knows the classic pcap format and pcapng, on Ethernet, Linux cooked, loop-back and raw IP links; of IPv6 only packets
// without extension headers. It reorders and joins segments; what is missing from a capture ends that conversation's octets
// there. It never panics on a broken file.
package pcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Conversation is one TCP connection of a capture, its caller first.
type Conversation struct {
	Caller, Answerer netip.AddrPort
	Turns            []Turn
}

// Turn is what one side said before the other side spoke.
type Turn struct {
	FromCaller bool
	Octets     []byte
}

// maxFile bounds what Read takes: a capture is read whole.
const maxFile = 256 << 20

// Magic tells whether b begins like a capture file.
func Magic(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	_, ok := order(b)
	return ok || binary.LittleEndian.Uint32(b) == blockSection
}

// order is the byte order of a classic file.
func order(b []byte) (binary.ByteOrder, bool) {
	switch binary.LittleEndian.Uint32(b) {
	case 0xa1b2c3d4, 0xa1b23c4d: // micro- and nanoseconds
		return binary.LittleEndian, true
	case 0xd4c3b2a1, 0x4d3cb2a1:
		return binary.BigEndian, true
	}
	return nil, false
}

// Read gives the conversations of a capture file in the order of their first packets. With an error come those that
// were read before it.
func Read(b []byte) ([]*Conversation, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("pcap: a file of %d octets is over the limit of %d", len(b), maxFile)
	}
	if len(b) < 24 || !Magic(b) {
		return nil, errors.New("pcap: no capture file")
	}
	var r reader
	o, classic := order(b)
	if !classic {
		err := r.blocks(b)
		return r.done(), err
	}
	link := o.Uint32(b[20:])
	b = b[24:]
	for n := 1; len(b) >= 16; n++ {
		size := int(o.Uint32(b[8:]))
		if size > len(b)-16 {
			return r.done(), fmt.Errorf("pcap: packet %d breaks off", n)
		}
		r.packet(networkLayer(link, b[16:16+size]))
		b = b[16+size:]
	}
	return r.done(), nil
}

// networkLayer strips the link layer, or gives nil when the packet is not IP.
func networkLayer(link uint32, p []byte) []byte {
	var skip int
	switch link {
	case 0: // loop-back: four octets of family
		skip = 4
	case 1: // Ethernet
		if len(p) < 14 || (binary.BigEndian.Uint16(p[12:]) != 0x0800 && binary.BigEndian.Uint16(p[12:]) != 0x86dd) {
			return nil
		}
		skip = 14
	case 12, 101, 228, 229: // raw IP
	case 113: // Linux cooked
		skip = 16
	case 276: // Linux cooked, version 2
		skip = 20
	default:
		return nil
	}
	if len(p) < skip+20 || (p[skip]>>4 != 4 && p[skip]>>4 != 6) {
		return nil
	}
	return p[skip:]
}

type flow struct{ from, to netip.AddrPort }

type reader struct {
	all   []*tracked
	flows map[flow]*tracked
}

// tracked is a conversation under way: for each direction the next sequence number and what came early.
type tracked struct {
	Conversation
	next  [2]uint32
	known [2]bool
	early [2]map[uint32][]byte
}

// transport gives the TCP segment of an IP packet with its addresses, or nil when it holds no whole one.
func transport(ip []byte) (tcp []byte, src, dst netip.Addr) {
	var head, total, from, size int
	var protocol byte
	if ip[0]>>4 == 6 {
		if len(ip) < 40 {
			return nil, src, dst
		}
		protocol, head, total, from, size = ip[6], 40, 40+int(binary.BigEndian.Uint16(ip[4:])), 8, 16
	} else {
		protocol, head, total, from, size = ip[9], int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:])), 12, 4
	}
	if protocol != 6 || head < 20 || total < head+20 || total > len(ip) {
		return nil, src, dst
	}
	src, _ = netip.AddrFromSlice(ip[from : from+size])
	dst, _ = netip.AddrFromSlice(ip[from+size : from+2*size])
	return ip[head:total], src, dst
}

// packet takes an IP packet; nil is none.
func (r *reader) packet(ip []byte) {
	if ip == nil {
		return
	}
	tcp, src, dst := transport(ip)
	if tcp == nil {
		return
	}
	f := flow{netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:]))}
	seq := binary.BigEndian.Uint32(tcp[4:])
	data := int(tcp[12]>>4) * 4
	if data < 20 || data > len(tcp) {
		return
	}
	syn, ack := tcp[13]&2 != 0, tcp[13]&16 != 0
	if r.flows == nil {
		r.flows = map[flow]*tracked{}
	}
	t := r.flows[f]
	if t == nil || (syn && !ack) {
		t = &tracked{Conversation: Conversation{Caller: f.from, Answerer: f.to}, early: [2]map[uint32][]byte{{}, {}}}
		r.all = append(r.all, t)
		r.flows[f], r.flows[flow{f.to, f.from}] = t, t
	}
	side := 0
	if f.from != t.Caller {
		side = 1
	}
	if syn {
		seq++
	}
	if !t.known[side] {
		t.known[side], t.next[side] = true, seq
	}
	if len(tcp) > data {
		t.early[side][seq] = tcp[data:]
	}
	t.advance(side)
}

// advance takes what came in order.
func (t *tracked) advance(side int) {
	for found := true; found; {
		found = false
		for seq, b := range t.early[side] {
			skip := int32(t.next[side] - seq)
			if skip < 0 {
				continue // a gap before it
			}
			delete(t.early[side], seq)
			if int(skip) >= len(b) {
				continue // a retransmission
			}
			t.say(side == 0, b[skip:])
			t.next[side] = seq + uint32(len(b))
			found = true
		}
	}
}

func (t *tracked) say(fromCaller bool, b []byte) {
	if n := len(t.Turns); n > 0 && t.Turns[n-1].FromCaller == fromCaller {
		t.Turns[n-1].Octets = append(t.Turns[n-1].Octets, b...)
		return
	}
	t.Turns = append(t.Turns, Turn{fromCaller, append([]byte(nil), b...)})
}

func (r *reader) done() []*Conversation {
	var out []*Conversation
	for _, t := range r.all {
		if len(t.Turns) > 0 {
			out = append(out, &t.Conversation)
		}
	}
	return out
}

// Append writes c as a capture file of raw IPv4 packets (link type 101) that begin at the given time. Octets are cut
// into segments of at most 32 KB.
func Append(b []byte, c *Conversation, at time.Time) []byte {
	b = binary.LittleEndian.AppendUint32(b, 0xa1b2c3d4)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 1<<18)
	b = binary.LittleEndian.AppendUint32(b, 101)
	seq := [2]uint32{1, 1}
	segment := func(side int, flags byte, data []byte) {
		from, to := c.Caller, c.Answerer
		if side == 1 {
			from, to = to, from
		}
		ackNo := seq[1-side]
		if flags == 2 {
			ackNo = 0
		}
		at = at.Add(time.Millisecond)
		b = binary.LittleEndian.AppendUint32(b, uint32(at.Unix()))
		b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()/1000))
		b = binary.LittleEndian.AppendUint32(b, uint32(40+len(data)))
		b = binary.LittleEndian.AppendUint32(b, uint32(40+len(data)))
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(40+len(data)))
		b = append(b, 0, 0, 0x40, 0, 64, 6, 0, 0)
		b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, from.Port()), to.Port())
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, seq[side]), ackNo)
		b = append(b, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
		b = append(b, data...)
		seq[side] += uint32(len(data))
		if flags&3 != 0 {
			seq[side]++
		}
	}
	segment(0, 0x02, nil)
	segment(1, 0x12, nil)
	segment(0, 0x10, nil)
	for _, t := range c.Turns {
		side := 1
		if t.FromCaller {
			side = 0
		}
		for o := t.Octets; len(o) > 0; {
			n := min(len(o), 32<<10)
			segment(side, 0x18, o[:n])
			o = o[n:]
		}
	}
	segment(0, 0x11, nil)
	segment(1, 0x11, nil)
	return b
}

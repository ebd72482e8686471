package boltqueue

import (
	"encoding/binary"
	"time"

	"backbone/queue"
)

// change is one atomic step of the queue: what one record of the log says. The same apply puts it into the index when
// it happens and when the log is read again after a crash, so that there is no second way to reach a state. Every part
// is an absolute statement ("the item is this", "the item has ended"): applying it twice is applying it once.
type change struct {
	at      time.Time
	bodies  []body
	items   []*record // new or changed
	ended   []queue.ID
	begun   []mark     // leases given: attempts that may have begun
	over    []queue.ID // leases that were settled or given back
	dedup   []dedupKey
	forget  []uint32 // days whose dedup keys are dropped
	suspend []queue.Suspension
	resume  []queue.Dest
	payload [][]byte // bodies' octets, in the order of those bodies that are in the log
}

// body is a stored body. Its home is the log record that describes it: a segment lives as long as a body is at home
// in it, so that the log alone can rebuild the queue.
type body struct {
	id   uint64
	refs []queue.ID // items that share it
	size int64
	crc  uint32
	file bool   // the octets are in a file of their own
	seg  uint32 // home
	off  uint32 // of the octets, when they are in the log
	// weight is how many octets of its home it keeps in use: its part of the record, however many of the items in that
	// have ended since. An exact figure, because a segment that seems emptier than it is would be moved for ever.
	weight uint32
}

// mark says that an item was leased, so that after a crash its attempt is known to have begun.
type mark struct {
	id    queue.ID
	owner string
}

// dedupKey is a remembered hand-over. It is kept in the bucket of the latest day on which it mattered.
type dedupKey struct {
	hash []byte
	day  uint32
	ids  []queue.ID
}

func (c *change) encode(e *enc) {
	e.time(1, c.at)
	for i := range c.bodies {
		b := &c.bodies[i]
		e.sub(2, func(e *enc) {
			e.uint(1, b.id)
			e.int(2, b.size)
			e.uint(3, uint64(b.crc))
			e.bool(4, b.file)
			for _, id := range b.refs {
				e.uint(5, uint64(id))
			}
		})
	}
	for _, r := range c.items {
		e.bytes(3, r.raw)
	}
	for _, id := range c.ended {
		e.uint(4, uint64(id))
	}
	for _, m := range c.begun {
		e.sub(5, func(e *enc) { e.uint(1, uint64(m.id)); e.str(2, m.owner) })
	}
	for _, id := range c.over {
		e.uint(6, uint64(id))
	}
	for _, k := range c.dedup {
		e.sub(7, func(e *enc) {
			e.bytes(1, k.hash)
			e.uint(2, uint64(k.day))
			for _, id := range k.ids {
				e.uint(3, uint64(id))
			}
		})
	}
	for _, d := range c.forget {
		e.uint(8, uint64(d))
	}
	for i := range c.suspend {
		e.sub(9, func(e *enc) { e.suspension(&c.suspend[i]) })
	}
	for _, d := range c.resume {
		e.sub(10, func(e *enc) { e.str(1, d.Connector); e.str(2, d.Host) })
	}
}

func (e *enc) suspension(s *queue.Suspension) {
	e.str(1, s.Dest.Connector)
	e.str(2, s.Dest.Host)
	e.str(3, s.Reason)
	e.str(4, s.By)
	e.time(5, s.Since)
	e.time(6, s.Until)
}

// place says where the bodies of a change are at home: in segment seg, in a record with a description of so many octets,
// behind which those that are in the log follow each other from offset payload on.
func (c *change) place(seg, description, payload uint32) {
	for i := range c.bodies {
		b := &c.bodies[i]
		b.seg, b.weight = seg, recordHeader+description/uint32(len(c.bodies))
		if !b.file {
			b.off = payload
			b.weight += uint32(b.size)
			payload += uint32(b.size)
		}
	}
}

// decodeChange reads a log record's description.
func decodeChange(b []byte, seg, payload uint32) (*change, error) {
	c := &change{}
	err := fields(b, func(f field) error {
		switch f.N {
		case 1:
			c.at = f.time()
		case 2:
			var x body
			if err := decodeBody(f.Raw, &x); err != nil {
				return err
			}
			c.bodies = append(c.bodies, x)
		case 3:
			r, err := decodeItem(f.Raw)
			if err != nil {
				return err
			}
			c.items = append(c.items, r)
		case 4:
			c.ended = append(c.ended, queue.ID(f.Num))
		case 5:
			var m mark
			err := fields(f.Raw, func(f field) error {
				switch f.N {
				case 1:
					m.id = queue.ID(f.Num)
				case 2:
					m.owner = f.str()
				}
				return nil
			})
			c.begun = append(c.begun, m)
			return err
		case 6:
			c.over = append(c.over, queue.ID(f.Num))
		case 7:
			var k dedupKey
			err := decodeDedup(f.Raw, &k)
			c.dedup = append(c.dedup, k)
			return err
		case 8:
			c.forget = append(c.forget, uint32(f.Num))
		case 9:
			s, err := decodeSuspension(f.Raw)
			c.suspend = append(c.suspend, s)
			return err
		case 10:
			s, err := decodeSuspension(f.Raw)
			c.resume = append(c.resume, s.Dest)
			return err
		}
		return nil
	})
	c.place(seg, uint32(len(b)), payload)
	return c, err
}

func decodeBody(b []byte, x *body) error {
	return fields(b, func(f field) error {
		switch f.N {
		case 1:
			x.id = f.Num
		case 2:
			x.size = f.int()
		case 3:
			x.crc = uint32(f.Num)
		case 4:
			x.file = f.bool()
		case 5:
			x.refs = append(x.refs, queue.ID(f.Num))
		}
		return nil
	})
}

func decodeDedup(b []byte, k *dedupKey) error {
	return fields(b, func(f field) error {
		switch f.N {
		case 1:
			k.hash = f.Raw
		case 2:
			k.day = uint32(f.Num)
		case 3:
			k.ids = append(k.ids, queue.ID(f.Num))
		}
		return nil
	})
}

func decodeSuspension(b []byte) (s queue.Suspension, err error) {
	err = fields(b, func(f field) error {
		switch f.N {
		case 1:
			s.Dest.Connector = f.str()
		case 2:
			s.Dest.Host = f.str()
		case 3:
			s.Reason = f.str()
		case 4:
			s.By = f.str()
		case 5:
			s.Since = f.time()
		case 6:
			s.Until = f.time()
		}
		return nil
	})
	return s, err
}

// The index's value of a body: fixed fields, then the items that share it.

const bodyFixed = 25

func (b *body) value() []byte {
	v := make([]byte, bodyFixed, bodyFixed+8*len(b.refs))
	binary.BigEndian.PutUint64(v[0:], uint64(b.size))
	binary.BigEndian.PutUint32(v[8:], b.crc)
	binary.BigEndian.PutUint32(v[12:], b.seg)
	binary.BigEndian.PutUint32(v[16:], b.off)
	binary.BigEndian.PutUint32(v[20:], b.weight)
	if b.file {
		v[24] = 1
	}
	for _, id := range b.refs {
		v = binary.BigEndian.AppendUint64(v, uint64(id))
	}
	return v
}

func bodyOf(id uint64, v []byte) (b body, ok bool) {
	if len(v) < bodyFixed || (len(v)-bodyFixed)%8 != 0 {
		return body{}, false
	}
	b = body{
		id: id, size: int64(binary.BigEndian.Uint64(v)), crc: binary.BigEndian.Uint32(v[8:]),
		seg: binary.BigEndian.Uint32(v[12:]), off: binary.BigEndian.Uint32(v[16:]),
		weight: binary.BigEndian.Uint32(v[20:]), file: v[24] == 1,
	}
	for v = v[bodyFixed:]; len(v) > 0; v = v[8:] {
		b.refs = append(b.refs, queue.ID(binary.BigEndian.Uint64(v)))
	}
	return b, true
}

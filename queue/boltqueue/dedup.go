package boltqueue

import (
	"encoding/binary"

	"backbone/queue"
)

// remember enters a dedup key under its day and takes it out of earlier ones.
func (x *index) remember(k *dedupKey) error {
	if day, _, ok := x.known(k.hash); ok {
		if day >= k.day {
			return nil
		}
		if err := x.dedup.Bucket(dayKey(day)).Delete(k.hash); err != nil {
			return err
		}
	}
	b, err := x.dedup.CreateBucketIfNotExists(dayKey(k.day))
	if err != nil {
		return err
	}
	var v []byte
	for _, id := range k.ids {
		v = binary.BigEndian.AppendUint64(v, uint64(id))
	}
	if v == nil {
		v = []byte{}
	}
	return b.Put(k.hash, v)
}

// known finds a dedup key. A message without one (nil) is never known.
func (x *index) known(hash []byte) (day uint32, ids []queue.ID, ok bool) {
	if hash == nil {
		return 0, nil, false
	}
	c := x.dedup.Cursor()
	for d, _ := c.First(); d != nil; d, _ = c.Next() {
		if v := x.dedup.Bucket(d).Get(hash); v != nil {
			for ; len(v) >= 8; v = v[8:] {
				ids = append(ids, queue.ID(binary.BigEndian.Uint64(v)))
			}
			return binary.BigEndian.Uint32(d), ids, true
		}
	}
	return 0, nil, false
}

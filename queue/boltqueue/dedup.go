package boltqueue

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"backbone/queue"
)

// hashSize is how many octets of a dedup key's hash are kept.
const hashSize = 16

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

// Remembered implements queue.Store: by day, then by hash.
func (s *Store) Remembered(ctx context.Context, after queue.Cursor, n int) (ms []queue.Memory, next queue.Cursor, err error) {
	from, err := hex.DecodeString(string(after))
	if err != nil || len(from) > 0 && len(from) < 5 {
		return nil, "", fmt.Errorf("queue: %q is no position in the list of remembered keys", after)
	}
	if err := s.open(ctx); err != nil {
		return nil, "", err
	}
	defer s.mu.Unlock()
	days := s.x.dedup.Cursor()
	day, _ := days.First()
	if len(from) > 0 {
		day, _ = days.Seek(from[:4])
	}
	for ; day != nil; day, _ = days.Next() {
		hashes := s.x.dedup.Bucket(day).Cursor()
		hash, _ := hashes.First()
		if len(from) > 0 && bytes.Equal(day, from[:4]) {
			if hash, _ = hashes.Seek(from[4:]); bytes.Equal(hash, from[4:]) {
				hash, _ = hashes.Next()
			}
		}
		for ; hash != nil; hash, _ = hashes.Next() {
			if len(ms) == n {
				last := ms[n-1]
				return ms, queue.Cursor(hex.EncodeToString(append(dayKey(last.Day), last.Hash...))), nil
			}
			ms = append(ms, queue.Memory{Hash: bytes.Clone(hash), Day: binary.BigEndian.Uint32(day)})
		}
	}
	return ms, "", nil
}

// Remember implements queue.Store.
func (s *Store) Remember(ctx context.Context, ms []queue.Memory) error {
	for _, m := range ms {
		if len(m.Hash) != hashSize {
			return fmt.Errorf("queue: a remembered key has %d octets, not %d", len(m.Hash), hashSize)
		}
	}
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	c := &change{}
	for _, m := range ms {
		if _, _, ok := s.x.known(m.Hash); !ok {
			c.dedup = append(c.dedup, dedupKey{hash: m.Hash, day: m.Day})
		}
	}
	if len(c.dedup) == 0 {
		s.mu.Unlock()
		return nil
	}
	b, err := s.append(c, atOnce)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return b.wait()
}

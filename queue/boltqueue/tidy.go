package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"backbone/queue/boltqueue/disk"
)

// sparse tells a segment of which less than a quarter lives. The lock is held.
func (s *Store) sparse(n uint32) bool { return 4*s.x.live[n] < s.log.sizes[n] }

// tidy moves what lives in sparse segments to the end of the log, so that the next checkpoint takes them out.
func (s *Store) tidy(ctx context.Context) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	var nums []uint32
	for n := range s.log.sizes {
		if n < s.ckpt.seg && s.x.live[n] > 0 && s.sparse(n) {
			nums = append(nums, n)
		}
	}
	s.mu.Unlock()
	slices.Sort(nums)
	for _, n := range nums {
		if err := s.vacate(ctx, n); err != nil {
			return fmt.Errorf("log segment %s: %w", segmentName(n), err)
		}
	}
	return nil
}

// vacate gives every body that is at home in segment n a new home.
func (s *Store) vacate(ctx context.Context, n uint32) (err error) {
	f, err := s.fs.Open(s.log.path(n), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = scan(f, n, 0, func(e *entry) error {
		c, err := decodeChange(e.description, n, e.payload)
		if err != nil {
			return err
		}
		for i := range c.bodies {
			if err := s.move(ctx, f, &c.bodies[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// move writes a body's record again, if it still lives where the segment says: the octets, and the items that share it
// as they are now.
func (s *Store) move(ctx context.Context, f disk.File, was *body) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	b, ok := s.x.getBody(was.id)
	if !ok || b.seg != was.seg || b.off != was.off {
		return nil
	}
	c := &change{bodies: []body{b}}
	if !b.file {
		p := make([]byte, b.size)
		if _, err := f.ReadAt(p, int64(b.off)); err != nil {
			return err
		}
		if sum(p) != b.crc {
			return nil // Check tells; the segment stays, so that whatever is left of it can be looked at
		}
		c.payload = [][]byte{p}
	}
	for _, id := range b.refs {
		r, err := s.x.get(id)
		if err != nil {
			return err
		}
		if r != nil {
			r.encode()
			c.items = append(c.items, r)
		}
	}
	_, err := s.append(c, later)
	return err
}

package boltqueue

import (
	"fmt"

	"backbone/queue"
)

// getBody is a body; ok is false when there is none.
func (x *index) getBody(id uint64) (b body, ok bool) {
	return bodyOf(id, x.body.Get(key(queue.ID(id))))
}

// setBody enters a body, or gives one that is there a new home and keeps the items that share it.
func (x *index) setBody(b *body) error {
	x.next = max(x.next, b.id+1)
	if old, ok := x.getBody(b.id); ok {
		x.weigh(&old, -1)
		b.refs = old.refs
	}
	if len(b.refs) == 0 {
		return nil
	}
	x.weigh(b, 1)
	return x.body.Put(key(queue.ID(b.id)), b.value())
}

// weigh adds a body to its segment's and the files' octets (sign 1), or takes it out (-1).
func (x *index) weigh(b *body, sign int64) {
	x.live[b.seg] += sign * int64(b.weight)
	if x.live[b.seg] == 0 {
		delete(x.live, b.seg)
	}
	x.changed[b.seg] = true
	if b.file {
		x.fileSize += sign * b.size
	}
}

// share makes an item one of those of its body.
func (x *index) share(r *record) error {
	b, ok := x.getBody(r.body)
	if !ok {
		return fmt.Errorf("queue entry %s: its body %s is unknown", r.ID, r.Body.Where)
	}
	for _, id := range b.refs {
		if id == r.ID {
			return nil
		}
	}
	b.refs = append(b.refs, r.ID)
	return x.body.Put(key(queue.ID(b.id)), b.value())
}

func (x *index) unshare(r *record) error {
	b, ok := x.getBody(r.body)
	if !ok {
		return nil // Check tells; an entry can always be ended
	}
	left := b.refs[:0]
	for _, id := range b.refs {
		if id != r.ID {
			left = append(left, id)
		}
	}
	b.refs = left
	if len(left) > 0 {
		return x.body.Put(key(queue.ID(b.id)), b.value())
	}
	x.weigh(&b, -1)
	if b.file {
		x.freed = append(x.freed, b)
	}
	return x.body.Delete(key(queue.ID(b.id)))
}

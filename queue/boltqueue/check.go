package boltqueue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"backbone/queue"
)

// maxProblems bounds what Check answers: a disk that fails has more than anybody reads.
const maxProblems = 1000

// check collects problems.
type check struct {
	s   *Store
	tx  *bolt.Tx
	ctx context.Context
	bad []string
}

func (k *check) say(format string, args ...any) {
	if len(k.bad) < maxProblems {
		k.bad = append(k.bad, fmt.Sprintf(format, args...))
	}
}

// Check implements queue.Store. It works on a copy of the index, which is made while the store runs, and reads every body.
func (s *Store) Check(ctx context.Context) (bad []string, err error) {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	if err := s.openWrite(ctx); err != nil {
		return nil, err
	}
	k := &check{s: s, ctx: ctx, bad: append([]string(nil), s.damage...)}
	if err := s.checkpoint(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	from := s.x.db
	s.mu.Unlock()
	path := filepath.Join(s.o.dir, "index.db.check")
	if err := from.View(func(tx *bolt.Tx) error { return tx.CopyFile(path, 0o600) }); err != nil {
		return nil, errors.Join(fmt.Errorf("check: %w", err), os.Remove(path))
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	db, err := openBolt(path, &s.o)
	if err != nil {
		return append(k.bad, err.Error()), nil
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.View(func(tx *bolt.Tx) error {
		k.tx = tx
		return k.run()
	})
	return k.bad, err
}

func (k *check) run() error {
	for err := range k.tx.Check() {
		k.say("index: %v", err)
	}
	if len(k.bad) > 0 {
		return nil // what follows would only repeat it
	}
	x := &index{tx: k.tx}
	if err := x.bind(); err != nil {
		k.say("%v", err)
		return nil
	}
	sums := &tally{dests: map[queue.Dest]*dest{}, segments: map[uint32]int64{}}
	if err := k.items(x, sums); err != nil {
		return err
	}
	k.orders(x, sums)
	if err := k.bodies(x, sums); err != nil {
		return err
	}
	k.counters(x, sums)
	return nil
}

// tally is what the items say that the counters should be.
type tally struct {
	dests      map[queue.Dest]*dest
	segments   map[uint32]int64
	ready, all int
	trashed    int
	fileSize   int64
}

func (k *check) items(x *index, sums *tally) error {
	numbers := map[queue.Dest]*dest{}
	if err := x.dest.ForEach(func(b, v []byte) error {
		d, err := decodeDest(v)
		if err != nil {
			return err
		}
		d.num = binary.BigEndian.Uint32(b)
		numbers[d.name] = d
		return nil
	}); err != nil {
		return err
	}
	n := 0
	return x.item.ForEach(func(key, v []byte) error {
		if n++; n%looked == 0 && k.ctx.Err() != nil {
			return k.ctx.Err()
		}
		r, err := decodeItem(v)
		if err != nil || r.ID != keyID(key) {
			k.say("entry %s can't be read: %v", keyID(key), err)
			return nil
		}
		if b, ok := x.getBody(r.body); !ok || b.size != r.Body.Size {
			k.say("entry %s: its body %s is unknown or of another size", r.ID, r.Body.Where)
		}
		if r.State == queue.Trash {
			sums.trashed++
			if x.trash.Get(trashKey(r)) == nil {
				k.say("entry %s is in the trash but not in its order", r.ID)
			}
			return nil
		}
		d := numbers[r.Dest]
		if d == nil {
			k.say("entry %s: its destination %s is unknown", r.ID, r.Dest)
			return nil
		}
		if x.wait.Get(waitKey(d, r.ID)) == nil || r.State == queue.Ready && x.due.Get(dueKey(d, r)) == nil {
			k.say("entry %s would never be found: it is missing from the order of %s", r.ID, r.Dest)
		}
		t := sums.dests[r.Dest]
		if t == nil {
			t = &dest{}
			sums.dests[r.Dest] = t
		}
		t.bytes += r.Body.Size
		sums.all++
		if r.State == queue.Ready {
			t.ready++
			sums.ready++
		} else {
			t.held++
		}
		return nil
	})
}

// orders compares sizes: with every item in its orders, more keys than items means keys without items.
func (k *check) orders(x *index, sums *tally) {
	for _, o := range []struct {
		name string
		b    *bolt.Bucket
		want int
	}{{"due", x.due, sums.ready}, {"wait", x.wait, sums.all}, {"trash", x.trash, sums.trashed}} {
		if n := o.b.Stats().KeyN; n != o.want {
			k.say("index: order %q has %d entries, the items make %d", o.name, n, o.want)
		}
	}
}

// bodies reads every body, and looks for files that no body stands for.
func (k *check) bodies(x *index, sums *tally) error {
	return x.body.ForEach(func(key, v []byte) error {
		if err := k.ctx.Err(); err != nil {
			return err
		}
		b, ok := bodyOf(uint64(keyID(key)), v)
		if !ok {
			k.say("body %s can't be read in the index", keyID(key))
			return nil
		}
		sums.segments[b.seg] += int64(b.weight)
		if b.file {
			sums.fileSize += b.size
		}
		for _, id := range b.refs {
			if x.item.Get(binary.BigEndian.AppendUint64(nil, uint64(id))) == nil {
				k.say("body %s is kept for entry %s, which is not there", keyID(key), id)
			}
		}
		return k.body(&b)
	})
}

// body reads one body. Since the copy was made it may have moved or ended.
func (k *check) body(b *body) error {
	r, err := content{k.s, queue.BodyRef{Size: b.size, Where: where(b.id, b.file)}}.Open()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		err = errors.Join(err, r.Close())
	}
	switch {
	case errors.Is(err, queue.ErrClosed):
		return err
	case err != nil && !errors.Is(err, queue.ErrNotFound):
		k.say("%v", err)
	}
	return nil
}

func (k *check) counters(x *index, sums *tally) {
	err := x.dest.ForEach(func(_, v []byte) error {
		d, err := decodeDest(v)
		if err != nil {
			return err
		}
		t := sums.dests[d.name]
		if t == nil {
			t = &dest{}
		}
		if d.ready != t.ready || d.held != t.held || d.bytes != t.bytes {
			k.say("destination %s counts %d ready, %d held, %d octets; its items make %d, %d, %d", d.name, d.ready, d.held, d.bytes, t.ready, t.held, t.bytes)
		}
		return nil
	})
	if err != nil {
		k.say("index: %v", err)
	}
	if n := int(x.number("trashed")); n != sums.trashed {
		k.say("index counts %d in the trash, there are %d", n, sums.trashed)
	}
	if n := int64(x.number("filesize")); n != sums.fileSize {
		k.say("index counts %d octets in files, there are %d", n, sums.fileSize)
	}
	err = x.segment.ForEach(func(key, v []byte) error {
		n, octets := binary.BigEndian.Uint32(key), int64(binary.BigEndian.Uint64(v))
		if sums.segments[n] != octets {
			k.say("segment %s counts %d octets in use, its bodies make %d", segmentName(n), octets, sums.segments[n])
		}
		delete(sums.segments, n)
		return nil
	})
	if err != nil {
		k.say("index: %v", err)
	}
	for n := range sums.segments {
		k.say("segment %s is in use but has no counter", segmentName(n))
	}
}

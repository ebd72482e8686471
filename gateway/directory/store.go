package directory

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Buckets. "entry" holds each entry and tombstone as JSON under SITE/NAME, folded; "usn" holds the same keys under the
// number of their last write, so that what changed since a number is one short scan; "stamp" marks each commit, see
// history.go; "partner" and "seen" are what replication knows of its partners; "record" holds what others keep beside the
// entries; "learned" holds reply routes, "reply" the addresses given to unknown senders.
var (
	bucketEntry   = []byte("entry")
	bucketUSN     = []byte("usn")
	bucketStamp   = []byte("stamp")
	bucketPartner = []byte("partner")
	bucketSeen    = []byte("seen")
	bucketRecord  = []byte("record")
	bucketLearned = []byte("learned")
	bucketReply   = []byte("reply")

	sideBuckets = [][]byte{bucketPartner, bucketSeen, bucketRecord} // what a Side may be in

	buckets = [][]byte{bucketEntry, bucketUSN, bucketStamp, bucketPartner, bucketSeen, bucketRecord, bucketLearned, bucketReply}
)

func usnKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// load makes the buckets and reads everything into memory.
func (d *Directory) load() error {
	err := d.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	err = d.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketEntry)
		d.usn = b.Sequence()
		if err := d.loadReplies(tx); err != nil {
			return err
		}
		return b.ForEach(func(k, v []byte) error {
			e := &Entry{}
			if err := json.Unmarshal(v, e); err != nil {
				return fmt.Errorf("entry %q: %w", k, err)
			}
			d.publish(string(k), e)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	return nil
}

// publish puts an entry in the place of the one with its key. Callers hold mu, or are alone.
func (d *index) publish(k string, e *Entry) {
	if old := d.entries[k]; old != nil {
		d.disown(old)
		delete(d.entries, k)
		delete(d.links, k)
	}
	delete(d.graves, k)
	if e.Deleted {
		d.graves[k] = e
		return
	}
	d.entries[k] = e
	if e.Class == Connector {
		d.links[k] = e
	}
	for _, a := range e.addresses() {
		switch first := d.owners[a]; {
		case first == nil:
			d.owners[a] = e
		case len(d.rivals[a]) == 0:
			d.rivals[a] = []*Entry{first, e}
		default:
			d.rivals[a] = append(d.rivals[a], e)
		}
	}
}

// disown takes an entry's addresses away from it.
func (d *index) disown(e *Entry) {
	for _, a := range e.addresses() {
		if rs := d.rivals[a]; rs != nil {
			rs = slices.DeleteFunc(slices.Clone(rs), func(r *Entry) bool { return r == e })
			d.owners[a] = rs[0]
			if d.rivals[a] = rs; len(rs) == 1 {
				delete(d.rivals, a)
			}
			continue
		}
		if d.owners[a] == e {
			delete(d.owners, a)
		}
	}
}

// publishChunk bounds how long look-ups wait while a large batch becomes visible, in entries.
const publishChunk = 1000

// commit numbers entries, by key, and makes them durable and visible together with what is kept beside them. Callers have begun.
func (d *Directory) commit(es map[string]*Entry, sides []Side) error {
	if len(es) == 0 && len(sides) == 0 {
		return nil
	}
	at, err := d.place()
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	c, now, stamp := Change{Place: at, Rows: make([]Row, 0, len(es)), Sides: sides}, time.Now(), newStamp()
	for _, k := range slices.Sorted(maps.Keys(es)) { // pages are filled in order
		e := es[k]
		c.Place.USN++
		if e.USN = c.Place.USN; e.From == "" {
			e.Written, e.Stamp = e.USN, stamp
		}
		v, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("directory: %w", err)
		}
		c.Rows = append(c.Rows, Row{Key: k, USN: e.USN, Gone: e.Deleted, Text: v, entry: e})
	}
	if len(c.Rows) > 0 {
		// The stamp of our own entries in the commit is that of its last write.
		c.Place.Stamp, c.Stamps = stamp, []Stamp{{USN: c.Place.USN, Stamp: stamp, At: now.Unix()}}
	}
	for i := range sides {
		c.Place.Mark++
		sides[i].Mark = c.Place.Mark
	}
	return d.conclude(c)
}

// conclude commits a change: to the shared history first, where there is one.
func (d *Directory) conclude(c Change) error {
	if d.turn == nil {
		if err := d.apply(c); err != nil {
			return fmt.Errorf("directory: %w", err)
		}
		return nil
	}
	turn := d.turn
	d.turn = nil
	if err := turn.Commit(d.stopped, c); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := d.apply(c); err != nil {
		d.o.Log.Error("a change of the directory is in force, but not in this gateway's copy, which will catch up", "class", "local", "err", err)
	}
	return nil
}

// apply brings a change into the file, then before everybody's eyes. Callers have begun.
func (d *Directory) apply(c Change) error {
	var forget []*Entry
	for _, e := range d.graves {
		if e.USN <= c.Place.Purged {
			forget = append(forget, e)
		}
	}
	usnOf := func(k string) uint64 {
		if old := d.at(k); old != nil {
			return old.USN
		}
		return 0
	}
	if err := d.db.Update(func(tx *bbolt.Tx) error { return writeChange(tx, &c, usnOf, forget) }); err != nil {
		return err
	}
	d.mu.Lock()
	for _, e := range forget {
		delete(d.graves, e.key())
	}
	d.mu.Unlock()
	for part := range slices.Chunk(c.Rows, publishChunk) {
		d.mu.Lock()
		for i := range part {
			d.publish(part[i].Key, part[i].entry)
		}
		d.usn = part[len(part)-1].USN
		d.mu.Unlock()
	}
	if len(c.Rows) > 0 {
		d.tell()
	}
	return nil
}

// tell wakes whoever waits for changes.
func (d *Directory) tell() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.changed)
	d.changed = make(chan struct{})
}

// writeChange writes a change into the file. usnOf is the number that a key had so far; forget are the tombstones that go.
func writeChange(tx *bbolt.Tx, c *Change, usnOf func(string) uint64, forget []*Entry) error {
	entries, numbers := tx.Bucket(bucketEntry), tx.Bucket(bucketUSN)
	numbers.FillPercent = 0.95 // keys only grow
	for _, e := range forget {
		if err := errors.Join(entries.Delete([]byte(e.key())), numbers.Delete(usnKey(e.USN))); err != nil {
			return err
		}
	}
	for i := range c.Rows {
		r := &c.Rows[i]
		if old := usnOf(r.Key); old != 0 {
			if err := numbers.Delete(usnKey(old)); err != nil {
				return err
			}
		}
		if err := errors.Join(entries.Put([]byte(r.Key), r.Text), numbers.Put(usnKey(r.USN), []byte(r.Key))); err != nil {
			return err
		}
	}
	for _, s := range c.Stamps {
		if err := putStamp(tx, s); err != nil {
			return err
		}
	}
	if err := dropStamps(tx, c.Place.Pruned); err != nil {
		return err
	}
	for _, s := range c.Sides {
		if err := putSide(tx, s); err != nil {
			return err
		}
	}
	for _, n := range []struct {
		key   []byte
		value uint64
	}{{keyPurged, c.Place.Purged}, {keyPruned, c.Place.Pruned}, {keyMark, c.Place.Mark}, {keySwept, c.Place.Swept}} {
		if err := putNumber(tx, n.key, n.value); err != nil {
			return err
		}
	}
	if entries.Sequence() == c.Place.USN {
		return nil
	}
	return entries.SetSequence(c.Place.USN)
}

func putSide(tx *bbolt.Tx, s Side) error {
	b := tx.Bucket([]byte(s.Bucket))
	switch {
	case !slices.ContainsFunc(sideBuckets, func(k []byte) bool { return string(k) == s.Bucket }):
		return fmt.Errorf("nothing is known here of %q", s.Bucket)
	case s.Value == nil:
		return b.Delete(s.Key)
	}
	return b.Put(s.Key, s.Value)
}

func putNumber(tx *bbolt.Tx, key []byte, n uint64) error {
	if forgotten(tx, key) == n {
		return nil
	}
	return tx.Bucket(bucketPartner).Put(key, usnKey(n))
}

// at is the entry or tombstone with a key. Callers hold write or mu.
func (d *index) at(k string) *Entry {
	if e := d.entries[k]; e != nil {
		return e
	}
	return d.graves[k]
}

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
func (d *Directory) publish(k string, e *Entry) {
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
func (d *Directory) disown(e *Entry) {
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

// commit writes entries, by key, in one transaction, numbers them, and makes them visible. What also has to change with
// them is written by also, in the same transaction. Callers hold write.
func (d *Directory) commit(es map[string]*Entry, also func(*bbolt.Tx) error) error {
	if len(es) == 0 && also == nil {
		return nil
	}
	keys := slices.Sorted(maps.Keys(es)) // pages are filled in order
	usn, stamp := d.usn, newStamp()
	err := d.db.Update(func(tx *bbolt.Tx) error {
		entries, numbers := tx.Bucket(bucketEntry), tx.Bucket(bucketUSN)
		numbers.FillPercent = 0.95 // keys only grow
		for _, k := range keys {
			if old := d.at(k); old != nil {
				if err := numbers.Delete(usnKey(old.USN)); err != nil {
					return err
				}
			}
			usn++
			e := es[k]
			if e.USN = usn; e.From == "" {
				e.Written, e.Stamp = usn, stamp
			}
			v, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := errors.Join(entries.Put([]byte(k), v), numbers.Put(usnKey(usn), []byte(k))); err != nil {
				return err
			}
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if len(keys) == 0 {
			return nil
		}
		return errors.Join(putStamp(tx, usn, stamp, time.Now()), entries.SetSequence(usn))
	})
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	if len(keys) == 0 {
		return nil
	}
	for part := range slices.Chunk(keys, publishChunk) {
		d.mu.Lock()
		for _, k := range part {
			d.publish(k, es[k])
		}
		d.usn = es[part[len(part)-1]].USN
		d.mu.Unlock()
	}
	d.mu.Lock()
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	return nil
}

// at is the entry or tombstone with a key. Callers hold write or mu.
func (d *Directory) at(k string) *Entry {
	if e := d.entries[k]; e != nil {
		return e
	}
	return d.graves[k]
}

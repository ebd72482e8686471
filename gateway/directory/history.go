package directory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/bbolt"
)

// A directory's history is the sequence of its commits. Each has a random stamp, kept under the number of the last write
// in it. Whoever has read up to a number remembers the stamp that goes with it: when the directory is restored from a
// backup and goes on differently, the same number has another stamp, or none, and the reader finds out. *Ours*; Exchange
// and its successors leave it to the operator to tell a restored server that it is one.
//
// Tombstones and stamps are forgotten together. Two numbers say up to where: a reader that stopped before them has to
// compare everything.
var (
	keyPurged = []byte("\x00purged") // greatest number of a forgotten tombstone
	keyPruned = []byte("\x00pruned") // greatest number of a forgotten stamp
)

// newStamp is never 0, which stands for no stamp.
func newStamp() uint64 { return rand.Uint64() | 1 }

func putStamp(tx *bbolt.Tx, usn, stamp uint64, now time.Time) error {
	v := binary.BigEndian.AppendUint64(nil, stamp)
	return tx.Bucket(bucketStamp).Put(usnKey(usn), binary.BigEndian.AppendUint64(v, uint64(now.Unix())))
}

// stampAt is the stamp and the time of the commit that a number belongs to; 0 when there is none.
func stampAt(tx *bbolt.Tx, usn uint64) (stamp uint64, at time.Time) {
	_, v := tx.Bucket(bucketStamp).Cursor().Seek(usnKey(usn))
	if len(v) != 16 {
		return 0, time.Time{}
	}
	return binary.BigEndian.Uint64(v), time.Unix(int64(binary.BigEndian.Uint64(v[8:])), 0)
}

func forgotten(tx *bbolt.Tx, key []byte) uint64 {
	v := tx.Bucket(bucketPartner).Get(key)
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

// ours tells whether a write with this number and stamp is part of the present history, as far as that is remembered.
func ours(tx *bbolt.Tx, usn, stamp uint64) bool {
	if usn <= forgotten(tx, keyPruned) {
		return true
	}
	have, _ := stampAt(tx, usn)
	return have != 0 && have == stamp
}

// purge forgets tombstones that have been here for so long that every replica has had time to see them, and the stamps
// of that time. Callers hold write.
func (d *Directory) purge(now time.Time) error {
	d.purged = now
	var old []*Entry
	err := d.db.Update(func(tx *bbolt.Tx) error {
		entries, numbers, partners := tx.Bucket(bucketEntry), tx.Bucket(bucketUSN), tx.Bucket(bucketPartner)
		purged := forgotten(tx, keyPurged)
		for _, e := range d.graves {
			// Since when it is known here counts: it may have been long on its way.
			if _, at := stampAt(tx, e.USN); now.Sub(at) <= d.o.KeepTombstones {
				continue
			}
			old = append(old, e)
			purged = max(purged, e.USN)
			if err := errors.Join(entries.Delete([]byte(e.key())), numbers.Delete(usnKey(e.USN))); err != nil {
				return err
			}
		}
		pruned, err := pruneStamps(tx, now.Add(-d.o.KeepTombstones))
		if err != nil {
			return err
		}
		if len(old) > 0 {
			err = partners.Put(keyPurged, usnKey(purged))
		}
		if pruned > 0 {
			err = errors.Join(err, partners.Put(keyPruned, usnKey(pruned)))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("directory: tombstones: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range old {
		delete(d.graves, e.key())
	}
	return nil
}

// pruneStamps forgets stamps from before a time, but never the last one, and gives the greatest number forgotten.
func pruneStamps(tx *bbolt.Tx, before time.Time) (uint64, error) {
	b := tx.Bucket(bucketStamp)
	last, _ := b.Cursor().Last()
	var old [][]byte
	c := b.Cursor()
	for k, v := c.First(); k != nil && string(k) != string(last) && len(v) == 16; k, v = c.Next() {
		if !time.Unix(int64(binary.BigEndian.Uint64(v[8:])), 0).Before(before) {
			break
		}
		old = append(old, append([]byte(nil), k...))
	}
	var pruned uint64
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
		pruned = binary.BigEndian.Uint64(k)
	}
	return pruned, nil
}

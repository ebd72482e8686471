package directory

import (
	"encoding/binary"
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
	keyMark   = []byte("\x00mark")   // last number of what is kept beside the entries, see Side
	keySwept  = []byte("\x00swept")  // greatest number of a removal of those that was forgotten
)

// newStamp is never 0, which stands for no stamp.
func newStamp() uint64 { return rand.Uint64() | 1 }

func putStamp(tx *bbolt.Tx, s Stamp) error {
	v := binary.BigEndian.AppendUint64(nil, s.Stamp)
	return tx.Bucket(bucketStamp).Put(usnKey(s.USN), binary.BigEndian.AppendUint64(v, uint64(s.At)))
}

// allStamps are those that are not forgotten.
func allStamps(tx *bbolt.Tx) (all []Stamp) {
	c := tx.Bucket(bucketStamp).Cursor()
	for k, v := c.First(); k != nil && len(v) == 16; k, v = c.Next() {
		all = append(all, Stamp{USN: binary.BigEndian.Uint64(k), Stamp: binary.BigEndian.Uint64(v), At: int64(binary.BigEndian.Uint64(v[8:]))})
	}
	return all
}

// dropStamps forgets those up to a number.
func dropStamps(tx *bbolt.Tx, to uint64) error {
	b := tx.Bucket(bucketStamp)
	for _, s := range allBefore(tx, to) {
		if err := b.Delete(usnKey(s)); err != nil {
			return err
		}
	}
	return nil
}

func allBefore(tx *bbolt.Tx, to uint64) (old []uint64) {
	c := tx.Bucket(bucketStamp).Cursor()
	for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k) <= to; k, _ = c.Next() {
		old = append(old, binary.BigEndian.Uint64(k))
	}
	return old
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

// purgeEvery is how often old tombstones are looked for.
const purgeEvery = 24 * time.Hour

// purge forgets tombstones that have been here for so long that every replica has had time to see them, and the stamps
// of that time but for the last: since when a thing is known here counts, it may have been long on its way. What is forgotten
// is told by two numbers, so that all copies of a shared history forget the same. Callers have begun; where the history is
// shared, that ends with it.
func (d *Directory) purge(now time.Time) error {
	before := now.Add(-d.o.KeepTombstones)
	c := Change{Forget: before}
	var was Place
	var old uint64 // what was committed up to this number is old
	err := d.db.View(func(tx *bbolt.Tx) error {
		was = placeOf(tx)
		c.Place = was
		all := allStamps(tx)
		for i, s := range all {
			if !time.Unix(s.At, 0).Before(before) {
				break
			}
			if old = s.USN; i < len(all)-1 {
				c.Place.Pruned = s.USN
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("directory: tombstones: %w", err)
	}
	for _, e := range d.graves {
		if e.USN <= old {
			c.Place.Purged = max(c.Place.Purged, e.USN)
		}
	}
	if d.shared != nil || c.Place != was {
		if err := d.conclude(c); err != nil {
			return err
		}
	}
	d.purged = now
	return nil
}

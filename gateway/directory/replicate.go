package directory

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Cursor is how far a reader has come in a directory's history. The zero Cursor is before its beginning.
type Cursor struct {
	USN   uint64 `json:"usn"`
	Stamp uint64 `json:"stamp"`
	// Purged is the greatest number of a tombstone that was forgotten when the cursor was made.
	Purged uint64 `json:"purged,omitempty"`
}

// Reset says why a Batch begins at the beginning again.
type Reset string

const (
	// ResetNew answers the zero Cursor.
	ResetNew Reset = "new"
	// ResetOld answers a cursor from a time whose tombstones are forgotten: what the list does not have was deleted.
	ResetOld Reset = "old"
	// ResetForked answers a cursor that is not part of the history: the directory was restored from a backup, or is another
	// one. What the list does not have may have been lost there, and is not deleted.
	ResetForked Reset = "forked"
)

// Batch is a piece of a directory's history for a reader.
type Batch struct {
	Since   Cursor  `json:"since"` // the question
	Reset   Reset   `json:"reset,omitempty"`
	Changes []Entry `json:"changes,omitempty"`
	Next    Cursor  `json:"next"` // to ask with next
	More    bool    `json:"more,omitempty"`
}

// USN is the number of the latest write here.
func (d *Directory) USN() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.usn
}

// Head is the end of the history so far.
func (d *Directory) Head() (c Cursor, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		c = head(tx)
		return nil
	})
	return c, err
}

func head(tx *bbolt.Tx) Cursor {
	usn := tx.Bucket(bucketEntry).Sequence()
	stamp, _ := stampAt(tx, usn)
	return Cursor{USN: usn, Stamp: stamp, Purged: forgotten(tx, keyPurged)}
}

// ChangesSince returns up to n entries and tombstones that were written here after a number, in the order of their last
// writes, and the number to ask with next. It reads what changed, not the whole directory.
func (d *Directory) ChangesSince(usn uint64, n int) (changes []Entry, next uint64, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		changes, next, _, err = changesSince(tx, usn, n, maxBatch)
		return err
	})
	if err != nil {
		return nil, usn, fmt.Errorf("directory: %w", err)
	}
	return changes, next, nil
}

// maxBatch bounds a batch in octets of its JSON text: what a peer has to take in one piece.
const maxBatch = 512 << 10

func changesSince(tx *bbolt.Tx, usn uint64, n, size int) (changes []Entry, next uint64, more bool, err error) {
	next = usn
	entries, c := tx.Bucket(bucketEntry), tx.Bucket(bucketUSN).Cursor()
	for k, v := c.Seek(usnKey(usn + 1)); k != nil; k, v = c.Next() {
		text := entries.Get(v)
		if len(changes) == n || len(changes) > 0 && len(text) > size {
			return changes, next, true, nil
		}
		size -= len(text)
		var e Entry
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, usn, false, fmt.Errorf("entry %q: %w", v, err)
		}
		changes, next = append(changes, e), binary.BigEndian.Uint64(k)
	}
	return changes, next, false, nil
}

// ChangesFor gives a reader what changed since his cursor, at most n entries and half a megabyte at a time.
func (d *Directory) ChangesFor(since Cursor, n int) (b Batch, err error) {
	b.Since = since
	err = d.db.View(func(tx *bbolt.Tx) error {
		b.Reset = check(tx, since)
		from := since.USN
		if b.Reset != "" {
			from = 0
		}
		b.Changes, b.Next.USN, b.More, err = changesSince(tx, from, n, maxBatch)
		if !b.More {
			b.Next = head(tx)
		} else {
			b.Next.Stamp, _ = stampAt(tx, b.Next.USN)
			b.Next.Purged = forgotten(tx, keyPurged)
		}
		return err
	})
	if err != nil {
		return Batch{}, fmt.Errorf("directory: %w", err)
	}
	for i := range b.Changes {
		b.Changes[i].From, b.Changes[i].USN = "", 0 // of no meaning elsewhere
	}
	return b, nil
}

// check tells whether a reader can go on from a cursor.
func check(tx *bbolt.Tx, c Cursor) Reset {
	if c.USN == 0 {
		return ResetNew
	}
	last := tx.Bucket(bucketEntry).Sequence()
	if c.USN > last {
		return ResetForked
	}
	if stamp, _ := stampAt(tx, c.USN); stamp == c.Stamp {
		if purged := forgotten(tx, keyPurged); c.Purged != purged && c.USN < purged {
			return ResetOld // tombstones that the reader has not seen were forgotten since
		}
		return ""
	}
	if c.USN <= forgotten(tx, keyPruned) {
		return ResetOld
	}
	return ResetForked
}

// partner is what is kept of a site that changes are taken from.
type partner struct {
	Cursor Cursor `json:"cursor"`
	Full   Reset  `json:"full,omitempty"` // a whole list is being read, for this reason
}

func (d *Directory) partner(tx *bbolt.Tx, name string) (p partner, err error) {
	if v := tx.Bucket(bucketPartner).Get([]byte(fold(name))); v != nil {
		err = json.Unmarshal(v, &p)
	}
	return p, err
}

// Cursor is how far the changes of a partner have been taken.
func (d *Directory) Cursor(name string) (Cursor, error) {
	var p partner
	err := d.db.View(func(tx *bbolt.Tx) (err error) {
		p, err = d.partner(tx, name)
		return err
	})
	if err != nil {
		return Cursor{}, fmt.Errorf("directory: partner %s: %w", name, err)
	}
	return p.Cursor, nil
}

// Replicated counts what became of a batch.
type Replicated struct {
	Taken     int `json:"taken"`     // newer than what was here
	Known     int `json:"known"`     // not newer
	Refused   int `json:"refused"`   // can't be: bad names, unknown classes
	Recovered int `json:"recovered"` // of Taken: our own, lost here and still known there
	Deleted   int `json:"deleted"`   // deleted long ago where they come from
	// Stale is true when the batch was not the next one: nothing was taken from it.
	Stale bool `json:"stale,omitempty"`
}

// Add sums up.
func (r *Replicated) Add(o Replicated) {
	r.Taken, r.Known, r.Refused = r.Taken+o.Taken, r.Known+o.Known, r.Refused+o.Refused
	r.Recovered, r.Deleted, r.Stale = r.Recovered+o.Recovered, r.Deleted+o.Deleted, o.Stale
}

// Replicate takes a partner's batch over, together with the cursor that says so: in one transaction, so that a batch has
// its effect once. One that does not follow on the last is left alone.
//
// The rule for conflicts: an entry is written at its own site only. Of two versions of it the higher one is kept; of
// two that have the same number, which happens when a restored site goes on from where its backup was, the one written
// later, then the deletion, then the one with the greater digest. So all replicas agree whatever the order in which
// they hear of things. An entry of our own is taken only when it is not part of our own present history, that is, when
// we lost it; if it is, what we have is said once more for all: that it was deleted, if so long ago that the tombstone
// is forgotten, or what it is now, if another site gave it up because a third one's whole list did not have it, or
// still has it from before a deletion that is forgotten here. An address that two sites' entries claim is kept with
// both and answered as ambiguous.
func (d *Directory) Replicate(name string, b Batch) (r Replicated, err error) {
	if err := d.begin(d.stopped); err != nil {
		return r, err
	}
	defer d.end()
	var p partner
	var sides []Side
	newest := map[string]*Entry{}
	err = d.db.View(func(tx *bbolt.Tx) error {
		if p, err = d.partner(tx, name); err != nil {
			return err
		}
		if b.Since != p.Cursor {
			r.Stale = true
			return nil
		}
		if b.Reset != "" {
			p.Full = b.Reset
		}
		p.Cursor = b.Next
		d.consider(tx, name, b.Changes, newest, &r)
		if p.Full == ResetOld && !b.More {
			n, err := d.unlisted(tx, name, b, newest)
			if err != nil {
				return err
			}
			r.Deleted += n
		}
		sides, err = seen(tx, name, b, p.Full)
		if err != nil {
			return err
		}
		if !b.More {
			p.Full = ""
		}
		v, err := json.Marshal(p)
		sides = append(sides, Side{Bucket: string(bucketPartner), Key: []byte(fold(name)), Value: v})
		return err
	})
	if err != nil || r.Stale {
		return r, err
	}
	return r, d.commit(newest, sides)
}

// consider puts what is to be taken of a partner's entries into newest.
func (d *Directory) consider(tx *bbolt.Tx, name string, es []Entry, newest map[string]*Entry, r *Replicated) {
	for i := range es {
		e := es[i].clone()
		e.From = name
		err := e.checkNames()
		if e.Deleted {
			*e = Entry{Class: e.Class, Name: e.Name, Site: e.Site, Version: e.Version, Changed: e.Changed, Deleted: true, Written: e.Written, Stamp: e.Stamp, From: name}
		} else if err == nil {
			err = e.complete()
		}
		own := fold(e.Site) == fold(d.o.Site.Name)
		if err == nil && (e.Version == 0 || own && e.Written == 0) {
			err = errors.New("it has no number")
		}
		if err != nil {
			r.Refused++
			d.o.Log.Warn("replicated directory entry refused", "entry", e.ID(), "site", name, "err", err)
			continue
		}
		k := e.key()
		old := d.at(k)
		if n := newest[k]; n != nil {
			old = n
		}
		if old != nil && !newer(e, old) {
			r.Known++
			continue
		}
		if own {
			if ours(tx, e.Written, e.Stamp) {
				now := time.Now().UTC().Truncate(time.Second)
				switch {
				case old == nil && !e.Deleted: // deleted here so long ago that it is forgotten
					newest[k] = &Entry{Class: e.Class, Name: e.Name, Site: e.Site, Version: e.Version + 1, Changed: now, Deleted: true}
				case old != nil && (!old.Deleted || !e.Deleted):
					// Given up by a site that did not find it in another's whole list, or counted anew here after its tombstone
					// was forgotten, while that site still has it as it was before.
					newest[k] = old.clone()
					newest[k].Version, newest[k].Changed, newest[k].From = e.Version+1, now, ""
				}
				r.Known++
				continue
			}
			e.From = ""
			r.Recovered++
			d.o.Log.Warn("directory entry recovered: a partner has a newer version of it than this site, which was restored", "entry", e.ID(), "site", name)
		}
		newest[k] = e
		r.Taken++
	}
}

// newer tells whether a takes the place of b.
func newer(a, b *Entry) bool {
	deleted := func(e *Entry) int {
		if e.Deleted {
			return 1
		}
		return 0
	}
	if c := cmp.Or(cmp.Compare(a.Version, b.Version), a.Changed.Compare(b.Changed), cmp.Compare(deleted(a), deleted(b))); c != 0 {
		return c > 0
	}
	if a.same(b) {
		return false
	}
	return bytes.Compare(digest(a), digest(b)) > 0
}

// digest is of what all replicas of an entry have in common.
func digest(e *Entry) []byte {
	c := *e
	c.USN, c.Written, c.Stamp, c.From = 0, 0, 0, ""
	text, err := json.Marshal(&c)
	if err != nil {
		return nil // an Entry has nothing that JSON lacks
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// pieces are the keys under which pieces of a partner's whole list are kept.
func pieces(name string) []byte { return append([]byte(fold(name)), 0) }

// seen keeps the keys of a whole list while it is being read in pieces, for unlisted: each piece's in one value.
func seen(tx *bbolt.Tx, name string, b Batch, full Reset) (sides []Side, err error) {
	prefix := pieces(name)
	put := Side{Bucket: string(bucketSeen), Key: binary.BigEndian.AppendUint64(prefix, b.Next.USN)}
	more := full == ResetOld && b.More
	if b.Reset != "" || !b.More {
		c := tx.Bucket(bucketSeen).Cursor()
		for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			if !more || !bytes.Equal(k, put.Key) {
				sides = append(sides, Side{Bucket: string(bucketSeen), Key: bytes.Clone(k)})
			}
		}
	}
	if !more {
		return sides, nil
	}
	keys := make([]string, len(b.Changes))
	for i := range b.Changes {
		keys[i] = b.Changes[i].key()
	}
	put.Value, err = json.Marshal(keys)
	return append(sides, put), err
}

// unlisted deletes what came from a partner and is not in its whole list, of which b is the last piece.
func (d *Directory) unlisted(tx *bbolt.Tx, name string, b Batch, newest map[string]*Entry) (n int, err error) {
	now := map[string]bool{}
	for i := range b.Changes {
		now[b.Changes[i].key()] = true
	}
	if prefix := pieces(name); b.Reset == "" {
		c := tx.Bucket(bucketSeen).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			var keys []string
			if err := json.Unmarshal(v, &keys); err != nil {
				return 0, fmt.Errorf("list of %s: %w", name, err)
			}
			for _, key := range keys {
				now[key] = true
			}
		}
	}
	for k, e := range d.entries {
		if fold(e.From) != fold(name) || now[k] {
			continue
		}
		newest[k] = &Entry{Class: e.Class, Name: e.Name, Site: e.Site, Version: e.Version, Changed: e.Changed, Deleted: true,
			Written: e.Written, Stamp: e.Stamp, From: e.From}
		n++
	}
	return n, nil
}

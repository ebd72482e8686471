package directory

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// USN is the number of the latest write here.
func (d *Directory) USN() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.usn
}

// ChangesSince returns up to n entries and tombstones that were written here after a number, in the order of their last
// writes, and the number to ask with next. It reads what changed, not the whole directory.
func (d *Directory) ChangesSince(usn uint64, n int) (changes []Entry, next uint64, err error) {
	next = usn
	err = d.db.View(func(tx *bbolt.Tx) error {
		entries, c := tx.Bucket(bucketEntry), tx.Bucket(bucketUSN).Cursor()
		for k, v := c.Seek(usnKey(usn + 1)); k != nil && len(changes) < n; k, v = c.Next() {
			var e Entry
			if err := json.Unmarshal(entries.Get(v), &e); err != nil {
				return fmt.Errorf("entry %q: %w", v, err)
			}
			changes, next = append(changes, e), binary.BigEndian.Uint64(k)
		}
		return nil
	})
	if err != nil {
		return nil, usn, fmt.Errorf("directory: %w", err)
	}
	return changes, next, nil
}

// Apply takes entries over that other sites wrote, as ChangesSince of a partner gave them. An entry is written at its own
// site only, so the higher version is the newer one and replicas agree whatever the order in which they hear of things;
// what is older than what is here, or claims to be of this site, is left out. An address that two sites' entries claim
// is kept with both and answered as ambiguous. It returns how many were taken, and is durable.
func (d *Directory) Apply(es []Entry) (int, error) {
	d.write.Lock()
	defer d.write.Unlock()
	newest := map[string]*Entry{}
	for i := range es {
		e := es[i].clone()
		if fold(e.Site) == fold(d.o.Site.Name) {
			continue
		}
		err := e.checkNames()
		if e.Deleted {
			*e = Entry{Name: e.Name, Site: e.Site, Version: e.Version, Changed: e.Changed, Deleted: true}
		} else if err == nil {
			err = e.complete()
		}
		if err != nil {
			d.o.Log.Warn("replicated directory entry refused", "entry", e.ID(), "err", err)
			continue
		}
		k := e.key()
		if old := d.at(k); old != nil && old.Version >= e.Version {
			continue
		}
		if other := newest[k]; other != nil && other.Version >= e.Version {
			continue
		}
		newest[k] = e
	}
	return len(newest), d.commit(newest)
}

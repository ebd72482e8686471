package directory

import (
	"bytes"
	"maps"
	"slices"

	"go.etcd.io/bbolt"

	"backbone/gateway/address"
)

// Edit is a set of changes in the making: entries of this site, and records that somebody keeps beside them because they
// must never disagree with them. All of it becomes durable and visible together.
type Edit struct {
	b       *batch
	tx      *bbolt.Tx // a view of the records as they were
	records map[string][]byte
}

// Edit runs do and commits what it did, unless it fails. do must not call the Directory's own methods that write.
func (d *Directory) Edit(do func(*Edit) error) error {
	if err := d.begin(d.stopped); err != nil {
		return err
	}
	defer d.end()
	e := &Edit{b: d.newBatch(), records: map[string][]byte{}}
	if err := d.db.View(func(tx *bbolt.Tx) error {
		e.tx = tx
		return do(e)
	}); err != nil {
		return err
	}
	var sides []Side
	for _, k := range slices.Sorted(maps.Keys(e.records)) {
		sides = append(sides, Side{Bucket: string(bucketRecord), Key: []byte(k), Value: e.records[k]})
	}
	return d.commit(e.b.staged, sides)
}

// Get is this site's entry of a class with a name.
func (e *Edit) Get(c Class, name string) (Entry, bool) {
	k := (&Entry{Class: c, Site: e.b.d.o.Site.Name, Name: name}).key()
	if have := e.b.get(k); have != nil {
		return *have.clone(), true
	}
	return Entry{}, false
}

// Find is the entry that has an address, of whatever site.
func (e *Edit) Find(a address.Address) (Entry, bool) {
	if k := e.b.owner(a.Key()); k != "" {
		if have := e.b.get(k); have != nil {
			return *have.clone(), true
		}
	}
	return Entry{}, false
}

// Put writes a complete entry of this site, new or in the place of the one with its name, and tells whether it says
// anything new. *Conflict when an address belongs to another.
func (e *Edit) Put(in Entry) (changed bool, err error) {
	c := in.clone()
	c.Site = e.b.d.o.Site.Name
	if err := c.complete(); err != nil {
		return false, err
	}
	return e.b.put(c)
}

// Remove deletes this site's entry and tells whether there was one.
func (e *Edit) Remove(c Class, name string) bool {
	k := (&Entry{Class: c, Site: e.b.d.o.Site.Name, Name: name}).key()
	have := e.b.get(k)
	if have != nil {
		e.b.remove(have)
	}
	return have != nil
}

// Record is what was last set under a key, nil when nothing was.
func (e *Edit) Record(key string) []byte {
	if v, ok := e.records[key]; ok {
		return v
	}
	return bytes.Clone(e.tx.Bucket(bucketRecord).Get([]byte(key)))
}

// SetRecord keeps a value under a key; nil removes it.
func (e *Edit) SetRecord(key string, value []byte) { e.records[key] = value }

// Records calls do with up to n records, as they were when the edit began, whose keys begin with prefix and come after
// after.
func (e *Edit) Records(prefix, after string, n int, do func(key string, value []byte) error) error {
	return records(e.tx, prefix, after, n, do)
}

// Records calls do with up to n records whose keys begin with prefix and come after after; see Edit.
func (d *Directory) Records(prefix, after string, n int, do func(key string, value []byte) error) error {
	return d.db.View(func(tx *bbolt.Tx) error { return records(tx, prefix, after, n, do) })
}

func records(tx *bbolt.Tx, prefix, after string, n int, do func(key string, value []byte) error) error {
	c := tx.Bucket(bucketRecord).Cursor()
	start := max(prefix, after)
	for k, v := c.Seek([]byte(start)); k != nil && n > 0 && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
		if after != "" && string(k) <= after {
			continue
		}
		if err := do(string(k), bytes.Clone(v)); err != nil {
			return err
		}
		n--
	}
	return nil
}

// Record is what was last set under a key, nil when nothing was.
func (d *Directory) Record(key string) (v []byte, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		v = bytes.Clone(tx.Bucket(bucketRecord).Get([]byte(key)))
		return nil
	})
	return v, err
}

// Connectors are all sites' connectors that are known here.
func (d *Directory) Connectors() []Entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]Entry, 0, len(d.links))
	for _, k := range slices.Sorted(maps.Keys(d.links)) {
		out = append(out, *d.links[k].clone())
	}
	return out
}

// SetConnectors makes es the connectors of this site, as the others will know them.
func (d *Directory) SetConnectors(es []Entry) error {
	return d.Edit(func(ed *Edit) error {
		keep := map[string]bool{}
		for _, c := range es {
			c.Class = Connector
			if _, err := ed.Put(c); err != nil {
				return err
			}
			keep[fold(c.Name)] = true
		}
		for _, old := range d.links {
			if fold(old.Site) == fold(d.o.Site.Name) && !keep[fold(old.Name)] {
				ed.Remove(Connector, old.Name)
			}
		}
		return nil
	})
}

package directory

import (
	"fmt"
	"slices"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Conflict says that an address belongs to another entry already. As a failure it is mail.AmbiguousRecipient (KB Q165396).
type Conflict struct {
	Address address.Address
	Entry   string // that wanted it, SITE/NAME
	Other   string // that has it
	Target  bool   // it was to be the target; else a proxy
}

func (c *Conflict) Error() string {
	what := "proxy"
	if c.Target {
		what = "target"
	}
	return fmt.Sprintf("directory entry %s: %s address %s already belongs to %s", c.Entry, what, c.Address, c.Other)
}

func (c *Conflict) Unwrap() error {
	return mail.AmbiguousRecipient(fmt.Sprintf("%s is the address of several directory entries: %s and %s", c.Address, c.Entry, c.Other))
}

// batch collects writes, each checked against the directory as the earlier ones leave it, to be committed together.
type batch struct {
	d      *Directory
	now    time.Time
	staged map[string]*Entry
	claims map[string]string // address key -> entry key; "" when given up
}

func (d *Directory) newBatch() *batch {
	return &batch{d: d, now: time.Now().UTC().Truncate(time.Second), staged: map[string]*Entry{}, claims: map[string]string{}}
}

// get is the live entry with a key, or nil.
func (b *batch) get(k string) *Entry {
	e, ok := b.staged[k]
	if !ok {
		e = b.d.entries[k]
	}
	if e == nil || e.Deleted {
		return nil
	}
	return e
}

// owner is the entry that has an address, "" when none.
func (b *batch) owner(addressKey string) string {
	if k, ok := b.claims[addressKey]; ok {
		return k
	}
	if e := b.d.owners[addressKey]; e != nil {
		return e.key()
	}
	return ""
}

func (b *batch) release(e *Entry) {
	k := e.key()
	for _, a := range e.addresses() {
		if b.owner(a) == k {
			b.claims[a] = ""
		}
	}
}

// put stages a complete entry of this site and tells whether it says anything new. It takes e over.
func (b *batch) put(e *Entry) (changed bool, err error) {
	k := e.key()
	if e.Class == Recipient {
		if err := b.free(e.Target, e, true); err != nil {
			return false, err
		}
	}
	for p := range e.proxies {
		if err := b.free(p, e, false); err != nil {
			return false, err
		}
	}
	if b.d.o.Generate && e.Class == Recipient {
		b.generate(e)
	}
	if old := b.get(k); old != nil {
		if e.Name, e.Site = old.Name, old.Site; old.same(e) {
			return false, nil
		}
		b.release(old)
	}
	e.Version, e.Changed, e.Deleted, e.From = b.version(k)+1, b.now, false, ""
	for _, a := range e.addresses() {
		b.claims[a] = k
	}
	b.staged[k] = e
	return true, nil
}

// free tells that an address belongs to nobody but e.
func (b *batch) free(a address.Address, e *Entry, target bool) error {
	other := b.owner(a.Key())
	if other == "" || other == e.key() {
		return nil
	}
	name := other
	if o := b.get(other); o != nil {
		name = o.ID()
	}
	return &Conflict{Address: a, Entry: e.ID(), Other: name, Target: target}
}

// version is the number of writes so far of the entry with a key. KeepTombstones count on, so that an entry made again is
// newer than its deletion.
func (b *batch) version(k string) uint64 {
	if e := b.staged[k]; e != nil {
		return e.Version
	}
	if e := b.d.at(k); e != nil {
		return e.Version
	}
	return 0
}

// remove stages an entry's tombstone.
func (b *batch) remove(e *Entry) {
	k := e.key()
	b.release(e)
	b.staged[k] = &Entry{Class: e.Class, Name: e.Name, Site: e.Site, Version: b.version(k) + 1, Changed: b.now, Deleted: true}
}

func (b *batch) commit() error { return b.d.commit(b.staged, nil) }

// Add creates an entry of this site. ErrExists when the name is taken, *Conflict when an address is.
func (d *Directory) Add(e Entry) (Entry, error) {
	return d.put(e, func(old *Entry) error {
		if old != nil {
			return fmt.Errorf("%w: %s", ErrExists, old.ID())
		}
		return nil
	})
}

// Replace writes an entry of this site in the place of the one with its name. ErrNotFound when there is none.
func (d *Directory) Replace(e Entry) (Entry, error) {
	return d.put(e, func(old *Entry) error {
		if old == nil {
			return fmt.Errorf("%w: %s", ErrNotFound, entryKey(d.o.Site.Name, e.Name))
		}
		return nil
	})
}

func (d *Directory) put(in Entry, check func(old *Entry) error) (Entry, error) {
	e := in.clone()
	if e.Site == "" {
		e.Site = d.o.Site.Name
	}
	if fold(e.Site) != fold(d.o.Site.Name) {
		return Entry{}, fmt.Errorf("%w: %s", ErrForeign, e.ID())
	}
	if err := e.complete(); err != nil {
		return Entry{}, err
	}
	for k := range e.Attributes {
		if !slices.Contains(attributes, k) {
			return Entry{}, fmt.Errorf("directory entry %s: attribute %q is unknown; the import file's attribute columns are what there is", e.ID(), k)
		}
	}
	if err := d.begin(d.stopped); err != nil {
		return Entry{}, err
	}
	defer d.end()
	b := d.newBatch()
	if err := check(b.get(e.key())); err != nil {
		return Entry{}, err
	}
	if _, err := b.put(e); err != nil {
		return Entry{}, err
	}
	if err := b.commit(); err != nil {
		return Entry{}, err
	}
	return *b.get(e.key()).clone(), nil
}

// Remove deletes an entry of this site by its directory name and leaves a tombstone.
func (d *Directory) Remove(name string) error {
	if err := d.begin(d.stopped); err != nil {
		return err
	}
	defer d.end()
	b := d.newBatch()
	e := b.get(entryKey(d.o.Site.Name, name))
	if e == nil {
		if other, err := d.Get(name); err == nil {
			return fmt.Errorf("%w: %s", ErrForeign, other.ID())
		}
		return fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	b.remove(e)
	return b.commit()
}

// Get is an entry by its directory name, of this site; or by SITE/NAME, of any.
func (d *Directory) Get(name string) (Entry, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e := d.entries[entryKey(d.o.Site.Name, name)]; e != nil {
		return *e.clone(), nil
	}
	if e := d.entries[fold(name)]; e != nil {
		return *e.clone(), nil
	}
	return Entry{}, fmt.Errorf("%w: %s", ErrNotFound, name)
}

// Find is the entry that has an address, as target or proxy. ErrNotFound, or a *Conflict when several have it.
func (d *Directory) Find(a address.Address) (Entry, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e, err := d.find(a)
	if err != nil {
		return Entry{}, err
	}
	return *e.clone(), nil
}

// find is Find for callers that hold mu.
func (d *Directory) find(a address.Address) (*Entry, error) {
	k := a.Key()
	if rs := d.rivals[k]; rs != nil {
		return nil, &Conflict{Address: a, Entry: rs[0].ID(), Other: rs[1].ID(), Target: rs[0].Target.Equal(a)}
	}
	if e := d.owners[k]; e != nil {
		return e, nil
	}
	return nil, ErrNotFound
}

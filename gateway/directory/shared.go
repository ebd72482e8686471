package directory

import (
	"context"
	"time"
)

// Shared is one directory's history that several gateways of a site have in common. Each gateway's file is a copy of its
// beginning: numbers and stamps are the same everywhere, so that what other sites remember of one gateway's history is good at all.
//
// All methods are safe for concurrent use and wait for a store that is away as long as the store does; their errors say so.
type Shared interface {
	// Place is the end of the history.
	Place(context.Context) (Place, error)
	// Turn waits for the right to write, which one gateway has at a time.
	Turn(context.Context) (Turn, error)
}

// Turn is the right to write the history's next change. While one has it, nothing of the history changes but by him. It ends with
// Commit or Release, whichever comes first.
type Turn interface {
	Place() Place
	// Rows, Stamps and Sides are up to n with numbers greater than after, in the order of their numbers.
	Rows(ctx context.Context, after uint64, n int) ([]Row, error)
	Stamps(ctx context.Context, after uint64, n int) ([]Stamp, error)
	Sides(ctx context.Context, after uint64, n int) ([]Side, error)
	// Commit makes a change durable, whole or not at all. When it is not known whether it took place, Commit finds out before it
	// answers, or says in its error that it could not.
	Commit(context.Context, Change) error
	Release()
}

// Place is an end of the history, so far. The zero Place is before its beginning.
type Place struct {
	USN, Stamp     uint64 // of the last commit of entries
	Purged, Pruned uint64 // greatest numbers of a tombstone and of a stamp that were forgotten
	Mark           uint64 // the last number of a Side
	Swept          uint64 // greatest mark of a removed Side that was forgotten
}

// Row is an entry or tombstone as it was last written.
type Row struct {
	Key  string
	USN  uint64
	Gone bool   // a tombstone
	Text []byte // the Entry in JSON

	entry *Entry // what Text says, where that is known
}

// Stamp is that of the commit whose last write has the number USN; At is its time in seconds.
type Stamp struct {
	USN, Stamp uint64
	At         int64
}

// Side is a value that is kept beside the entries: how far partners have been read, what synchronization knows of post offices. A
// nil Value removes it. Mark is the number of its last change.
type Side struct {
	Bucket string
	Key    []byte
	Value  []byte
	Mark   uint64
}

// Change is what one commit brings. Tombstones with numbers up to Place.Purged and stamps up to Place.Pruned are forgotten first.
type Change struct {
	Place  Place
	Rows   []Row
	Stamps []Stamp
	Sides  []Side
	// Forget, when it is not zero, lets removals of sides from before that time be forgotten; Place.Swept then grows in the history.
	Forget time.Time
}

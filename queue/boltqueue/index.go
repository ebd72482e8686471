package boltqueue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"backbone/gateway/mail"
	"backbone/queue"
)

// index is the queue's state: buckets of a bbolt file, read and changed through one write transaction that stays open
// from checkpoint to checkpoint, and the few counters that go with them. It changes by apply alone and knows nothing
// of leases, of the disk or of time.
//
//	item    ID                       -> record
//	body    number                   -> size, checksum, home, items that share it
//	due     dest priority next ID    -> (ready items in the order in which they are leased)
//	wait    dest ID                  -> (all items of a destination but the trash)
//	trash   time ID                  -> (since when)
//	dedup   day / hash               -> IDs
//	mark    ID                       -> owner (leases that were running)
//	suspend connector NUL host       -> suspension
//	dest    number                   -> name and counters
//	segment number                   -> octets that live in it
//	meta    name                     -> what is said once
type index struct {
	db *bolt.DB
	tx *bolt.Tx

	item, body, due, wait, trash, dedup, mark, suspend, dest, segment, meta *bolt.Bucket

	dests    map[queue.Dest]*dest
	numbered map[uint32]*dest
	lastDest uint32
	live     map[uint32]int64 // by segment; gone when nothing lives in it
	changed  map[uint32]bool  // segments whose counter differs from the bucket's
	touched  map[*dest]bool   // the same of destinations
	trashed  int
	fileSize int64                           // octets of bodies in files of their own
	next     uint64                          // above all numbers of items and bodies ever seen
	held     map[queue.Dest]queue.Suspension // suspensions
	freed    []body                          // files without items, since the last take
	moved    func(d *dest)                   // called for each destination whose due items changed; may be nil
}

var bucketNames = []string{"item", "body", "due", "wait", "trash", "dedup", "mark", "suspend", "dest", "segment", "meta"}

// formatVersion is raised when an older program could not read what a newer one wrote.
const formatVersion = 1

// errFormat is a file of another program or a later one.
var errFormat = fmt.Errorf("not an index of format %d", formatVersion)

func newIndex(db *bolt.DB) (*index, error) {
	x := &index{
		db: db, dests: map[queue.Dest]*dest{}, numbered: map[uint32]*dest{}, live: map[uint32]int64{},
		changed: map[uint32]bool{}, touched: map[*dest]bool{}, held: map[queue.Dest]queue.Suspension{},
	}
	if err := x.begin(); err != nil {
		return nil, err
	}
	return x, x.load()
}

// begin opens the write transaction.
func (x *index) begin() (err error) {
	if x.tx, err = x.db.Begin(true); err != nil {
		return err
	}
	if x.tx.Bucket([]byte("meta")) == nil {
		for _, n := range bucketNames {
			if _, err := x.tx.CreateBucket([]byte(n)); err != nil {
				return err
			}
		}
		if err := x.tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{formatVersion}); err != nil {
			return err
		}
	}
	return x.bind()
}

// beginReading opens a read transaction in the place of one that could not be committed: reads go on with what the latest
// checkpoint holds.
func (x *index) beginReading() (err error) {
	if x.tx, err = x.db.Begin(false); err != nil {
		return err
	}
	return x.bind()
}

func (x *index) bind() error {
	for i, b := range []**bolt.Bucket{&x.item, &x.body, &x.due, &x.wait, &x.trash, &x.dedup, &x.mark, &x.suspend, &x.dest, &x.segment, &x.meta} {
		if *b = x.tx.Bucket([]byte(bucketNames[i])); *b == nil {
			return fmt.Errorf("%w: bucket %s is missing", errFormat, bucketNames[i])
		}
	}
	x.item.FillPercent, x.body.FillPercent = 0.9, 0.9 // numbers only grow
	return nil
}

// load fills what is kept in memory: a line for each destination, segment and suspension, nothing for an item.
func (x *index) load() error {
	if v := x.meta.Get([]byte("format")); len(v) != 1 || v[0] != formatVersion {
		return fmt.Errorf("%w but %v", errFormat, v)
	}
	x.next = max(x.number("next"), 1)
	x.lastDest = uint32(x.number("lastdest"))
	x.trashed, x.fileSize = int(x.number("trashed")), int64(x.number("filesize"))
	err := x.dest.ForEach(func(k, v []byte) error {
		d, err := decodeDest(v)
		if err != nil || len(k) != 4 {
			return fmt.Errorf("destination %x: %w", k, err)
		}
		d.num = binary.BigEndian.Uint32(k)
		x.dests[d.name], x.numbered[d.num] = d, d
		return nil
	})
	if err != nil {
		return err
	}
	err = x.segment.ForEach(func(k, v []byte) error {
		x.live[binary.BigEndian.Uint32(k)] = int64(binary.BigEndian.Uint64(v))
		return nil
	})
	if err != nil {
		return err
	}
	return x.suspend.ForEach(func(_, v []byte) error {
		s, err := decodeSuspension(v)
		x.held[s.Dest] = s
		return err
	})
}

func (x *index) number(name string) uint64 {
	v := x.meta.Get([]byte(name))
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

func (x *index) setNumber(name string, v uint64) error {
	return x.meta.Put([]byte(name), binary.BigEndian.AppendUint64(nil, v))
}

// position is where in the log the changes begin that a committed index does not hold.
type position struct {
	seg uint32
	off int64
}

func (x *index) position() position {
	return position{uint32(x.number("segment")), int64(x.number("offset"))}
}

// commit makes the index durable as of position p and opens the next transaction.
func (x *index) commit(p position) error {
	for d := range x.touched {
		k := binary.BigEndian.AppendUint32(nil, d.num)
		var err error
		if d.ready+d.held == 0 {
			delete(x.dests, d.name)
			delete(x.numbered, d.num)
			d.gone = true
			err = x.dest.Delete(k)
			if x.moved != nil {
				x.moved(d)
			}
		} else {
			err = x.dest.Put(k, d.encode())
		}
		if err != nil {
			return err
		}
	}
	for n := range x.changed {
		k := binary.BigEndian.AppendUint32(nil, n)
		var err error
		if v := x.live[n]; v == 0 {
			err = x.segment.Delete(k)
		} else {
			err = x.segment.Put(k, binary.BigEndian.AppendUint64(nil, uint64(v)))
		}
		if err != nil {
			return err
		}
	}
	for name, v := range map[string]uint64{
		"next": x.next, "lastdest": uint64(x.lastDest), "trashed": uint64(x.trashed), "filesize": uint64(x.fileSize),
		"segment": uint64(p.seg), "offset": uint64(p.off),
	} {
		if err := x.setNumber(name, v); err != nil {
			return err
		}
	}
	if err := x.tx.Commit(); err != nil {
		return errors.Join(err, x.beginReading())
	}
	clear(x.touched)
	clear(x.changed)
	return x.begin()
}

// apply makes a change. The error means that the index is damaged, and the change may be in it by half.
func (x *index) apply(c *change) error {
	for i := range c.bodies {
		if err := x.setBody(&c.bodies[i]); err != nil {
			return err
		}
	}
	for _, r := range c.items {
		listed := slices.ContainsFunc(c.bodies, func(b body) bool { return b.id == r.body })
		if err := x.setItem(r, listed); err != nil {
			return err
		}
	}
	for _, id := range c.ended {
		if err := x.endItem(id); err != nil {
			return err
		}
	}
	for _, m := range c.begun {
		if err := x.mark.Put(key(m.id), []byte(m.owner)); err != nil {
			return err
		}
	}
	for _, id := range c.over {
		if err := x.mark.Delete(key(id)); err != nil {
			return err
		}
	}
	for i := range c.dedup {
		if err := x.remember(&c.dedup[i]); err != nil {
			return err
		}
	}
	for _, d := range c.forget {
		if err := x.dedup.DeleteBucket(dayKey(d)); err != nil && err != berrors.ErrBucketNotFound {
			return err
		}
	}
	for _, s := range c.suspend {
		var e enc
		e.suspension(&s)
		if err := x.suspend.Put(suspensionKey(s.Dest), e); err != nil {
			return err
		}
		x.held[s.Dest] = s
	}
	for _, d := range c.resume {
		if err := x.suspend.Delete(suspensionKey(d)); err != nil {
			return err
		}
		delete(x.held, d)
	}
	return nil
}

func key(id queue.ID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

func keyID(k []byte) queue.ID { return queue.ID(binary.BigEndian.Uint64(k[len(k)-8:])) }

func dayKey(d uint32) []byte { return binary.BigEndian.AppendUint32(nil, d) }

func suspensionKey(d queue.Dest) []byte { return []byte(d.Connector + "\x00" + d.Host) }

func waitKey(d *dest, id queue.ID) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(make([]byte, 0, 12), d.num), uint64(id))
}

// ordered is a time as a key: octets compare as times do.
func ordered(t time.Time) uint64 { return uint64(nanos(t)) ^ 1<<63 }

func unordered(k []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(k)^1<<63)).UTC()
}

// rank is a priority's place: urgent first.
func rank(p mail.Priority) byte {
	switch {
	case p > 0:
		return 0
	case p == 0:
		return 1
	}
	return 2
}

const ranks = 3

func duePrefix(d *dest, rank byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 21), d.num), rank)
}

func dueKey(d *dest, r *record) []byte {
	k := binary.BigEndian.AppendUint64(duePrefix(d, rank(r.Envelope.Priority)), ordered(r.Next))
	return binary.BigEndian.AppendUint64(k, uint64(r.ID))
}

func trashKey(r *record) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, ordered(r.Changed)), uint64(r.ID))
}

// get is an item, nil when there is none.
func (x *index) get(id queue.ID) (*record, error) {
	v := x.item.Get(key(id))
	if v == nil {
		return nil, nil
	}
	return decodeItem(v)
}

// setItem enters an item or changes it. With listed, its body came with it and names it already.
func (x *index) setItem(r *record, listed bool) error {
	old, err := x.get(r.ID)
	if err != nil {
		return err
	}
	x.next = max(x.next, uint64(r.ID)+1)
	if old != nil {
		if err := x.unlink(old); err != nil {
			return err
		}
	} else if !listed {
		if err := x.share(r); err != nil {
			return err
		}
	}
	if err := x.item.Put(key(r.ID), r.raw); err != nil {
		return err
	}
	return x.link(r)
}

func (x *index) endItem(id queue.ID) error {
	old, err := x.get(id)
	if err != nil || old == nil {
		return err
	}
	if err := x.unlink(old); err != nil {
		return err
	}
	if err := x.item.Delete(key(id)); err != nil {
		return err
	}
	return x.unshare(old)
}

// link enters an item into the orders that it belongs to, unlink takes it out.
func (x *index) link(r *record) error {
	if r.State == queue.Trash {
		x.trashed++
		return x.trash.Put(trashKey(r), []byte{})
	}
	d := x.destOf(r.Dest)
	d.bytes += r.Body.Size
	if r.State == queue.Ready {
		d.ready++
		if err := x.due.Put(dueKey(d, r), []byte{}); err != nil {
			return err
		}
	} else {
		d.held++
	}
	x.touch(d)
	return x.wait.Put(waitKey(d, r.ID), []byte{})
}

func (x *index) unlink(r *record) error {
	if r.State == queue.Trash {
		x.trashed--
		return x.trash.Delete(trashKey(r))
	}
	d := x.destOf(r.Dest)
	d.bytes -= r.Body.Size
	if r.State == queue.Ready {
		d.ready--
		if err := x.due.Delete(dueKey(d, r)); err != nil {
			return err
		}
	} else {
		d.held--
	}
	x.touch(d)
	return x.wait.Delete(waitKey(d, r.ID))
}

func (x *index) touch(d *dest) {
	x.touched[d] = true
	if x.moved != nil {
		x.moved(d)
	}
}

// wasteful tells an index of which more than three fifths are free pages, when it is larger than least.
func (x *index) wasteful(least int64) bool {
	st := x.db.Stats()
	size, page := x.tx.Size(), int64(x.db.Info().PageSize)
	return size > least && int64(st.FreePageN+st.PendingPageN)*page > size/5*3
}

// firstWith is the first key at or after k that begins with prefix, nil when there is none.
func firstWith(c *bolt.Cursor, k, prefix []byte) []byte {
	if f, _ := c.Seek(k); bytes.HasPrefix(f, prefix) {
		return f
	}
	return nil
}

package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// pollEvery is how late what another gateway changed is seen at most, and a little.
const pollEvery = time.Second

// ErrUnavailable says that the history which the gateways share can't be written now. The change was not made, unless the error
// says that this is not known; look-ups go on.
var ErrUnavailable = errors.New("directory: the one that the gateways share can't be changed now; try again later")

// begin waits for the right to write. Where the history is shared, this gateway has it alone among all, and has caught up.
func (d *Directory) begin(ctx context.Context) error {
	d.write.Lock()
	err := d.take(ctx)
	if now := time.Now(); err == nil && now.Sub(d.purged) > purgeEvery {
		if err = d.purge(now); err == nil {
			err = d.take(ctx)
		}
	}
	if err != nil {
		d.end()
	}
	return err
}

// end gives the right to write back.
func (d *Directory) end() {
	if d.turn != nil {
		d.turn.Release()
		d.turn = nil
	}
	d.write.Unlock()
}

// take gets a turn, where the history is shared and we have none, and catches up.
func (d *Directory) take(ctx context.Context) error {
	if d.shared == nil || d.turn != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.stopped, cancel)()
	if err := d.catchUp(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// catchUp gets a turn and what others wrote. A shared history without a beginning begins with ours.
func (d *Directory) catchUp(ctx context.Context) (err error) {
	for {
		turn, err := d.shared.Turn(ctx)
		if err != nil {
			return err
		}
		d.turn = turn
		var mine Place
		if mine, err = d.place(); err != nil {
			return err
		}
		head := d.turn.Place()
		if head != (Place{}) || mine == (Place{}) {
			return d.follow(ctx, mine, head)
		}
		if err = d.found(ctx, mine); err != nil {
			return err
		}
	}
}

// place is the end of our own copy.
func (d *Directory) place() (p Place, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		p = placeOf(tx)
		return nil
	})
	return p, err
}

func placeOf(tx *bbolt.Tx) Place {
	c := head(tx)
	return Place{USN: c.USN, Stamp: c.Stamp, Purged: c.Purged, Pruned: forgotten(tx, keyPruned), Mark: forgotten(tx, keyMark), Swept: forgotten(tx, keySwept)}
}

// slice is how many rows are asked for at a time.
const slice = 5000

// all reads slices until there are no more. number is that of a row.
func all[T any](after uint64, read func(after uint64, n int) ([]T, error), number func(*T) uint64) (out []T, err error) {
	for {
		some, err := read(after, slice)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
		if len(some) < slice {
			return out, nil
		}
		after = number(&some[len(some)-1])
	}
}

// since is what the shared history has after a place, as one change.
func (d *Directory) since(ctx context.Context, mine, head Place) (c Change, err error) {
	c.Place = head
	if mine.USN != head.USN {
		if c.Rows, err = all(mine.USN, func(a uint64, n int) ([]Row, error) { return d.turn.Rows(ctx, a, n) }, func(r *Row) uint64 { return r.USN }); err != nil {
			return c, err
		}
		if c.Stamps, err = all(mine.USN, func(a uint64, n int) ([]Stamp, error) { return d.turn.Stamps(ctx, a, n) }, func(s *Stamp) uint64 { return s.USN }); err != nil {
			return c, err
		}
	}
	if mine.Mark != head.Mark {
		c.Sides, err = all(mine.Mark, func(a uint64, n int) ([]Side, error) { return d.turn.Sides(ctx, a, n) }, func(s *Side) uint64 { return s.Mark })
	}
	if err != nil {
		return c, err
	}
	for i := range c.Rows {
		r := &c.Rows[i]
		r.entry = &Entry{}
		if err := json.Unmarshal(r.Text, r.entry); err != nil {
			return c, fmt.Errorf("entry %q: %w", r.Key, err)
		}
	}
	return c, nil
}

// follow catches up with the shared history, of which this gateway has the turn.
func (d *Directory) follow(ctx context.Context, mine, head Place) error {
	if mine == head {
		return nil
	}
	ok, err := d.prefix(ctx, mine, head)
	if err != nil {
		return err
	}
	if !ok {
		return d.rejoin(ctx, head)
	}
	c, err := d.since(ctx, mine, head)
	if err != nil {
		return err
	}
	return d.apply(c)
}

// prefix tells whether our copy is a beginning of the shared history that can go on from where it is.
func (d *Directory) prefix(ctx context.Context, mine, head Place) (bool, error) {
	switch {
	case mine.USN > head.USN, mine.Mark > head.Mark,
		mine.Purged != head.Purged && mine.USN < head.Purged, // tombstones that we have not seen are forgotten
		mine.Swept != head.Swept && mine.Mark < head.Swept:
		return false, nil
	case mine.USN == 0: // without entries there is no stamp that could tell
		return false, nil
	}
	stamps, err := d.turn.Stamps(ctx, mine.USN-1, 1)
	return err == nil && len(stamps) == 1 && stamps[0].USN == mine.USN && stamps[0].Stamp == mine.Stamp, err
}

// rejoin puts the shared directory in the place of our own, which is no beginning of it. Our own site's entries are kept in a file
// beside, as an export that can be imported.
func (d *Directory) rejoin(ctx context.Context, head Place) error {
	c, err := d.since(ctx, Place{}, head)
	if err != nil {
		return err
	}
	aside := ""
	if d.Size() > 0 {
		aside = fmt.Sprintf("%s.before.%s.csv", d.db.Path(), time.Now().UTC().Format("20060102T150405.000"))
		if err := d.exportTo(ctx, aside); err != nil {
			return fmt.Errorf("the entries of this gateway's own directory: %w", err)
		}
	}
	err = d.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bucketEntry, bucketUSN, bucketStamp, bucketPartner, bucketSeen, bucketRecord} {
			if err := tx.DeleteBucket(b); err != nil {
				return err
			}
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		return writeChange(tx, &c, func(string) uint64 { return 0 }, nil)
	})
	if err != nil {
		return err
	}
	fresh := newIndex()
	for i := range c.Rows {
		fresh.publish(c.Rows[i].Key, c.Rows[i].entry)
	}
	d.mu.Lock()
	d.index, d.usn = fresh, head.USN
	d.mu.Unlock()
	d.tell()
	if aside == "" {
		d.o.Log.Info("this gateway has the directory that the gateways share", "entries", d.Size())
		return nil
	}
	d.o.Log.Warn("this gateway's directory was not a beginning of the one that the gateways share: it was replaced; what is missing can be imported from the file",
		"class", "local", "file", aside, "entries", d.Size())
	return nil
}

func (d *Directory) exportTo(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = d.Export(ctx, f, ExportOptions{})
	return errors.Join(err, f.Sync(), f.Close())
}

// found makes our own directory the beginning of the shared history.
func (d *Directory) found(ctx context.Context, mine Place) error {
	c := Change{Place: mine}
	err := d.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bucketEntry).ForEach(func(k, v []byte) error {
			e := d.at(string(k))
			c.Rows = append(c.Rows, Row{Key: string(k), USN: e.USN, Gone: e.Deleted, Text: bytes.Clone(v)})
			return nil
		})
		if err != nil {
			return err
		}
		c.Stamps = allStamps(tx)
		c.Place.Mark, c.Place.Swept = 0, 0
		for _, b := range sideBuckets {
			err := tx.Bucket(b).ForEach(func(k, v []byte) error {
				if v == nil || bytes.HasPrefix(k, []byte{0}) {
					return nil
				}
				c.Place.Mark++
				c.Sides = append(c.Sides, Side{Bucket: string(b), Key: bytes.Clone(k), Value: append([]byte{}, v...), Mark: c.Place.Mark})
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	turn := d.turn
	d.turn = nil
	if err := turn.Commit(ctx, c); err != nil {
		return err
	}
	d.o.Log.Info("this gateway's directory is now the one that the gateways share", "entries", d.Size())
	return d.db.Update(func(tx *bbolt.Tx) error { return putNumber(tx, keyMark, c.Place.Mark) })
}

// poll sees what other gateways changed, until the directory is closed.
func (d *Directory) poll() {
	said := false
	t := time.NewTimer(pollEvery)
	defer t.Stop()
	for {
		select {
		case <-d.stopped.Done():
			return
		case <-t.C:
		}
		err := d.look()
		if err != nil && d.stopped.Err() == nil && !said {
			d.o.Log.Warn("the directory that the gateways share does not answer; this one's copy is used, and nothing can be changed", "class", "local", "err", err)
		}
		if err == nil && said {
			d.o.Log.Info("the directory that the gateways share answers again")
		}
		said = err != nil
		t.Reset(pollEvery + rand.N(pollEvery/8))
	}
}

// look catches up when there is anything new.
func (d *Directory) look() error {
	head, err := d.shared.Place(d.stopped)
	if err != nil {
		return err
	}
	mine, err := d.place()
	if err != nil || mine == head {
		return err
	}
	if err := d.begin(d.stopped); err != nil {
		return err
	}
	d.end()
	return nil
}

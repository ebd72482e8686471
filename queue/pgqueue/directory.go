package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/gateway/directory"
)

// Directory is the directory that all gateways on the database share: it implements directory.Shared. The right to write is the
// lock on one row; it comes before any other lock in its transaction, and with none of the queue's.
type Directory struct{ s *Store }

var _ directory.Shared = Directory{}

// Directory is the site's directory.
func (s *Store) Directory() Directory { return Directory{s} }

// directorySlice is how many rows one statement writes.
const directorySlice = 2000

const readPlace = "select usn, stamp, purged, pruned, mark, swept from directory_head"

func scanPlace(row pgx.Row) (p directory.Place, err error) {
	var n [6]int64
	err = row.Scan(&n[0], &n[1], &n[2], &n[3], &n[4], &n[5])
	return directory.Place{USN: uint64(n[0]), Stamp: uint64(n[1]), Purged: uint64(n[2]), Pruned: uint64(n[3]), Mark: uint64(n[4]), Swept: uint64(n[5])}, err
}

// Place implements directory.Shared.
func (d Directory) Place(ctx context.Context) (p directory.Place, err error) {
	if err := d.s.open(ctx); err != nil {
		return p, err
	}
	err = d.s.Events().ask(ctx, d.s.o.askFor, func(ctx context.Context) error {
		p, err = scanPlace(d.s.pool.QueryRow(ctx, readPlace))
		return err
	})
	return p, err
}

// Turn implements directory.Shared. It waits for a gateway that has it, and for a database that is away, for Options.Patience.
func (d Directory) Turn(ctx context.Context) (directory.Turn, error) {
	if err := d.s.openWrite(ctx); err != nil {
		return nil, err
	}
	t := &directoryTurn{s: d.s}
	limited, cancel := context.WithTimeout(ctx, d.s.o.Patience)
	defer cancel()
	err := d.s.patiently(limited, time.Time{}, func(ctx context.Context) (err error) {
		if t.tx, err = d.s.pool.Begin(ctx); err != nil {
			return err
		}
		if t.place, err = scanPlace(t.tx.QueryRow(ctx, readPlace+" for update")); err != nil {
			t.Release()
		}
		return err
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("queue database: no turn to write in %s", d.s.o.Patience)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// directoryTurn is a transaction that holds the lock.
type directoryTurn struct {
	s     *Store
	tx    pgx.Tx
	place directory.Place
}

// Place implements directory.Turn.
func (t *directoryTurn) Place() directory.Place { return t.place }

// Release implements directory.Turn. Where the connection is broken, the server does it.
func (t *directoryTurn) Release() {
	ctx, cancel := context.WithTimeout(context.Background(), eventPatience)
	defer cancel()
	if err := t.tx.Rollback(ctx); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		t.s.slog.Debug("turn to write the directory given back", "err", err)
	}
}

// numbered reads rows after a number.
func numbered[T any](ctx context.Context, t *directoryTurn, sql string, after uint64, n int, scan pgx.RowToFunc[T]) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	rows, err := t.tx.Query(ctx, sql, int64(after), n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// Rows implements directory.Turn.
func (t *directoryTurn) Rows(ctx context.Context, after uint64, n int) ([]directory.Row, error) {
	return numbered(ctx, t, "select key, usn, gone, text from directory_entry where usn > $1 order by usn limit $2", after, n, func(r pgx.CollectableRow) (x directory.Row, err error) {
		var usn int64
		err = r.Scan(&x.Key, &usn, &x.Gone, &x.Text)
		x.USN = uint64(usn)
		return x, err
	})
}

// Stamps implements directory.Turn.
func (t *directoryTurn) Stamps(ctx context.Context, after uint64, n int) ([]directory.Stamp, error) {
	return numbered(ctx, t, "select usn, stamp, at from directory_stamp where usn > $1 order by usn limit $2", after, n, func(r pgx.CollectableRow) (x directory.Stamp, err error) {
		var usn, stamp int64
		err = r.Scan(&usn, &stamp, &x.At)
		x.USN, x.Stamp = uint64(usn), uint64(stamp)
		return x, err
	})
}

// Sides implements directory.Turn.
func (t *directoryTurn) Sides(ctx context.Context, after uint64, n int) ([]directory.Side, error) {
	return numbered(ctx, t, "select bucket, key, mark, value from directory_side where mark > $1 order by mark limit $2", after, n, func(r pgx.CollectableRow) (x directory.Side, err error) {
		var mark int64
		err = r.Scan(&x.Bucket, &x.Key, &mark, &x.Value)
		x.Mark = uint64(mark)
		return x, err
	})
}

// Commit implements directory.Turn. When the answer is lost, the gateway's own row tells whether the change took place: it writes
// one change at a time.
func (t *directoryTurn) Commit(ctx context.Context, c directory.Change) error {
	defer t.Release()
	if err := t.s.openWrite(ctx); err != nil {
		return err
	}
	name := rand.Int64()
	if err := t.write(ctx, c, name); err != nil {
		return fmt.Errorf("queue database: %w", err)
	}
	// Once it is on its way it is not broken off: that would only leave us without its answer.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
	defer cancel()
	err := t.tx.Commit(limited)
	if err == nil {
		return nil
	}
	if _, unknown := passing(err); !unknown {
		return fmt.Errorf("queue database: %w", err)
	}
	lost := fmt.Errorf("queue database: the change of the directory did not take place: %v", err) // for good: not asked again
	return t.s.once(context.WithoutCancel(ctx), time.Time{}, callLimit, true, func(context.Context) error { return lost }, func(ctx context.Context, tx pgx.Tx) (is bool, err error) {
		err = tx.QueryRow(ctx, "select exists (select 1 from directory_writer where node = $1 and change = $2)", t.s.o.Node, name).Scan(&is)
		return is, err
	})
}

// write sends a change in statements of a bounded size.
func (t *directoryTurn) write(ctx context.Context, c directory.Change, name int64) error {
	do := func(sql string, args ...any) error {
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		_, err := t.tx.Exec(ctx, sql, args...)
		return err
	}
	var is bool
	// A process whose place another has taken writes nothing more.
	err := t.tx.QueryRow(ctx, "select exists (select 1 from node where name = $1 and incarnation = $2)", t.s.o.Node, t.s.incarnation).Scan(&is)
	if err == nil && !is {
		return t.s.fail(fmt.Errorf("another process took the place of gateway %q", t.s.o.Node))
	}
	now := time.Now().Unix()
	for _, f := range []func() error{
		func() error {
			return do("insert into directory_writer values ($1, $2, $3) on conflict (node) do update set change = excluded.change, at = excluded.at", t.s.o.Node, name, now)
		},
		func() error { return do("delete from directory_entry where usn <= $1 and gone", int64(c.Place.Purged)) },
		func() error { return do("delete from directory_stamp where usn <= $1", int64(c.Place.Pruned)) },
		func() error { return writeRows(c.Rows, do) },
		func() error { return writeStamps(c.Stamps, do) },
		func() error { return writeSides(c.Sides, now, do) },
		func() error {
			return do("update directory_head set usn = $1, stamp = $2, purged = $3, pruned = $4, mark = $5, swept = $6", int64(c.Place.USN), int64(c.Place.Stamp),
				int64(c.Place.Purged), int64(c.Place.Pruned), int64(c.Place.Mark), int64(c.Place.Swept))
		},
		func() error {
			if c.Forget.IsZero() {
				return nil
			}
			return do(`with old as (delete from directory_side where value is null and at < $1 returning mark)
				update directory_head set swept = greatest(swept, (select max(mark) from old))`, c.Forget.Unix())
		},
	} {
		if err == nil {
			err = f()
		}
	}
	return err
}

func writeRows(rows []directory.Row, do func(string, ...any) error) error {
	for len(rows) > 0 {
		part := rows[:min(len(rows), directorySlice)]
		rows = rows[len(part):]
		keys, texts, usns, gone := make([]string, len(part)), make([]string, len(part)), make([]int64, len(part)), make([]bool, len(part))
		for i, r := range part {
			keys[i], texts[i], usns[i], gone[i] = r.Key, string(r.Text), int64(r.USN), r.Gone
		}
		if err := do(`insert into directory_entry (key, usn, gone, text) select * from unnest($1::text[], $2::bigint[], $3::boolean[], $4::text[])
			on conflict (key) do update set usn = excluded.usn, gone = excluded.gone, text = excluded.text`, keys, usns, gone, texts); err != nil {
			return err
		}
	}
	return nil
}

func writeStamps(stamps []directory.Stamp, do func(string, ...any) error) error {
	for len(stamps) > 0 {
		part := stamps[:min(len(stamps), directorySlice)]
		stamps = stamps[len(part):]
		usns, values, at := make([]int64, len(part)), make([]int64, len(part)), make([]int64, len(part))
		for i, s := range part {
			usns[i], values[i], at[i] = int64(s.USN), int64(s.Stamp), s.At
		}
		if err := do("insert into directory_stamp (usn, stamp, at) select * from unnest($1::bigint[], $2::bigint[], $3::bigint[])", usns, values, at); err != nil {
			return err
		}
	}
	return nil
}

func writeSides(sides []directory.Side, now int64, do func(string, ...any) error) error {
	for len(sides) > 0 {
		part := sides[:min(len(sides), directorySlice)]
		sides = sides[len(part):]
		buckets, keys, marks, values := make([]string, len(part)), make([][]byte, len(part)), make([]int64, len(part)), make([][]byte, len(part))
		for i, s := range part {
			buckets[i], keys[i], marks[i], values[i] = s.Bucket, s.Key, int64(s.Mark), s.Value
		}
		if err := do(`insert into directory_side (bucket, key, mark, at, value) select u.bucket, u.key, u.mark, $5, u.value
			from unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[]) as u(bucket, key, mark, value)
			on conflict (bucket, key) do update set mark = excluded.mark, at = excluded.at, value = excluded.value`, buckets, keys, marks, values, now); err != nil {
			return err
		}
	}
	return nil
}

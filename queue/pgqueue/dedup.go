package pgqueue

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// hashSize is how many octets of a dedup key's hash are kept.
const hashSize = 16

// Remembered implements queue.Store: by hash.
func (s *Store) Remembered(ctx context.Context, after queue.Cursor, n int) (ms []queue.Memory, next queue.Cursor, err error) {
	from, err := hex.DecodeString(string(after))
	if err != nil {
		return nil, "", fmt.Errorf("queue: %q is no position in the list of remembered keys", after)
	}
	if err := s.open(ctx); err != nil {
		return nil, "", err
	}
	err = s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, "select hash, day from dedup where hash > $1 order by hash limit $2", from, n+1)
		if err != nil {
			return err
		}
		ms, err = pgx.CollectRows(rows, pgx.RowToStructByPos[queue.Memory])
		return err
	})
	if err != nil || len(ms) <= n {
		return ms, "", err
	}
	ms = ms[:n]
	return ms, queue.Cursor(hex.EncodeToString(ms[n-1].Hash)), nil
}

// Remember implements queue.Store.
func (s *Store) Remember(ctx context.Context, ms []queue.Memory) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	hashes, days := make([][]byte, len(ms)), make([]int32, len(ms))
	for i, m := range ms {
		if hashes[i], days[i] = m.Hash, int32(m.Day); len(m.Hash) != hashSize {
			return fmt.Errorf("queue: a remembered key has %d octets, not %d", len(m.Hash), hashSize)
		}
	}
	put, err := s.numbers.take(ctx, 1)
	if err != nil {
		return err
	}
	return s.patiently(ctx, time.Time{}, func(ctx context.Context) error { // done twice it is done once
		_, err := s.pool.Exec(ctx, `insert into dedup (hash, day, put, ids) select u.hash, u.day, $3, '[]' from unnest($1::bytea[], $2::integer[]) as u(hash, day)
			order by u.hash on conflict (hash) do nothing`, hashes, days, int64(put))
		return err
	})
}

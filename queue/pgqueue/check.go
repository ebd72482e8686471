package pgqueue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// maxProblems bounds what Check answers.
const maxProblems = 1000

// Check implements queue.Store. It looks at one snapshot of the tables and reads every body. What an older snapshot costs the
// server while it lasts is the price: run it when little is to do.
func (s *Store) Check(ctx context.Context) (bad []string, err error) {
	if err := s.openWrite(ctx); err != nil {
		return nil, err
	}
	say := func(format string, args ...any) {
		if len(bad) < maxProblems {
			bad = append(bad, fmt.Sprintf(format, args...))
		}
	}
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local statement_timeout = 0"); err != nil {
			return err
		}
		for _, x := range []struct{ what, sql string }{
			{"entry %s: has no body", "select id from item i where not exists (select 1 from chunk c where c.body = i.body and c.n = 0)"},
			{"entry %s: has no recipients in the tables that its envelope names", "select distinct item from recipient r where not exists (select 1 from item i where i.id = r.item)"},
			{"body %s: belongs to no entry", "select distinct body from chunk c where not exists (select 1 from item i where i.body = c.body)"},
			{"lease of entry %s: there is no such entry", "select item from lease l where not exists (select 1 from item i where i.id = l.item and i.state <> 'trash')"},
		} {
			rows, err := tx.Query(ctx, x.sql)
			if err != nil {
				return err
			}
			ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			if err != nil {
				return err
			}
			for _, id := range ids {
				say(x.what, queue.ID(id))
			}
		}
		return checkBodies(ctx, tx, say)
	})
	return bad, err
}

// checkBodies compares each body with the size and hash that its items know.
func checkBodies(ctx context.Context, tx pgx.Tx, say func(string, ...any)) error {
	rows, err := tx.Query(ctx, `select c.body, c.n, c.data, i.size, i.sha256 from chunk c
		join (select body, min(size) as size, min(sha256) as sha256 from item group by body) i on i.body = c.body order by c.body, c.n`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var last, size int64
	var sum string
	var h hash.Hash
	var read int64
	end := func() {
		if h != nil && (read != size || hex.EncodeToString(h.Sum(nil)) != sum) {
			say("body %s: its %d octets are not the %d with hash %s that were stored", queue.ID(last), read, size, sum)
		}
	}
	for rows.Next() {
		var body, bodySize int64
		var n int32
		var data []byte
		var want string
		if err := rows.Scan(&body, &n, &data, &bodySize, &want); err != nil {
			return err
		}
		if h == nil || body != last {
			end()
			last, size, sum, h, read = body, bodySize, want, sha256.New(), 0
		}
		h.Write(data)
		read += int64(len(data))
	}
	end()
	return rows.Err()
}

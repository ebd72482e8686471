package pgqueue

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

const (
	// sweepEvery is how often the trash, old dedup keys and history are looked at, by each gateway; sweepAgain is when, after
	// an error that may pass.
	sweepEvery = time.Hour
	sweepAgain = time.Minute
	// keepAttempts is how long ended attempts are on record: far longer than any gateway asks after a commit.
	keepAttempts = 3 * 24 * time.Hour
	// sweepSlice is how many rows one statement takes out.
	sweepSlice = 1000
)

// housekeeping empties the trash and forgets what is old. Gateways that do it at once share the work.
func (s *Store) housekeeping() {
	next := time.NewTimer(sweepEvery)
	defer next.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-next.C:
			wait := sweepEvery
			if err := s.sweep(s.ctx); err != nil && s.ctx.Err() == nil {
				if again, _ := passing(err); again {
					wait = sweepAgain
				}
				level := slog.LevelWarn
				if code(err) == lockNotHad { // a dump holds the tables: it will end
					level = slog.LevelInfo
				}
				s.slog.Log(s.ctx, level, "queue housekeeping will be tried again", "class", "local", "err", err)
			}
			next.Reset(wait)
		}
	}
}

// lockNotHad is the SQLSTATE of a lock that was not to be had in time.
const lockNotHad = "55P03"

func (s *Store) sweep(ctx context.Context) error {
	// That this gateway lives, also where it has had nothing to do for days.
	alive := s.renew()
	_, err := s.pool.Exec(ctx, alive.sql, alive.args...)
	err = errors.Join(err, s.emptyTrash(ctx))
	for _, q := range []query{
		{sql: `delete from dedup where hash in (select d.hash from dedup d where d.day < ` + clock + ` / 86400000000000 - $2::integer
				and not exists (select 1 from item i where i.dedup = d.hash) order by d.day limit $3)`,
			args: []any{s.at(), int(queue.DedupFor/(24*time.Hour)) + 1, sweepSlice}},
		{sql: `delete from node where name in (select n.name from node n where n.alive < ` + clock + ` - $2::bigint and n.name <> $3
				and not exists (select 1 from lease l where l.node = n.name) limit $4)`,
			args: []any{s.at(), int64(keepAttempts), s.o.Node, sweepSlice}},
		forgetWindows(),
		{sql: `delete from directory_writer where node in (select w.node from directory_writer w where w.at < ` + clock + ` / 1000000000 - $2::bigint
				and not exists (select 1 from node n where n.name = w.node) limit $3)`,
			args: []any{s.at(), int64(keepAttempts / time.Second), sweepSlice}},
		{sql: `delete from event_log where $2::bigint > 0 and node in (select node from event_log where at < ` + clock + ` - $2::bigint - 86400000000000 limit $3)`,
			args: []any{s.at(), int64(s.o.KeepEvents), sweepSlice}},
	} {
		_, e := s.slices(ctx, q)
		err = errors.Join(err, e)
	}
	err = errors.Join(err, s.keepHistory(ctx))
	s.changed(false)
	return err
}

// slices does a statement that takes out sweepSlice rows at most until there are no more, and tells how many there were.
func (s *Store) slices(ctx context.Context, q query) (total int64, err error) {
	for n := int64(sweepSlice); n == sweepSlice && err == nil; total += n {
		err = s.limited(ctx, func(ctx context.Context) error {
			tag, err := s.pool.Exec(ctx, q.sql, q.args...)
			n = tag.RowsAffected()
			return err
		})
	}
	return total, err
}

// emptyTrash takes out what was deleted long enough ago.
func (s *Store) emptyTrash(ctx context.Context) error {
	for {
		var ids []queue.ID
		err := s.limited(ctx, func(ctx context.Context) error {
			rows, err := s.pool.Query(ctx, `select id from item where state = 'trash' and changed < `+clock+` - $2::bigint order by changed limit $3`,
				s.at(), int64(s.o.TrashFor), verbSlice)
			if err != nil {
				return err
			}
			ids, err = pgx.CollectRows(rows, pgx.RowTo[queue.ID])
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		f := queue.Filter{State: queue.Trash, Older: 0}
		if _, err := s.changeSlice(ctx, &f, ids, queue.Op{Verb: queue.Purge}); err != nil {
			return err
		}
	}
}

// Compact implements queue.Store: the server gives pages back by itself (autovacuum), here it is asked to look now.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	for _, table := range []string{"lease", "item", "recipient", "chunk", "attempt", "dedup", "dest_window", "event_log", "rate", "directory_head", "directory_entry", "directory_side"} {
		if _, err := s.pool.Exec(ctx, "vacuum "+table); err != nil && code(err) != "55P03" {
			return err
		}
	}
	return nil
}

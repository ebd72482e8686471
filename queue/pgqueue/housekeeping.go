package pgqueue

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

const (
	// sweepEvery is how often the trash, old dedup keys and old attempts are looked at, by each gateway.
	sweepEvery = time.Hour
	// keepAttempts is how long ended attempts are on record: far longer than any gateway asks after a commit.
	keepAttempts = 3 * 24 * time.Hour
	// sweepSlice is how many rows one statement takes out.
	sweepSlice = 1000
)

// housekeeping empties the trash and forgets what is old. Gateways that do it at once share the work.
func (s *Store) housekeeping() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			if err := s.sweep(s.ctx); err != nil && s.ctx.Err() == nil {
				s.slog.Warn("queue housekeeping will be tried again", "class", "local", "err", err)
			}
		}
	}
}

func (s *Store) sweep(ctx context.Context) error {
	err := s.emptyTrash(ctx)
	for _, q := range []query{
		{sql: `delete from dedup where hash in (select d.hash from dedup d where d.day < ` + clock + ` / 86400000000000 - $2::integer
				and not exists (select 1 from item i where i.dedup = d.hash) order by d.day limit $3)`,
			args: []any{s.at(), int(queue.DedupFor/(24*time.Hour)) + 1, sweepSlice}},
		{sql: `delete from attempt where (item, epoch) in (select item, epoch from attempt where ended < ` + clock + ` - $2::bigint order by ended limit $3)`,
			args: []any{s.at(), int64(keepAttempts), sweepSlice}},
		{sql: `delete from node where name in (select n.name from node n where n.alive < ` + clock + ` - $2::bigint and n.name <> $3
				and not exists (select 1 from lease l where l.node = n.name) limit $4)`,
			args: []any{s.at(), int64(keepAttempts), s.o.Node, sweepSlice}},
	} {
		for n := int64(sweepSlice); n == sweepSlice; {
			e := s.limited(ctx, func(ctx context.Context) error {
				tag, err := s.pool.Exec(ctx, q.sql, q.args...)
				n = tag.RowsAffected()
				return err
			})
			if err = errors.Join(err, e); e != nil {
				break
			}
		}
	}
	s.changed(false)
	return err
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
	for _, table := range []string{"lease", "item", "recipient", "chunk", "attempt", "dedup"} {
		if _, err := s.pool.Exec(ctx, "vacuum "+table); err != nil && code(err) != "55P03" {
			return err
		}
	}
	return nil
}

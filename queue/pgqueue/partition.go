package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// history is a table of what happened, with a partition for each day (UTC, the server's clock): an old day is dropped with its
// files, which leaves no dead rows behind. The partition TABLE_rest takes what has none: a day that nobody could make a
// partition for stops no mail.
type history struct {
	table string
	by    string // the column that says when
	keep  time.Duration
}

const (
	// daysAhead is for how many days after today partitions are made.
	daysAhead = 3
	// ddlPatience is how long a change of partitions waits for its lock, in milliseconds: whoever notes an attempt meanwhile waits
	// behind it. A dump may hold the table for hours, so the change is tried again rather than waited for.
	ddlPatience = 100
)

// dayNanos is a day of a column of times.
const dayNanos = int64(24 * time.Hour)

func (h history) partition(day int64) string {
	return h.table + "_" + time.Unix(0, day*dayNanos).UTC().Format("20060102")
}

// dayOf is the day of a partition by its name.
func (h history) dayOf(name string) (day int64, ok bool) {
	t, err := time.Parse("20060102", strings.TrimPrefix(name, h.table+"_"))
	return t.UnixNano() / dayNanos, err == nil
}

// histories are the tables that this gateway keeps in partitions.
func (s *Store) histories() []history {
	hs := []history{{table: "attempt", by: "ended", keep: keepAttempts}}
	if s.o.KeepEvents > 0 {
		hs = append(hs, history{table: "event", by: "stored", keep: s.o.KeepEvents})
	}
	return hs
}

// plan says for which days partitions are to be made, and which are to be dropped.
func (s *Store) plan(ctx context.Context, q querier, h history) (missing []int64, old []string, err error) {
	rows, err := q.Query(ctx, `select `+clock+`, array(select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
		where i.inhparent = to_regclass($2) order by c.relname)`, s.at(), h.table)
	if err != nil {
		return nil, nil, err
	}
	var now int64
	var names []string
	if _, err := pgx.CollectExactlyOneRow(rows, func(r pgx.CollectableRow) (struct{}, error) { return struct{}{}, r.Scan(&now, &names) }); err != nil {
		return nil, nil, err
	}
	have := map[int64]bool{}
	for _, n := range names {
		day, ok := h.dayOf(n)
		if !ok {
			continue
		}
		have[day] = true
		if (day+1)*dayNanos <= now-int64(h.keep) {
			old = append(old, n)
		}
	}
	for d := now / dayNanos; d <= now/dayNanos+daysAhead; d++ {
		if !have[d] {
			missing = append(missing, d)
		}
	}
	return missing, old, nil
}

// querier is a connection, a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// keepHistory makes the partitions of the days to come, drops old ones and clears what is old out of the rest. Gateways that do
// it at once do it one after the other.
func (s *Store) keepHistory(ctx context.Context) error {
	var errs []error
	for _, h := range s.histories() {
		errs = append(errs, s.keepDays(ctx, h), s.clearRest(ctx, h))
	}
	return errors.Join(errs...)
}

func (s *Store) keepDays(ctx context.Context, h history) error {
	missing, old, err := s.plan(ctx, s.pool, h)
	if err != nil {
		return err
	}
	for _, d := range missing {
		err := s.alter(ctx, h, func(missing []int64, _ []string) string { return h.create(d, missing) })
		if err != nil && code(err) != "23514" { // the rest has rows of that day already: it gets the others, too
			return err
		}
	}
	for _, name := range old {
		if err := s.alter(ctx, h, func(_ []int64, old []string) string { return drop(name, old) }); err != nil {
			return err
		}
	}
	return nil
}

// create is the statements for a day's partition, "" when another gateway has made it meanwhile. One that is made first and
// attached then takes no lock that a row's insertion waits for.
func (h history) create(day int64, missing []int64) string {
	if !slices.Contains(missing, day) {
		return ""
	}
	name := h.partition(day)
	return fmt.Sprintf("create table %s (like %s including all); alter table %s attach partition %s for values from (%d) to (%d)",
		name, h.table, h.table, name, day*dayNanos, (day+1)*dayNanos)
}

func drop(name string, old []string) string {
	if !slices.Contains(old, name) {
		return ""
	}
	return "drop table " + name
}

// alter changes the partitions of a table by what the statements say that f makes of its present state.
func (s *Store) alter(ctx context.Context, h history, f func(missing []int64, old []string) string) error {
	return s.limited(ctx, func(ctx context.Context) error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			// One gateway at a time, as for migrations; nobody's mail waits for this lock.
			if _, err := tx.Exec(ctx, "lock table migration in exclusive mode"); err != nil {
				return err
			}
			missing, old, err := s.plan(ctx, tx, h)
			if err != nil {
				return err
			}
			sql := f(missing, old)
			if sql == "" {
				return nil
			}
			if _, err = tx.Exec(ctx, fmt.Sprintf("set local lock_timeout = %d; %s", ddlPatience, sql), pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
			return nil
		})
	})
}

// clearRest takes out of the rest what is old enough, and tells what is in it.
func (s *Store) clearRest(ctx context.Context, h history) error {
	n, err := s.slices(ctx, query{sql: `delete from ` + h.table + `_rest where ctid = any (array(select ctid from ` + h.table + `_rest
		where ` + h.by + ` < ` + clock + ` - $2::bigint order by ` + h.by + ` limit $3))`, args: []any{s.at(), int64(h.keep), sweepSlice}})
	if n > 0 {
		s.slog.Info("old history without a partition deleted", "table", h.table, "rows", n)
	}
	if err != nil {
		return err
	}
	used, err := s.restUsed(ctx, s.pool)
	if used != "" {
		s.slog.Warn("history was noted for which no partition had been made; it is deleted by age", "class", "local", "tables", used)
	}
	return err
}

// restUsed names the tables whose rest has rows, "" when none has.
func (s *Store) restUsed(ctx context.Context, q querier) (string, error) {
	var used []string
	for _, h := range s.histories() {
		rows, err := q.Query(ctx, "select 1 from "+h.table+"_rest limit 1")
		if err != nil {
			return "", err
		}
		some, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			return "", err
		}
		if len(some) > 0 {
			used = append(used, h.table)
		}
	}
	return strings.Join(used, ", "), nil
}

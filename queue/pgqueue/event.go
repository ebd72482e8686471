package pgqueue

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/gateway/tracking"
)

// Events is the tracking logs of all gateways on the database: it implements tracking.Archive. Old days are dropped after
// Options.KeepEvents.
type Events struct{ s *Store }

var _ tracking.Archive = Events{}

// Events is what happened to each message, at all gateways.
func (s *Store) Events() Events { return Events{s} }

const (
	// eventPatience is how long a question to the table of events waits for a database that is away or slow: whoever asks has an
	// answer of his own, and a page of the dashboard to fill.
	eventPatience = 2 * time.Second
	// eventPage is how many events a search looks at in one statement.
	eventPage = 5000
)

// ask reads, within a limit; a database that is away is asked again for eventPatience at most.
func (e Events) ask(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	if err := e.s.open(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := e.s.patiently(limited, time.Now().Add(min(limit, e.s.o.askFor)), f)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("queue database: no answer in %s", limit)
	}
	return err
}

// Position implements tracking.Archive.
func (e Events) Position(ctx context.Context, node string) (at tracking.Cursor, err error) {
	err = e.ask(ctx, e.s.o.askFor, func(ctx context.Context) error {
		rows, err := e.s.pool.Query(ctx, "select position from event_log where node = $1", node)
		if err != nil {
			return err
		}
		some, err := pgx.CollectRows(rows, pgx.RowTo[tracking.Cursor])
		if err == nil && len(some) > 0 {
			at = some[0]
		}
		return err
	})
	return at, err
}

// Add implements tracking.Archive. Records and position are one statement: an answer that is lost leaves both or neither.
func (e Events) Add(ctx context.Context, node string, from, to tracking.Cursor, rs []tracking.Record) (ok bool, err error) {
	if err := e.s.openWrite(ctx); err != nil {
		return false, err
	}
	at, file, place := make([]int64, len(rs)), make([]int64, len(rs)), make([]int64, len(rs))
	names, lines := make([]string, len(rs)), make([]string, len(rs))
	for i := range rs {
		r := &rs[i]
		at[i], file[i], place[i], lines[i] = r.Time, r.File, r.Offset, r.Line
		names[i] = "{" + strings.Trim(fmt.Sprint(r.Names), "[]") + "}"
		names[i] = strings.ReplaceAll(names[i], " ", ",")
	}
	err = e.s.limited(ctx, func(ctx context.Context) error {
		return e.s.tx(ctx, func(tx pgx.Tx) error {
			if from == "" {
				if _, err := tx.Exec(ctx, "insert into event_log (node, position, at) values ($1, '', 0) on conflict do nothing", node); err != nil {
					return err
				}
			}
			// A process whose place another has taken adds nothing more.
			tag, err := tx.Exec(ctx, `update event_log set position = $4, at = `+clock+` where node = $2 and position = $3
				and exists (select 1 from node where name = $5 and incarnation = $6)`, e.s.at(), node, string(from), string(to), e.s.o.Node, e.s.incarnation)
			if err != nil || tag.RowsAffected() == 0 {
				return err
			}
			ok = true
			_, err = tx.Exec(ctx, `insert into event (stored, at, node, file, place, names, line)
				select `+clock+`, u.at, $2, u.file, u.place, u.names::bigint[], u.line
				from unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[]) as u(at, file, place, names, line)`,
				e.s.at(), node, at, file, place, names, lines)
			return err
		})
	})
	return ok && err == nil, err
}

// named finds events by their names. "offset 0" keeps the planner from looking at all of them in the order of their time.
const named = `select * from (select at, node, file, place, line from event where names && $1::bigint[] offset 0) found
	order by at desc limit $2`

// Named implements tracking.Archive.
func (e Events) Named(ctx context.Context, names []int64, n int) (rs []tracking.Record, err error) {
	err = e.ask(ctx, e.s.o.askFor, func(ctx context.Context) error {
		rows, err := e.s.pool.Query(ctx, named, names, n)
		if err != nil {
			return err
		}
		rs, err = pgx.CollectRows(rows, recordOf)
		return err
	})
	return rs, err
}

func recordOf(row pgx.CollectableRow) (r tracking.Record, err error) {
	var line *string
	if err = row.Scan(&r.Time, &r.Node, &r.File, &r.Offset, &line); err == nil && line != nil {
		r.Line = *line
	}
	return r, err
}

// page is the next events in the order of their marks, with the lines that may be meant.
const page = `with looked as materialized (
		select at, node, file, place, line from event
		where at >= $1::bigint and at < $5::bigint and (at, node, file, place) > ($1::bigint, $2::text collate "C", $3::bigint, $4::bigint)
		order by at, node, file, place limit $8)
	select at, node, file, place, case when not exists (select 1 from unnest($6::text[]) t where strpos(lower(line), t) = 0)
		and (cardinality($7::text[]) = 0 or exists (select 1 from unnest($7) t where strpos(line, t) > 0)) then line end
	from looked order by at, node, file, place`

// Page implements tracking.Archive. The lines that can't be meant stay in the database.
func (e Events) Page(ctx context.Context, q tracking.Query, after tracking.Mark) (rs []tracking.Record, end tracking.Mark, err error) {
	if !q.From.IsZero() && after.Time < q.From.UnixNano() {
		after = tracking.Mark{Time: q.From.UnixNano(), File: -1}
	}
	to := int64(math.MaxInt64)
	if !q.To.IsZero() {
		to = q.To.UnixNano()
	}
	err = e.ask(ctx, callLimit, func(ctx context.Context) error {
		rs, end = nil, tracking.Mark{}
		rows, err := e.s.pool.Query(ctx, page,
			after.Time, after.Node, after.File, after.Offset, to, nonNil(q.All), nonNil(q.Any), eventPage)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, recordOf)
		if len(all) == eventPage {
			end = all[len(all)-1].Mark
		}
		for _, r := range all {
			if r.Line != "" {
				rs = append(rs, r)
			}
		}
		return err
	})
	return rs, end, err
}

func nonNil(s []string) []string { return append([]string{}, s...) }

package pgqueue

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
	"backbone/queue/exactjson"
)

// heads is when the first item of each destination falls due that nobody has leased: one look into the index for each
// destination and rank, however many items wait.
const heads = `with recursive head as (
		(select connector, host, rank from item where state = 'ready' order by connector, host, rank limit 1)
		union all
		select n.connector, n.host, n.rank from head h, lateral (
			select i.connector, i.host, i.rank from item i
			where i.state = 'ready' and (i.connector, i.host, i.rank) > (h.connector, h.host, h.rank)
			order by i.connector, i.host, i.rank limit 1) n)
	select h.connector, h.host, min(d.next), ` + clock + ` from head h, lateral (
		select i.next from item i
		where i.state = 'ready' and i.connector = h.connector and i.host = h.host and i.rank = h.rank
			and not exists (select 1 from lease l where l.item = i.id)
		order by i.next, i.id limit 1) d
	group by h.connector, h.host`

// allDests lists the destinations of what waits, by one look into the index each.
const allDests = `with recursive head as (
		(select connector, host from item where state <> 'trash' order by connector, host limit 1)
		union all
		select n.connector, n.host from head h, lateral (
			select i.connector, i.host from item i where i.state <> 'trash' and (i.connector, i.host) > (h.connector, h.host)
			order by i.connector, i.host limit 1) n)
	select connector, host from head`

func (s *Store) destinations(ctx context.Context) (ds []queue.Dest, err error) {
	err = s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, allDests)
		if err != nil {
			return err
		}
		ds, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (d queue.Dest, err error) {
			err = r.Scan(&d.Connector, &d.Host)
			return queue.Dest{Connector: exactjson.Original(d.Connector), Host: exactjson.Original(d.Host)}, err
		})
		return err
	})
	return ds, err
}

// head is a destination with the time at which its first item falls due.
type head struct {
	dest queue.Dest
	next time.Time
}

// Due implements queue.Store. A database that can't be asked has nothing due: the next look is after a second.
func (s *Store) Due(at time.Time, limit int) ([]queue.Dest, time.Time) {
	if s.openWrite(s.ctx) != nil {
		return nil, time.Time{}
	}
	var hs []head
	var now int64
	ask := query{sql: heads, args: []any{s.at()}, read: func(rows pgx.Rows) error {
		var h head
		var next int64
		if err := rows.Scan(&h.dest.Connector, &h.dest.Host, &next, &now); err != nil {
			return err
		}
		h.dest = queue.Dest{Connector: exactjson.Original(h.dest.Connector), Host: exactjson.Original(h.dest.Host)}
		h.next = timeOf(next)
		hs = append(hs, h)
		return nil
	}}
	var sus []queue.Suspension
	err := s.reap(s.ctx)
	if err == nil {
		err = s.limited(s.ctx, func(ctx context.Context) error { return s.batch(ctx, s.suspensions(&sus), ask) })
	}
	if err != nil {
		if s.ctx.Err() == nil {
			s.slog.Warn("queue database can't be asked what is due", "class", "local", "err", err)
		}
		return nil, time.Now().Add(s.o.Poll)
	}
	// Times are the server's; the caller's clock may be another.
	ahead := time.Duration(0)
	if now != 0 {
		ahead = time.Until(timeOf(now))
	}
	ds, next := agenda(hs, sus, at.Add(ahead))
	if !next.IsZero() {
		next = next.Add(-ahead)
	}
	return ds[:min(len(ds), limit)], next
}

// agenda is the destinations with something due, longest due first, and the earliest later time at which there will be another.
func agenda(hs []head, sus []queue.Suspension, at time.Time) (ds []queue.Dest, next time.Time) {
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	slices.SortFunc(hs, func(a, b head) int { return a.next.Compare(b.next) })
	for _, h := range hs {
		su, stopped := covering(sus, h.dest, at)
		switch {
		case stopped && su.Until.IsZero():
		case stopped:
			earlier(su.Until)
		case h.next.After(at):
			earlier(h.next)
		default:
			ds = append(ds, h.dest)
		}
	}
	return ds, next
}

// Dests implements queue.Store.
func (s *Store) Dests(ctx context.Context) ([]queue.DestStat, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if err := s.reap(ctx); err != nil {
		return nil, err
	}
	out := []queue.DestStat{}
	var sus []queue.Suspension
	var now int64
	sums := query{sql: `select i.connector, i.host, count(*) filter (where l.item is null and i.state = 'ready'), count(l.item),
			count(*) filter (where l.item is null and i.state = 'held'), sum(i.size)::bigint, min(i.created),
			min(i.next) filter (where l.item is null and i.state = 'ready'), ` + clock + `
		from item i left join lease l on l.item = i.id where i.state <> 'trash' group by i.connector, i.host`,
		args: []any{s.at()}, read: func(rows pgx.Rows) error {
			var d queue.DestStat
			var oldest int64
			var next *int64
			if err := rows.Scan(&d.Dest.Connector, &d.Dest.Host, &d.Ready, &d.Leased, &d.Held, &d.Bytes, &oldest, &next, &now); err != nil {
				return err
			}
			d.Dest = queue.Dest{Connector: exactjson.Original(d.Dest.Connector), Host: exactjson.Original(d.Dest.Host)}
			d.Oldest = timeOf(oldest)
			if next != nil {
				d.NextDue = timeOf(*next)
			}
			out = append(out, d)
			return nil
		}}
	err := s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		out = out[:0]
		return s.batch(ctx, s.suspensions(&sus), sums)
	})
	for i := range out {
		if su, ok := covering(sus, out[i].Dest, timeOf(now)); ok {
			out[i].Suspension = &su
		}
	}
	slices.SortFunc(out, func(a, b queue.DestStat) int { return strings.Compare(a.Dest.String(), b.Dest.String()) })
	return out, err
}

// Stats implements queue.Store. The figures are the whole cluster's, but for Puts and Commit, which are this gateway's; they are
// counted anew after a change of ours, and otherwise once a second at most.
func (s *Store) Stats() queue.Stats {
	s.mu.Lock()
	st, fresh := s.counted, time.Now().Before(s.stale)
	s.mu.Unlock()
	if !fresh && s.open(s.ctx) == nil {
		err := s.reap(s.ctx)
		if err == nil {
			err = s.limited(s.ctx, func(ctx context.Context) (err error) { st, err = s.count(ctx); return err })
		}
		if err == nil {
			s.mu.Lock()
			s.counted, s.stale = st, time.Now().Add(s.o.Poll)
			s.mu.Unlock()
		} else if s.ctx.Err() == nil {
			s.slog.Warn("queue database can't be asked for its figures", "class", "local", "err", err)
		}
	}
	st.Puts, st.Commit, st.FreeBytes = s.puts.Load(), s.commits.Load(), -1
	return st
}

func (s *Store) count(ctx context.Context) (st queue.Stats, err error) {
	err = s.pool.QueryRow(ctx, `select count(*) filter (where i.state = 'ready' and l.item is null), count(l.item),
			count(*) filter (where i.state = 'held' and l.item is null), count(*) filter (where i.state = 'trash'),
			coalesce(sum(i.size) filter (where i.state <> 'trash'), 0)::bigint, count(distinct (i.connector, i.host)) filter (where i.state <> 'trash')
		from item i left join lease l on l.item = i.id`).Scan(&st.Ready, &st.Leased, &st.Held, &st.Trash, &st.Bytes, &st.Dests)
	if err != nil {
		return st, err
	}
	err = s.pool.QueryRow(ctx, `select pg_total_relation_size('chunk'),
		pg_total_relation_size('item') + pg_total_relation_size('recipient') + pg_total_relation_size('lease') + pg_total_relation_size('dedup')
			+ (select coalesce(sum(pg_total_relation_size(relid)), 0)::bigint from pg_partition_tree('attempt'))`).
		Scan(&st.BodyBytes, &st.IndexBytes)
	return st, err
}

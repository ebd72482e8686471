package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
	"backbone/queue/exactjson"
)

// covering is what stops a destination at a time: its own suspension, or its connector's.
func covering(sus []queue.Suspension, d queue.Dest, at time.Time) (su queue.Suspension, ok bool) {
	for _, x := range sus {
		if x.Dest.Covers(d) && (x.Until.IsZero() || at.Before(x.Until)) && (!ok || x.Dest.Host != "") {
			su, ok = x, true
		}
	}
	return su, ok
}

// suspensions is the query for those in force.
func (s *Store) suspensions(into *[]queue.Suspension) query {
	*into = nil
	return query{sql: `select connector, host, reason, by_whom, since, coalesce(until, 0) from suspension where until is null or until > ` + clock,
		args: []any{s.at()}, read: func(rows pgx.Rows) error {
			var su queue.Suspension
			var since, until int64
			if err := rows.Scan(&su.Dest.Connector, &su.Dest.Host, &su.Reason, &su.By, &since, &until); err != nil {
				return err
			}
			for _, t := range []*string{&su.Dest.Connector, &su.Dest.Host, &su.Reason, &su.By} {
				*t = exactjson.Original(*t)
			}
			su.Since, su.Until = timeOf(since), timeOrZero(until)
			*into = append(*into, su)
			return nil
		}}
}

// Suspend implements queue.Store. It holds for all gateways from the next lease on. A second suspension of the same
// destination replaces the first.
func (s *Store) Suspend(ctx context.Context, su queue.Suspension) error {
	if su.Dest.Connector == "" {
		return errors.New("queue: a suspension needs a connector")
	}
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	var since, until any
	if !su.Since.IsZero() {
		since = nanos(su.Since)
	}
	if !su.Until.IsZero() {
		until = nanos(su.Until)
	}
	err := s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `insert into suspension (connector, host, reason, by_whom, since, until)
			values ($2, $3, $4, $5, coalesce($6::bigint, `+clock+`), $7::bigint)
			on conflict (connector, host) do update set reason = excluded.reason, by_whom = excluded.by_whom, since = excluded.since, until = excluded.until`,
			s.at(), exactjson.Text(su.Dest.Connector), exactjson.Text(su.Dest.Host), exactjson.Text(su.Reason), exactjson.Text(su.By), since, until)
		return err
	})
	s.changedSuspensions()
	return err
}

// Resume implements queue.Store.
func (s *Store) Resume(ctx context.Context, d queue.Dest) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	var n int64
	err := s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `delete from suspension where connector = $2 and host = $3 and (until is null or until > `+clock+`)`,
			s.at(), exactjson.Text(d.Connector), exactjson.Text(d.Host))
		n = tag.RowsAffected()
		return err
	})
	s.changedSuspensions()
	if err == nil && n == 0 {
		return fmt.Errorf("%s is not suspended: %w", d, queue.ErrNotFound)
	}
	return err
}

func (s *Store) changedSuspensions() {
	s.mu.Lock()
	s.stoppedT = time.Time{}
	s.mu.Unlock()
	s.changed(true)
}

// Suspensions implements queue.Store. Another gateway's are seen after a second at most; leasing goes by the database.
func (s *Store) Suspensions() []queue.Suspension {
	now := time.Now()
	s.mu.Lock()
	out, fresh := s.stopped, now.Before(s.stoppedT)
	s.mu.Unlock()
	if !fresh && s.open(s.ctx) == nil {
		var sus []queue.Suspension
		err := s.limited(s.ctx, func(ctx context.Context) error { return s.batch(ctx, s.suspensions(&sus)) })
		if err != nil {
			if s.ctx.Err() == nil {
				s.slog.Warn("queue database can't be asked for suspensions", "class", "local", "err", err)
			}
		} else {
			slices.SortFunc(sus, func(a, b queue.Suspension) int { return strings.Compare(a.Dest.String(), b.Dest.String()) })
			out = sus
			s.mu.Lock()
			s.stopped, s.stoppedT = sus, now.Add(s.o.Poll)
			s.mu.Unlock()
		}
	}
	return slices.DeleteFunc(slices.Clone(out), func(su queue.Suspension) bool { return !su.Until.IsZero() && !now.Before(su.Until) })
}

package pgqueue

import (
	"context"
	"time"
)

// enter takes the place of the process that had this node's name before: its leases are free.
func (s *Store) enter(ctx context.Context) error {
	err := s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `insert into node (name, incarnation, opened, alive) values ($2, $3, `+clock+`, `+clock+` + $4::bigint)
			on conflict (name) do update set incarnation = excluded.incarnation, opened = excluded.opened, alive = excluded.alive`,
			s.at(), s.o.Node, s.incarnation, int64(s.o.Silence))
		return err
	})
	if err != nil {
		return err
	}
	return s.free(ctx, "l.node = $2", s.o.Node)
}

// renew is the statement that says that this gateway lives, when that is due. It comes before a lease in its transaction, so
// that no lease is ever that of a gateway which seems dead.
func (s *Store) renew() query {
	return query{sql: `update node set alive = ` + clock + ` + $4::bigint where name = $2 and incarnation = $3 and alive < ` + clock + ` + $4::bigint * 4 / 5`,
		args: []any{s.at(), s.o.Node, s.incarnation, int64(s.o.Silence)}}
}

// keepAlive says that this gateway lives: often as long as it holds leases, which others take when it does not, and else
// so that they can show it.
func (s *Store) keepAlive() {
	next := time.NewTimer(s.o.idle)
	defer next.Stop()
	busy := false
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.alarm:
			if busy {
				continue
			}
		case <-next.C:
			if err := s.alive(); err != nil && s.ctx.Err() == nil {
				s.slog.Warn("queue database not told that this gateway lives", "class", "local", "err", err)
			}
		}
		wait := s.o.idle
		if busy = s.holding(); busy {
			wait = s.o.Silence / 6
		}
		next.Reset(wait)
	}
}

// leave takes a command out of the list of gateways. One that is killed is forgotten by housekeeping.
func (s *Store) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := s.pool.Exec(ctx, `delete from node where name = $1 and incarnation = $2 and not exists (select 1 from lease where node = $1)`, s.o.Node, s.incarnation); err != nil {
		s.slog.Debug("command not taken out of the list of gateways", "err", err)
	}
}

func (s *Store) holding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held) > 0
}

func (s *Store) alive() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.o.Silence/6)
	defer cancel()
	q := s.renew()
	_, err := s.pool.Exec(ctx, q.sql, q.args...)
	return err
}

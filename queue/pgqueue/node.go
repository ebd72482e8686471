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

// keepAlive says that this gateway lives, as long as it holds leases.
func (s *Store) keepAlive() {
	every := time.NewTicker(s.o.Silence / 6)
	every.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.alarm:
		}
		every.Reset(s.o.Silence / 6)
		for s.holding() {
			select {
			case <-s.ctx.Done():
				return
			case <-every.C:
			}
			if err := s.alive(); err != nil {
				s.slog.Warn("queue database not told that this gateway lives", "class", "local", "err", err)
			}
		}
		every.Stop()
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

package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"backbone/queue"
)

// code is the SQLSTATE of a server's refusal, or "".
func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// passing tells a fault that another try may not meet: a connection that broke, a server that starts, stops or is no longer
// the primary, a lock that was not to be had, a deadlock. unknown tells that a commit which was under way may have taken place.
func passing(err error) (again, unknown bool) {
	switch c := code(err); {
	case c == "":
	case c == "57P01", c == "57P02", c == "57P03", c == "57P05", c[:2] == "08":
		// The server ends the session: also in the moment between a commit and its answer, while a standby is waited for.
		return true, c != "57P03"
	case c == "40001", c == "40P01", c == "55P03", c == "25006", c == "53300", c == "57014":
		return true, false
	default:
		return false, false
	}
	if errors.Is(err, pgx.ErrNoRows) || errors.Is(err, queue.ErrLeaseLost) || errors.Is(err, queue.ErrFatal) || errors.Is(err, queue.ErrNotFound) ||
		errors.Is(err, queue.ErrClosed) {
		return false, false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true, false
	}
	// SafeToRetry says so also of a connection that was found closed while the answer to a commit was waited for: in doubt, ask.
	again = pgconn.SafeToRetry(err) || errors.Is(err, context.DeadlineExceeded) || isNetwork(err)
	return again, again
}

// patiently calls f until it succeeds, fails for good, the deadline (zero: Patience from now) has passed, or ctx ends. f must
// be such that doing it twice is doing it once.
func (s *Store) patiently(ctx context.Context, deadline time.Time, f func(context.Context) error) error {
	if deadline.IsZero() {
		deadline = time.Now().Add(s.o.Patience)
	}
	wait := 20 * time.Millisecond
	for {
		err := s.limited(ctx, f)
		if err == nil {
			return nil
		}
		again, _ := passing(err)
		if !again || ctx.Err() != nil || !time.Now().Before(deadline) {
			if s.closed.Load() && s.ctx.Err() != nil {
				return queue.ErrClosed
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("queue database: %w", err)
		}
		s.slog.Debug("queue database is asked again", "err", err)
		t := time.NewTimer(wait + rand.N(wait))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-s.ctx.Done():
			t.Stop()
			return queue.ErrClosed
		}
		wait = min(2*wait, time.Second)
	}
}

// limited calls f with a limit on its time: a network that swallows packets is no reason to wait for ever.
func (s *Store) limited(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err := f(ctx)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if away(err) || now.Sub(s.answered) >= s.gap() {
		s.trouble = now
	}
	if err == nil {
		s.answered = now
	}
	return err
}

// gap is how long the database may have said nothing to us before we take it that it was away. A gateway without work asks it
// every Options.Poll or so.
func (s *Store) gap() time.Duration { return max(s.o.Silence/3, 2*s.o.Poll) }

// away tells a database that could not be reached, or was no primary, from one that had something to say.
func away(err error) bool {
	if err == nil {
		return false
	}
	again, unknown := passing(err)
	_, unreachable := errors.AsType[*pgconn.ConnectError](err)
	return again && (unknown || unreachable || code(err) == "57P03" || code(err) == "25006")
}

// once makes a change that may not be made twice. When it is not known whether it took place (at the beginning: doubt), done is
// asked, by a transaction that writes: its commit waits for whatever the first one's should have waited for.
func (s *Store) once(ctx context.Context, deadline time.Time, limit time.Duration, doubt bool, f func(context.Context) error, done func(context.Context, pgx.Tx) (bool, error)) error {
	return s.patiently(ctx, deadline, func(ctx context.Context) error {
		if doubt {
			is := false
			err := s.tx(ctx, func(tx pgx.Tx) (err error) {
				if _, err = tx.Exec(ctx, "update node set alive = alive where name = $1", s.o.Node); err != nil {
					return err
				}
				is, err = done(ctx, tx)
				return err
			})
			if err != nil {
				return err
			}
			if is {
				return nil
			}
			doubt = false
		}
		// Once it is on its way it is not broken off: that would only leave us without its answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		err := f(ctx)
		if err != nil {
			_, doubt = passing(err)
		} else {
			s.commits.Add(1)
		}
		return err
	})
}

// tx makes one transaction of f. Its error is that of f or of the commit, never that of a rollback afterwards.
func (s *Store) tx(ctx context.Context, f func(pgx.Tx) error) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return err
	}
	if err = f(tx); err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		if rerr := tx.Rollback(ctx); rerr != nil && !errors.Is(rerr, pgx.ErrTxClosed) {
			s.slog.Debug("rollback", "err", rerr) // the connection is closed: the server does it
		}
	}
	return err
}

// isNetwork tells an error of the connection.
func isNetwork(err error) bool {
	_, is := errors.AsType[net.Error](err)
	return is || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// batch sends statements that make one transaction, in one trip, and gives each answer to its reader.
func (s *Store) batch(ctx context.Context, q ...query) error {
	b := &pgx.Batch{}
	for _, x := range q {
		b.Queue(x.sql, x.args...)
	}
	r := s.pool.SendBatch(ctx, b)
	for _, x := range q {
		if err := x.result(r); err != nil {
			return errors.Join(err, r.Close())
		}
	}
	return r.Close()
}

// query is one statement of a batch; read, when set, takes its rows.
type query struct {
	sql  string
	args []any
	read func(pgx.Rows) error
	n    *int64 // rows it touched, when asked for
}

func (x *query) result(r pgx.BatchResults) error {
	if x.read == nil {
		tag, err := r.Exec()
		if x.n != nil {
			*x.n = tag.RowsAffected()
		}
		return err
	}
	rows, err := r.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := x.read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

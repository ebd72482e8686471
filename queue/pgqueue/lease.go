package pgqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
	"backbone/queue/exactjson"
)

// claim is SQL for new leases of the items that the statement before it (named due, with column id) has locked. Its parameters:
// $2 epoch, $3 node, $4 owner, $5 ttl, $6 incarnation. Columns connector and host of due are null for what fills no window. A row whose lease was made between this statement's snapshot and its lock
// on the item is left out by the conflict; what is leased is read by the next statement, whose snapshot is newer than the lock.
const claim = ` insert into lease (item, epoch, node, owner, began, until, held, pending, connector, host)
	select due.id, $2::bigint, $3::text, $4::text, ` + clock + `, ` + clock + ` + $5::bigint, due.state = 'held', '[]', due.connector, due.host
	from due where exists (select 1 from node where name = $3 and incarnation = $6::bigint) order by due.id
	on conflict (item) do nothing`

// isSuspended is true for a destination that nothing may be leased for.
const isSuspended = `exists (select 1 from suspension s where s.connector = $7::text and (s.host = '' or s.host = $8::text)
	and (s.until is null or s.until > ` + clock + `))`

// dueItems chooses due items, urgent ones first. Each rank is looked up by itself: a million items of one rank that are due
// tomorrow don't stand in the way of the next rank's.
const dueItems = within + `due as materialized (
	select x.id, 'ready' as state, ` + filled + ` from (values (0), (1), (2)) r(rank), lateral (
		select i.id, i.next from item i
		where i.state = 'ready' and i.connector = $7::text and i.host = $8::text and i.rank = r.rank and i.next <= ` + clock + `
			and not exists (select 1 from lease l where l.item = i.id)
		order by i.next, i.id limit $9::integer for update of i skip locked) x
	where not ` + isSuspended + ` and (select n from free) > 0
	order by r.rank, x.next, x.id limit (select n from free))`

const waitingItems = within + `due as materialized (
	select x.id, x.state, ` + filled + ` from (
		select i.id, i.state from item i
		where i.state = 'ready' and i.connector = $7::text and i.host = $8::text and i.id > $11::bigint
			and not exists (select 1 from lease l where l.item = i.id)
		order by i.id limit $9::integer for update of i skip locked) x
	where (select n from free) > 0 and ($10::bigint is null or not ` + isSuspended + `)
	order by x.id limit (select n from free))`

const oneItem = `with due as materialized (
	select i.id, i.state, null::text as connector, null::text as host from item i where i.id = $7::bigint and i.state <> 'trash' for update of i)`

// Lease implements queue.Store.
func (s *Store) Lease(ctx context.Context, d queue.Dest, owner string, n, room int, ttl time.Duration) ([]queue.Lease, error) {
	w := window{d, room}
	ls, err := s.take(ctx, owner, w, ttl, dueItems, exactjson.Text(d.Connector), exactjson.Text(d.Host), n, w.bound())
	slices.SortFunc(ls, func(a, b queue.Lease) int {
		return cmp.Or(cmp.Compare(rankOf(a.Envelope.Priority), rankOf(b.Envelope.Priority)), a.Next.Compare(b.Next), cmp.Compare(a.ID, b.ID))
	})
	return ls, err
}

// LeaseWaiting implements queue.Store.
func (s *Store) LeaseWaiting(ctx context.Context, d queue.Dest, owner string, after queue.ID, n, room int, ttl time.Duration) ([]queue.Lease, error) {
	if n <= 0 {
		return nil, s.openWrite(ctx)
	}
	w := window{d, room}
	ls, err := s.take(ctx, owner, w, ttl, waitingItems, exactjson.Text(d.Connector), exactjson.Text(d.Host), n, w.bound(), int64(after))
	slices.SortFunc(ls, func(a, b queue.Lease) int { return cmp.Compare(a.ID, b.ID) })
	return ls, err
}

// LeaseID implements queue.Store.
func (s *Store) LeaseID(ctx context.Context, id queue.ID, owner string, ttl time.Duration) (queue.Lease, error) {
	ls, err := s.take(ctx, owner, window{room: queue.NoWindow}, ttl, oneItem, int64(id))
	if err != nil {
		return queue.Lease{}, err
	}
	if len(ls) == 1 {
		return ls[0], nil
	}
	r, err := s.read(ctx, id)
	switch {
	case err != nil:
		return queue.Lease{}, err
	case r.State == queue.Trash:
		return queue.Lease{}, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	case r.lease != nil:
		return queue.Lease{}, fmt.Errorf("%s: %w (%s on %s has it)", id, queue.ErrLeaseLost, r.lease.owner, r.lease.node)
	}
	return queue.Lease{}, fmt.Errorf("%s: %w", id, queue.ErrLeaseLost) // it was returned this moment
}

// take leases what the choice locks.
func (s *Store) take(ctx context.Context, owner string, w window, ttl time.Duration, choice string, args ...any) ([]queue.Lease, error) {
	if err := s.openWrite(ctx); err != nil {
		return nil, err
	}
	if err := s.reap(ctx); err != nil {
		return nil, err
	}
	epoch, err := s.numbers.take(ctx, 1)
	if err != nil {
		return nil, err
	}
	var out []queue.Lease
	var incarnation, left int64
	read := query{sql: "select " + columns + ` from lease l join item i on i.id = l.item where l.epoch = $1`, args: []any{int64(epoch)}}
	read.read = func(rows pgx.Rows) error {
		r, err := scan(rows)
		if err == nil {
			out = append(out, queue.Lease{Item: r.shown(), Epoch: epoch})
		}
		return err
	}
	lead := query{sql: choice + claim, args: append([]any{s.at(), int64(epoch), s.o.Node, exactjson.Text(owner), int64(ttl), s.incarnation}, args...)}
	who := query{sql: "select incarnation from node where name = $1", args: []any{s.o.Node}, read: func(rows pgx.Rows) error { return rows.Scan(&incarnation) }}
	steps := []query{s.renew(), lead, who, read}
	if w.room != queue.NoWindow {
		who = query{sql: "select incarnation, " + roomLeft + " from node where name = $1", args: []any{s.o.Node, exactjson.Text(w.dest.Connector), exactjson.Text(w.dest.Host), exactjson.Text(owner), w.bound()},
			read: func(rows pgx.Rows) error { return rows.Scan(&incarnation, &left) }}
		steps = []query{s.renew(), w.lock(), lead, who, read}
	}
	err = s.once(ctx, time.Time{}, callLimit, false, func(ctx context.Context) error {
		out = nil
		return s.batch(ctx, steps...)
	}, func(ctx context.Context, tx pgx.Tx) (bool, error) {
		out = nil
		err := run(ctx, tx, who, read)
		return len(out) > 0, err
	})
	if err != nil {
		return nil, err
	}
	if incarnation != s.incarnation {
		return nil, s.fail(fmt.Errorf("another process has opened the queue as node %q", s.o.Node))
	}
	if len(out) > 0 {
		s.hold(out)
		s.changed(false)
	} else if w.room != queue.NoWindow && left <= 0 {
		return nil, fmt.Errorf("%s: %w", w.dest, queue.ErrNoRoom)
	}
	return out, nil
}

// hold notes our leases, so that this gateway says that it lives, and looks when the first may have run out.
func (s *Store) hold(ls []queue.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ls {
		s.held[ls[i].ID] = ls[i].LeaseUntil
		if s.reapAt.IsZero() || ls[i].LeaseUntil.Before(s.reapAt) {
			s.reapAt = ls[i].LeaseUntil
		}
	}
	select {
	case s.alarm <- struct{}{}:
	default:
	}
}

func (s *Store) letGo(ids ...queue.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.held, id)
	}
}

// Extend implements queue.Store.
func (s *Store) Extend(ctx context.Context, l queue.Lease, ttl time.Duration) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	var until int64
	err := s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `update lease set until = `+clock+` + $4::bigint where item = $2 and epoch = $3 and until > `+clock+` returning until`,
			s.at(), int64(l.ID), int64(l.Epoch), int64(ttl)).Scan(&until)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", l.ID, queue.ErrLeaseLost)
	}
	if err == nil {
		l.LeaseUntil = timeOf(until)
		s.hold([]queue.Lease{l})
		s.changed(false)
	}
	return err
}

// Return implements queue.Store. Leases that are lost already are no error: they need no return.
func (s *Store) Return(ctx context.Context, ls []queue.Lease) error {
	if err := s.openWrite(ctx); err != nil || len(ls) == 0 {
		return err
	}
	ids, epochs := make([]int64, len(ls)), make([]int64, len(ls))
	for i, l := range ls {
		ids[i], epochs[i] = int64(l.ID), int64(l.Epoch)
		s.letGo(l.ID)
	}
	err := s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `with mine as materialized (
				select l.item, l.epoch from unnest($2::bigint[], $3::bigint[]) as u(item, epoch) join lease l on l.item = u.item and l.epoch = u.epoch
				where l.until > `+clock+` order by l.item for update of l)
			delete from lease using mine where lease.item = mine.item and lease.epoch = mine.epoch`, s.at(), ids, epochs)
		return err
	})
	s.changed(true)
	return err
}

// reap ends leases that ran out, or whose gateway fell silent: when one of ours may have, and every so often for the others'.
func (s *Store) reap(ctx context.Context) error {
	now := time.Now()
	s.mu.Lock()
	is := !s.reapAt.After(now)
	// After an outage nobody has been able to say that he lives: who can again is given the time to.
	settled := now.Sub(s.trouble) >= s.o.Silence/2 && now.Sub(s.answered) < s.gap()
	if is {
		s.reapAt = now.Add(s.o.Poll)
		for id, until := range s.held {
			if !until.After(now) {
				delete(s.held, id)
			} else if until.Before(s.reapAt) {
				s.reapAt = until
			}
		}
	}
	s.mu.Unlock()
	if !is {
		return nil
	}
	// What was leased under our name by a number older than this process was on its way when we took that one's place.
	gone := `(l.until <= ` + clock + ` or l.node = $2 and l.epoch < $3::bigint`
	if settled {
		gone += ` or exists (select 1 from node n where n.name = l.node and n.alive <= ` + clock + `)`
	}
	return s.free(ctx, gone+")", s.o.Node, s.incarnation)
}

// free ends the leases for which the condition holds: their attempts' outcome is not known.
func (s *Store) free(ctx context.Context, condition string, args ...any) error {
	sql := `with gone as materialized (
			select l.item, l.epoch from lease l join item i on i.id = l.item where ` + condition + `
			order by l.item limit 500 for update of i, l skip locked),
		ended as (delete from lease using gone where lease.item = gone.item and lease.epoch = gone.epoch
			returning lease.item, lease.epoch, lease.node, lease.owner, lease.began),
		noted as (insert into attempt (item, epoch, node, owner, began, ended, outcome, class)
			select item, epoch, node, owner, began, ` + clock + `, 'unknown', '' from ended on conflict do nothing)
		update item set unknown = true from ended where item.id = ended.item`
	n := int64(1)
	some := false
	for n > 0 {
		err := s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
			tag, err := s.pool.Exec(ctx, sql, append([]any{s.at()}, args...)...)
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return err
		}
		some = some || n > 0
	}
	if some {
		s.changed(true)
	}
	return nil
}

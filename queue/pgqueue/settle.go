package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// lockBody is the statement that comes first where a body gets another item, or may lose its last one.
func lockBody(body uint64) query {
	return query{sql: "select 1 from chunk where body = $1 and n = 0 for update", args: []any{int64(body)}}
}

// dropBody takes a body out when no item has it any longer. Its lock makes sure that nobody else is about to.
func dropBody(body uint64) query {
	return query{sql: "delete from chunk where body = $1 and not exists (select 1 from item where body = $1)", args: []any{int64(body)}}
}

// Settle implements queue.Store.
func (s *Store) Settle(ctx context.Context, l queue.Lease, st queue.Settlement) error {
	var ms []*message
	defer func() { s.end(ms) }()
	for _, n := range st.Spawn {
		var err error
		if ms, err = s.flatten(ms, n); err != nil {
			return err
		}
	}
	for _, k := range st.Keep {
		if k.State != queue.Ready && k.State != queue.Held && k.State != queue.Leased {
			return fmt.Errorf("queue: what is kept of entry %s can't be %q", l.ID, k.State)
		}
	}
	if st.Trash && len(st.Keep) > 0 {
		return errors.New("queue: a settlement that keeps something can't move it to the trash")
	}
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	body, err := bodyNumber(l.Body.Where)
	if err != nil {
		return fmt.Errorf("queue entry %s: %w", l.ID, err)
	}
	if err := s.number(ctx, ms); err != nil {
		return err
	}
	more := uint64(0) // the number of the second of Keep
	if len(st.Keep) > 1 {
		if more, err = s.numbers.take(ctx, len(st.Keep)-1); err != nil {
			return err
		}
	}
	settle := func(ctx context.Context) error { return s.finish(ctx, &l, body) }
	if len(ms) > 0 || len(st.Keep) > 0 || st.Trash {
		settle = func(ctx context.Context) error {
			return s.tx(ctx, func(tx pgx.Tx) error { return s.settle(ctx, tx, &l, &st, ms, body, queue.ID(more)) })
		}
	}
	// An outcome is worth waiting for as long as nobody else can have the item.
	deadline := time.Now().Add(s.o.Patience)
	if l.LeaseUntil.After(deadline) {
		deadline = l.LeaseUntil
	}
	err = s.once(ctx, deadline, limitFor(ms), settle, func(ctx context.Context, tx pgx.Tx) (is bool, err error) {
		err = tx.QueryRow(ctx, "select exists (select 1 from attempt where item = $1 and epoch = $2 and outcome <> 'unknown')", int64(l.ID), int64(l.Epoch)).Scan(&is)
		return is, err
	})
	s.letGo(l.ID)
	if err == nil {
		s.changed(len(ms) > 0 || len(st.Keep) > 0)
	}
	return err
}

// ended notes an attempt and renews what its message's dedup key is remembered from. l is the lease's row, deleted before.
const noted = `noted as (insert into attempt (item, epoch, node, owner, began, ended, outcome, class)
	select item, epoch, node, owner, began, ` + clock + `, $4::text, $5::text from ended)`

const fence = `with ended as (delete from lease where item = $2::bigint and epoch = $3::bigint and until > ` + clock + ` returning item, epoch, node, owner, began), `

// finish settles an attempt that leaves nothing, in one trip.
func (s *Store) finish(ctx context.Context, l *queue.Lease, body uint64) error {
	var n int64
	err := s.batch(ctx, lockBody(body), query{sql: "select 1 from item where id = $1 for update", args: []any{int64(l.ID)}},
		query{sql: fence + noted + `, dropped as (delete from recipient using ended where recipient.item = ended.item),
			renewed as (update dedup set day = ` + clock + ` / 86400000000000 from ended, item i
				where i.id = ended.item and dedup.hash = i.dedup and dedup.day < ` + clock + ` / 86400000000000)
			delete from item using ended where item.id = ended.item`,
			args: []any{s.at(), int64(l.ID), int64(l.Epoch), "done", ""}, n: &n},
		dropBody(body))
	if err == nil && n == 0 {
		return fmt.Errorf("%s: %w", l.ID, queue.ErrLeaseLost)
	}
	return err
}

// settle is Settle within a transaction.
func (s *Store) settle(ctx context.Context, tx pgx.Tx, l *queue.Lease, st *queue.Settlement, ms []*message, body uint64, more queue.ID) error {
	var old *record
	var n, now int64
	outcome, failed := "kept", ""
	switch {
	case len(st.Keep) > 0:
		failed = class(&st.Keep[0])
	case st.Trash:
		outcome = "trash"
	default:
		outcome = "done"
	}
	err := run(ctx, tx, lockBody(body), query{sql: "select 1 from item where id = $1 for update", args: []any{int64(l.ID)}},
		query{sql: "select " + clock + ", " + columnsFrom2, args: []any{s.at(), int64(l.ID)}, read: func(rows pgx.Rows) (err error) {
			old, err = scanAt(rows, &now)
			return err
		}},
		query{sql: fence + noted + " select 1 from ended", args: []any{s.at(), int64(l.ID), int64(l.Epoch), outcome, failed}, n: &n})
	if err != nil {
		return err
	}
	if n == 0 || old == nil {
		return fmt.Errorf("%s: %w", l.ID, queue.ErrLeaseLost)
	}
	q, err := s.keep(old, st, more, timeOf(now))
	if err != nil {
		return err
	}
	if len(st.Keep) == 0 && !st.Trash {
		q = append(q, ended(s, old)...)
	}
	if err := run(ctx, tx, q...); err != nil {
		return err
	}
	for _, m := range ms { // one whose dedup key is known is left out
		is, _, err := s.claim(ctx, tx, m)
		if err == nil && is {
			err = s.store(ctx, tx, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keep is the statements that write what a settlement leaves of an item.
func (s *Store) keep(old *record, st *queue.Settlement, more queue.ID, at time.Time) (q []query, err error) {
	if st.Trash {
		r := *old
		r.toTrash(queue.Op{}, at)
		return r.update(false)
	}
	for i := range st.Keep {
		r := old.kept(&st.Keep[i])
		if i > 0 {
			r.ID = more + queue.ID(i-1)
		}
		if i > 0 || st.Rekey {
			r.Key = newKey()
		}
		for _, op := range old.lease.pending {
			r.change(op, at)
		}
		r.Changed = at
		var rows []query
		if i == 0 {
			rows, err = r.update(true)
		} else {
			rows, err = r.insert(s, "")
		}
		if err != nil {
			return nil, err
		}
		q = append(q, rows...)
	}
	return q, nil
}

// kept is what a settlement makes of an item.
func (r *record) kept(k *queue.Item) *record {
	n := *r
	n.Envelope.Recipients = k.Envelope.Recipients
	n.Dest, n.State, n.Next, n.Expires = k.Dest, k.State, k.Next, k.Expires
	n.Attempts, n.Tries, n.Last = k.Attempts, k.Tries, k.Last
	n.Delayed, n.Unknown, n.Reason, n.By = k.Delayed, k.Unknown, k.Reason, k.By
	if n.State == queue.Leased { // as the lease showed it: what it was
		n.State = queue.Ready
		if r.lease.held {
			n.State = queue.Held
		}
	}
	return &n
}

// ended is the statements that take an item out for good, whose body is locked.
func ended(s *Store, r *record) []query {
	id := int64(r.ID)
	q := []query{
		{sql: "delete from recipient where item = $1", args: []any{id}},
		{sql: "delete from item where id = $1", args: []any{id}},
		dropBody(r.body),
	}
	if r.dedup != nil {
		q = append(q, query{sql: `update dedup set day = ` + clock + ` / 86400000000000 where hash = $2 and day < ` + clock + ` / 86400000000000`, args: []any{s.at(), r.dedup}})
	}
	return q
}

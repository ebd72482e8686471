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

// dropBodies takes bodies out that no item has any longer. Their locks make sure that nobody else is about to: one that could
// not be locked has an item still.
func dropBodies(bodies any) query {
	return query{sql: `delete from chunk using unnest($1::bigint[]) as u(body)
		where chunk.body = u.body and (select i.body from item i where i.body = u.body limit 1) is null`, args: []any{bodies}}
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
	// An outcome is worth waiting for as long as nobody else can have the item.
	deadline := time.Now().Add(s.o.Patience)
	if l.LeaseUntil.After(deadline) {
		deadline = l.LeaseUntil
	}
	c := &plain{lease: &l, body: body}
	settle := func(ctx context.Context) error {
		return s.tx(ctx, func(tx pgx.Tx) error { return s.settle(ctx, tx, &l, &st, ms, body, queue.ID(more)) })
	}
	switch {
	case len(ms) > 0 || len(st.Keep) > 1 || st.Trash:
	case len(st.Keep) == 1:
		c.keep, c.rekey = &st.Keep[0], st.Rekey
		err = s.keeps.ride(ctx, s.ctx, c)
	default:
		settle = func(ctx context.Context) error { return s.finish(ctx, c) }
		err = s.finishes.ride(ctx, s.ctx, c)
	}
	if err == nil && c.outcome != served {
		err = s.once(ctx, deadline, limitFor(ms), c.outcome == doubt, settle, func(ctx context.Context, tx pgx.Tx) (is bool, err error) {
			err = tx.QueryRow(ctx, "select exists (select 1 from attempt where item = $1 and epoch = $2 and outcome <> 'unknown')", int64(l.ID), int64(l.Epoch)).Scan(&is)
			return is, err
		})
	}
	s.letGo(l.ID)
	if err == nil {
		s.changed(len(ms) > 0 || len(st.Keep) > 0)
	}
	return err
}

// noted is SQL for the record of attempts that ended: $4 outcome, $5 class. ended is the leases' rows, deleted before.
const noted = `noted as (insert into attempt (item, epoch, node, owner, began, ended, outcome, class)
	select item, epoch, node, owner, began, ` + clock + `, $4::text, $5::text from ended)`

const fence = `with ended as (delete from lease where item = $2::bigint and epoch = $3::bigint and until > ` + clock + ` returning item, epoch, node, owner, began), `

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
		rows, err := rowsOf([]*record{&r}, nil)
		if err != nil {
			return nil, err
		}
		return []query{updateItems(rows)}, nil
	}
	var rs []*record
	for i := range st.Keep {
		r := old.kept(&st.Keep[i], i > 0 || st.Rekey, at)
		if i > 0 {
			r.ID = more + queue.ID(i-1)
		}
		rs = append(rs, r)
	}
	rows, err := rowsOf(rs, nil)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	q = append([]query{updateItems(rows[:1])}, rewriteRecipients(rows[:1])...)
	return append(q, s.insertItems(rows[1:])...), nil
}

// kept is what a settlement makes of an item, and the verbs that waited for it.
func (r *record) kept(k *queue.Item, rekey bool, at time.Time) *record {
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
	if rekey {
		n.Key = newKey()
	}
	for _, op := range r.lease.pending {
		n.change(op, at)
	}
	n.Changed = at
	return &n
}

// ended is the statements that take an item out for good, whose body is locked.
func ended(s *Store, r *record) []query {
	id := int64(r.ID)
	q := []query{
		{sql: "delete from recipient where item = $1", args: []any{id}},
		{sql: "delete from item where id = $1", args: []any{id}},
		dropBodies([]int64{int64(r.body)}),
	}
	if r.dedup != nil {
		q = append(q, query{sql: `update dedup set day = ` + clock + ` / 86400000000000 where hash = $2 and day < ` + clock + ` / 86400000000000`, args: []any{s.at(), r.dedup}})
	}
	return q
}

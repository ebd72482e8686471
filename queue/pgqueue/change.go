package pgqueue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
	"backbone/queue/exactjson"
)

// verbSlice is how many items one transaction changes: it bounds how long their locks are kept.
const verbSlice = 200

// change makes a verb's mark on an item and tells whether there was any.
func (r *record) change(op queue.Op, at time.Time) bool {
	it := &r.Item
	switch op.Verb {
	case queue.Hold:
		if it.State != queue.Ready {
			return false
		}
		it.State = queue.Held
	case queue.Release:
		if it.State != queue.Held {
			return false
		}
		it.State = queue.Ready
	case queue.RetryNow, queue.ScheduleAt:
		if it.State == queue.Trash {
			return false
		}
		if it.Next = at; op.Verb == queue.ScheduleAt {
			it.Schedule(op.At)
		}
	case queue.Delete:
		if it.State == queue.Trash {
			return false
		}
		r.toTrash(op, at)
	case queue.Restore:
		if it.State != queue.Trash {
			return false
		}
		it.State, r.was = r.was, ""
		if it.State != queue.Held {
			it.State = queue.Ready
		}
	}
	it.Reason, it.By, it.Changed = op.Reason, op.By, at
	return true
}

func (r *record) toTrash(op queue.Op, at time.Time) {
	r.was, r.State = r.State, queue.Trash
	r.Reason, r.By, r.Changed = op.Reason, op.By, at
}

// Change implements queue.Store.
func (s *Store) Change(ctx context.Context, f queue.Filter, op queue.Op) (int, error) {
	switch op.Verb {
	case queue.Hold, queue.Release, queue.RetryNow, queue.ScheduleAt, queue.Delete:
	case queue.Restore, queue.Purge:
		if f.State == "" {
			f.State = queue.Trash
		}
	default:
		return 0, fmt.Errorf("queue: unknown verb %q", op.Verb)
	}
	if err := s.openWrite(ctx); err != nil {
		return 0, err
	}
	last, err := s.numbers.take(ctx, 1) // what this gateway takes in while a verb runs is not touched by it
	if err != nil {
		return 0, err
	}
	if err := s.reap(ctx); err != nil {
		return 0, err
	}
	w, touched := walk{f: f}, 0
	for !w.done {
		w.limit = verbSlice
		rs, err := s.step(ctx, &w)
		if err != nil {
			return touched, err
		}
		var ids []queue.ID
		for _, r := range rs {
			if r.ID/blockSize != queue.ID(last)/blockSize || r.ID < queue.ID(last) {
				ids = append(ids, r.ID)
			}
		}
		n, err := s.changeSlice(ctx, &w.f, ids, op)
		touched += n
		if err != nil {
			return touched, err
		}
	}
	if touched > 0 {
		s.changed(true)
	}
	return touched, nil
}

// changeSlice applies op to items that the filter selects still once they are locked.
func (s *Store) changeSlice(ctx context.Context, f *queue.Filter, ids []queue.ID, op queue.Op) (n int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	slices.Sort(ids)
	err = s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		n = 0
		return s.tx(ctx, func(tx pgx.Tx) error {
			rs, now, err := s.lock(ctx, tx, ids, op.Verb == queue.Purge)
			if err != nil {
				return err
			}
			var q []query
			for _, r := range rs {
				seen := r.shown()
				if !f.Match(&seen, now) {
					continue
				}
				more, is, err := s.verb(r, op, now)
				if err != nil {
					return err
				}
				if is {
					n++
					q = append(q, more...)
				}
			}
			return run(ctx, tx, q...)
		})
	})
	return n, err
}

// lock locks items, and their bodies before them where they may go.
func (s *Store) lock(ctx context.Context, tx pgx.Tx, ids []queue.ID, bodies bool) (rs []*record, now time.Time, err error) {
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i] = int64(id)
	}
	var q []query
	if bodies {
		q = append(q, query{sql: `select 1 from chunk where n = 0 and body in (select body from item where id = any($1)) order by body for update`, args: []any{list}})
	}
	var ns int64
	q = append(q,
		query{sql: "select 1 from item where id = any($1) order by id for update", args: []any{list}},
		query{sql: "select 1 from lease where item = any($1) order by item for update", args: []any{list}},
		query{sql: "select " + clock + ", " + columns + fromItem + " where i.id = any($2) order by i.id", args: []any{s.at(), list}, read: func(rows pgx.Rows) error {
			r, err := scanAt(rows, &ns)
			if err == nil {
				rs = append(rs, r)
			}
			return err
		}})
	err = run(ctx, tx, q...)
	return rs, timeOf(ns), err
}

// verb is the statements of op on a locked item; is tells whether there is anything to do.
func (s *Store) verb(r *record, op queue.Op, now time.Time) (q []query, is bool, err error) {
	if op.Verb == queue.Purge {
		return ended(s, r), r.State == queue.Trash, nil
	}
	if !r.change(op, now) {
		return nil, false, nil
	}
	if l := r.lease; l != nil {
		switch op.Verb {
		case queue.Hold, queue.Delete: // the attempt is fenced out, and nobody will know what it did
			r.Unknown = true
			q = append(q, query{sql: `with ended as (delete from lease where item = $2::bigint and epoch = $3::bigint returning item, epoch, node, owner, began), ` + noted + " select 1",
				args: []any{s.at(), int64(r.ID), int64(l.epoch), "unknown", ""}})
		default:
			b, err := exactjson.Marshal(append(l.pending, op))
			if err != nil {
				return nil, false, err
			}
			q = append(q, query{sql: "update lease set pending = $2, held = $3 where item = $1", args: []any{int64(r.ID), string(b), r.State == queue.Held}})
		}
	}
	rows, err := rowsOf([]*record{r}, nil)
	if err != nil {
		return nil, false, err
	}
	return append(q, updateItems(rows)), true, nil
}

package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
	"backbone/queue/exactjson"
)

// looked is how many items a reader looks at in one statement.
const looked = 500

const columnsFrom2 = columns + fromItem + " where i.id = $2"

// scanAt reads the time of the statement and columns.
func scanAt(rows pgx.Rows, now *int64) (*record, error) {
	return scan(skipping{rows, now})
}

// skipping scans the first column apart from the others.
type skipping struct {
	pgx.Rows
	first *int64
}

func (s skipping) Scan(to ...any) error { return s.Rows.Scan(append([]any{s.first}, to...)...) }

// read is one item.
func (s *Store) read(ctx context.Context, id queue.ID) (r *record, err error) {
	err = s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, "select "+columns+fromItem+" where i.id = $1", int64(id))
		if err != nil {
			return err
		}
		r, err = pgx.CollectExactlyOneRow(rows, func(pgx.CollectableRow) (*record, error) { return scan(rows) })
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	}
	return r, err
}

// Get implements queue.Store.
func (s *Store) Get(ctx context.Context, id queue.ID) (queue.Item, error) {
	if err := s.open(ctx); err != nil {
		return queue.Item{}, err
	}
	if err := s.reap(ctx); err != nil {
		return queue.Item{}, err
	}
	r, err := s.read(ctx, id)
	if err != nil {
		return queue.Item{}, err
	}
	return r.shown(), nil
}

// walk is a reader's way through the items in ID order: each step is a statement of its own.
type walk struct {
	f     queue.Filter
	after queue.ID
	limit int // of items that a step answers
	hosts []string
	done  bool
}

// step looks at the next items and answers those that match. What SQL can compare exactly, it does; the filter decides.
func (s *Store) step(ctx context.Context, w *walk) (out []*record, err error) {
	sql := "select " + clock + ", " + columns + fromItem + "where i.id > $2"
	args := []any{s.at(), int64(w.after)}
	and := func(condition string, v any) {
		args = append(args, v)
		sql += " and " + fmt.Sprintf(condition, len(args))
	}
	f := &w.f
	if len(f.IDs) > 0 {
		ids := make([]int64, len(f.IDs))
		for i, id := range f.IDs {
			ids[i] = int64(id)
		}
		and("i.id = any($%d)", ids)
	}
	if f.Connector != "" {
		and("i.connector = $%d", exactjson.Text(f.Connector))
	}
	if f.Host != "" && f.State != queue.Trash && len(f.IDs) == 0 {
		if w.hosts == nil {
			if w.hosts, err = s.hosts(ctx, f); err != nil {
				return nil, err
			}
		}
		and("i.host = any($%d)", w.hosts)
	}
	switch f.State {
	case "":
		if len(f.IDs) == 0 {
			sql += " and i.state <> 'trash'"
		}
	case queue.Leased:
		sql += " and l.item is not null"
	default:
		and("i.state = $%d", string(f.State))
	}
	sql += fmt.Sprintf(" order by i.id limit %d", looked)
	seen := 0
	err = s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		out, seen = nil, 0
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		at := w.after
		for rows.Next() && len(out) < w.limit {
			var now int64
			r, err := scanAt(rows, &now)
			if err != nil {
				return err
			}
			seen++
			at = r.ID
			it := r.shown()
			if f.Match(&it, timeOf(now)) {
				out = append(out, r)
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
		w.after = at
		return nil
	})
	w.done = seen < looked && len(out) < w.limit
	return out, err
}

// hosts are those of the destinations that a filter selects, as the tables hold them.
func (s *Store) hosts(ctx context.Context, f *queue.Filter) ([]string, error) {
	ds, err := s.destinations(ctx)
	hosts := []string{}
	for _, d := range ds {
		it := queue.Item{Dest: d, State: queue.Ready}
		if only := (queue.Filter{Connector: f.Connector, Host: f.Host}); only.Match(&it, time.Time{}) {
			hosts = append(hosts, exactjson.Text(d.Host))
		}
	}
	return hosts, err
}

// List implements queue.Store.
func (s *Store) List(ctx context.Context, f queue.Filter, after queue.Cursor, n int) ([]queue.Item, queue.Cursor, error) {
	if n <= 0 {
		return nil, "", fmt.Errorf("queue: a page of %d entries", n)
	}
	if err := s.open(ctx); err != nil {
		return nil, "", err
	}
	w := walk{f: f}
	if after != "" {
		id, err := queue.ParseID(string(after))
		if err != nil {
			return nil, "", fmt.Errorf("queue: %q is no position in the list", after)
		}
		w.after = id
	}
	if err := s.reap(ctx); err != nil {
		return nil, "", err
	}
	var out []queue.Item
	for !w.done && len(out) <= n { // one more than asked for tells whether there is another page
		w.limit = n + 1 - len(out)
		rs, err := s.step(ctx, &w)
		if err != nil {
			return nil, "", err
		}
		for _, r := range rs {
			out = append(out, r.shown())
		}
	}
	if len(out) <= n {
		return out, "", nil
	}
	out = slices.Clip(out[:n])
	return out, queue.Cursor(out[n-1].ID.String()), nil
}

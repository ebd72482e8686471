package pgqueue

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// message is a queue.New being stored: its numbers are taken before anything is sent.
type message struct {
	queue.New
	body  *staged
	hash  []byte
	put   int64 // its own number
	num   uint64
	items []*record
	ids   []queue.ID
}

// flatten lists n and all that it spawns. It fails when one can't be stored, before anything is.
func (s *Store) flatten(ms []*message, n queue.New) ([]*message, error) {
	m := &message{New: n}
	ms = append(ms, m)
	g, ok := n.Body.(*staged)
	if !ok || g.s != s || g.ended {
		return ms, errors.New("queue: the body was not staged here, or has been used")
	}
	m.body = g
	if n.Dedup != "" {
		m.hash = hashOf(n.Dedup)
	}
	for _, it := range n.Items {
		if it.State != queue.Ready && it.State != queue.Held && it.State != "" {
			return ms, fmt.Errorf("queue: a new entry can't be %q", it.State)
		}
		if it.Dest.Connector == "" {
			return ms, errors.New("queue: a new entry needs a destination")
		}
	}
	for _, sp := range n.Spawn {
		var err error
		if ms, err = s.flatten(ms, sp); err != nil {
			return ms, err
		}
	}
	return ms, nil
}

func hashOf(dedup string) []byte {
	h := sha256.Sum256([]byte(dedup))
	return h[:16]
}

// number gives messages and their items numbers and keys.
func (s *Store) number(ctx context.Context, ms []*message) error {
	for _, m := range ms {
		if len(m.Items) > blockSize-2 {
			return fmt.Errorf("queue: a message of %d entries", len(m.Items))
		}
		first, err := s.numbers.take(ctx, len(m.Items)+2)
		if err != nil {
			return err
		}
		m.put, m.num, m.ids, m.items = int64(first), first+1, make([]queue.ID, len(m.Items)), nil
		for i, in := range m.Items {
			r := &record{body: m.num, dedup: m.hash, Item: queue.Item{
				ID: queue.ID(first + 2 + uint64(i)), Envelope: in.Envelope, Dest: in.Dest, State: in.State, Next: in.Next, Expires: in.Expires,
				Reason: in.Reason, Last: in.Last, Key: newKey(), Body: queue.BodyRef{Size: m.body.size, SHA256: m.body.sum},
			}}
			if r.State == "" {
				r.State = queue.Ready
			}
			m.ids[i], m.items = r.ID, append(m.items, r)
		}
	}
	return nil
}

// newKey is a transfer key: 130 random bits.
func newKey() string { return rand.Text() }

// end closes the bodies, stored or not.
func (s *Store) end(ms []*message) {
	for _, m := range ms {
		if m.body == nil {
			continue
		}
		if err := m.body.Discard(); err != nil {
			s.slog.Warn("staged body not ended", "err", err)
		}
	}
}

// Put implements queue.Store.
func (s *Store) Put(ctx context.Context, n queue.New) (ids []queue.ID, duplicate bool, err error) {
	ms, err := s.flatten(nil, n)
	defer func() { s.end(ms) }()
	if err != nil {
		return nil, false, err
	}
	if err := s.openWrite(ctx); err != nil {
		return nil, false, err
	}
	if err := s.number(ctx, ms); err != nil {
		return nil, false, err
	}
	if small := len(ms) == 1 && ms[0].body.file == nil && ms[0].body.size <= chunkSize; small {
		ids, duplicate, err = s.putSmall(ctx, ms[0])
	} else {
		ids, duplicate, err = s.putAny(ctx, ms)
	}
	if err == nil && !duplicate {
		s.puts.Add(1)
		s.changed(true)
	}
	return ids, duplicate, err
}

// isOurs is the condition under which a message is stored: its dedup key, if it has one, is this Put's.
const isOurs = ` where $29::bytea is null or exists (select 1 from dedup where hash = $29 and put = $30::bigint)`

// putSmall stores a message of one chunk in one trip.
func (s *Store) putSmall(ctx context.Context, m *message) (ids []queue.ID, duplicate bool, err error) {
	q, err := s.remember(m)
	if err != nil {
		return nil, false, err
	}
	if len(m.items) > 0 {
		q = append(q, query{sql: `insert into chunk (body, n, data) select $1::bigint, 0, $2::bytea
			where $3::bytea is null or exists (select 1 from dedup where hash = $3 and put = $4::bigint)`, args: []any{int64(m.num), m.body.mem, m.hash, m.put}})
	}
	for _, r := range m.items {
		row, err := r.insert(s, isOurs, m.hash, m.put)
		if err != nil {
			return nil, false, err
		}
		q = append(q, row...)
	}
	ids = m.ids
	if m.hash != nil {
		q = append(q, query{sql: "select put, ids from dedup where hash = $1", args: []any{m.hash}, read: func(rows pgx.Rows) (err error) {
			ids, duplicate, err = m.first(rows)
			return err
		}})
	}
	if len(q) == 0 {
		return nil, false, nil
	}
	err = s.once(ctx, time.Time{}, callLimit, func(ctx context.Context) error { return s.batch(ctx, q...) }, m.stored)
	return ids, duplicate, err
}

// remember is the statement that makes a message's dedup key known, if nobody else has.
func (s *Store) remember(m *message) ([]query, error) {
	if m.hash == nil {
		return nil, nil
	}
	ids, err := json.Marshal(m.ids)
	return []query{{sql: `insert into dedup (hash, day, put, ids) values ($2, ` + clock + ` / 86400000000000, $3, $4) on conflict (hash) do nothing`,
		args: []any{s.at(), m.hash, m.put, string(ids)}}}, err
}

// first reads whose a dedup key is.
func (m *message) first(row pgx.Row) (ids []queue.ID, duplicate bool, err error) {
	var put int64
	var text string
	if err := row.Scan(&put, &text); err != nil {
		return nil, false, err
	}
	if put == m.put {
		return m.ids, false, nil
	}
	return ids, true, json.Unmarshal([]byte(text), &ids)
}

// stored tells whether a Put took place: its first item is there, or was attempted, or its dedup key is known.
func (m *message) stored(ctx context.Context, tx pgx.Tx) (is bool, err error) {
	if len(m.ids) == 0 {
		return false, nil // done twice it is done once
	}
	err = tx.QueryRow(ctx, `select exists (select 1 from item where id = $1) or exists (select 1 from attempt where item = $1)`, int64(m.ids[0])).Scan(&is)
	return is, err
}

// putAny stores a message with all that comes with it, whatever its size.
func (s *Store) putAny(ctx context.Context, ms []*message) (ids []queue.ID, duplicate bool, err error) {
	known := errors.New("known")
	asked := ms[0]
	for _, m := range ms { // the one that tells: any that has items
		if len(asked.ids) == 0 {
			asked = m
		}
	}
	err = s.once(ctx, time.Time{}, limitFor(ms), func(ctx context.Context) error {
		err := s.tx(ctx, func(tx pgx.Tx) error {
			for i, m := range ms {
				is, first, err := s.claim(ctx, tx, m)
				if err != nil {
					return err
				}
				if !is && i == 0 {
					ids = first
					return known // nothing of what it spawns is stored either
				}
				if is {
					if err := s.store(ctx, tx, m); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if duplicate = errors.Is(err, known); duplicate {
			return nil
		}
		return err
	}, asked.stored)
	if err == nil && !duplicate {
		ids = ms[0].ids
	}
	return ids, duplicate, err
}

// limitFor is how long the transaction of these messages may take: at a megabyte a second.
func limitFor(ms []*message) time.Duration {
	d := callLimit
	for _, m := range ms {
		d += time.Duration(m.body.size>>20) * time.Second
	}
	return d
}

// claim makes a message's dedup key this Put's. is is false when it is another's, whose items are first.
func (s *Store) claim(ctx context.Context, tx pgx.Tx, m *message) (is bool, first []queue.ID, err error) {
	q, err := s.remember(m)
	if err != nil || len(q) == 0 {
		return true, nil, err
	}
	if _, err := tx.Exec(ctx, q[0].sql, q[0].args...); err != nil {
		return false, nil, err
	}
	first, duplicate, err := m.first(tx.QueryRow(ctx, "select put, ids from dedup where hash = $1", m.hash))
	return !duplicate, first, err
}

// store writes a message's body and items within a transaction.
func (s *Store) store(ctx context.Context, tx pgx.Tx, m *message) error {
	if len(m.items) == 0 {
		return nil
	}
	var q []query
	if m.body.file == nil && m.body.size <= chunkSize {
		q = append(q, query{sql: "insert into chunk (body, n, data) values ($1, 0, $2)", args: []any{int64(m.num), m.body.mem}})
	} else if err := m.copyBody(ctx, tx); err != nil {
		return err
	}
	for _, r := range m.items {
		row, err := r.insert(s, "")
		if err != nil {
			return err
		}
		q = append(q, row...)
	}
	return run(ctx, tx, q...)
}

// copyBody streams a body into its chunks.
func (m *message) copyBody(ctx context.Context, tx pgx.Tx) error {
	r, err := m.body.Open()
	if err != nil {
		return err
	}
	// It is one statement, and as long as the body.
	if _, err := tx.Exec(ctx, fmt.Sprintf("set local statement_timeout = %d", limitFor([]*message{m}).Milliseconds())); err != nil {
		return errors.Join(err, r.Close())
	}
	src := &chunks{body: int64(m.num), r: io.LimitReader(r, m.body.size), buf: make([]byte, chunkSize)}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"chunk"}, []string{"body", "n", "data"}, src)
	return errors.Join(err, r.Close())
}

// run sends statements within a transaction in one trip.
func run(ctx context.Context, tx pgx.Tx, q ...query) error {
	if len(q) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	for _, x := range q {
		b.Queue(x.sql, x.args...)
	}
	r := tx.SendBatch(ctx, b)
	for i := range q {
		if err := q[i].result(r); err != nil {
			return errors.Join(err, r.Close())
		}
	}
	return r.Close()
}

// Known implements queue.Store.
func (s *Store) Known(ctx context.Context, dedup string) (is bool, err error) {
	if err := s.openWrite(ctx); err != nil {
		return false, err
	}
	if dedup == "" {
		return false, nil
	}
	err = s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, "select exists (select 1 from dedup where hash = $1)", hashOf(dedup)).Scan(&is)
	})
	return is, err
}

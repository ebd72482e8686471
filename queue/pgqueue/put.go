package pgqueue

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
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
	return h[:hashSize]
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
	if small := len(ms) == 1 && ms[0].isSmall(); small {
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

// isSmall tells a message whose body is one chunk, in memory.
func (m *message) isSmall() bool { return m.body.file == nil && m.body.size <= chunkSize }

// small is a Put of one small message, in a group or by itself.
type small struct {
	*message
	outcome   outcome
	first     []queue.ID // what the Put answers: those of the first message with this dedup key
	duplicate bool
}

// putSmall stores a small message, in one trip with others that wait.
func (s *Store) putSmall(ctx context.Context, m *message) (ids []queue.ID, duplicate bool, err error) {
	if len(m.items) == 0 && m.hash == nil {
		return nil, false, nil
	}
	deadline := time.Now().Add(s.o.Patience)
	c := &small{message: m, first: m.ids}
	if err := s.smalls.ride(ctx, s.ctx, c); err != nil {
		return nil, false, err
	}
	if c.outcome != served {
		err = s.once(ctx, deadline, callLimit, c.outcome == doubt, func(ctx context.Context) error { return s.putAll(ctx, []*small{c}) }, m.stored)
	}
	return c.first, c.duplicate, err
}

// carrySmalls is a group's try.
func (s *Store) carrySmalls(cs []*small) (more bool) {
	o, more := s.try(func(ctx context.Context) error { return s.putAll(ctx, cs) })
	for _, c := range cs {
		c.outcome = o
	}
	return more
}

// putAll stores messages in one trip. Of those with the same dedup key the first is stored, unless it is known already.
func (s *Store) putAll(ctx context.Context, cs []*small) error {
	ms := column(cs, func(c *small) *message { return c.message })
	keys, err := s.remember(ms)
	if err != nil {
		return err
	}
	rows, err := s.insertMessages(ms)
	if err != nil {
		return err
	}
	owners := map[string]owner{}
	var q []query
	if len(keys) > 0 {
		if len(cs) > 1 { // others don't wait for a message of the same key that is being stored elsewhere
			q = append(q, query{sql: "select set_config('lock_timeout', $1, true)", args: []any{groupPatience}})
		}
		q = append(append(append(q, keys...), rows...), ownersOf(ms, owners))
	} else {
		q = rows
	}
	if err := s.batch(ctx, q...); err != nil {
		return err
	}
	for _, c := range cs {
		if o, is := owners[string(c.hash)]; is && o.put != c.put {
			c.first, c.duplicate = o.ids, true
		}
	}
	return nil
}

// groupPatience is how long a transaction that several calls share waits for a lock, in milliseconds: then each goes by itself.
const groupPatience = "250"

// remember is the statement that makes dedup keys known, where nobody else has.
func (s *Store) remember(ms []*message) ([]query, error) {
	ms = slices.DeleteFunc(slices.Clone(ms), func(m *message) bool { return m.hash == nil })
	if len(ms) == 0 {
		return nil, nil
	}
	ids := make([]string, len(ms))
	for i, m := range ms {
		b, err := json.Marshal(m.ids)
		if err != nil {
			return nil, err
		}
		ids[i] = string(b)
	}
	return []query{{sql: `insert into dedup (hash, day, put, ids)
		select u.hash, ` + clock + ` / 86400000000000, u.put, u.ids from unnest($2::bytea[], $3::bigint[], $4::text[]) as u(hash, put, ids)
		order by u.hash, u.put on conflict (hash) do nothing`,
		args: []any{s.at(), column(ms, func(m *message) []byte { return m.hash }), column(ms, func(m *message) int64 { return m.put }), ids}}}, nil
}

// owner is the Put that a dedup key was made known by.
type owner struct {
	put int64
	ids []queue.ID
}

// ownersOf asks whose the dedup keys are.
func ownersOf(ms []*message, owners map[string]owner) query {
	return query{sql: "select hash, put, ids from dedup where hash = any($1::bytea[])", args: []any{column(ms, func(m *message) []byte { return m.hash })},
		read: func(rows pgx.Rows) error {
			var hash []byte
			var o owner
			var text string
			if err := rows.Scan(&hash, &o.put, &text); err != nil {
				return err
			}
			err := json.Unmarshal([]byte(text), &o.ids)
			owners[string(hash)] = o
			return err
		}}
}

// insertMessages is the statements that write messages, but for bodies that are not small: those whose dedup key is another
// Put's are left out.
func (s *Store) insertMessages(ms []*message) (q []query, err error) {
	var bodies []*message
	var rows []row
	for _, m := range ms {
		if len(m.items) == 0 {
			continue
		}
		rs, err := rowsOf(m.items, m.owner())
		if err != nil {
			return nil, err
		}
		rows = append(rows, rs...)
		if m.isSmall() {
			bodies = append(bodies, m)
		}
	}
	if len(bodies) > 0 {
		q = append(q, query{sql: `insert into chunk (body, n, data)
			select u.body, 0, u.data from unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[]) as u(body, data, dedup, put)` + isPuts,
			args: []any{column(bodies, func(m *message) int64 { return int64(m.num) }), column(bodies, func(m *message) []byte { return m.body.mem }),
				column(bodies, func(m *message) []byte { return m.hash }), column(bodies, (*message).owner)}})
	}
	return append(q, s.insertItems(rows)...), nil
}

// owner is the Put that a message's dedup key must be of for it to be stored, nil when it has none.
func (m *message) owner() *int64 {
	if m.hash == nil {
		return nil
	}
	return &m.put
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
	err = s.once(ctx, time.Time{}, limitFor(ms), false, func(ctx context.Context) error {
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
	q, err := s.remember([]*message{m})
	if err != nil || len(q) == 0 {
		return true, nil, err
	}
	owners := map[string]owner{}
	if err := run(ctx, tx, append(q, ownersOf([]*message{m}, owners))...); err != nil {
		return false, nil, err
	}
	o := owners[string(m.hash)]
	return o.put == m.put, o.ids, nil
}

// store writes a message's body and items within a transaction.
func (s *Store) store(ctx context.Context, tx pgx.Tx, m *message) error {
	if len(m.items) > 0 && !m.isSmall() {
		if err := m.copyBody(ctx, tx); err != nil {
			return err
		}
	}
	q, err := s.insertMessages([]*message{m})
	if err != nil {
		return err
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

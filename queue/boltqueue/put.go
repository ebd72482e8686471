package boltqueue

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"backbone/queue"
)

// message is a queue.New being stored, flat: the message and what comes with it.
type message struct {
	queue.New
	body *staged
	hash []byte
	kept bool
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
		h := sha256.Sum256([]byte(n.Dedup))
		m.hash = h[:hashSize]
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

// prepare makes what can be made durable without the lock.
func prepare(ms []*message) error {
	for _, m := range ms {
		if len(m.Items) > 0 {
			if err := m.body.finish(); err != nil {
				return err
			}
		}
	}
	return nil
}

// end closes the bodies that were kept and discards the others.
func (s *Store) end(ms []*message) {
	for _, m := range ms {
		if m.body == nil {
			continue
		}
		done := m.body.Discard
		if m.kept {
			done = m.body.kept
		}
		if err := done(); err != nil {
			s.slog.Warn("staged body not ended; the next start will clean up", "err", err)
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
	if err := s.room(0); err != nil {
		return nil, false, err
	}
	if known, ids, err := s.knownNow(ctx, ms[0].hash); known || err != nil {
		return ids, known, err
	}
	if err := prepare(ms); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, false, s.fail(err)
	}
	if err := s.openWrite(ctx); err != nil {
		return nil, false, err
	}
	if _, _, ok := s.x.known(ms[0].hash); ok { // another was quicker
		s.mu.Unlock()
		known, ids, err := s.knownNow(ctx, ms[0].hash)
		return ids, known, err
	}
	c := &change{}
	s.compose(c, ms, time.Now())
	b, err := s.append(c, atOnce)
	if err == nil {
		s.puts.Add(1)
		s.lastPut.Store(int64(time.Since(s.started)))
	}
	s.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	if err := b.wait(); err != nil {
		return nil, false, err
	}
	return idsOf(ms[0].Items), false, nil
}

// knownNow looks for a dedup key and waits until what it stands for is durable.
func (s *Store) knownNow(ctx context.Context, hash []byte) (bool, []queue.ID, error) {
	if err := s.openWrite(ctx); err != nil {
		return false, nil, err
	}
	_, ids, ok := s.x.known(hash)
	if !ok {
		s.mu.Unlock()
		return false, nil, nil
	}
	b := s.join(true)
	s.mu.Unlock()
	return true, ids, b.wait()
}

func idsOf(its []queue.Item) []queue.ID {
	ids := make([]queue.ID, len(its))
	for i := range its {
		ids[i] = its[i].ID
	}
	return ids
}

// compose adds messages to a change: numbers, keys, bodies, items, dedup keys. A spawned message whose dedup key is
// known is left out. The lock is held.
func (s *Store) compose(c *change, ms []*message, at time.Time) {
	for _, m := range ms {
		if _, _, ok := s.x.known(m.hash); ok {
			continue
		}
		if len(m.Items) > 0 {
			s.composeItems(c, m, at)
		}
		if m.hash != nil {
			c.dedup = append(c.dedup, dedupKey{m.hash, dayOf(at), idsOf(m.Items)})
		}
	}
}

func (s *Store) composeItems(c *change, m *message, at time.Time) {
	g := m.body
	b := body{id: g.num, size: g.size, crc: g.crc, file: g.file != nil}
	if !b.file {
		b.id = s.number()
		c.payload = append(c.payload, g.mem)
	}
	its := make([]queue.Item, len(m.Items))
	for i, in := range m.Items {
		id := queue.ID(s.number())
		r := &record{body: b.id, file: b.file, dedup: m.hash, Item: queue.Item{
			ID: id, Envelope: in.Envelope, Dest: in.Dest, State: in.State, Next: in.Next, Expires: in.Expires, Reason: in.Reason, Last: in.Last,
			Key: newKey(), Created: at, Body: queue.BodyRef{Size: g.size, SHA256: g.sum},
		}}
		if r.State == "" {
			r.State = queue.Ready
		}
		r.encode()
		b.refs = append(b.refs, id)
		c.items = append(c.items, r)
		its[i].ID = id
	}
	m.Items, m.kept = its, true
	c.bodies = append(c.bodies, b)
}

// newKey is a transfer key: 130 random bits. It is not made from the ID, because a queue that is restored from a backup
// gives out IDs again, and a peer would take new mail for mail that it has seen.
func newKey() string { return rand.Text() }

func dayOf(t time.Time) uint32 { return uint32(max(t.Unix(), 0) / (24 * 60 * 60)) }

// Known implements queue.Store.
func (s *Store) Known(ctx context.Context, dedup string) (bool, error) {
	if dedup == "" {
		return false, nil
	}
	h := sha256.Sum256([]byte(dedup))
	ok, _, err := s.knownNow(ctx, h[:hashSize])
	return ok, err
}

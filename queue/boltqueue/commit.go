package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"backbone/queue"
)

const (
	// yields is how often the syncing goroutine lets others run before it takes what there is: enough for every
	// caller that is about to append, without a timer that one caller alone would wait for.
	yields = 8
	// linger is how long a settlement waits for a message to share a sync with, while messages keep coming.
	linger = 2 * time.Millisecond
	// maxBulk is how much the log may grow between checkpoints: it bounds the time to start after a crash.
	maxBulk = 64 << 20
)

// batch is what one sync makes durable.
type batch struct {
	done   chan struct{} // closed when it is, or err is set
	err    error
	n      int
	urgent bool      // somebody waits who must not wait longer
	since  time.Time // when the first joined
	fresh  []freshItem
	unlink []body // files to remove once it is durable
}

type freshItem struct {
	id   queue.ID
	dest queue.Dest
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// join makes the caller part of the next sync. The lock is held.
func (s *Store) join(urgent bool) *batch {
	b := s.batch
	if b.n == 0 {
		b.since = time.Now()
	}
	b.n++
	if b.n == 1 || urgent && !b.urgent {
		s.rouse()
	}
	b.urgent = b.urgent || urgent
	return b
}

// rouse gets the syncing goroutine going.
func (s *Store) rouse() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (b *batch) wait() error {
	<-b.done
	return b.err
}

// urgency of a change.
type urgency int

const (
	later  urgency = iota // nobody waits: durable with the next sync or checkpoint
	soon                  // durable within linger, in company if there is any
	atOnce                // durable at once
)

// append makes a change: into the log, then into the index. It is durable when the batch is done; without hurry there
// is no batch. The lock is held. queue.ErrFull means that nothing was written; every other error is final.
func (s *Store) append(c *change, hurry urgency) (*batch, error) {
	if s.fatal != nil {
		return nil, s.fatal
	}
	c.at = time.Now()
	var e enc
	c.encode(&e)
	n := int64(recordHeader + len(e))
	for _, p := range c.payload {
		n += int64(len(p))
	}
	if err := s.log.reserve(n); err != nil {
		if errors.Is(err, errNoRoom) {
			return nil, fmt.Errorf("%w: %w", queue.ErrFull, err)
		}
		return nil, s.fail(err)
	}
	c.place(s.log.num, uint32(len(e)), uint32(s.log.off)+recordHeader+uint32(len(e)))
	if err := s.log.append(e, c.payload); err != nil {
		return nil, s.fail(err)
	}
	if err := s.apply(c); err != nil {
		return nil, s.fail(fmt.Errorf("index damaged: %w", err))
	}
	if s.since == 0 {
		s.first = c.at
		s.rouse() // it sets its clock for the checkpoint
	}
	s.since += 1 + len(c.items) + len(c.ended)
	s.bulk += n
	if hurry == later {
		return nil, nil
	}
	b := s.join(hurry == atOnce)
	for _, r := range c.items {
		if r.State != queue.Trash {
			s.fresh[r.ID]++
			b.fresh = append(b.fresh, freshItem{r.ID, r.Dest})
		}
	}
	b.unlink = append(b.unlink, s.x.freed...)
	s.x.freed = nil
	return b, nil
}

// apply is index.apply for a file that may be damaged: bbolt panics on what it can't read.
func (s *Store) apply(c *change) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return s.x.apply(c)
}

// commitLoop is the one goroutine that makes changes durable.
func (s *Store) commitLoop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.commitRound(true)
			return
		case <-s.kick:
			for range yields {
				runtime.Gosched()
			}
		case <-timer.C:
		}
		if wait := s.commitRound(false); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// commitRound syncs what has been appended, and makes a checkpoint when one is due. It answers how long the loop may
// rest when nobody calls; 0: until somebody does.
func (s *Store) commitRound(last bool) time.Duration {
	s.mu.Lock()
	at := time.Now()
	b := s.batch
	due := s.fatal == nil && s.since > 0 && (s.since >= s.o.opsLimit || s.bulk >= maxBulk || at.Sub(s.first) >= s.o.checkpoint)
	if b.n == 0 && !due {
		defer s.mu.Unlock()
		return s.untilCheckpoint(at)
	}
	if !b.urgent && !due && !last {
		puttingNow := at.Sub(s.started)-time.Duration(s.lastPut.Load()) < linger && s.puts.Load() > 0
		if left := linger - at.Sub(b.since); puttingNow && left > 0 {
			s.mu.Unlock()
			return left
		}
	}
	s.batch = newBatch()
	err := s.fatal
	switch {
	case err != nil:
	case due:
		err = s.checkpoint()
	default:
		file, num, off, full := s.log.cur, s.log.num, s.log.off, s.log.full
		s.log.full = nil
		s.mu.Unlock()
		if file != nil {
			s.syncs.Add(1)
			err = file.Sync()
		}
		for _, f := range full {
			err = errors.Join(err, f.Close())
		}
		s.mu.Lock()
		if err == nil {
			err = s.fatal // the disk failed meanwhile: what a sync says that ended after that proves nothing
		}
		if err == nil && num == s.log.num {
			s.log.durable = uint32(off)
		}
	}
	if err != nil {
		err = s.fail(err)
	} else {
		for _, f := range b.fresh {
			if s.fresh[f.id]--; s.fresh[f.id] == 0 {
				delete(s.fresh, f.id)
			}
			if d := s.x.dests[f.dest]; d != nil {
				s.plan.doubt(d)
			}
		}
		if len(b.fresh) > 0 {
			s.notify()
		}
	}
	wait := s.untilCheckpoint(at)
	s.mu.Unlock()
	b.err = err
	close(b.done)
	if err == nil {
		s.removeFiles(b.unlink)
	}
	return wait
}

// untilCheckpoint is the time to the next checkpoint. The lock is held.
func (s *Store) untilCheckpoint(at time.Time) time.Duration {
	if s.since == 0 || s.fatal != nil {
		return 0
	}
	return max(s.o.checkpoint-at.Sub(s.first), time.Millisecond)
}

// checkpoint commits the index as of the end of the log. The lock is held, and stays so.
func (s *Store) checkpoint() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.fail(fmt.Errorf("index damaged: %v", p))
		}
	}()
	p := s.log.position()
	if s.log.cur != nil {
		s.syncs.Add(1)
		if err := s.log.cur.Sync(); err != nil {
			return s.fail(err)
		}
		s.log.durable = uint32(s.log.off)
	}
	s.x.next = max(s.x.next, s.numbers.Load())
	s.syncs.Add(2)
	s.commits.Add(1)
	if err := s.x.commit(p); err != nil {
		return s.fail(fmt.Errorf("index commit: %w", err))
	}
	if s.o.committed != nil {
		s.o.committed()
	}
	s.ckpt, s.since, s.bulk = p, 0, 0
	return s.retireDead()
}

// retireDead takes out of the log the segments before the checkpoint in which nothing lives. The lock is held.
func (s *Store) retireDead() error {
	waste := int64(0)
	for n, size := range s.log.sizes {
		switch {
		case n >= s.ckpt.seg || s.pinned > 0 && n >= s.pinned:
		case s.x.live[n] == 0:
			if err := s.log.retire(n); err != nil {
				return s.fail(err)
			}
			s.readers.forgetSegment(n)
		case s.sparse(n):
			waste += size - s.x.live[n]
		}
	}
	if waste >= 2*s.o.segmentSize || s.x.wasteful(s.o.compactAt) {
		select {
		case s.untidy <- struct{}{}:
		default:
		}
	}
	return nil
}

func (s *Store) removeFiles(bs []body) {
	for _, b := range bs {
		if err := s.fs.Remove(s.bodyPath(b.id)); err != nil {
			s.slog.Warn("body of a finished message not removed; the next start will try again", "err", err)
		}
	}
}

func (s *Store) bodyPath(n uint64) string {
	return filepath.Join(s.o.dir, "body", shard(n), queue.ID(n).String())
}

package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"backbone/queue"
)

// suspension is what stops a destination at a time: its own, or its connector's.
func (s *Store) suspension(d queue.Dest, at time.Time) (queue.Suspension, bool) {
	for _, k := range []queue.Dest{d, {Connector: d.Connector}} {
		if su, ok := s.x.held[k]; ok && (su.Until.IsZero() || at.Before(su.Until)) {
			return su, true
		}
	}
	return queue.Suspension{}, false
}

// suspended tells that nothing may be leased for d, and until when (zero: until resumed).
func (s *Store) suspended(d queue.Dest, at time.Time) (until time.Time, ok bool) {
	su, ok := s.suspension(d, at)
	return su.Until, ok
}

// Suspend implements queue.Store. A second suspension of the same destination replaces the first.
func (s *Store) Suspend(ctx context.Context, su queue.Suspension) error {
	if su.Dest.Connector == "" {
		return errors.New("queue: a suspension needs a connector")
	}
	if su.Since.IsZero() {
		su.Since = time.Now()
	}
	return s.change(ctx, func() (*change, error) { return &change{suspend: []queue.Suspension{su}}, nil })
}

// Resume implements queue.Store.
func (s *Store) Resume(ctx context.Context, d queue.Dest) error {
	return s.change(ctx, func() (*change, error) {
		su, ok := s.x.held[d]
		if !ok || !su.Until.IsZero() && !time.Now().Before(su.Until) {
			return nil, fmt.Errorf("%s is not suspended: %w", d, queue.ErrNotFound)
		}
		return &change{resume: []queue.Dest{d}}, nil
	})
}

// change makes what f answers durable and wakes who waits. f runs with the lock held.
func (s *Store) change(ctx context.Context, f func() (*change, error)) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	c, err := f()
	var b *batch
	if err == nil {
		b, err = s.append(c, atOnce)
		s.notify()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return b.wait()
}

// Suspensions implements queue.Store.
func (s *Store) Suspensions() []queue.Suspension {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now()
	var out []queue.Suspension
	for _, su := range s.x.held {
		if su.Until.IsZero() || at.Before(su.Until) {
			out = append(out, su)
		}
	}
	slices.SortFunc(out, func(a, b queue.Suspension) int { return strings.Compare(a.Dest.String(), b.Dest.String()) })
	return out
}

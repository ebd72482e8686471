package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Probe implements queue.Store: a file of its own, beside the log's, goes the way that a new segment and its records go.
func (s *Store) Probe(ctx context.Context) (err error) {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	s.mu.Unlock()
	if err := s.room(0); err != nil {
		return err
	}
	s.probing.Lock()
	defer s.probing.Unlock()
	name := filepath.Join(s.o.dir, "log", "probe")
	if err := s.fs.Remove(name); err != nil && !gone(err) { // left by a crash
		return fmt.Errorf("queue: %w", err)
	}
	f, err := s.fs.Create(name)
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	_, err = f.WriteAt([]byte("probe"), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), s.fs.Remove(name)); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

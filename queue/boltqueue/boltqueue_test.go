package boltqueue

import (
	"errors"
	"path/filepath"
	"testing"

	"backbone/queue"
	"backbone/queue/queuetest"
)

// kill ends the store's hold on its files as kill -9 would: what is in the kernel stays, nothing else.
func (s *Store) kill() error {
	s.mu.Lock()
	s.closed = true
	if s.fatal == nil {
		s.fatal = errors.New("killed")
	}
	s.mu.Unlock()
	s.quit()
	s.done.Wait()
	var err error
	if s.log.cur != nil {
		err = s.log.cur.Close()
	}
	return errors.Join(err, s.x.tx.Rollback(), s.x.db.Close())
}

func fixture(t testing.TB, o Options) *queuetest.Fixture {
	t.Helper()
	if o.dir == "" {
		o.dir = filepath.Join(fastDir(t), "queue")
	}
	var s *Store
	f := &queuetest.Fixture{}
	f.Open = func() (queue.Store, error) {
		var err error
		s, err = Open(o.dir, o)
		return s, err
	}
	f.Crash = func() error { return s.kill() }
	var err error
	if f.Store, err = f.Open(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestConformance(t *testing.T) {
	queuetest.Run(t, func(t testing.TB) *queuetest.Fixture { return fixture(t, Options{}) })
}

// TestModel has segments small enough to fill, and checkpoints often enough to fall between any two steps.
func TestModel(t *testing.T) {
	queuetest.Model(t, func(t testing.TB) *queuetest.Fixture {
		return fixture(t, Options{segmentSize: 64 << 10, bodyLimit: 4 << 10, opsLimit: 7})
	})
}

// TestConformanceWithTinyLog runs the suite with segments that hold a few records, small bodies of a few octets and a
// checkpoint at every third change, so that each of its steps meets a full segment, a large body and a checkpoint.
func TestConformanceWithTinyLog(t *testing.T) {
	queuetest.Run(t, func(t testing.TB) *queuetest.Fixture {
		return fixture(t, Options{segmentSize: 4096, bodyLimit: 16, opsLimit: 3})
	})
}

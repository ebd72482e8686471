// Package boltqueue is the embedded queue store: an index in one bbolt file, a log of segments that holds every change
// and the small bodies, and a file for each large body.
//
// # What is durable when
//
// Every change is one record of the log, appended under the store's lock and applied at once to the index, which is
// a bbolt write transaction that stays open. One goroutine syncs the log; it takes whatever has been appended when
// it gets there, so that many callers share a sync and one caller alone pays for a single one. A second or a few thousand
// changes later the transaction is committed together with the log's position: a checkpoint. After a crash the log is
// read again from there. So the log is what makes an answer durable, the index is what makes starting and
// looking things up fast, and nothing is ever in the index's file that the log does not hold durably.
//
// An item can't be leased before the change that made it ready is durable. A lease is memory of this process, marked in
// the log without waiting for a sync: after kill -9 an item whose attempt had begun comes back with Unknown set. After a
// power cut the marks of the last moments (those after the latest sync) may be missing; whoever must never see
// a message twice goes by Transfer.Key, which is always the same.
//
// # What it never does
//
// It never retries a failed write or sync (queue.ErrFatal from then on, reads go on), never holds more than a destination's
// counters and the running leases in memory, never keeps the lock while it waits for the disk except at a checkpoint,
// and never touches a body's octets after they are stored, but for moving them when most of a segment is dead.
//
// # Files
//
//	index.db          the index
//	log/0000000C.seg  segment 12 of the log
//	log/spare         a dead segment to be used again
//	body/3F/1A2B      a large body
package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"backbone/queue"
	"backbone/queue/boltqueue/disk"
)

// Options of a store. The zero value of each field is its default.
type Options struct {
	// Reserve is the free space in octets below which new mail is refused with queue.ErrFull, so that what waits can still
	// be settled; default 256 MiB.
	Reserve int64
	// TrashFor is how long deleted messages can be restored; default queue.TrashFor.
	TrashFor time.Duration
	Log      *slog.Logger
	// FS is where segments and bodies are; default the operating system. The index is always in a real file.
	FS disk.FS

	dir         string
	segmentSize int64
	bodyLimit   int           // largest body in the log
	checkpoint  time.Duration // longest time between a change and its checkpoint
	opsLimit    int           // most steps in the index between checkpoints
	committed   func()        // a test's look at the index's file, after each checkpoint
	salvage     bool          // make a new index from the whole log
	lockWait    time.Duration // for another process to let go of the index
	compactAt   int64         // size of an index from which on its free pages are given back
	mapSize     int           // octets of the index's file that are mapped from the beginning
}

func (o *Options) defaults() {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.Reserve, 256<<20)
	set(&o.segmentSize, 16<<20)
	set(&o.compactAt, 64<<20)
	if o.TrashFor == 0 {
		o.TrashFor = queue.TrashFor
	}
	if o.bodyLimit == 0 {
		o.bodyLimit = 256 << 10
	}
	if o.checkpoint == 0 {
		o.checkpoint = time.Second
	}
	if o.opsLimit == 0 {
		o.opsLimit = 16 << 10
	}
	if o.mapSize == 0 {
		o.mapSize = 1 << 30 // growing beyond what is mapped waits for all readers
	}
	if o.lockWait == 0 {
		o.lockWait = 5 * time.Second
	}
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Store implements queue.Store.
type Store struct {
	o    Options
	fs   disk.FS
	slog *slog.Logger

	mu     sync.Mutex // guards all below
	x      *index
	log    segments
	fatal  error
	closed bool
	batch  *batch // what the next sync makes durable
	leases map[queue.ID]*lease
	fresh  map[queue.ID]int // ready items that are not durable yet: not to be leased
	epoch  uint64
	plan   agenda
	wake   chan struct{}
	asked  bool // somebody has the wake channel
	damage []string
	since  int       // steps in the index since the checkpoint: a record, an item
	first  time.Time // when the first of them was made
	ckpt   position  // the latest checkpoint's
	bulk   int64     // octets logged since then
	pinned uint32    // segments from here on are needed by a running Compact; 0: none
	reapAt time.Time // when the housekeeper looks for leases that ran out

	numbers atomic.Uint64 // the next number of an item or body
	puts    atomic.Int64
	syncs   atomic.Int64
	commits atomic.Int64
	lastPut atomic.Int64 // nanoseconds since started
	started time.Time

	shardMu sync.Mutex
	shards  map[string]bool // folders of bodies that are there

	tickets   atomic.Int64 // of callers that want a folder's names durable
	shardSync sync.Mutex
	shardDone map[string]int64 // up to which ticket they are

	readers readers

	probing    sync.Mutex // held by the one Probe that runs
	compacting sync.Mutex // held by the one Compact or Check that runs

	kick   chan struct{} // to the syncing goroutine
	alarm  chan struct{} // to the housekeeper: the next lease to run out may be another
	untidy chan struct{} // to the housekeeper: segments are mostly dead, or the index mostly free
	quit   context.CancelFunc
	done   sync.WaitGroup
}

var _ queue.Store = (*Store)(nil)

// Open opens the store in dir, making it when it is missing. Dir must be on a local filesystem, never SMB or NFS: the
// index is mapped and locked. A damaged index is an error that says what to do.
func Open(dir string, o Options) (*Store, error) {
	if dir == "" {
		return nil, errors.New("queue: no directory given")
	}
	o.dir = dir
	o.defaults()
	if err := prepareDir(&o); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	s := &Store{
		o: o, fs: o.FS, slog: o.Log, batch: newBatch(), leases: map[queue.ID]*lease{}, fresh: map[queue.ID]int{},
		wake: make(chan struct{}), kick: make(chan struct{}, 1), alarm: make(chan struct{}, 1),
		untidy: make(chan struct{}, 1), shards: map[string]bool{}, shardDone: map[string]int64{}, started: time.Now(),
	}
	s.log = segments{fs: o.FS, dir: filepath.Join(o.dir, "log"), size: o.segmentSize}
	if err := s.start(); err != nil {
		return nil, fmt.Errorf("queue in %s: %w", o.dir, err)
	}
	ctx, quit := context.WithCancel(context.Background())
	s.quit = quit
	s.done.Go(func() { s.commitLoop(ctx) })
	s.done.Go(func() { s.housekeeping(ctx) })
	return s, nil
}

// prepareDir makes the store's folders, durably.
func prepareDir(o *Options) error {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	for _, d := range []string{"log", "body"} {
		if err := o.FS.MkdirAll(filepath.Join(o.dir, d)); err != nil {
			return err
		}
	}
	return o.FS.SyncDir(o.dir)
}

var errInUse = errors.New("in use by another process")

const salvageHint = "stop the daemon and run `backbone queue salvage`, which makes a new index from the log and the bodies beside it"

// openBolt opens the index's file. Damage is an error, not a panic.
func openBolt(path string, o *Options) (db *bolt.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%v", p)
		}
		switch {
		case errors.Is(err, berrors.ErrTimeout):
			err = fmt.Errorf("index %s is %w: talk to the running daemon, or stop it first", path, errInUse)
		case err != nil:
			err = fmt.Errorf("index %s can't be read (%w): %s", path, err, salvageHint)
		}
	}()
	if err := verifyPages(path); err != nil {
		return nil, err
	}
	return bolt.Open(path, 0o600, &bolt.Options{
		Timeout: o.lockWait, FreelistType: bolt.FreelistMapType, NoFreelistSync: true, InitialMmapSize: o.mapSize,
	})
}

// Close stops the store: what was answered is durable, running leases come back as Unknown at the next start.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return queue.ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	s.quit()
	s.done.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.fatal == nil {
		err = s.x.meta.Put([]byte("clean"), []byte{1})
		if err == nil {
			err = s.checkpoint()
		}
	}
	if s.log.cur != nil {
		err = errors.Join(err, s.log.cur.Close())
	}
	s.readers.forget()
	s.notify()
	return errors.Join(err, s.x.tx.Rollback(), s.x.db.Close())
}

// open is the first line of every method: it takes the lock, or says why not.
func (s *Store) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return queue.ErrClosed
	}
	return nil
}

// openWrite is open for a method that changes something.
func (s *Store) openWrite(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	if s.fatal != nil {
		defer s.mu.Unlock()
		return s.fatal
	}
	return nil
}

// fail stops all writing for the store's life. The lock is held.
func (s *Store) fail(err error) error {
	if s.fatal == nil {
		s.fatal = fmt.Errorf("%w: %w", queue.ErrFatal, err)
		s.slog.Error("queue store takes no more writes; restart the daemon once the cause is gone", "class", "local", "err", err)
		s.notify()
	}
	return s.fatal
}

// notify tells whoever waits that Due may answer otherwise. The lock is held.
func (s *Store) notify() {
	if s.asked {
		close(s.wake)
		s.wake, s.asked = make(chan struct{}), false
	}
}

// Wake is closed when Due may answer otherwise than before the call: ask for it first, then call Due.
func (s *Store) Wake() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = true
	return s.wake
}

// number takes a number for an item or body, used once for ever.
func (s *Store) number() uint64 { return s.numbers.Add(1) - 1 }

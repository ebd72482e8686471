package tracking

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a log. Each has a usable zero value.
type Options struct {
	// Keep is how long files are kept, by their day; 0 is for ever. MaxBytes bounds files and index together: above it
	// the oldest go first, whatever Keep says; 0 is no bound.
	Keep     time.Duration
	MaxBytes int64
	// Subjects records subjects; without it only their hashes are kept.
	Subjects bool
	// SyncEvery is how much of the log a power failure may take: default one second.
	SyncEvery time.Duration
	// Patience is how long Append may wait for a disk that does not answer: default two seconds.
	Patience time.Duration
	// Archive, when set, gets each event that is synced, as one of Node's: Trace and Search then answer for all gateways whose logs
	// are in it.
	Archive Archive
	Node    string
	Log     *slog.Logger
}

var (
	// ErrBehind says that the disk did not keep up. The event may yet be written, or is lost when there was no room to
	// keep it (Stats counts those).
	ErrBehind = errors.New("tracking log: the disk does not keep up")
	ErrClosed = errors.New("tracking log: closed")
	// ErrNotFound says that no event has the key.
	ErrNotFound = errors.New("tracking log: nothing has that name")
)

// backlog is how many events wait for the writer at most.
const backlog = 4096

// Log is an open tracking log. All methods are safe for concurrent use. One process writes a folder at a time.
type Log struct {
	dir    string
	o      Options
	in     chan *pending
	wg     sync.WaitGroup // the writer
	closed sync.RWMutex   // held for reading while an Append hands over, for writing by Close
	done   bool

	mu      sync.RWMutex
	segs    []segment      // oldest first; the last one is written to when active
	active  bool           // the last of segs is open for writing
	size    int64          // how much of it is written
	chunk   []posting      // its events since chunkAt, not yet in the index file
	chunkAt int64          // offset
	grown   chan struct{}  // closed and replaced when something was written
	ears    []*func(Event) // replaced, never changed

	index indexes

	// For the shipper, where there is an archive. opened is where this process began to write; guarded by mu: synced, how much of the
	// active file is durable, syncs, which is closed and replaced when that is more, pruned, the sizes of files that were removed.
	opened   place
	synced   int64
	syncs    chan struct{}
	pruned   map[segment]int64
	shipping sync.WaitGroup
	shipCtx  context.Context
	shipQuit context.CancelFunc
	ending   chan struct{} // closed by Close
	shipped  atomic.Int64
	shipErr  atomic.Pointer[error]

	written, dropped, failed atomic.Int64
	lastErr                  atomic.Pointer[error]
}

// pending is events of one caller on their way to the writer.
type pending struct {
	events []Event
	lines  [][]byte
	names  [][]string // by line
	ids    []string
	done   chan error // of capacity 1: the writer never waits
}

// Open prepares the folder dir and removes what Options say is too old or too much. It creates no file: the first Append
// does.
func Open(dir string, o Options) (*Log, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SyncEvery <= 0 {
		o.SyncEvery = time.Second
	}
	if o.Patience <= 0 {
		o.Patience = 2 * time.Second
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("tracking log: %w", err)
	}
	segs, err := listSegments(dir)
	if err != nil {
		return nil, err
	}
	if segs, err = prune(dir, segs, o.Keep, o.MaxBytes, time.Now()); err != nil {
		return nil, err
	}
	if n := len(segs); n > 0 { // a reader may begin at the end before anything is written
		if err := mendFile(segs[n-1].log(dir)); err != nil {
			o.Log.Warn("end of the tracking log not mended", "err", err)
		}
	}
	l := &Log{dir: dir, o: o, in: make(chan *pending, backlog), segs: segs, grown: make(chan struct{}), syncs: make(chan struct{}), ending: make(chan struct{})}
	l.index.dir = dir
	l.wg.Add(1)
	go l.write()
	if o.Archive != nil {
		es, _ := l.view()
		if n := len(es); n > 0 {
			l.opened = place{es[n-1].segment, es[n-1].size}
		}
		l.pruned = map[segment]int64{}
		l.shipCtx, l.shipQuit = context.WithCancel(context.Background())
		l.shipping.Add(1)
		go l.ship()
	}
	return l, nil
}

// Append writes events, all of them or none. It returns once the lines are with the operating system, so that nothing that
// it answered nil for is lost by kill -9: events of concurrent callers share one write. When the disk stalls it waits at
// most Options.Patience, then returns ErrBehind, and the mail goes on. A ctx that is done keeps it only from waiting for room.
func (l *Log) Append(ctx context.Context, es ...Event) error {
	if len(es) == 0 {
		return nil
	}
	es = slices.Clone(es)
	for i := range es {
		if es[i].Time.IsZero() {
			es[i].Time = time.Now()
		}
	}
	p := &pending{events: es, done: make(chan error, 1)}
	for _, e := range es {
		for _, part := range e.lines(l.o.Subjects) {
			b, err := encode(&part)
			if err != nil {
				return err
			}
			p.lines, p.names, p.ids = append(p.lines, b), append(p.names, part.names()), append(p.ids, part.ID)
		}
	}
	patience := time.NewTimer(l.o.Patience)
	defer patience.Stop()
	if err := l.offer(ctx, p, patience); err != nil {
		return err
	}
	select {
	case err := <-p.done:
		return err
	case <-patience.C:
		return ErrBehind
	}
}

func (l *Log) offer(ctx context.Context, p *pending, patience *time.Timer) error {
	l.closed.RLock()
	defer l.closed.RUnlock()
	if l.done {
		return ErrClosed
	}
	select {
	case l.in <- p:
		return nil
	default:
	}
	select {
	case l.in <- p:
		return nil
	case <-patience.C:
		l.dropped.Add(int64(len(p.events)))
		return ErrBehind
	case <-ctx.Done():
		l.dropped.Add(int64(len(p.events)))
		return fmt.Errorf("%w: %w", ErrBehind, ctx.Err())
	}
}

func encode(e *Event) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("tracking log: %w", err)
	}
	return append(b, '\n'), nil
}

// Stats tells how the log fares since it was opened.
type Stats struct {
	Written int64 `json:"written"` // events
	Dropped int64 `json:"dropped"` // never written, because the disk did not keep up
	Failed  int64 `json:"failed"`  // never written, because of an error
	Error   error `json:"-"`       // the latest write's; nil when it succeeded
	// Shipped is how many are in the archive, where there is one; Unshipped is why it takes none at the moment.
	Shipped   int64 `json:"shipped"`
	Unshipped error `json:"-"`
}

// Shared tells whether there is an archive.
func (l *Log) Shared() bool { return l.o.Archive != nil }

// Stats is cheap.
func (l *Log) Stats() Stats {
	s := Stats{Written: l.written.Load(), Dropped: l.dropped.Load(), Failed: l.failed.Load()}
	if e := l.lastErr.Load(); e != nil {
		s.Error = *e
	}
	s.Shipped = l.shipped.Load()
	if e := l.shipErr.Load(); e != nil {
		s.Unshipped = *e
	}
	return s
}

// Close writes and syncs what was appended, and adds it to the archive if that answers within a few seconds: otherwise the next
// Open does. Appends after it fail with ErrClosed.
func (l *Log) Close() error {
	l.closed.Lock()
	if l.done {
		l.closed.Unlock()
		return nil
	}
	l.done = true
	close(l.in)
	l.closed.Unlock()
	l.wg.Wait()
	l.mu.Lock()
	close(l.grown) // followers see the end
	l.grown = nil
	close(l.syncs)
	l.syncs = nil
	l.mu.Unlock()
	close(l.ending)
	if l.o.Archive != nil {
		stop := time.AfterFunc(shipLast, l.shipQuit)
		l.shipping.Wait()
		stop.Stop()
		l.shipQuit()
	}
	return l.Stats().Error
}

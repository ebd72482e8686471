// Package pgqueue is the queue store for several gateways: tables of one PostgreSQL database, which all of them share.
//
// # What is durable when
//
// Put and Settle are one transaction each: message, body, recipients, reports. What they answer is as durable as the
// server's commits are; Open refuses a server that lies about it (fsync, full_page_writes or synchronous_commit off).
// Where a standby is named in synchronous_standby_names, a commit has reached it, too.
//
// Puts of small messages, settlements that leave nothing and those that keep their item share a transaction with those of
// their kind that wait at the same time (64 calls, 1 MiB): while one is under way the next gathers, and a call alone waits for
// nobody. It passes over rows that others have locked. Whom it could not serve (a lost lease, a locked row, one bad call that
// makes it fail for all, an outage) goes by itself afterwards, with a transaction of its own, and gets its own answer.
//
// All keys are made here, from blocks of numbers that the database gives out once, so that a gateway whose connection
// broke during a commit can ask afterwards whether it took place: the items are there, or an attempt of theirs is on
// record. Asking is itself a commit, so that a yes is as durable as a first answer. Connections that break, servers that
// restart and a standby that takes over are waited for (Options.Patience) before an error is returned.
//
// # Leases
//
// A lease is a row of its own beside the item: whoever finds it gone, or another epoch in it, or its time over, has
// lost. All times are the server's; a gateway's clock decides nothing. A gateway that holds leases says every so often
// that it lives; leases of one that fell silent (Options.Silence) are free for the others, with Unknown set, and when
// it wakes up nothing that it holds can be settled. A process that opens the store under the name of an earlier one
// takes that one's place: its leases are free at once, and if it lives still, it gets queue.ErrFatal.
//
// # History
//
// Attempts that ended, and the events of the gateways' tracking logs (Store.Events), are in partitions by the day, which any
// gateway makes ahead and drops when their time is over.
//
// # What it never does
//
// It never holds a row's lock while mail is carried, never takes locks in another order than body, item, lease (a window's
// comes before an item's, and only where something is leased; a rate's and the directory's come with no other), never waits for a lock or a
// statement without limit, never reads a body whole into memory, never deletes history row by row where a day's partition
// can be dropped, and uses nothing that only PostgreSQL has where standard SQL does (no advisory locks, no notifications):
// engines that speak its protocol may serve.
package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"backbone/queue"
)

// Options of a store. The zero value of each field is its default.
type Options struct {
	// DSN names the database as libpq does: "postgres://user@host1,host2/db?target_session_attrs=read-write", or
	// "host=... dbname=...".
	DSN string
	// Node is this gateway's name, unlike any other's on this database; default the host's name.
	Node string
	// Command tells that this is no gateway but a command beside them: nobody lists it when it has ended.
	Command bool
	// Spool is the folder for bodies on their way in that are too large for memory; default the system's for temporary files.
	Spool string
	// TrashFor is how long deleted messages can be restored; default queue.TrashFor.
	TrashFor time.Duration
	// Patience is how long a step waits for a server that is away, a standby that takes over; default 20 s.
	Patience time.Duration
	// KeepEvents is how long the tracking logs' events are kept, by the day on which they were stored; 0: no days are dropped here.
	KeepEvents time.Duration
	// Silence is how long a gateway with leases may say nothing before the others take its work; default 45 s.
	Silence time.Duration
	// Connections is how many this gateway opens at most; default 16.
	Connections int
	// Poll is how late what another gateway did is seen at most, and a little; default 1 s.
	Poll time.Duration
	// Clock, when set, is asked instead of the server's: all gateways on a database must have the same. For tests in virtual time.
	Clock func() time.Time
	Log   *slog.Logger

	bodyLimit int           // largest body in memory
	askFor    time.Duration // eventPatience
	idle      time.Duration // how often a gateway without leases says that it lives
}

func (o *Options) defaults() {
	set := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.TrashFor, queue.TrashFor)
	set(&o.Patience, 20*time.Second)
	set(&o.Silence, 45*time.Second)
	set(&o.Poll, time.Second)
	set(&o.askFor, eventPatience)
	set(&o.idle, o.Silence*2/3)
	if o.Clock != nil { // weeks pass in no time, and nobody looks
		o.idle = 24 * time.Hour
	}
	if o.Connections == 0 {
		o.Connections = 16
	}
	if o.bodyLimit == 0 {
		o.bodyLimit = 2 * chunkSize
	}
	if o.Spool == "" {
		o.Spool = os.TempDir()
	}
	if o.Node == "" {
		if h, err := os.Hostname(); err == nil {
			o.Node = h
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Store implements queue.Store.
type Store struct {
	o           Options
	slog        *slog.Logger
	pool        *pgxpool.Pool
	incarnation int64
	numbers     numbers
	ctx         context.Context // ends with the store
	quit        context.CancelFunc
	done        sync.WaitGroup
	closed      atomic.Bool
	fatal       atomic.Pointer[error]

	mu       sync.Mutex
	wake     chan struct{}
	poll     *time.Timer            // wakes whoever waits, for what other gateways did
	held     map[queue.ID]time.Time // leases of ours, until when
	reapAt   time.Time              // when leases are looked through next
	trouble  time.Time              // when the database was last away, or this store was opened
	answered time.Time              // when the database last answered
	counted  queue.Stats
	stale    time.Time // when counted is to be made anew
	stopped  []queue.Suspension
	stoppedT time.Time
	alarm    chan struct{} // to the keeper: there is a lease to keep alive
	rates    *rates

	smalls          group[*small] // Puts of small messages
	finishes, keeps group[*plain] // settlements

	puts, commits atomic.Int64
}

var _ queue.Store = (*Store)(nil)

const callLimit = 30 * time.Second

// Open connects to the database, brings its tables up to date and takes the place of an earlier process of this name.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.defaults()
	if o.DSN == "" {
		return nil, errors.New("queue: no database given")
	}
	cfg, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		// Without pgx's words: of a text that it can't read it does not know where the password is.
		return nil, errors.New("queue: the database's name can't be read: write postgres://USER:PASSWORD@HOST/NAME, or KEY=VALUE with keys of libpq")
	}
	cfg.MaxConns = int32(o.Connections)
	cfg.MaxConnIdleTime = 10 * time.Minute
	if o.Clock != nil { // weeks pass in no time: not the time to look after idle connections
		cfg.MaxConnIdleTime, cfg.MaxConnLifetime, cfg.HealthCheckPeriod = 1<<62, 1<<61, 1<<61
	}
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	set := func(k, v string) {
		if _, ok := cfg.ConnConfig.RuntimeParams[k]; !ok {
			cfg.ConnConfig.RuntimeParams[k] = v
		}
	}
	set("application_name", "backbone "+o.Node)
	set("statement_timeout", "20000")
	set("lock_timeout", "5000")
	set("idle_in_transaction_session_timeout", "60000")
	set("timezone", "UTC")
	// Plans are made once, also while the tables are empty, and used when a million entries wait: each goes by an index.
	set("plan_cache_mode", "force_generic_plan")
	set("enable_seqscan", "off")
	set("jit", "off")
	s := &Store{o: o, slog: o.Log, held: map[queue.ID]time.Time{}, wake: make(chan struct{}), alarm: make(chan struct{}, 1), trouble: time.Now(), answered: time.Now()}
	s.ctx, s.quit = context.WithCancel(context.WithoutCancel(ctx))
	if s.pool, err = pgxpool.NewWithConfig(s.ctx, cfg); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	s.numbers.fetch = s.block
	s.smalls = group[*small]{carry: s.carrySmalls, octets: func(c *small) int64 { return c.body.size }}
	s.finishes = group[*plain]{carry: s.carryFinishes}
	s.keeps = group[*plain]{carry: s.carryKeeps}
	s.rates = newRates(s)
	if err := s.start(ctx); err != nil {
		s.quit()
		s.pool.Close()
		return nil, fmt.Errorf("queue in database %s: %w", cfg.ConnConfig.Database, err)
	}
	s.done.Go(s.housekeeping)
	s.done.Go(s.keepAlive)
	s.done.Go(s.rates.keep)
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	plan, err := readSteps(steps)
	if err != nil {
		return err
	}
	err = s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		return s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
			if err := safe(ctx, c.Conn()); err != nil {
				return err
			}
			return migrate(ctx, c.Conn(), plan)
		})
	})
	if err != nil {
		return err
	}
	n, err := s.numbers.take(ctx, 1)
	if err != nil {
		return err
	}
	s.incarnation = int64(n)
	if err := s.keepHistory(ctx); err != nil { // attempt_rest takes what is noted meanwhile
		s.slog.Warn("partitions of history will be made later", "class", "local", "err", err)
	}
	return s.enter(ctx)
}

// at is the parameter that says what time it is: null, for the server's own clock.
func (s *Store) at() any {
	if s.o.Clock != nil {
		return s.o.Clock().UnixNano()
	}
	return nil
}

// clock is the time in SQL, in nanoseconds: the first parameter of each statement that needs it. It stands still during a
// statement.
const clock = `coalesce($1::bigint, (extract(epoch from statement_timestamp()) * 1000000)::bigint * 1000)`

// Close stops the store. Running leases stay until their time is over, or this gateway opens the store again.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return queue.ErrClosed
	}
	s.quit()
	s.done.Wait()
	s.mu.Lock()
	if s.poll != nil {
		s.poll.Stop()
	}
	s.mu.Unlock()
	s.notify()
	if s.o.Command {
		s.leave()
	}
	s.pool.Close()
	return nil
}

// open is the first line of every method.
func (s *Store) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return queue.ErrClosed
	}
	return nil
}

// openWrite is open for a method that changes something.
func (s *Store) openWrite(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

// fail ends all writing: another process has this gateway's name.
func (s *Store) fail(err error) error {
	err = fmt.Errorf("%w: %w", queue.ErrFatal, err)
	if s.fatal.CompareAndSwap(nil, &err) {
		s.slog.Error("queue store takes no more writes", "class", "local", "err", err)
		s.notify()
	}
	return *s.fatal.Load()
}

// notify tells whoever waits that Due may answer otherwise.
func (s *Store) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.wake)
	s.wake = make(chan struct{})
	if s.poll != nil {
		s.poll.Stop()
		s.poll = nil
	}
}

// Wake is closed when Due may answer otherwise than before the call: for what this gateway did at once, for what others did
// after a second or so.
func (s *Store) Wake() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poll == nil && !s.closed.Load() {
		s.poll = time.AfterFunc(s.o.Poll+rand.N(s.o.Poll/4), s.notify)
	}
	return s.wake
}

// changed is notify after a change of ours: figures that were kept are no longer true.
func (s *Store) changed(wake bool) {
	s.mu.Lock()
	s.stale = time.Time{}
	s.mu.Unlock()
	if wake {
		s.notify()
	}
}

// block is the next block of numbers.
func (s *Store) block(ctx context.Context) (n uint64, err error) {
	err = s.patiently(ctx, time.Time{}, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, "select nextval('block')").Scan(&n)
	})
	return n, err
}

// numbers gives out numbers that no other process on this database ever gets: for items, bodies, epochs.
type numbers struct {
	mu        sync.Mutex
	next, end uint64
	fetch     func(context.Context) (uint64, error)
}

// blockSize is how many numbers a trip to the database brings.
const blockSize = 4096

// take is the first of n consecutive numbers, n at most blockSize.
func (b *numbers) take(ctx context.Context, n int) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next+uint64(n) > b.end {
		k, err := b.fetch(ctx)
		if err != nil {
			return 0, err
		}
		b.next, b.end = k*blockSize, (k+1)*blockSize
	}
	first := b.next
	b.next += uint64(n)
	return first, nil
}

// Package directory holds the custom recipients of a site: who can be named here, under which addresses, and where his
// mail goes. It answers the three questions that the message's way asks: what is this recipient's true address
// (Resolve), how does an address look from another system (As, Native, Name), and by which way did mail from it last
// come (Learned).
//
// It owns the entries with their proxy addresses, their import and export in Exchange's format, tombstones and update
// sequence numbers for replication, the table of renamed post offices and the learned reply routes; all of it in one
// bbolt file, with indexes in memory. It never decides where mail goes (routing does) and never speaks a protocol.
//
// Gateways that share a queue share their directory's history (Shared): the file is then a copy of its beginning, a write is made in
// the history first, and ErrUnavailable when that is out of reach.
//
// An entry's write is durable when the call returns. Look-ups never touch the disk and never wait for a writer's disk.
// Learned routes are written behind: the last seconds of them may be lost, which costs nothing but a route of last
// resort. Two entries never claim one address; where replication brings such a pair in, the address is answered with
// mail.AmbiguousRecipient until one of them gives way (KB Q165396).
package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"backbone/gateway/address"
)

// Identity is the site's, under which addresses are generated and encapsulated.
type Identity struct {
	Name         string            // "SITEA": where entries made here originate
	Organization string            // "Northwind"
	Domains      []string          // SMTP domains that are ours; the first is written into addresses
	Partners     []string          // SMTP domains of joined sites: their encapsulated forms are undone like ours
	MS           string            // NET/PO of the shadow post office
	X400         address.ORAddress // O/R address that carries encapsulated ones
}

// Options configure a directory. Site.Name must be set.
type Options struct {
	Site Identity
	// Aliases are renamed post offices, old NET/PO to new (KB Q114246). They may chain, not circle.
	Aliases map[string]string
	// Generate gives each entry written here a proxy of each of the types MS, SMTP and X400 that it lacks, by
	// Exchange's default rules. Off: addresses appear encapsulated in the other systems.
	Generate bool
	// KeepTombstones is how long a deleted entry is remembered for replication: default 60 days.
	KeepTombstones time.Duration
	// ReplyRoutes is how long a learned way back is kept; 0: none are learned. MaxReplyRoutes bounds their number: default
	// 100,000; at the bound the oldest tenth goes.
	ReplyRoutes    time.Duration
	MaxReplyRoutes int
	// ReplyAddresses is how long an address of our shadow post office is kept for a sender whom MS Mail users could not
	// answer otherwise; 0: none is made.
	ReplyAddresses time.Duration
	// Share, when set, opens the history that this directory shares with other gateways of the site. It is called once the file is
	// this process's own.
	Share func() (Shared, error)
	// NoSync does not wait for the disk: for tests that open small directories thousands of times.
	NoSync bool
	Log    *slog.Logger
}

var (
	ErrNotFound = errors.New("directory: no such entry")
	ErrExists   = errors.New("directory: the entry already exists")
	ErrForeign  = errors.New("directory: the entry belongs to another site; change it there")
)

var errInUse = errors.New("is in use by another process")

// Directory is an open directory. All methods are safe for concurrent use. One process opens a file at a time.
type Directory struct {
	o       Options
	db      *bbolt.DB
	aliases map[string]address.MSMail // folded old NET/PO -> new
	own     map[string]bool           // domains whose encapsulation is undone

	write  sync.Mutex // one writer at a time; held while a batch is made and committed: begin, end
	turn   Turn       // the writer's, where the history is shared
	purged time.Time  // when tombstones were last looked through

	shared  Shared // nil: this directory has its history for itself
	stopped context.Context
	stop    context.CancelFunc
	polling sync.WaitGroup

	mu sync.RWMutex // guards what look-ups read
	index
	usn     uint64
	changed chan struct{} // closed and replaced at each change

	learned learnedRoutes
	replies replyAddresses
}

// index is the entries in memory.
type index struct {
	entries map[string]*Entry
	graves  map[string]*Entry   // tombstones
	links   map[string]*Entry   // the connectors among the entries
	owners  map[string]*Entry   // address key -> its entry
	rivals  map[string][]*Entry // address key -> all claimants, where there are several
}

func newIndex() index {
	return index{entries: map[string]*Entry{}, graves: map[string]*Entry{}, links: map[string]*Entry{}, owners: map[string]*Entry{}, rivals: map[string][]*Entry{}}
}

// lockTimeout is how long Open waits for another process to let go of the file.
const lockTimeout = 2 * time.Second

// initialMap is address space, not memory: a large import would else remap the file again and again.
const initialMap = 256 << 20

// Open opens or creates the directory in the file at path and reads it into memory.
func Open(path string, o Options) (*Directory, error) {
	if o.Site.Name == "" {
		return nil, errors.New("directory: a site name is needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.KeepTombstones <= 0 {
		o.KeepTombstones = 60 * 24 * time.Hour
	}
	if o.MaxReplyRoutes <= 0 {
		o.MaxReplyRoutes = 100_000
	}
	aliases, err := checkAliases(o.Aliases)
	if err != nil {
		return nil, err
	}
	d := &Directory{o: o, aliases: aliases, own: map[string]bool{}, changed: make(chan struct{}), index: newIndex()}
	d.stopped, d.stop = context.WithCancel(context.Background())
	for _, name := range append(append([]string(nil), o.Site.Domains...), o.Site.Partners...) {
		d.own[strings.ToLower(name)] = true
	}
	if d.db, err = openFile(path, o.NoSync); err != nil {
		return nil, err
	}
	if err := d.load(); err != nil {
		return nil, errors.Join(err, d.db.Close())
	}
	d.learned.start(d)
	if o.Share != nil {
		d.shared, err = o.Share()
	}
	if err == nil {
		err = d.begin(d.stopped)
	}
	if err == nil {
		err = d.generateMissing()
		d.end()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if d.shared != nil {
		d.polling.Go(d.poll)
	}
	return d, nil
}

// openFile opens the bbolt file. bbolt panics on a damaged one; an operator gets an error instead.
func openFile(path string, noSync bool) (db *bbolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("directory: %s is damaged (%v); restore it from a backup, or move it away and import again", path, r)
		}
	}()
	o := &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, InitialMmapSize: initialMap}
	if noSync {
		o.NoSync, o.NoGrowSync, o.InitialMmapSize = true, true, 0
	}
	db, err = bbolt.Open(path, 0o600, o)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("directory: %s %w", path, errInUse)
	case err != nil:
		return nil, fmt.Errorf("directory: %s: %w", path, err)
	}
	return db, nil
}

// Close writes the learned routes that are not yet on disk and closes the file.
func (d *Directory) Close() error {
	d.stop()
	d.polling.Wait()
	d.write.Lock()
	defer d.write.Unlock()
	return errors.Join(d.learned.stop(), d.db.Close())
}

// Changed returns a channel that closes at the next change of any entry: wait on it, then read what is new with
// ChangesSince. So a routing table is made anew, and a replica fed, without looking at the whole directory.
func (d *Directory) Changed() <-chan struct{} {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.changed
}

// Size is the number of custom recipients, without tombstones.
func (d *Directory) Size() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.entries) - len(d.links)
}

// Package queue is the contract of the gateway's message store: what waits, for whom, until when, and what an
// operator may do to it. queue/queuetest is the conformance suite that each implementation runs; queue/boltqueue
// is the embedded default.
//
// The unit that waits is an Item: one content for the recipients that share a destination. Items made of one
// message share its stored body. The store knows nothing of routes or connectors: Dest is a pair of words to it.
//
// Durability: when Put or Settle returns nil, its whole effect survives kill -9 and power loss; when it returns an
// error none of it is visible after a restart, except for ErrFatal, after which the outcome is unknown until the
// store is opened again. An fsync error is fatal for the store: it never retries one (the kernel may have dropped
// the pages), refuses further writes with ErrFatal and goes on answering reads.
package queue

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"backbone/gateway/mail"
)

var (
	ErrNotFound  = errors.New("no such queue entry")
	ErrLeaseLost = errors.New("lease lost: the entry was taken over, changed or removed")
	ErrFatal     = errors.New("queue store failed and takes no more writes until it is opened again")
	ErrFull      = errors.New("queue disk is below its reserve") // transient: 452 4.3.1 to a peer
	ErrClosed    = errors.New("queue store is closed")
	ErrNoRoom    = errors.New("others fill the destination's window") // ask again after a second or so
)

// ID is an item's number, unique in a store for ever. Text form is Crockford base32, upper case, at most 13 characters.
type ID uint64

// Dest names a next hop: the connector and what it calls the peer. Text form "connector:host".
type Dest struct {
	Connector string `json:"connector"`
	Host      string `json:"host"`
}

// State of an item.
type State string

const (
	Ready  State = "ready"  // due at Next
	Leased State = "leased" // an attempt is running, until LeaseUntil
	Held   State = "held"   // by an operator or as poison; never due
	Trash  State = "trash"  // deleted; Restore brings it back until the trash is emptied
)

// Item is one waiting transfer.
type Item struct {
	ID       ID            `json:"id"`
	Envelope mail.Envelope `json:"envelope"` // Recipients are those of this item only
	Body     BodyRef       `json:"body"`
	Dest     Dest          `json:"dest"`
	State    State         `json:"state"`
	Key      string        `json:"key"` // connectors.Transfer.Key: set by Put, kept for the item's life
	// Attempts counts finished attempts; Tries counts them per connector (open and transfer retries), so that a
	// connector at its maximum can be passed over.
	Attempts int            `json:"attempts"`
	Tries    map[string]int `json:"tries,omitempty"`
	Next     time.Time      `json:"next"`
	Expires  time.Time      `json:"expires"`
	Created  time.Time      `json:"created"`
	Last     *mail.Failure  `json:"last,omitempty"` // of the latest attempt
	Delayed  bool           `json:"delayed,omitempty"`
	// Unknown is true after a lease ran out without a Settle: the attempt's outcome is not known.
	Unknown    bool      `json:"unknown,omitempty"`
	LeaseOwner string    `json:"lease_owner,omitempty"`
	LeaseUntil time.Time `json:"lease_until,omitzero"`
	Reason     string    `json:"reason,omitempty"` // why held or deleted
	By         string    `json:"by,omitempty"`
	Changed    time.Time `json:"changed,omitzero"`
}

// Schedule gives an item a time of its own. Its last failure, if that was one of the link, speaks of the item alone from then on:
// whoever fetches what waits for a link that came up leaves it where it is.
func (it *Item) Schedule(at time.Time) {
	last := mail.Failure{Class: mail.Transient, Code: 451, Enhanced: "4.2.0", Diagnostic: -1, MSMail: 1, Text: "not tried before the time that was set for it"}
	if it.Last != nil {
		last = *it.Last
	}
	last.Scope = mail.ScopeMessage
	it.Next, it.Last = at, &last
}

// BodyRef identifies a stored body. The fields beyond Size and SHA256 belong to the store.
type BodyRef struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
	Where  string `json:"where"`  // the store's own locator, readable by an operator ("seg 12 @4096", "file 3F/1A2B")
}

// Staged is a body on its way in: small ones are in memory, large ones already in the store's own files, so that no
// byte is written twice. Exactly one of Put or Discard ends it.
type Staged interface {
	mail.Content
	SHA256() string
	Discard() error
}

// New is a message for Put: one body and the items that share it.
type New struct {
	Body Staged
	// Items to create: Envelope, Dest, Next, Expires, State (Ready or Held), Reason and Last (why Next is not now) are the
	// caller's; the rest is set by Put.
	Items []Item
	// Dedup, when not empty, makes a second Put with the same key return the first one's result (ErrDuplicate is not
	// an error: see Put). Keys are remembered at least DedupFor after the last of the items has gone.
	Dedup string
	// Spawn are messages that come with this one, in the same commit: reports on recipients that can't be served. A
	// message all of whose recipients failed has no Items and a Body that Put discards. With a known Dedup nothing of
	// Spawn is stored either.
	Spawn []New
}

// Memory is a dedup key that a store remembers.
type Memory struct {
	Hash []byte `json:"hash"` // the first 16 octets of its SHA-256
	Day  uint32 `json:"day"`  // the latest on which it mattered: days since 1970-01-01 UTC
}

// TrashFor is how long deleted items can be restored: after it the store empties them out of the trash.
const TrashFor = 7 * 24 * time.Hour

// DedupFor is how long dedup keys outlive their items: longer than any peer's retry schedule.
const DedupFor = 30 * 24 * time.Hour

// Lease is the right to settle an item. The epoch fences: after the lease ran out and another took the item, or an
// operator changed it, Settle answers ErrLeaseLost and changes nothing.
type Lease struct {
	Item
	Epoch uint64 `json:"epoch"`
}

// Settlement is what an attempt made of an item. Everything in it becomes durable in one commit.
type Settlement struct {
	// Keep is what is left of the item: empty ends it. The first keeps the item's ID and Key unless Rekey is set;
	// each further one becomes an item of its own with a new ID and key, sharing the body. Envelope.Recipients, Dest,
	// State, Next, Expires, Attempts, Tries, Last, Delayed, Unknown, Reason and By are taken from it, the rest is kept.
	Keep []Item
	// Rekey gives the first of Keep a new Key too: a peer that remembers the old one must not take what is left for
	// what it has seen.
	Rekey bool
	// Spawn are new messages that the outcome causes: reports.
	Spawn []New
	// Trash, with empty Keep, moves the item to the trash instead of ending it.
	Trash bool
}

// DestStat is one destination's line.
type DestStat struct {
	Dest       Dest        `json:"dest"`
	Ready      int         `json:"ready"` // due or not
	Leased     int         `json:"leased"`
	Held       int         `json:"held"`
	Bytes      int64       `json:"bytes"`
	Oldest     time.Time   `json:"oldest,omitzero"` // arrival of the oldest item
	NextDue    time.Time   `json:"next_due,omitzero"`
	Suspension *Suspension `json:"suspension,omitempty"`
}

// Suspension stops leasing for a destination (Host set) or a whole connector (Host ""). It is kept across restarts.
type Suspension struct {
	Dest   Dest      `json:"dest"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until resumed
}

// Stats is a cheap snapshot, kept up in the same commit as the items: it never disagrees with List.
type Stats struct {
	Ready  int   `json:"ready"`
	Leased int   `json:"leased"`
	Held   int   `json:"held"`
	Trash  int   `json:"trash"`
	Bytes  int64 `json:"bytes"`
	Dests  int   `json:"dests"`
	Puts   int64 `json:"puts"` // since open
	Syncs  int64 `json:"syncs"`
	Commit int64 `json:"commits"`
	// Disk use of index and bodies in octets, and free space left on the filesystem: -1 where the store can't know, because its disk
	// is another host's.
	IndexBytes int64 `json:"index_bytes"`
	BodyBytes  int64 `json:"body_bytes"`
	FreeBytes  int64 `json:"free_bytes"`
}

// Filter selects items: set fields are ANDed. The zero Filter matches all but the trash; IDs reach into the trash, and
// so do the verbs Restore and Purge.
type Filter struct {
	IDs       []ID          `json:"ids,omitempty"`
	Connector string        `json:"connector,omitempty"`
	Host      string        `json:"host,omitempty"` // glob
	From      string        `json:"from,omitempty"` // glob over originator
	To        string        `json:"to,omitempty"`   // glob over any recipient
	State     State         `json:"state,omitempty"`
	Older     time.Duration `json:"older,omitempty"` // in the queue for longer than
	Newer     time.Duration `json:"newer,omitempty"`
	Larger    int64         `json:"larger,omitempty"`
	Class     mail.Class    `json:"class,omitempty"`   // of the last failure
	Message   string        `json:"message,omitempty"` // Envelope.ID or MessageID
}

// Cursor is an opaque position between pages; "" is the beginning, and the end.
type Cursor string

// Op is an operator's verb on items. Release, RetryNow and ScheduleAt act on ready and held ones; a leased item takes
// the change when its attempt settles, except Delete and Hold, which fence the attempt out at once and leave the item
// Unknown. Only Release ends a hold: RetryNow and ScheduleAt set a held item's Next for the time after it. What ScheduleAt has set a
// time for waits for that and no longer for a link: see Item.Schedule.
type Op struct {
	Verb   Verb      `json:"verb"`
	At     time.Time `json:"at,omitzero"` // ScheduleAt
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
}

// Verb is the word that CLI, API and audit use.
type Verb string

const (
	Hold       Verb = "hold"
	Release    Verb = "release"
	RetryNow   Verb = "retry"
	ScheduleAt Verb = "schedule"
	Delete     Verb = "delete"  // to the trash
	Restore    Verb = "restore" // from the trash
	Purge      Verb = "purge"   // out of the trash for good
)

// NoWindow is the room of a lease that no window bounds.
const NoWindow = math.MaxInt

// Store is a message queue. All methods are safe for concurrent use. Times come from time.Now, so that a
// testing/synctest bubble can be days long.
type Store interface {
	// Stage reads a body to its end, at most max octets (mail.TooLarge when longer). Nothing of it survives a restart
	// unless Put.
	Stage(ctx context.Context, r io.Reader, max int64) (Staged, error)
	// Put stores a message durably. It ends the Staged, also when it fails. With a Dedup key already known, it stores nothing, discards the body and returns
	// the first Put's IDs and true.
	Put(ctx context.Context, n New) (ids []ID, duplicate bool, err error)
	// Due lists destinations with something to do now (suspended ones left out), and the earliest later time at which
	// there will be (zero: nothing waits). Wake is closed or sent to whenever that may have changed.
	Due(now time.Time, limit int) (dests []Dest, next time.Time)
	Wake() <-chan struct{}
	// Lease takes up to n due items of dest: urgent, normal, non-urgent, then by Next, then by ID. A lease that is
	// neither settled nor extended within ttl returns to what it was with Unknown set; so does one whose process died.
	//
	// Room is the destination's window less what owner has under way in it: no more are taken than it leaves beside the
	// leases that other owners took with a room and that have not ended, and when it leaves none the error is ErrNoRoom.
	// So all owners together never exceed a window that they have in common, however they come in each other's way.
	Lease(ctx context.Context, dest Dest, owner string, n, room int, ttl time.Duration) ([]Lease, error)
	// LeaseWaiting takes up to n ready items of dest whether due or not, after the given ID in ID order: with a room for
	// attempts, and then none behind a suspension; with NoWindow for rerouting and for operator verbs that need the gateway,
	// suspended or not. LeaseID takes one, also when held; it answers ErrLeaseLost while another has it, and ErrNotFound for
	// one in the trash. Leases with the room NoWindow, and all of LeaseID's, are bound by no window and fill none.
	LeaseWaiting(ctx context.Context, dest Dest, owner string, after ID, n, room int, ttl time.Duration) ([]Lease, error)
	LeaseID(ctx context.Context, id ID, owner string, ttl time.Duration) (Lease, error)
	Extend(ctx context.Context, l Lease, ttl time.Duration) error
	// Settle ends a lease. Return gives items back untouched (shutdown, nothing tried).
	Settle(ctx context.Context, l Lease, s Settlement) error
	Return(ctx context.Context, ls []Lease) error

	Get(ctx context.Context, id ID) (Item, error)
	// Body opens nothing: Content.Open does, and fails with ErrNotFound once the item has gone.
	Body(ref BodyRef) mail.Content
	// List pages through items in ID order with short read transactions; a slow reader never holds the store.
	List(ctx context.Context, f Filter, after Cursor, n int) ([]Item, Cursor, error)
	// Change applies op to what f selects, in bounded transactions, and returns how many it touched.
	Change(ctx context.Context, f Filter, op Op) (int, error)

	Suspend(ctx context.Context, s Suspension) error
	Resume(ctx context.Context, d Dest) error // ErrNotFound when it was not suspended
	Suspensions() []Suspension
	Dests(ctx context.Context) ([]DestStat, error)
	Stats() Stats

	// Probe makes a few octets durable and takes them away again: whether the store could take mail now, for health checks.
	// Its error is what a message would be put off with.
	Probe(ctx context.Context) error
	// Check verifies index and bodies and returns what is wrong, nil when sound. Compact gives unused index pages back
	// to the filesystem while the store runs.
	Check(ctx context.Context) ([]string, error)
	Compact(ctx context.Context) error
	// Known tells whether a dedup key is remembered, without storing anything. Remembered pages through all that are, those of
	// what waits among them. Remember adds what another store remembered, a few thousand at once; a key that is known already
	// stays as it is. Of a message that is a duplicate by such a key no IDs are known.
	Known(ctx context.Context, dedup string) (bool, error)
	Remembered(ctx context.Context, after Cursor, n int) ([]Memory, Cursor, error)
	Remember(ctx context.Context, ms []Memory) error
	Close() error
}

package shadowpo

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// outbound is the writing side of a drop: who is delivering what, the one session, and its committer.
type outbound struct {
	drop    *Drop
	intents chan *intent
	done    sync.WaitGroup

	mu      sync.Mutex
	keys    map[string]chan struct{} // keys in hand; closed when given back
	session *session
	closed  bool
}

var errClosed = errors.New("drop is closed")

func newOutbound(d *Drop) *outbound {
	o := &outbound{drop: d, intents: make(chan *intent, 256), keys: map[string]chan struct{}{}}
	o.done.Go(o.commit)
	return o
}

func (o *outbound) close() error {
	o.mu.Lock()
	again := o.closed
	o.closed = true
	o.mu.Unlock()
	if again {
		return nil
	}
	close(o.intents)
	o.done.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.session
	o.session = nil
	if s == nil {
		return nil
	}
	return s.close()
}

// reserve makes this caller the only one that delivers key.
func (o *outbound) reserve(ctx context.Context, key string) (release func(), err error) {
	for {
		o.mu.Lock()
		held, ok := o.keys[key]
		if !ok {
			mine := make(chan struct{})
			o.keys[key] = mine
			o.mu.Unlock()
			return func() {
				o.mu.Lock()
				delete(o.keys, key)
				o.mu.Unlock()
				close(mine)
			}, nil
		}
		o.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// current is the session, opened or looked at again when its time has come. The caller leaves it.
func (o *outbound) current() (*session, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, errClosed
	}
	if s := o.session; s != nil {
		if s.err == nil && time.Since(s.checked) > time.Second {
			s.err, s.checked = s.tree.Valid(), time.Now()
		}
		if s.err != nil {
			o.session = nil
			o.drop.log.Warn("deliver folder cannot be served", "err", s.err)
			if s.users == 0 {
				if err := s.close(); err != nil {
					o.drop.log.Warn("closing deliver folder", "err", err)
				}
			} else {
				return nil, s.err // its lock is free only when the last user has left
			}
		}
	}
	if o.session == nil {
		s, err := openSession(o.drop)
		if err != nil {
			return nil, err
		}
		o.session = s
	}
	o.session.users++
	return o.session, nil
}

func (o *outbound) leave(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.users--
	if s.users == 0 && s.err != nil && o.session != s {
		if err := s.close(); err != nil {
			o.drop.log.Warn("closing deliver folder", "err", err)
		}
	}
}

// broke ends a session: what it wrote last is in doubt, and the next one begins with what is on the disk.
func (o *outbound) broke(s *session, err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	return err
}

func (o *outbound) sound(s *session) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.err
}

// commit is the one goroutine that makes intents durable: it takes whatever waits, so that deliveries at the same time
// share the syncs of folder and journal, and one alone waits for nobody.
func (o *outbound) commit() {
	var dirty *session
	for {
		in, ok := o.await(&dirty)
		if !ok {
			return
		}
		batch := []*intent{in}
		for idle := 0; idle < 50 && len(batch) < 256; {
			select {
			case next, ok := <-o.intents:
				if !ok {
					idle = 50
					break
				}
				batch = append(batch, next)
			default:
				idle++
				runtime.Gosched() // callers that are about to arrive save a round of syncs
			}
		}
		dirty = batch[len(batch)-1].session
		for len(batch) > 0 {
			s := batch[0].session
			n := 1
			for n < len(batch) && batch[n].session == s {
				n++
			}
			o.commitTo(s, batch[:n])
			batch = batch[n:]
		}
	}
}

// await is the next intent. Before it has to wait for one, it syncs the names that the last batch made appear: under
// load the next batch does that, and nothing is lost until then, since the journal knows them.
func (o *outbound) await(dirty **session) (*intent, bool) {
	select {
	case in, ok := <-o.intents:
		if ok {
			return in, true
		}
	default:
	}
	if s := *dirty; s != nil && o.sound(s) == nil {
		if err := s.deliver.Sync(); err != nil {
			o.drop.log.Warn("deliver folder cannot be synced", "err", o.broke(s, err))
		}
	}
	*dirty = nil
	in, ok := <-o.intents
	return in, ok
}

// commitTo is the order that makes a delivery happen once: contents, their .WRT names, then key and name in the journal,
// then the name that the agent sees.
func (o *outbound) commitTo(s *session, batch []*intent) {
	batch = syncAll(batch)
	err := o.sound(s)
	if err == nil && len(batch) > 0 {
		err = s.deliver.Sync()
	}
	if err == nil && len(batch) > 0 {
		err = s.journal.add(batch)
	}
	if err != nil {
		err = o.broke(s, err)
		for _, in := range batch {
			in.result <- err
		}
		return
	}
	errs := make([]error, len(batch))
	for i, in := range batch {
		errs[i] = s.publish(in.name)
	}
	for i, in := range batch {
		in.result <- errs[i]
	}
}

// syncsAtOnce bounds how many files of a batch are synced at the same time.
const syncsAtOnce = 32

// syncAll makes the contents of a batch durable, many at a time: a filesystem with a journal commits once for all syncs
// that wait, and once for each when they come one after another. Those that fail are answered and left out.
func syncAll(batch []*intent) []*intent {
	errs := make([]error, len(batch))
	var g errgroup.Group
	g.SetLimit(syncsAtOnce)
	for i, in := range batch {
		g.Go(func() error {
			for _, f := range in.files {
				errs[i] = errors.Join(errs[i], f.Sync(), f.Close())
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // each has its own in errs
	var sound []*intent
	for i, in := range batch {
		if errs[i] == nil {
			sound = append(sound, in)
			continue
		}
		in.abandon()
		in.result <- errs[i]
	}
	return sound
}

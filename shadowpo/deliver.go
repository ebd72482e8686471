package shadowpo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"time"

	"backbone/gateway/mail"
)

// Outbound is one file that the post office is to collect.
type Outbound struct {
	// Key names this delivery for all time: 1 to 255 octets of printable ASCII without blanks. Delivering a key a
	// second time, at once or weeks later, before or after the file was collected, does nothing.
	Key string
	// Write writes the file's octets, once. Its error is Deliver's, unchanged, unless the drop failed first.
	Write func(io.Writer) error
	Side  Side // NAME.X beside it; nil for none

	// For SENT.LOG only.
	From string
	To   []string
	ID   string
}

// Delivery says where an Outbound went.
type Delivery struct {
	File      string // "0E3K91QV.MSG"
	Size      int64  // octets; 0 when Duplicate
	Duplicate bool   // the key was delivered before: nothing was written
}

// Deliver puts a file into the deliver folder. Nil means that it is there, whole, and will be there after a power
// failure (if not by itself, then when the drop is opened again), and that this key will never be there again. An error is a classified *mail.Failure, or what Write returned; the key may be delivered
// again then, also when it had been delivered after all. ctx ends the wait for others, not the step that is being
// taken.
func (d *Drop) Deliver(ctx context.Context, o Outbound) (Delivery, error) {
	if err := checkKey(o.Key); err != nil {
		return Delivery{}, err
	}
	release, err := d.out.reserve(ctx, o.Key)
	if err != nil {
		return Delivery{}, fault(err)
	}
	defer release()
	s, err := d.out.current()
	if err != nil {
		return Delivery{}, fault(err)
	}
	defer d.out.leave(s)
	if n, ok := s.journal.name(o.Key); ok {
		name := numberName(n)
		if err := s.publish(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Delivery{}, fault(d.out.broke(s, err))
		}
		return Delivery{File: name + extMessage, Duplicate: true}, nil
	}
	in, err := s.write(o)
	if err != nil {
		if werr, ok := errors.AsType[*writeError](err); ok {
			return Delivery{}, werr.err
		}
		return Delivery{}, fault(err)
	}
	in.result = make(chan error, 1)
	d.out.intents <- in
	if err := <-in.result; err != nil {
		return Delivery{}, fault(err)
	}
	d.text.sent(o, in.size, in.name+extMessage)
	return Delivery{File: in.name + extMessage, Size: in.size}, nil
}

func checkKey(key string) error {
	if key == "" || len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return &mail.Failure{Class: mail.Local, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.0", Diagnostic: 2, MSMail: 1,
			Text: "internal error: bad delivery key", Cause: fmt.Errorf("key %q is not 1 to 255 octets of printable ASCII", key)}
	}
	return nil
}

// writeError is Outbound.Write's own error.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// intent is a file that is written and waits for its key to be journalled and its name to appear.
type intent struct {
	key, name string
	size      int64
	session   *session
	result    chan error
}

// outbound is the writing side of a drop: who is delivering what, the one session, and its committer.
type outbound struct {
	drop    *Drop
	intents chan *intent
	done    sync.WaitGroup

	mu      sync.Mutex
	keys    map[string]chan struct{} // keys in hand; closed when given back
	session *session
}

func newOutbound(d *Drop) *outbound {
	o := &outbound{drop: d, intents: make(chan *intent, 256), keys: map[string]chan struct{}{}}
	o.done.Go(o.commit)
	return o
}

func (o *outbound) close() error {
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
	if s := *dirty; s != nil {
		if err := s.deliver.Sync(); err != nil {
			o.drop.log.Warn("deliver folder cannot be synced", "err", o.broke(s, err))
		}
		*dirty = nil
	}
	in, ok := <-o.intents
	return in, ok
}

// commitTo is the order that makes a delivery happen once: contents (synced by their writer) and their .WRT names,
// then key and name in the journal, then the name that the agent sees.
func (o *outbound) commitTo(s *session, batch []*intent) {
	o.mu.Lock()
	err := s.err
	o.mu.Unlock()
	if err == nil {
		err = s.deliver.Sync()
	}
	if err == nil {
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

// session is the deliver folder while it is locked and its journal is loaded.
type session struct {
	drop    *Drop
	tree    tree
	deliver folder
	lock    io.Closer
	journal *journal

	// Guarded by outbound.mu.
	users   int
	err     error
	checked time.Time
	last    uint64 // number of the last name
}

func openSession(d *Drop) (s *session, err error) {
	t, err := d.tree()
	if err != nil {
		return nil, err
	}
	s = &session{drop: d, tree: t, deliver: t.Folder(deliverDir), checked: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	if s.lock, err = t.Lock("DELIVER.0LK", d.holder()); err != nil {
		return s, err
	}
	if s.journal, err = openJournal(t.Folder(stateDir), d.opt.Keep); err != nil {
		return s, err
	}
	return s, s.recover()
}

func (s *session) close() error {
	var err error
	if s.journal != nil {
		err = s.journal.close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return errors.Join(err, s.tree.Close())
}

// recover finishes what an earlier session began: a journalled file that has not appeared appears now; one that was
// not journalled was never acknowledged and goes. A journalled name with no file at all was collected.
func (s *session) recover() error {
	list, err := s.deliver.List()
	if err != nil {
		return err
	}
	names, intended := map[string]bool{}, map[uint64]bool{}
	for _, i := range list {
		names[i.Name()] = true
		stem, _ := splitName(i.Name())
		if n, ok := nameNumber(stem); ok {
			intended[n] = false
		}
	}
	s.journal.mark(intended)
	s.last = s.journal.last
	for _, i := range list {
		stem, ext := splitName(i.Name())
		n, ours := nameNumber(stem)
		if !ours || i.Name() != stem+ext {
			continue // another writer's
		}
		s.last = max(s.last, n)
		switch {
		case ext == extWriting && intended[n]:
			err = s.publish(stem)
			if errors.Is(err, fs.ErrExist) {
				err = nil // a foreign file of this name: the key's next delivery tries again
			}
		case ext == extSideWrit && intended[n] && names[stem+extWriting]:
			// goes with it
		case ext == extSideWrit && intended[n] && names[stem+extMessage]:
			err = s.deliver.Rename(i.Name(), s.deliver, stem+extSide)
		case ext == extWriting, ext == extSideWrit:
			err = ignoreMissing(s.deliver.Remove(i.Name()))
		case ext == extSide && !names[stem+extMessage] && !names[stem+extWriting] && intended[n]:
			err = ignoreMissing(s.deliver.Remove(i.Name())) // the agent took the message and left what it does not know
		}
		if err != nil {
			return err
		}
	}
	return s.deliver.Sync()
}

// publish makes a written file appear, its side file first. fs.ErrNotExist: it is not there to appear, so it did.
func (s *session) publish(name string) error {
	if err := ignoreMissing(s.deliver.Rename(name+extSideWrit, s.deliver, name+extSide)); err != nil {
		return err
	}
	return s.deliver.Rename(name+extWriting, s.deliver, name+extMessage)
}

// nextName is a number above every earlier one, near the clock.
func (s *session) nextName() string {
	s.drop.out.mu.Lock()
	defer s.drop.out.mu.Unlock()
	s.last = max(s.last+1, clockNumber(time.Now()))
	return numberName(s.last)
}

// write makes the contents durable under a name that nobody collects.
func (s *session) write(o Outbound) (*intent, error) {
	name := s.nextName()
	for {
		_, err := s.deliver.Lstat(name + extMessage)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		name = s.nextName()
	}
	h, err := s.deliver.Create(name + extWriting)
	if err != nil {
		return nil, err
	}
	w := &counter{w: h}
	sum := sha256.New()
	var out io.Writer = w
	if o.Side != nil {
		out = io.MultiWriter(w, sum)
	}
	err = o.Write(out)
	if err != nil && w.err == nil {
		err = &writeError{err}
	} else if w.err != nil {
		err = w.err
	}
	if err == nil {
		err = h.Sync()
	}
	if cerr := h.Close(); err == nil {
		err = cerr
	}
	if err == nil && o.Side != nil {
		err = s.writeSide(name, o.Side, fmt.Sprintf("%x", sum.Sum(nil)))
	}
	if err != nil {
		if rerr := ignoreMissing(s.deliver.Remove(name + extWriting)); rerr != nil {
			s.drop.log.Warn("unfinished file stays until the next start", "file", name+extWriting, "err", rerr)
		}
		return nil, err
	}
	return &intent{key: o.Key, name: name, size: w.n, session: s}, nil
}

// writeSide binds the side file to the contents: should it stay behind, no later file can take it for its own.
func (s *session) writeSide(name string, side Side, sum string) error {
	bound := make(Side, 0, len(side)+1)
	for _, f := range side {
		if f.Key != SideHash {
			bound = append(bound, f)
		}
	}
	b, err := append(bound, SideField{SideHash, sum}).Encode()
	if err != nil {
		return &writeError{err}
	}
	return writeFile(s.deliver, name+extSideWrit, bytes.NewReader(b))
}

// counter tells the drop's own write errors from those of Outbound.Write.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}

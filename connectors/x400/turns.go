package x400

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/rtse"
)

// On a two-way alternate association both sides transfer, in turn (X.419 clause 8, X.228 7.3). The caller has the first turn.
// The side without it asks for it when it has something (S-TOKEN-PLEASE), and gives it back when it has handed over what
// waited. So a peer that only calls us gets its mail, too.

// perTurn is how many messages go out in one turn that we were given: the peer's own mail waits meanwhile (*ours*).
const perTurn = 20

// sitting waits on an association on which nothing is under way: until the peer says something, or until it is wanted here.
type sitting struct {
	conn    net.Conn
	pending func() bool // tells of octets that were read and not looked at yet

	mu           sync.Mutex
	waits, woken bool
}

// wake ends a wait, or the next one.
func (s *sitting) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.woken = true; s.waits {
		s.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection has woken it
	}
}

// rest forgets a wake that nobody waited for.
func (s *sitting) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.woken = false
}

// wait tells whether something has come; false without an error says that it was woken. Nothing is read.
func (s *sitting) wait(patience time.Duration) (come bool, err error) {
	s.mu.Lock()
	switch {
	case s.woken:
		s.woken = false
		s.mu.Unlock()
		return false, nil
	case s.pending():
		s.mu.Unlock()
		return true, nil
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.mu.Unlock()
		return false, err
	}
	s.waits = true
	s.mu.Unlock()
	err = readable(s.conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = false
	woken := s.woken
	s.woken = false
	if derr := s.conn.SetReadDeadline(time.Time{}); err == nil {
		err = derr
	}
	if err != nil && woken && errors.Is(err, syscall.ETIMEDOUT) {
		return false, nil
	}
	return err == nil, err
}

// readable waits until a read would not: octets are there, the end, or an error that the read will tell. It is
// syscall.ETIMEDOUT at the deadline.
func readable(c net.Conn) error {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		err := error(syscall.EINTR)
		for errors.Is(err, syscall.EINTR) {
			_, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		}
		return !errors.Is(err, syscall.EAGAIN)
	})
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return syscall.ETIMEDOUT
	}
	return err
}

// guest is an association that the peer opened, on which we may ask for the turn.
type guest struct {
	*sitting
	asked bool // for the turn, which has not come yet
}

// lent is a guest's association in the hands of one transfer. What became of it goes back with put or drop.
type lent struct {
	*p1Association
	back chan bool
}

func (*lent) usable() bool { return true }

// join makes an association of the peer's one that mail may wait for, until leave.
func (p *pool) join(g *guest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guests = append(p.guests, g)
}

func (p *pool) leave(g *guest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.guests {
		if other == g {
			p.guests = append(p.guests[:i], p.guests[i+1:]...)
			break
		}
	}
	if len(p.guests) > 0 || p.open > 0 {
		return
	}
	if p.peer.cfg.Peer == "" {
		p.failLocked(p.peer.notCalled())
		return
	}
	if w := p.nextLocked(); w != nil { // the others wait for the association that this one opens
		p.open++
		w <- turn{}
	}
}

// wanted tells that somebody waits for an association.
func (p *pool) wanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting) > 0
}

func (p *pool) nextLocked() chan turn {
	if len(p.waiting) == 0 {
		return nil
	}
	w := p.waiting[0]
	p.waiting = p.waiting[1:]
	return w
}

func (p *pool) failLocked(err error) {
	for _, w := range p.waiting {
		w <- turn{err: err}
	}
	p.waiting = nil
}

// lend hands an association, whose turn is ours, to those who wait for one. sound is false when it broke, more when the source
// is ending.
func (p *pool) lend(a *p1Association, gate *turnstile) (sound, more bool) {
	for range perTurn {
		if !gate.enter() {
			return true, false
		}
		p.mu.Lock()
		w := p.nextLocked()
		p.mu.Unlock()
		if w == nil {
			return true, gate.leave()
		}
		l := &lent{a, make(chan bool, 1)}
		w <- turn{a: l}
		sound, more = <-l.back, gate.leave()
		if !sound {
			break
		}
	}
	return sound, more
}

// alternate is an association of ours whose peer may ask for the turn.
type alternate interface {
	association
	// await waits until the peer says something; false without an error says that wake was called.
	await() (bool, error)
	wake()
	rest()
	// wanted tells that the peer has asked for the turn.
	wanted() bool
	// attend gives the peer the turn, once it has asked for it, and takes its mail until the turn is ours again. When ctx ends
	// meanwhile, it finishes the message in hand and ends the association.
	attend(ctx context.Context) error
}

// alternates gives a as one on which the peer may ask for the turn, nil when it may not.
func alternates(a association) alternate {
	if x, ok := a.(*p1Association); ok && x.sitting != nil {
		return x
	}
	return nil
}

// listen waits for what the peer says on an association that is idle.
func (p *pool) listen(k *kept, a alternate) {
	defer close(k.heard)
	come, err := a.await()
	if !come && err == nil {
		return // whoever woke it has it
	}
	p.mu.Lock()
	mine := p.unidle(k)
	p.mu.Unlock()
	if !mine {
		return
	}
	k.timer.Stop()
	if err != nil {
		p.drop(a)
		return
	}
	p.attend(a)
}

// attend gives the peer its turn of an association that nobody uses.
func (p *pool) attend(a alternate) {
	if a.attend(p.ctx) != nil {
		p.drop(a)
		return
	}
	p.put(a)
}

// unidle takes k out of the idle ones; false when somebody else did. The lock is held.
func (p *pool) unidle(k *kept) bool {
	for i, other := range p.idle {
		if other == k {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return true
		}
	}
	return false
}

// hush ends the listening to an association that was taken out of the idle ones.
func (k *kept) hush() {
	k.timer.Stop()
	if a := alternates(k.a); a != nil {
		a.wake()
		<-k.heard
	}
}

func (a *p1Association) await() (bool, error) {
	return a.sitting.wait(2 * a.peer.cfg.AssociationLifetime.D()) // the pool releases it after one
}

func (a *p1Association) wake() { a.sitting.wake() }
func (a *p1Association) rest() { a.sitting.rest() }

func (a *p1Association) wanted() bool {
	_, wanted := a.rtse.TurnWanted()
	return wanted
}

func (a *p1Association) attend(ctx context.Context) error {
	select {
	case <-a.peer.served: // at the start the peer may want its turn before our source serves
	case <-ctx.Done():
		return errClosing
	}
	gw := a.peer.gw.Load()
	in := &arrivals{peer: a.peer, gw: *gw, from: a.conn.RemoteAddr().String(), mode: a.rtse.Mode()}
	gate := &turnstile{conn: a.conn}
	defer context.AfterFunc(ctx, gate.close)()
	begin := func() (rtse.Sink, error) {
		if !gate.enter() {
			return nil, errClosing
		}
		return in.sink(context.WithoutCancel(ctx))
	}
	for {
		if a.wanted() && a.rtse.MayTransfer() {
			if err := a.rtse.GiveTurn(); err != nil {
				return err
			}
		}
		ev, err := a.rtse.Receive(begin, nil)
		more := gate.leave()
		switch {
		case err != nil:
			return err
		case ev == rtse.Released:
			return errors.New("the peer has released the association")
		case ev == rtse.Turn: // if it asks again at once, whoever waits here has one message before it
			return nil
		case !more:
			return errClosing
		}
	}
}

var errClosing = errors.New("the connector is closing")

// heed hears what the peer has said: false when that is more than that it wants the turn, which put then sees.
func (a *p1Association) heed() bool {
	for a.sitting.pending() || !silent(a.conn.Conn) {
		none := func() (rtse.Sink, error) { return nil, errors.New("the turn is ours") }
		if ev, err := a.rtse.Receive(none, nil); err != nil || ev != rtse.TurnWanted {
			return false
		}
	}
	return true
}

// receptionist is the Source of a peer that never calls, and sends in its turn of the associations that we open.
type receptionist struct{ peer *peer }

func (r *receptionist) Name() string { return "x400:" + r.peer.connector }

// Serve lends the gateway to the peer's associations until ctx ends.
func (r *receptionist) Serve(ctx context.Context, gw connectors.Acceptor) error {
	r.peer.serve(gw)
	<-ctx.Done()
	return nil
}

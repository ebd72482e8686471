package x400

import (
	"context"
	"slices"
	"sync"
	"time"

	"backbone/gateway/mail"
)

// pool keeps the associations that we opened to one peer: it reuses an idle one, opens another when more than the
// threshold wait for each, and releases one that was idle for the association lifetime (KB Q234157).
type pool struct {
	peer *peer

	mu      sync.Mutex
	idle    []*kept
	guests  []*guest // associations of the peer's that give us turns
	open    int      // idle, in use or being opened
	waiting []chan turn
	closed  bool
	busy    sync.WaitGroup  // what runs on its own
	ctx     context.Context // ends with the pool
	end     context.CancelFunc
}

type kept struct {
	a     association
	timer *time.Timer
	heard chan struct{} // closed when nobody listens to it any more
}

// turn ends a wait: with an association, with the failure to open one, or with leave to open one.
type turn struct {
	a   association
	err error
}

func newPool(p *peer) *pool {
	ctx, end := context.WithCancel(context.Background())
	return &pool{peer: p, ctx: ctx, end: end}
}

// mayOpen tells whether another association may be opened when n wait. The lock is held.
func (p *pool) mayOpen(n int) bool {
	return p.open == 0 || p.open < p.peer.cfg.MaxAssociations && n >= p.peer.cfg.Threshold*p.open
}

// get gives an association for one transfer, and tells whether it has been used before. Every get that succeeded
// is followed by put or drop.
func (p *pool) get(ctx context.Context) (a association, reused bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, mail.LinkDown("the connector is closing", nil)
	}
	if n := len(p.idle); n > 0 {
		k := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		k.hush()
		return k.a, true, nil
	}
	var patience <-chan time.Time
	calls := p.peer.cfg.Peer != ""
	switch {
	case !calls && len(p.guests) == 0:
		p.mu.Unlock()
		return nil, false, p.peer.notCalled()
	case !calls || len(p.guests) > 0 && p.open == 0: // the peer is there: its association serves as well
		t := time.NewTimer(p.peer.cfg.Disconnect.D())
		defer t.Stop()
		patience = t.C
	}
	if patience == nil && p.mayOpen(len(p.waiting)) {
		p.open++
		p.mu.Unlock()
		return p.dial(ctx)
	}
	ch := make(chan turn, 1)
	p.waiting = append(p.waiting, ch)
	for _, g := range p.guests {
		g.wake()
	}
	p.mu.Unlock()
	for late := false; ; {
		select {
		case t := <-ch:
			return p.take(ctx, t)
		case <-patience:
			late = true
		case <-ctx.Done():
			late = false
		}
		p.mu.Lock()
		i := slices.Index(p.waiting, ch)
		switch {
		case i < 0: // the turn came at the same moment: it must not be lost
			p.mu.Unlock()
			return p.take(ctx, <-ch)
		case late && calls && !p.mayOpen(len(p.waiting)-1): // others call the peer already
			p.mu.Unlock()
			patience = nil
			continue
		}
		p.waiting = slices.Delete(p.waiting, i, i+1)
		switch {
		case late && calls:
			p.open++
			p.mu.Unlock()
			return p.dial(ctx)
		case late:
			p.mu.Unlock()
			return nil, false, mail.LinkDown("the remote MTA "+p.peer.remoteMTA+" has called, and does not give us the turn", nil)
		}
		p.mu.Unlock()
		return nil, false, mail.LinkDown("no association to the remote MTA came free in time", ctx.Err())
	}
}

func (p *pool) take(ctx context.Context, t turn) (association, bool, error) {
	switch {
	case t.err != nil:
		return nil, false, t.err
	case t.a != nil:
		return t.a, true, nil
	}
	return p.dial(ctx)
}

// dial opens an association that open already counts. When it was the only one, those who wait fail with it: they
// would otherwise find out one after the other.
func (p *pool) dial(ctx context.Context) (association, bool, error) {
	a, err := p.peer.transport.dial(ctx, p.peer)
	if err == nil {
		return a, false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if p.open == 0 {
		p.failLocked(err)
	}
	return nil, false, err
}

// put gives back an association that can be used again.
func (p *pool) put(a association) {
	if l, ok := a.(*lent); ok {
		l.back <- true
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	two := alternates(a)
	switch {
	case p.closed:
		p.releaseLocked(a)
	case two != nil && two.wanted(): // the peer has its turn before our next message
		p.busy.Go(func() { p.attend(two) })
	case len(p.waiting) > 0:
		p.nextLocked() <- turn{a: a}
	default:
		k := &kept{a: a}
		p.idle = append(p.idle, k)
		k.timer = time.AfterFunc(p.peer.cfg.AssociationLifetime.D(), func() { p.expire(k) })
		if two != nil {
			k.heard = make(chan struct{})
			two.rest()
			p.busy.Go(func() { p.listen(k, two) })
		}
	}
}

// drop ends an association that broke. Who waits longest may open the next one.
func (p *pool) drop(a association) {
	a.abort()
	if l, ok := a.(*lent); ok {
		l.back <- false
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 && !p.closed {
		p.nextLocked() <- turn{}
		return
	}
	p.open--
}

func (p *pool) expire(k *kept) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unidle(k) {
		p.retire(k)
	}
}

// retire releases what was idle. The lock is held.
func (p *pool) retire(k *kept) {
	p.open--
	p.busy.Go(func() {
		k.hush()
		p.release(k.a)
	})
}

// releaseLocked releases a on a goroutine that close waits for.
func (p *pool) releaseLocked(a association) {
	p.open--
	p.busy.Go(func() { p.release(a) })
}

func (p *pool) release(a association) {
	ctx, cancel := context.WithTimeout(context.Background(), p.peer.cfg.Disconnect.D())
	defer cancel()
	if a.release(ctx) != nil {
		a.abort()
	}
}

// close releases what is idle, ends the peer's turns after the message in hand, and waits for both. No get is running and none
// follows.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, k := range p.idle {
		p.retire(k)
	}
	p.idle = nil
	p.mu.Unlock()
	p.end()
	p.busy.Wait()
}

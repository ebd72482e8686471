package smtp

import (
	"sync"
	"time"
)

// pool keeps conversations that are open between messages, by next hop.
type pool struct {
	idle     time.Duration
	messages int

	mu     sync.Mutex
	free   map[string][]*parked
	closed bool
}

// parked is a conversation that waits. Its timer ends it.
type parked struct {
	v     *conversation
	timer *time.Timer
}

// maxParked bounds how many conversations wait for messages to one next hop, maxParkedHops for how many next hops.
const (
	maxParked     = 50
	maxParkedHops = 500
)

func newPool(c *Config) *pool {
	return &pool{idle: c.ReuseIdle.D(), messages: c.ReuseMessages, free: map[string][]*parked{}}
}

// get gives a conversation that was kept for hop, nil when there is none.
func (p *pool) get(hop string) *conversation {
	p.mu.Lock()
	defer p.mu.Unlock()
	for list := p.free[hop]; len(list) > 0; list = p.free[hop] {
		last := list[len(list)-1] // the freshest is the likeliest to live
		p.keep(hop, list[:len(list)-1])
		if last.timer.Stop() {
			return last.v
		}
	}
	return nil
}

func (p *pool) keep(hop string, list []*parked) {
	if len(list) == 0 {
		delete(p.free, hop)
	} else {
		p.free[hop] = list
	}
}

// put keeps v for the next message, or ends it.
func (p *pool) put(hop string, v *conversation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.free[hop]
	if p.closed || p.idle <= 0 || v.sent >= p.messages || len(list) >= maxParked || len(list) == 0 && len(p.free) >= maxParkedHops {
		v.quit()
		return
	}
	e := &parked{v: v}
	e.timer = time.AfterFunc(p.idle, func() { p.expire(hop, e) })
	p.free[hop] = append(list, e)
}

func (p *pool) expire(hop string, e *parked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.free[hop]
	for i := range list {
		if list[i] == e {
			p.keep(hop, append(list[:i:i], list[i+1:]...))
			break
		}
	}
	e.v.quit()
}

// forget ends what is kept for hop: the peer has begun to close connections.
func (p *pool) forget(hop string) {
	for v := p.get(hop); v != nil; v = p.get(hop) {
		v.cut()
	}
}

// close ends everything that waits.
func (p *pool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for hop, list := range p.free {
		for _, e := range list {
			if e.timer.Stop() {
				e.v.quit()
			}
		}
		delete(p.free, hop)
	}
	return nil
}

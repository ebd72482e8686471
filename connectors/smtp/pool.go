package smtp

import (
	"slices"
	"sync"
	"time"
)

// pool keeps conversations that are open between messages, by next hop.
type pool struct {
	idle time.Duration

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
	return &pool{idle: c.ReuseIdle.D(), free: map[string][]*parked{}}
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
	if v.full() || !p.keepFor(hop, v) {
		v.quit()
	}
}

func (p *pool) keepFor(hop string, v *conversation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.free[hop]
	if p.closed || p.idle <= 0 || len(list) >= maxParked || len(list) == 0 && len(p.free) >= maxParkedHops {
		return false
	}
	e := &parked{v: v}
	e.timer = time.AfterFunc(p.idle, func() { p.expire(hop, e) })
	p.free[hop] = append(list, e)
	return true
}

func (p *pool) expire(hop string, e *parked) {
	p.mu.Lock()
	if i := slices.Index(p.free[hop], e); i >= 0 {
		p.keep(hop, slices.Delete(p.free[hop], i, i+1))
	}
	p.mu.Unlock()
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
	free := p.free
	p.closed, p.free = true, nil
	p.mu.Unlock()
	for _, list := range free {
		for _, e := range list {
			if e.timer.Stop() {
				e.v.quit()
			}
		}
	}
	return nil
}

package x400

import (
	"net"
	"sync"
	"time"
)

// idleLifetimes is how many association lifetimes a bound association may be idle before the answerer gives it up (*ours*; its
// caller releases it after one, and opens another when it has something).
const idleLifetimes = 2

// patient bounds each wait for the peer by its patience, and until it is bound all of them together, so that no caller
// holds a connection by saying an octet now and then.
type patient struct {
	net.Conn
	mu       sync.Mutex
	patience time.Duration
	by       time.Time // until bound; zero has no end
}

// bound lifts the end of the time to bind.
func (p *patient) bound() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by = time.Time{}
}

func (p *patient) wait(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patience = d
}

func (p *patient) deadline() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.by
	if p.patience > 0 {
		if each := time.Now().Add(p.patience); end.IsZero() || each.Before(end) {
			end = each
		}
	}
	return end
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(p.deadline()); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(p.deadline()); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// turnstile lets the end of the source close an association between messages, and not within one.
type turnstile struct {
	mu      sync.Mutex
	conn    net.Conn
	busy    bool
	closing bool
}

func (t *turnstile) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing = true; !t.busy {
		// the association is over either way
		t.conn.Close()
	}
}

// enter begins a message; false when the source is ending.
func (t *turnstile) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return false
	}
	t.busy = true
	return true
}

// leave ends a message, and tells whether there may be another.
func (t *turnstile) leave() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
	return !t.closing
}

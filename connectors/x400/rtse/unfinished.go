package rtse

import (
	"sync"
	"time"

	"backbone/connectors/x400/session"
)

// Unfinished remembers, for the recovery time, the transfers that lost associations interrupted: those to be resumed, and
// those that were committed but whose confirmation may have been lost. It lives as long as its process: what a crash
// loses, the sender hears of as cannot-recover, and begins anew. Its methods may be called concurrently, and on nil.
type Unfinished struct {
	keepFor time.Duration

	mu     sync.Mutex
	halves map[string]*half
	closed bool
}

type half struct {
	ref   string
	in    *incoming
	timer *time.Timer
}

// NewUnfinished keeps each for d.
func NewUnfinished(d time.Duration) *Unfinished {
	return &Unfinished{keepFor: d, halves: map[string]*half{}}
}

// key is the identity of an association: what a peer repeats of it when it recovers.
func key(r session.Ref) string {
	return string(r.Calling) + "\x00" + string(r.Common) + "\x00" + string(r.Additional)
}

// keep remembers in under the association ref.
func (u *Unfinished) keep(ref session.Ref, in *incoming) {
	if u == nil {
		in.drop()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		in.drop()
		return
	}
	k := key(ref)
	h := u.halves[k]
	if h == nil {
		h = &half{ref: k}
		u.halves[k] = h
	} else {
		h.in.drop()
		h.timer.Stop()
	}
	h.in = in
	h.timer = time.AfterFunc(u.keepFor, func() { u.expire(h, in) })
}

func (u *Unfinished) expire(h *half, in *incoming) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if h.in == in && u.halves[h.ref] == h {
		delete(u.halves, h.ref)
		in.drop()
	}
}

// Known tells whether something of the association ref can be resumed.
func (u *Unfinished) Known(ref session.Ref) bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.halves[key(ref)] != nil
}

// KnownKey is Known for a reference's three octet strings, joined by zero octets.
func (u *Unfinished) KnownKey(k string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.halves[k] != nil
}

// take gives back the transfer with the activity identifier id of the association ref. A peer writes its own reference
// as the calling one; some echo it as the called one.
func (u *Unfinished) take(ref session.Ref, id []byte) *incoming {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(ref.Calling) == 0 {
		ref.Calling = ref.Called
	}
	h := u.halves[key(ref)]
	if h == nil || string(h.in.id) != string(id) {
		return nil
	}
	delete(u.halves, h.ref)
	h.timer.Stop()
	return h.in
}

// Close discards everything.
func (u *Unfinished) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for _, h := range u.halves {
		h.timer.Stop()
		h.in.drop()
	}
	clear(u.halves)
}

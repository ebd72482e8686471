// Package pace bounds how often something happens per key: reports to one originator, messages from one host.
//
// It owns the count, never the limit: that is handed in at each call, so that a changed configuration holds at once. A
// limit is a number an hour; that many may come at once, and then they come back evenly. The count is the process's own, in
// memory, and begins anew with it; or, with a Shared, it is one that all gateways of a cluster have in common.
//
// It never fails: where a Shared gives no answer the process's own count, which knows what this process let through, decides.
// With more keys than are kept, the new ones of a kind share one count.
package pace

import (
	"context"
	"sync"
	"time"
)

// Limit is a bound on the events of one key.
type Limit struct {
	Kind    string // of key: counts of different kinds have nothing in common. Not a stranger's word
	Key     string
	PerHour int    // 0 or less: no bound, and nothing is counted
	Later   string // instead of Key for an event that an earlier limit of the same Book has put off; "": Key
}

// Shared is a count that several processes have in common. Its limits are all above 0, and it is not asked about none.
type Shared interface {
	// Take counts one event under one limit after the other, up to the first that it would be over. It returns how many have
	// counted it, and when that is not all of them, how long to wait for the next one.
	Take(ctx context.Context, limits []Limit) (counted int, wait time.Duration, err error)
	// Book counts one event under all limits and returns how long from now its turn is under each.
	Book(ctx context.Context, limits []Limit) (waits []time.Duration, err error)
}

// Pace counts per kind and key. The zero value is ready for use, by several goroutines at once.
type Pace struct {
	Shared Shared // nil: this process counts for itself

	mu    sync.Mutex
	kinds map[string]*count
}

// Take counts one event under each of the limits, in their order, up to the first that it is over: then it returns the limit's
// kind and how long to wait until one more is within it. It returns 0 when all have counted it.
func (p *Pace) Take(ctx context.Context, limits ...Limit) (wait time.Duration, over string) {
	limits = bounds(limits)
	if len(limits) == 0 {
		return 0, ""
	}
	if p.Shared != nil {
		if n, wait, err := p.Shared.Take(ctx, limits); err == nil {
			p.note(limits[:n])
			if n < len(limits) {
				return max(wait, 1), limits[n].Kind
			}
			return 0, ""
		}
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range limits {
		if wait := p.count(l.Kind).take(l.Key, l.PerHour, now); wait > 0 {
			return wait, l.Kind
		}
	}
	return 0, ""
}

// Book counts one event under all of the limits and returns how long from now its latest turn is, and the kind of the limit
// that puts it off; 0 when none does.
func (p *Pace) Book(ctx context.Context, limits ...Limit) (wait time.Duration, over string) {
	limits = bounds(limits)
	if len(limits) == 0 {
		return 0, ""
	}
	waits := p.note(limits)
	if p.Shared != nil {
		if of, err := p.Shared.Book(ctx, limits); err == nil {
			waits = of
		}
	}
	for i, w := range waits {
		if w > wait {
			wait, over = w, limits[i].Kind
		}
	}
	return wait, over
}

// note books an event in this process's own count.
func (p *Pace) note(limits []Limit) (waits []time.Duration) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	late := false
	for _, l := range limits {
		if late && l.Later != "" {
			l.Key = l.Later
		}
		w := p.count(l.Kind).book(l.Key, l.PerHour, now).Sub(now)
		late = late || w > 0
		waits = append(waits, w)
	}
	return waits
}

// count is a kind's. The lock is held.
func (p *Pace) count(kind string) *count {
	c := p.kinds[kind]
	if c == nil {
		if p.kinds == nil {
			p.kinds = map[string]*count{}
		}
		c = &count{}
		p.kinds[kind] = c
	}
	return c
}

// bounds are the limits that bound something.
func bounds(limits []Limit) (out []Limit) {
	for _, l := range limits {
		if l.PerHour > 0 {
			out = append(out, l)
		}
	}
	return out
}

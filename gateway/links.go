package gateway

import (
	"sync"
	"time"

	"backbone/gateway/mail"
	"backbone/gateway/routing"
	"backbone/queue"
)

// links remembers which next hops can't be opened. It is memory only: after a restart every link is tried afresh.
type links struct {
	mu     sync.Mutex
	m      map[queue.Dest]*link
	drains uint64 // begun so far
}

// link is one next hop that failed to open, until it opens again.
type link struct {
	since    time.Time // first failure in a row
	latest   time.Time // ...and the last
	until    time.Time // no attempt before this
	failures int       // opens that failed in a row
	last     *mail.Failure
	probing  bool // one attempt is under way to find out
	untested bool // it was due to be tried, but nothing waited for it: up until somebody knows better, or until until
	// draining: the link is up again and what waited for it is being fetched, up to cursor so far.
	draining bool
	drain    drain
}

// drain is how far one fetching of waiting mail has got. Its number tells it from one that has begun anew meanwhile.
type drain struct {
	number uint64
	after  queue.ID
}

// LinkStatus is a link that is not up, for operators.
type LinkStatus struct {
	Dest     queue.Dest    `json:"dest"`
	Since    time.Time     `json:"since"`
	Until    time.Time     `json:"until"`
	Failures int           `json:"failures"`
	Last     *mail.Failure `json:"last"`
}

func newLinks() *links { return &links{m: map[queue.Dest]*link{}} }

// failed counts one failed open, of an attempt that began at the given time, and returns true when the link was up
// before. An attempt that was already under way when the link last failed tells nothing new; the probe always does.
func (l *links) failed(d queue.Dest, f *mail.Failure, probe bool, began, now, until time.Time) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[d]
	if k != nil && !probe && !began.After(k.latest) {
		return false
	}
	if k == nil || k.draining {
		k = &link{since: now}
		l.m[d] = k
		first = true
	}
	k.failures++
	k.latest, k.until, k.last, k.probing, k.untested = now, until, f, false, false
	return first
}

// opened clears a link's failures and tells whether it had been down: then what waited for it must be fetched.
func (l *links) opened(d queue.Dest) (recovered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[d]
	if k == nil || k.draining {
		return false
	}
	l.begin(d)
	return true
}

// begin starts fetching what waits for d, from the beginning. Attempts that are still under way from before the latest failure
// tell nothing new. The lock is held.
func (l *links) begin(d queue.Dest) {
	var latest time.Time
	if k := l.m[d]; k != nil {
		latest = k.latest
	}
	l.drains++
	l.m[d] = &link{latest: latest, draining: true, drain: drain{number: l.drains}}
}

// down returns the link's state when it may not be tried at now.
func (l *links) down(d queue.Dest, now time.Time) (since, until time.Time, failures int, last *mail.Failure, down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[d]
	if k == nil || k.draining || k.untested {
		return
	}
	return k.since, k.until, k.failures, k.last, true
}

// probe returns the links that are down and due to be tried, and marks them as being probed; next is when the next
// one will be due.
func (l *links) probe(now time.Time) (due []queue.Dest, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for d, k := range l.m {
		if k.draining || k.probing {
			continue
		}
		if k.untested {
			if !k.until.After(now) {
				delete(l.m, d)
			}
			continue
		}
		if !k.until.After(now) {
			k.probing = true
			due = append(due, d)
		} else if next.IsZero() || k.until.Before(next) {
			next = k.until
		}
	}
	return due, next
}

// forgetUntested is how long a link that nobody needed keeps its history of failures.
const forgetUntested = time.Hour

// failedBefore tells a link that is down, and has not been tried since t.
func (l *links) failedBefore(d queue.Dest, t time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[d]
	return k != nil && k.latest.Before(t)
}

// idle ends a probe that found nothing to send: the next message will try the link.
func (l *links) idle(d queue.Dest, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.m[d]; k != nil && k.probing {
		k.probing, k.untested, k.until = false, true, now.Add(forgetUntested)
	}
}

// aborted ends a probe that told nothing about the link (shutdown, the entry was gone).
func (l *links) aborted(d queue.Dest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.m[d]; k != nil {
		k.probing = false
	}
}

// draining lists the recovered links whose waiting mail is still being fetched, with how far it has got.
func (l *links) draining() map[queue.Dest]drain {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out map[queue.Dest]drain
	for d, k := range l.m {
		if k.draining {
			if out == nil {
				out = map[queue.Dest]drain{}
			}
			out[d] = k.drain
		}
	}
	return out
}

// isDraining tells a recovered link whose waiting mail is still being fetched.
func (l *links) isDraining(d queue.Dest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[d]
	return k != nil && k.draining
}

// drained moves a drain on to where it has got; done ends it. It says nothing about one that began meanwhile, whose mail
// may have been passed by.
func (l *links) drained(d queue.Dest, at drain, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[d]
	if k == nil || !k.draining || k.drain.number != at.number {
		return
	}
	if done {
		delete(l.m, d)
		return
	}
	k.drain = at
}

// retryNow makes every link that is down due now: an operator said that the trouble is over.
func (l *links) retryNow(match func(queue.Dest) bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for d, k := range l.m {
		if !k.draining && !k.untested && match(d) {
			k.until = now
		}
	}
}

// resume fetches what waited behind a suspension, as after a recovery, unless the link itself is down.
func (l *links) resume(d queue.Dest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.m[d]; k == nil || k.untested || k.draining {
		l.begin(d)
	}
}

// status lists the links that are down.
func (l *links) status() []LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []LinkStatus
	for d, k := range l.m {
		if !k.draining && !k.untested {
			out = append(out, LinkStatus{Dest: d, Since: k.since, Until: k.until, Failures: k.failures, Last: k.last})
		}
	}
	return out
}

// Links lists the next hops that can't be opened at present.
func (g *Gateway) Links() []LinkStatus { return g.links.status() }

// linkState is what routing asks of a connector's next hop.
func (g *Gateway) linkState(connector, host string, now time.Time) routing.LinkState {
	d := queue.Dest{Connector: connector, Host: host}
	for _, s := range g.o.Store.Suspensions() {
		if s.Dest.Connector == connector && (s.Dest.Host == "" || s.Dest.Host == host) && (s.Until.IsZero() || s.Until.After(now)) {
			return routing.LinkState{State: routing.Suspended, Until: s.Until, Why: s.Reason, By: s.By}
		}
	}
	if since, until, n, last, down := g.links.down(d, now); down {
		why := ""
		if last != nil {
			why = last.Error()
		}
		return routing.LinkState{State: routing.OpenRetry, Since: since, Until: until, Failures: n, Why: why}
	}
	return routing.LinkState{State: routing.Up}
}

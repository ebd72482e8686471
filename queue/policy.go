package queue

import (
	"time"

	"backbone/gateway/mail"
)

// Policy is when a deferred transfer is tried again, when it is given up and when its originator hears of a delay. It
// is a set of pure functions over the item's history: nothing of it is stored with the item, so that a changed
// configuration holds for what already waits, and every item has an absolute end whatever its counters say.
type Policy struct {
	// Rules are tried in order; the first that matches decides. Without a match the interval is OpenInterval.
	Rules []Rule
	// Expiry by priority, counted from local arrival. A priority that is missing has the one of Normal.
	Expiry map[mail.Priority]time.Duration
	// DelayNotice is how long a message waits before its originator is told; 0: never.
	DelayNotice time.Duration
	// OpenInterval is the wait when no rule matches, and between looks at mail that has no route.
	OpenInterval time.Duration
}

// Sort tells the two kinds of failure that are counted and timed apart: the next hop could not be opened, or it was
// open and did not take the message.
type Sort string

const (
	AnySort  Sort = ""
	Open     Sort = "open"     // mail.ScopeLink
	Transfer Sort = "transfer" // everything else
)

// SortOf is the failure's sort.
func SortOf(f *mail.Failure) Sort {
	if f != nil && f.Scope == mail.ScopeLink {
		return Open
	}
	return Transfer
}

// Rule is the retry schedule of the failures that it matches. Empty fields match everything.
type Rule struct {
	Type      string // connector type: "smtp", "x400", "site", "msmail"
	Connector string // glob on the connector's name
	Host      string // glob on the destination
	Sort      Sort
	Class     mail.Class
	Enhanced  string // glob on the RFC 3463 code: "4.2.%"
	// Intervals are the waits after the first, second... failure; the last repeats.
	Intervals []time.Duration
}

func (r *Rule) matches(typ string, d Dest, f *mail.Failure) bool {
	if r.Type != "" && r.Type != typ || r.Sort != AnySort && r.Sort != SortOf(f) {
		return false
	}
	if r.Class != "" && (f == nil || r.Class != f.Class) || r.Enhanced != "" && (f == nil || !glob(r.Enhanced, f.Enhanced)) {
		return false
	}
	return (r.Connector == "" || glob(r.Connector, d.Connector)) && (r.Host == "" || glob(r.Host, d.Host))
}

// after is the wait after the nth failure (1 is the first).
func (r *Rule) after(n int) time.Duration {
	return r.Intervals[min(max(n, 1), len(r.Intervals))-1]
}

const (
	minute = time.Minute
	day    = 24 * time.Hour
)

// DefaultPolicy is what Exchange had (KB Q157630, Q146669, Q178539): open retry 144 x 10 min,
// transfer retry 2 x 2 min (then at the open interval), SMTP 15 min, 30 min, 1 h, then 4-hourly; expiry 2, 7 and 10 days; delay notice
// after 4 hours.
func DefaultPolicy() Policy {
	return Policy{
		Rules: []Rule{
			{Type: "smtp", Intervals: []time.Duration{15 * minute, 30 * minute, time.Hour, 4 * time.Hour}},
			{Sort: Transfer, Intervals: []time.Duration{2 * minute, 2 * minute, 10 * minute}},
			{Sort: Open, Intervals: []time.Duration{10 * minute}},
		},
		Expiry:       map[mail.Priority]time.Duration{mail.Urgent: 2 * day, mail.Normal: 7 * day, mail.NonUrgent: 10 * day},
		DelayNotice:  4 * time.Hour,
		OpenInterval: 10 * minute,
	}
}

// rule is the first match, or one made of OpenInterval.
func (p *Policy) rule(typ string, d Dest, f *mail.Failure) Rule {
	for i := range p.Rules {
		if r := &p.Rules[i]; len(r.Intervals) > 0 && r.matches(typ, d, f) {
			return *r
		}
	}
	return Rule{Intervals: []time.Duration{p.OpenInterval}}
}

// jitterPart is how much of an interval is spread at most: a tenth, always added, so that nothing is early.
const jitterPart = 10

// wait is the interval after the nth failure, with jitter from random (a value in [0,1); nil: none).
func (p *Policy) wait(typ string, d Dest, f *mail.Failure, n int, random func() float64) time.Duration {
	r := p.rule(typ, d, f)
	w := r.after(n)
	if f != nil && f.RetryAfter > w {
		w = f.RetryAfter
	}
	if random != nil {
		w += time.Duration(random() * float64(w/jitterPart))
	}
	return w
}

// Next is when it, whose latest attempt over a connector of type typ failed with f, is tried again. The failure is
// already counted in it.Tries. The time is never earlier than the matching rule's interval nor than the peer's
// RetryAfter, except that it is never later than it.Expires: then the item is due to be given up.
func (p *Policy) Next(it *Item, typ string, f *mail.Failure, now time.Time, random func() float64) time.Time {
	t := now.Add(p.wait(typ, it.Dest, f, it.Tries[it.Dest.Connector], random))
	if !it.Expires.IsZero() && t.After(it.Expires) {
		return it.Expires
	}
	return t
}

// OpenWait is how long a link of a connector of type typ rests after its nth failure to open in a row. Rules that name a
// connector, host or code are about single items and are passed over.
func (p *Policy) OpenWait(typ string, failures int, random func() float64) time.Duration {
	return p.wait(typ, Dest{}, &mail.Failure{Class: mail.Transient, Scope: mail.ScopeLink}, failures, random)
}

// ExpiryFor is how long a message of priority pr may wait.
func (p *Policy) ExpiryFor(pr mail.Priority) time.Duration {
	if d, ok := p.Expiry[pr]; ok {
		return d
	}
	return p.Expiry[mail.Normal]
}

// ExpiresAt is the absolute end: by priority from local arrival (from the deferred delivery time when that is later),
// or the originator's latest delivery time when that is earlier.
func (p *Policy) ExpiresAt(env *mail.Envelope) time.Time {
	from := env.Arrived
	if env.NotBefore.After(from) {
		from = env.NotBefore
	}
	t := from.Add(p.ExpiryFor(env.Priority))
	if !env.NotAfter.IsZero() && env.NotAfter.Before(t) {
		return env.NotAfter
	}
	return t
}

// DelayAt is when the originator should hear that the message is late, counted from its arrival or, when that is later, its
// deferred delivery time; zero: never, or he has heard already. Once a message: Delayed remembers it.
func (p *Policy) DelayAt(it *Item) time.Time {
	if p.DelayNotice <= 0 || it.Delayed {
		return time.Time{}
	}
	from := it.Envelope.Arrived
	if it.Envelope.NotBefore.After(from) {
		from = it.Envelope.NotBefore
	}
	return from.Add(p.DelayNotice)
}

// DelayDue tells that DelayAt has come.
func (p *Policy) DelayDue(it *Item, now time.Time) bool {
	at := p.DelayAt(it)
	return !at.IsZero() && !now.Before(at)
}

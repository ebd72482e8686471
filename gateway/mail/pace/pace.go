// Package pace bounds how often something happens per key: reports to one originator, messages from one host.
//
// It owns the count, never the limit: that is handed in at each call, so that a changed configuration holds at once. A
// limit is a number an hour; that many may come at once, and then they come back evenly. The count lives in
// memory and begins anew with the process. It never fails: with more keys than it keeps, the new ones share one count.
package pace

import (
	"sync"
	"time"
)

// maxKeys is how many counts are kept; each lives until it is whole again. Strangers choose some of the keys.
const maxKeys = 100_000

// Pace counts per key. The zero value is ready for use, by several goroutines at once. It is the generic cell rate algorithm
// (ITU-T I.371 Annex A, virtual scheduling): one time a key, at which the key's count is whole again.
type Pace struct {
	mu    sync.Mutex
	whole map[string]time.Time
	look  int       // size of whole at which those that have passed are dropped
	again time.Time // and not before, while every place is taken
}

// Take counts one event of key unless it is over the limit of perHour. It returns 0 when it was counted, else how long to
// wait until one more is within the limit; then nothing was counted. A limit of 0 or less is none.
func (p *Pace) Take(key string, perHour int, now time.Time) time.Duration {
	if perHour <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key, at, each := p.turn(key, perHour, now)
	if at.After(now) {
		return at.Sub(now)
	}
	p.count(key, each, now)
	return 0
}

// Book counts one event of key in any case and returns when its turn is: now, or later when the limit of perHour is
// used up. A limit of 0 or less is none.
func (p *Pace) Book(key string, perHour int, now time.Time) time.Time {
	if perHour <= 0 {
		return now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key, at, each := p.turn(key, perHour, now)
	p.count(key, each, now)
	if at.Before(now) {
		return now
	}
	return at
}

// turn finds under which key an event is counted, when its turn is, and the time between two.
func (p *Pace) turn(key string, perHour int, now time.Time) (string, time.Time, time.Duration) {
	each := time.Hour / time.Duration(perHour)
	if _, known := p.whole[key]; !known && len(p.whole) >= max(p.look, 1024) {
		if !now.Before(p.again) {
			p.forget(now)
		}
		if len(p.whole) >= maxKeys {
			key = ""
		}
	}
	return key, p.whole[key].Add(-each * time.Duration(perHour-1)), each
}

func (p *Pace) count(key string, each time.Duration, now time.Time) {
	if p.whole == nil {
		p.whole = map[string]time.Time{}
	}
	from := p.whole[key]
	if from.Before(now) {
		from = now
	}
	p.whole[key] = from.Add(each)
}

// forget drops the counts that are whole again.
func (p *Pace) forget(now time.Time) {
	for k, at := range p.whole {
		if !at.After(now) {
			delete(p.whole, k)
		}
	}
	p.look = min(2*len(p.whole), maxKeys)
	if len(p.whole) >= maxKeys {
		p.again = now.Add(10 * time.Second)
	}
}

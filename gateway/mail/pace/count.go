package pace

import "time"

// maxKeys is how many counts of a kind are kept; each lives until it is whole again. Strangers choose some of the keys.
const maxKeys = 100_000

// count is the counts of one kind in this process. It is the generic cell rate algorithm (ITU-T I.371 Annex A, virtual scheduling):
// one time a key, at which the key's count is whole again.
type count struct {
	whole map[string]time.Time
	look  int       // size of whole at which those that have passed are dropped
	again time.Time // and not before, while every place is taken
}

// take counts one event of key unless it is over the limit of perHour. It returns 0 when it was counted, else how long to
// wait until one more is within the limit; then nothing was counted.
func (c *count) take(key string, perHour int, now time.Time) time.Duration {
	key, at, each := c.turn(key, perHour, now)
	if at.After(now) {
		return at.Sub(now)
	}
	c.add(key, each, now)
	return 0
}

// book counts one event of key in any case and returns when its turn is: now, or later when the limit of perHour is used up.
func (c *count) book(key string, perHour int, now time.Time) time.Time {
	key, at, each := c.turn(key, perHour, now)
	c.add(key, each, now)
	if at.Before(now) {
		return now
	}
	return at
}

// turn finds under which key an event is counted, when its turn is, and the time between two.
func (c *count) turn(key string, perHour int, now time.Time) (string, time.Time, time.Duration) {
	each := time.Hour / time.Duration(perHour)
	if _, known := c.whole[key]; !known && len(c.whole) >= max(c.look, 1024) {
		if !now.Before(c.again) {
			c.forget(now)
		}
		if len(c.whole) >= maxKeys {
			key = ""
		}
	}
	return key, c.whole[key].Add(-each * time.Duration(perHour-1)), each
}

func (c *count) add(key string, each time.Duration, now time.Time) {
	if c.whole == nil {
		c.whole = map[string]time.Time{}
	}
	from := c.whole[key]
	if from.Before(now) {
		from = now
	}
	c.whole[key] = from.Add(each)
}

// forget drops the counts that are whole again.
func (c *count) forget(now time.Time) {
	for k, at := range c.whole {
		if !at.After(now) {
			delete(c.whole, k)
		}
	}
	c.look = min(2*len(c.whole), maxKeys)
	if len(c.whole) >= maxKeys {
		c.again = now.Add(10 * time.Second)
	}
}

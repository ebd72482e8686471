package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"backbone/queue"
)

// A system clock that jumps must cost no mail: what would expire by it is not given up, and what an earlier jump put off by
// a year does not wait for that year. *Ours.*

const (
	// jumpOf is how far the clock may be set without being doubted.
	jumpOf = time.Hour
	// doubtFor is for how long it is doubted after a jump. A clock that nobody puts right in that time is believed.
	doubtFor = 24 * time.Hour
)

// clock compares the system's clock with one that only counts.
type clock struct {
	// read gives both. The second one's zero means nothing.
	read func() (wall time.Time, counted time.Duration)

	mu      sync.Mutex
	wall    time.Time // at the last look
	counted time.Duration
	ahead   time.Duration // what the jumps since the clock was last believed add up to
	until   time.Duration // as counted: from then on it is believed again
}

func newClock(read func() (time.Time, time.Duration)) *clock {
	if read == nil {
		start := time.Now()
		read = func() (time.Time, time.Duration) {
			now := time.Now()
			return now.Round(0), now.Sub(start)
		}
	}
	c := &clock{read: read}
	c.wall, c.counted = read()
	return c
}

// look tells how far the clock has jumped since the last look, 0 when it went as it should.
func (c *clock) look() (jump time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, counted := c.read()
	jump = wall.Sub(c.wall) - (counted - c.counted)
	c.wall, c.counted = wall, counted
	if counted >= c.until {
		c.ahead = 0
	}
	if jump.Abs() < jumpOf {
		return 0
	}
	if c.ahead += jump; c.ahead.Abs() < jumpOf {
		c.ahead, c.until = 0, counted // it was put right
	} else {
		c.until = counted + doubtFor
	}
	return jump
}

// doubted tells how far the clock is off by what is known, and for how long still it is doubted; 0, 0 when it is believed. A
// jump that nobody has looked at yet counts.
func (c *clock) doubted() (ahead, left time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, counted := c.read()
	if counted < c.until {
		ahead, left = c.ahead, c.until-counted
	}
	if jump := wall.Sub(c.wall) - (counted - c.counted); jump.Abs() >= jumpOf {
		ahead, left = ahead+jump, doubtFor
	}
	if ahead.Abs() < jumpOf {
		return 0, 0
	}
	return ahead, left
}

// ClockAhead is by how much the system's clock has jumped and is doubted; 0 when it is believed.
func (g *Gateway) ClockAhead() time.Duration {
	ahead, _ := g.clock.doubted()
	return ahead
}

// ClockError says that the system's clock jumped; nil when it is believed. Until it is, no mail expires.
func (g *Gateway) ClockError() error {
	ahead, left := g.clock.doubted()
	if ahead == 0 {
		return nil
	}
	way := "forward"
	if ahead < 0 {
		way = "back"
	}
	return fmt.Errorf("the system's clock has jumped %s by %s: no mail expires until it is put right, or for %s", way, ahead.Abs().Round(time.Minute), left.Round(time.Minute))
}

// lookAtClock is called often. A jump is told; after one back, what was put off while the clock was ahead is due.
func (g *Gateway) lookAtClock(ctx context.Context) error {
	jump := g.clock.look()
	if jump == 0 {
		return nil
	}
	if err := g.ClockError(); err != nil {
		g.log.Error("clock doubted", "class", "local", "err", err)
	} else {
		g.log.Warn("the system's clock has been put right", "by", jump)
	}
	if jump < 0 {
		now, _ := g.clock.read()
		return g.BringForward(ctx, now)
	}
	return nil
}

// BringForward makes due what was put off by a clock that was ahead: mail that was last changed in what is the future.
func (g *Gateway) BringForward(ctx context.Context, now time.Time) error {
	n := 0
	_, err := g.each(ctx, queue.Filter{State: queue.Ready}, func(it queue.Item) error {
		if it.Changed.Sub(now) < jumpOf || !it.Next.After(now) || it.Envelope.NotBefore.After(now) {
			return nil
		}
		l, err := g.o.Store.LeaseID(ctx, it.ID, g.owner, g.o.LeaseFor)
		if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrLeaseLost) {
			return nil
		} else if err != nil {
			return err
		}
		keep := l.Item
		keep.Next = now
		s := &settling{g: g, lease: l, now: now, keep: []queue.Item{keep}}
		s.settle(ctx)
		n++
		return nil
	})
	if n > 0 {
		g.log.Info("mail that was put off while the clock was ahead is due now", "messages", n)
		g.wake()
	}
	return err
}

// mayExpire tells whether an item's time is over. While the clock is doubted it gets another day instead; and none gets
// more than its policy has, which a clock that was ahead may have given it.
func (g *Gateway) mayExpire(it *queue.Item, now time.Time) bool {
	from := now
	if it.Envelope.NotBefore.After(from) {
		from = it.Envelope.NotBefore
	}
	if most := from.Add(g.settings().Policy.ExpiryFor(it.Envelope.Priority)); it.Expires.After(most) {
		it.Expires = most
	}
	if it.Expires.After(now) {
		return false
	}
	if ahead, _ := g.clock.doubted(); ahead != 0 {
		it.Expires = now.Add(doubtFor)
		return false
	}
	return true
}

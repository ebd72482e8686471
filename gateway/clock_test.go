package gateway

import (
	"testing"
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
)

// watches are the two clocks of a clock under test.
type watches struct {
	wall    time.Time
	counted time.Duration
}

func (w *watches) read() (time.Time, time.Duration) { return w.wall, w.counted }

func (w *watches) pass(d time.Duration) { w.wall, w.counted = w.wall.Add(d), w.counted+d }

const year = 365 * 24 * time.Hour

func TestAClockThatJumpsIsDoubtedUntilItIsPutRightOrADayHasGone(t *testing.T) {
	for name, steps := range map[string][]struct {
		pass, set   time.Duration
		jump, ahead time.Duration
	}{
		"that goes as it should": {{pass: 100 * time.Hour}, {pass: time.Minute}},
		"that is set a little":   {{pass: time.Hour, set: 59 * time.Minute}, {set: -59 * time.Minute}},
		"forward, and right again": {
			{pass: time.Minute, set: year, jump: year, ahead: year}, {pass: 23 * time.Hour, ahead: year},
			{set: -year + time.Minute, jump: -year + time.Minute}, {pass: time.Minute},
		},
		"back, and right again":             {{set: -year, jump: -year, ahead: -year}, {pass: time.Hour, set: year, jump: year}},
		"forward, and nobody puts it right": {{set: year, jump: year, ahead: year}, {pass: 23 * time.Hour, ahead: year}, {pass: time.Hour}},
		"twice": {
			{set: year, jump: year, ahead: year}, {pass: 23 * time.Hour, set: year, jump: year, ahead: 2 * year}, {pass: 23 * time.Hour, ahead: 2 * year},
			{pass: time.Hour}, {set: -year, jump: -year, ahead: -year},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &watches{wall: time.Date(1997, 3, 14, 9, 0, 0, 0, time.UTC)}
			c := newClock(w.read)
			for i, s := range steps {
				w.pass(s.pass)
				w.wall = w.wall.Add(s.set)
				if before, _ := c.doubted(); before != s.ahead {
					t.Errorf("step %d: doubted by %s before it is looked at, want %s", i, before, s.ahead)
				}
				if jump := c.look(); jump != s.jump {
					t.Errorf("step %d: jumped by %s, want %s", i, jump, s.jump)
				}
				if ahead, left := c.doubted(); ahead != s.ahead || (ahead != 0) != (left > 0) {
					t.Errorf("step %d: doubted by %s for %s, want %s", i, ahead, left, s.ahead)
				}
			}
		})
	}
}

func TestNothingExpiresByADoubtedClockAndNothingHasMoreThanItsTime(t *testing.T) {
	w := &watches{wall: time.Date(1997, 3, 14, 9, 0, 0, 0, time.UTC)}
	g := &Gateway{clock: newClock(w.read)}
	g.force.Store(&inForce{settings: Settings{Policy: queue.DefaultPolicy()}})
	item := func(expires time.Time) *queue.Item {
		return &queue.Item{Expires: expires, Envelope: mail.Envelope{Priority: mail.Normal}}
	}
	if it := item(w.wall); !g.mayExpire(it, w.wall) {
		t.Error("what is over is not given up")
	}
	if it := item(w.wall.Add(year)); g.mayExpire(it, w.wall) || !it.Expires.Equal(w.wall.Add(7*24*time.Hour)) {
		t.Errorf("given a year by a clock that was ahead: %s", it.Expires)
	}
	it := item(w.wall.Add(year))
	it.Envelope.NotBefore = w.wall.Add(year)
	if g.mayExpire(it, w.wall) || !it.Expires.Equal(w.wall.Add(year)) {
		t.Errorf("deferred by its originator: %s", it.Expires)
	}
	it = item(w.wall.Add(time.Hour))
	w.wall = w.wall.Add(year)
	if g.mayExpire(it, w.wall) || !it.Expires.Equal(w.wall.Add(doubtFor)) {
		t.Errorf("after a jump of a year: %s", it.Expires)
	}
	if g.ClockError() == nil {
		t.Error("nobody is told")
	}
	g.clock.look()
	w.pass(doubtFor)
	if !g.mayExpire(it, w.wall) || g.ClockError() != nil {
		t.Error("a clock that nobody has put right in a day is not believed")
	}
}

package pace

import (
	"strconv"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestAnHoursNumberComesAtOnceAndThenEvenly(t *testing.T) {
	var p count
	for i := range 60 {
		if w := p.take("k", 60, start); w != 0 {
			t.Fatalf("number %d of 60 waits %s", i+1, w)
		}
	}
	if w := p.take("k", 60, start); w != time.Minute {
		t.Errorf("number 61 waits %s, want 1m", w)
	}
	if w := p.take("other", 60, start); w != 0 {
		t.Errorf("another key waits %s", w)
	}
	if w := p.take("k", 60, start.Add(time.Minute)); w != 0 {
		t.Errorf("a minute later it waits %s", w)
	}
	if w := p.take("k", 60, start.Add(time.Minute)); w != time.Minute {
		t.Errorf("and the next one %s, want 1m", w)
	}
	n := 0
	for at := range 24 * 60 * 60 {
		if p.take("k", 60, start.Add(time.Hour+time.Duration(at)*time.Second)) == 0 {
			n++
		}
	}
	if n < 24*60-1 || n > 25*60 {
		t.Errorf("a day of asking each second gave %d, want 24 hours' worth and at most one more", n)
	}
}

func TestBookedEventsGetTurns(t *testing.T) {
	var p count
	for i := range 10 {
		want := start.Add(time.Duration(max(i-3, 0)) * 15 * time.Minute)
		if got := p.book("k", 4, start); !got.Equal(want) {
			t.Errorf("number %d: %s, want %s", i+1, got, want)
		}
	}
}

func TestALimitThatChangesHoldsAtOnce(t *testing.T) {
	var p count
	for p.take("k", 2, start) == 0 {
	}
	if w := p.take("k", 200, start); w != time.Hour/200 {
		t.Errorf("under a wider limit it waits %s, want 18s", w)
	}
}

func TestKeysOfStrangersCostBoundedMemory(t *testing.T) {
	var p count
	for i := range 2 * maxKeys {
		p.take(strconv.Itoa(i), 1, start)
	}
	if len(p.whole) > maxKeys+1 {
		t.Errorf("%d keys kept", len(p.whole))
	}
	if w := p.take("new", 1, start); w == 0 {
		t.Error("with all places taken a new key has a count of its own")
	}
	if w := p.take("new", 1, start.Add(2*time.Hour)); w != 0 || len(p.whole) > 1025 {
		t.Errorf("two hours later: waits %s, %d keys kept", w, len(p.whole))
	}
}

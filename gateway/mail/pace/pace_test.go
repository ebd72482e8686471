package pace

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestALimitOfNothingIsNone(t *testing.T) {
	f := &far{}
	p := Pace{Shared: f}
	for range 1000 {
		wait, _ := p.Take(t.Context(), Limit{Kind: "k", Key: "x"}, Limit{Kind: "l", Key: "y", PerHour: -1})
		later, _ := p.Book(t.Context(), Limit{Kind: "k", Key: "x"})
		if wait != 0 || later != 0 {
			t.Fatal("something waits")
		}
	}
	if f.asked != 0 {
		t.Errorf("the cluster was asked %d times", f.asked)
	}
}

func TestOneEventUnderSeveralLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, p := range map[string]*Pace{"own": {}, "shared": {Shared: &far{}}} {
			host, sender := Limit{Kind: "host", Key: "h", PerHour: 3}, Limit{Kind: "sender", Key: "h", PerHour: 2}
			for i, want := range []string{"", "", "sender", "host"} {
				if wait, over := p.Take(t.Context(), host, sender); over != want || (wait > 0) != (want != "") {
					t.Errorf("%s, number %d: waits %s over %q, want %q", name, i+1, wait, over, want)
				}
			}
			if wait, _ := p.Take(t.Context(), Limit{Kind: "other", Key: "h", PerHour: 1}); wait != 0 {
				t.Errorf("%s: another kind of the same key waits %s", name, wait)
			}
		}
	})
}

func TestWhatAnEarlierLimitPutsOffIsCountedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, p := range map[string]*Pace{"own": {}, "shared": {Shared: &far{}}} {
			dest := Limit{Kind: "dest", Key: "d", PerHour: 2, Later: "d later"}
			for i, want := range []struct {
				wait time.Duration
				over string
			}{{0, ""}, {time.Hour, "from"}, {2 * time.Hour, "from"}} {
				if wait, over := p.Book(t.Context(), Limit{Kind: "from", Key: "f", PerHour: 1}, dest); wait != want.wait || over != want.over {
					t.Errorf("%s, number %d: %s over %q, want %+v", name, i+1, wait, over, want)
				}
			}
			if wait, over := p.Book(t.Context(), Limit{Kind: "from", Key: "g", PerHour: 1}, dest); wait != 0 {
				t.Errorf("%s: another's waits %s over %q", name, wait, over)
			}
			if wait, over := p.Book(t.Context(), Limit{Kind: "from", Key: "h", PerHour: 1}, dest); wait != 30*time.Minute || over != "dest" {
				t.Errorf("%s: a third one's waits %s over %q", name, wait, over)
			}
		}
	})
}

// far is a Shared that counts as one gateway's own does, when it answers.
type far struct {
	mu      sync.Mutex
	own     Pace
	asked   int
	answer  error
	silent  bool
	hanging int
}

func (f *far) call(ctx context.Context) error {
	f.mu.Lock()
	f.asked++
	silent, err := f.silent, f.answer
	if silent {
		f.hanging++
	}
	f.mu.Unlock()
	if silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (f *far) Take(ctx context.Context, limits []Limit) (int, time.Duration, error) {
	if err := f.call(ctx); err != nil {
		return 0, 0, err
	}
	for i, l := range limits {
		if wait, over := f.own.Take(ctx, l); over != "" {
			return i, wait, nil
		}
	}
	return len(limits), 0, nil
}

func (f *far) Book(ctx context.Context, limits []Limit) ([]time.Duration, error) {
	if err := f.call(ctx); err != nil {
		return nil, err
	}
	return f.own.note(limits), nil
}

// TestMailDoesNotStopOverALimit: the cluster's count stops answering, in two ways, and answers again.
func TestMailDoesNotStopOverALimit(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(f *far, away bool)
		each time.Duration // how long an event waits at most that finds out
	}{
		{"it is refused", func(f *far, away bool) {
			f.answer = nil
			if away {
				f.answer = errors.New("the server starts")
			}
		}, 0},
		{"it hears nothing", func(f *far, away bool) { f.silent = away }, patience},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				f := &far{}
				p := Pace{Shared: Patiently(f, slog.New(slog.NewTextHandler(&said, nil)))}
				limit := Limit{Kind: "k", Key: "x", PerHour: 60}
				take := func() (ok bool) { w, _ := p.Take(t.Context(), limit); return w == 0 }
				for range 20 {
					if !take() {
						t.Fatal("refused within the limit")
					}
				}
				c.set(f, true)
				f.asked = 0
				got := 0
				for i := range 100 { // one a second
					began := time.Now()
					if take() {
						got++
					}
					if d := time.Since(began); d > c.each {
						t.Fatalf("event %d waited %s", i, d)
					}
					time.Sleep(time.Second - time.Since(began))
				}
				// What it let through itself before is known to it, but for what has come back since: one a minute.
				if got < 41 || got > 42 {
					t.Errorf("%d let through while it was away, want 40 and one a minute", got)
				}
				if f.asked < 16 || f.asked > 21 {
					t.Errorf("asked %d times in 100 s, want once in five or six", f.asked)
				}
				c.set(f, false)
				time.Sleep(pause)
				f.asked = 0
				n := 0
				for take() {
					n++
				}
				if f.asked != n+1 || n < 40 || n > 42 {
					t.Errorf("when it is back: asked %d times, let %d through", f.asked, n)
				}
				if s := said.String(); strings.Count(s, "level=WARN") != 1 || strings.Count(s, "level=INFO") != 1 {
					t.Errorf("logged:\n%s", s)
				}
			})
		})
	}
}

// TestOnlyOneFindsOutWhetherItAnswers: the others do not wait for it.
func TestOnlyOneFindsOutWhetherItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &far{silent: true}
		p := Pace{Shared: Patiently(f, slog.New(slog.DiscardHandler))}
		p.Take(t.Context(), Limit{Kind: "k", Key: "x", PerHour: 1000})
		time.Sleep(pause)
		f.hanging = 0
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { p.Take(t.Context(), Limit{Kind: "k", Key: "x", PerHour: 1000}) })
		}
		wg.Wait()
		if f.hanging != 1 {
			t.Errorf("%d waited for it", f.hanging)
		}
	})
}

// TestAnEventThatIsNotWaitedForSaysNothing about the cluster's count.
func TestAnEventThatIsNotWaitedForSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		f := &far{silent: true}
		p := Pace{Shared: Patiently(f, slog.New(slog.NewTextHandler(&said, nil)))}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p.Take(ctx, Limit{Kind: "k", Key: "x", PerHour: 1})
		f.silent = false
		f.asked = 0
		p.Take(t.Context(), Limit{Kind: "k", Key: "x", PerHour: 9})
		if f.asked != 1 || said.Len() != 0 {
			t.Errorf("asked %d times afterwards, logged %q", f.asked, said.String())
		}
	})
}

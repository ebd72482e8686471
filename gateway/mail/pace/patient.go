package pace

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	patience = 2 * time.Second // how long a Shared may take to answer
	pause    = 5 * time.Second // how long one that did not is left alone
)

var errAway = errors.New("limits of the cluster can't be asked for")

// Patiently makes of a Shared one that answers within two seconds, or not at all: after that it is left alone for a while, and one
// event at a time finds out whether it answers again. That it does not, and that it does again, is logged once.
func Patiently(s Shared, log *slog.Logger) Shared { return &patient{shared: s, log: log} }

type patient struct {
	shared Shared
	log    *slog.Logger

	mu    sync.Mutex
	away  bool      // it did not answer last
	again time.Time // and is asked again from then on
}

func (p *patient) Take(ctx context.Context, limits []Limit) (counted int, wait time.Duration, err error) {
	err = p.ask(ctx, func(ctx context.Context) (err error) {
		counted, wait, err = p.shared.Take(ctx, limits)
		return err
	})
	return counted, wait, err
}

func (p *patient) Book(ctx context.Context, limits []Limit) (waits []time.Duration, err error) {
	err = p.ask(ctx, func(ctx context.Context) (err error) {
		waits, err = p.shared.Book(ctx, limits)
		return err
	})
	return waits, err
}

func (p *patient) ask(ctx context.Context, f func(context.Context) error) error {
	p.mu.Lock()
	if p.away && time.Now().Before(p.again) {
		p.mu.Unlock()
		return errAway
	}
	p.again = time.Now().Add(pause) // if it is away, for all but this event
	p.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := f(limited)
	if err != nil && ctx.Err() != nil {
		return err // it was not waited for: that says nothing about it
	}
	p.mu.Lock()
	was := p.away
	p.away = err != nil
	if p.away {
		p.again = time.Now().Add(pause)
	}
	p.mu.Unlock()
	switch {
	case err != nil && !was:
		p.log.Warn("limits of the cluster can't be asked for: this gateway's own count decides", "class", "local", "err", err)
	case err == nil && was:
		p.log.Info("limits hold across the cluster again")
	}
	return err
}

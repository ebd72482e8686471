package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"backbone/queue"
)

// Check is one line of /readyz.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text,omitempty"`
}

// Checker is a connector that knows whether it could work (a drop folder reachable, a listener bound).
type Checker interface {
	Check(ctx context.Context) error
}

// ServerReport is what a store knows of the server that it keeps its mail on: in a few words for an operator, and what is
// wrong with it.
type ServerReport interface {
	ServerReport(ctx context.Context) (text string, err error)
}

// Shared is a store that several gateways share.
type Shared interface {
	Gateways(ctx context.Context) ([]queue.Node, error)
}

// Gateways lists those that share the queue; none where nobody shares it.
func (s *Service) Gateways(ctx context.Context) ([]queue.Node, error) {
	if shared, ok := s.Store.(Shared); ok {
		return shared.Gateways(ctx)
	}
	return nil, nil
}

const (
	// saneSync is how long a few octets may take to become durable: each message waits that long. *Ours*.
	saneSync = 5 * time.Second
	// probeEvery is how often the store is asked at most, however often a balancer asks us.
	probeEvery = 2 * time.Second
)

// Ready tests what the gateway needs: the store takes writes in time, its server, if it has one, is as safe as it should be, drops are there, each address space has a connector
// that may serve it. A link that is down is tried again, and serves.
func (s *Service) Ready(ctx context.Context) []Check {
	var out []Check
	add := func(name string, err error) {
		c := Check{Name: name, OK: err == nil}
		if err != nil {
			c.Text = err.Error()
		}
		out = append(out, c)
	}
	add("queue", s.probeStore(ctx))
	if r, ok := s.Store.(ServerReport); ok {
		text, err := r.ServerReport(ctx)
		add("queue server", err)
		if err == nil {
			out[len(out)-1].Text = text
		}
	}
	if s.Tracking.Shared() { // mail goes on without: no reason to send it elsewhere
		c := Check{Name: "tracking", OK: true}
		if err := s.Tracking.Stats().Unshipped; err != nil {
			c.Text = "events wait here for the database: " + err.Error()
		}
		out = append(out, c)
	}
	for _, m := range s.Members {
		if c, ok := m.Connector.(Checker); ok {
			add("connector "+m.Connector.Name(), c.Check(ctx))
		}
	}
	var unserved []error
	for _, u := range s.Gateway.Unserved(time.Now()) {
		unserved = append(unserved, errors.New(u.String()))
	}
	add("address spaces", errors.Join(unserved...))
	return out
}

// probeStore sends a few octets the way of a message, or gives the answer that is not old yet.
func (s *Service) probeStore(ctx context.Context) error {
	s.probe.Lock()
	defer s.probe.Unlock()
	if at := time.Now(); s.probed.IsZero() || at.Sub(s.probed) >= probeEvery {
		err := s.Store.Probe(ctx)
		if ctx.Err() != nil {
			return ctx.Err() // the asker has gone: no answer for the next one
		}
		took := time.Since(at)
		if err == nil && took > saneSync {
			err = fmt.Errorf("a few octets became durable after %s: the disk is too slow or too busy", took.Round(time.Millisecond))
		}
		s.probed, s.probeErr = time.Now(), err
	}
	return s.probeErr
}

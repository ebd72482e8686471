package x400

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"backbone/connectors"
)

// listener is the Source of all peers that call us at one address.
type listener struct {
	env       connectors.Env
	ln        net.Listener
	transport transport
	peers     []*peer
}

// maxConnections bounds how many associations one address holds open at once, bound or not.
const maxConnections = 256

// maxUnbound bounds how many of them one host holds that have not bound yet (*ours*): so a stranger who opens connections
// and says nothing takes no peer's place.
const maxUnbound = 16

// door counts the connections of each host that have not bound.
type door struct {
	mu      sync.Mutex
	unbound map[string]int
}

// enter counts a connection from host until leave is called, which may be more than once; false when there are too many.
func (d *door) enter(host string) (leave func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unbound[host] >= maxUnbound {
		return nil, false
	}
	d.unbound[host]++
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.unbound[host]--; d.unbound[host] == 0 {
			delete(d.unbound, host)
		}
	}), true
}

// Name is "x400:" and the listening address.
func (l *listener) Name() string { return "x400:" + l.ln.Addr().String() }

// Addr is the address that the listener is bound to.
func (l *listener) Addr() net.Addr { return l.ln.Addr() }

// Serve answers callers until ctx ends, then waits until each has finished its message in hand or given it back.
func (l *listener) Serve(ctx context.Context, gw connectors.Acceptor) error {
	log := l.env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	for _, p := range l.peers {
		p.serve(gw)
	}
	stop := context.AfterFunc(ctx, func() {
		if err := l.ln.Close(); err != nil {
			log.Warn("closing the X.400 listener", "err", err)
		}
	})
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, maxConnections)
	waiting := door{unbound: map[string]int{}}
	for {
		conn, err := l.ln.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				return conn.Close()
			}
			return nil
		case err != nil:
			// Out of descriptors: those in use come free.
			log.Error("accepting an X.400 connection", "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			log.Warn("too many X.400 connections", "from", conn.RemoteAddr(), "limit", maxConnections)
			if err := conn.Close(); err != nil {
				log.Debug("closing a refused connection", "err", err)
			}
			continue
		}
		leave, ok := waiting.enter(host(conn))
		if !ok {
			<-slots
			log.Warn("too many X.400 connections that have not bound", "from", conn.RemoteAddr(), "limit", maxUnbound)
			if err := conn.Close(); err != nil {
				log.Debug("closing a refused connection", "err", err)
			}
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			defer leave()
			d := &desk{gw: gw, peers: l.peers, log: log, bound: leave}
			if err := l.transport.answer(ctx, conn, d); err != nil {
				log.Warn("X.400 association ended", "from", conn.RemoteAddr(), "err", err)
			}
		})
	}
}

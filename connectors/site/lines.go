package site

import (
	"context"
	"errors"
	"net"
	"sync"
)

// lines are a link's connections to its peer, so that closing the link closes them: net/http's idle connections are
// only those without a stream, and a stream's last bookkeeping may outlive the call.
type lines struct {
	dialer net.Dialer

	mu     sync.Mutex
	open   map[*line]bool
	closed bool
}

type line struct {
	net.Conn
	lines *lines
}

func (ls *lines) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := ls.dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l := &line{Conn: c, lines: ls}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	ls.open[l] = true
	return l, nil
}

func (l *line) Close() error {
	l.lines.mu.Lock()
	delete(l.lines.open, l)
	l.lines.mu.Unlock()
	return l.Conn.Close()
}

func (ls *lines) close() error {
	ls.mu.Lock()
	ls.closed = true
	var rest []*line
	for l := range ls.open {
		rest = append(rest, l)
	}
	ls.mu.Unlock()
	var errs []error
	for _, l := range rest {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

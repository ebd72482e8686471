package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
)

// sockets are listeners that the service manager has bound for us (sd_listen_fds(3)): that way ports below 1024 need no
// privilege, and callers that come while the daemon restarts wait instead of being refused.
type sockets struct {
	mu sync.Mutex
	ls []net.Listener
}

func inheritedSockets() (*sockets, error) {
	ls, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets from the service manager: %w", err)
	}
	out := &sockets{}
	for _, l := range ls {
		if l != nil { // a descriptor that is no stream socket
			out.ls = append(out.ls, l)
		}
	}
	return out, nil
}

// take gives the socket that is bound to the address; nil when there is none.
func (s *sockets) take(network, address string) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.ls {
		if sameAddress(l.Addr(), network, address) {
			s.ls = append(s.ls[:i], s.ls[i+1:]...)
			return l
		}
	}
	return nil
}

// listen gives the socket that is bound to the address, or binds one.
func (s *sockets) listen(network, address string) (net.Listener, error) {
	if l := s.take(network, address); l != nil {
		return l, nil
	}
	return net.Listen(network, address)
}

// unused closes the sockets that no part of the configuration asked for and names them.
func (s *sockets) unused(log *slog.Logger) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, l := range s.ls {
		log.Warn("socket of the service manager is not used: nothing in the configuration listens there", "listen", l.Addr().String())
		errs = append(errs, l.Close())
	}
	s.ls = nil
	return errors.Join(errs...)
}

// sameAddress tells whether a is what the configuration writes as address. "", 0.0.0.0 and :: are all addresses.
func sameAddress(a net.Addr, network, address string) bool {
	if network == "unix" {
		return a.Network() == "unix" && a.String() == address
	}
	bound, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != fmt.Sprint(bound.Port()) {
		return false
	}
	ip, err := netip.ParseAddr(host)
	every := host == "" || err == nil && ip.IsUnspecified()
	return every && bound.Addr().IsUnspecified() || err == nil && ip.Unmap() == bound.Addr().Unmap()
}

// notify tells the service manager how the daemon fares (sd_notify(3)); without one it does nothing.
func notify(log *slog.Logger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log.Warn("service manager not told", "state", state, "err", err)
	}
}

// watchdog gives the service manager signs of life until ctx ends, as often as it wants them: only while the queue answers
// and the links' state can be read. A daemon that stands still is restarted; nothing that was accepted is lost by that.
func (s *site) watchdog(ctx context.Context) error {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	if every == 0 {
		return nil
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		if _, err := s.service.Dests(ctx); err == nil {
			notify(s.log, sd.SdNotifyWatchdog)
		} else if ctx.Err() == nil {
			s.log.Error("no sign of life for the service manager: the queue can't be read", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

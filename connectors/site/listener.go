package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/connectors/site/sitev1/sitev1connect"

	"connectrpc.com/connect"
	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"
)

const (
	handshakeTimeout = 10 * time.Second
	maxConnections   = 256 // at one address, before and after the handshake
	drainTime        = 10 * time.Second
	streamWindow     = 512 << 10 // octets that a peer may send ahead of our reading, for each transfer
	connWindow       = 16 << 20  // and for all transfers of a connection: one slow Accept does not hold up the others
)

// listener is one address with the links whose peers call there. It implements connectors.Source.
type listener struct {
	addr     string
	socket   net.Listener
	links    []*Link
	log      *slog.Logger
	refusals rate.Sometimes // a stranger must not fill the log
	gw       connectors.Acceptor
	drain    time.Duration
	replica  func(ctx context.Context, site string, question []byte) ([]byte, error)
	trace    func(ctx context.Context, site, id string, asked []string) (connectors.Timeline, error)

	mu       sync.Mutex
	closed   bool // no handler begins any more
	handlers sync.WaitGroup
}

func listen(env connectors.Env, addr string, links []*Link) (*listener, error) {
	socket, err := env.ListenTCP(addr)
	if err != nil {
		return nil, fmt.Errorf("site link %s: listen %s: %w", links[0].cfg.Name, addr, err)
	}
	return &listener{addr: addr, socket: socket, links: links, log: env.Log, replica: env.Replica, trace: env.Trace,
		refusals: rate.Sometimes{First: 20, Interval: 5 * time.Second}, drain: drainTime}, nil
}

// Name is the listening address: the links that share it are told apart by the caller's certificate.
func (s *listener) Name() string { return "site link at " + s.addr }

// Serve takes calls until ctx ends. Then it takes no more, lets the transfers in hand end for a few seconds and breaks
// off the rest; what has arrived of those stays in the spool.
func (s *listener) Serve(ctx context.Context, gw connectors.Acceptor) error {
	s.gw = gw
	streams := 0
	for _, l := range s.links {
		streams = max(streams, l.cfg.Streams)
	}
	path, rpc := sitev1connect.NewSiteLinkHandler(s, connect.WithReadMaxBytes(frameLimit), connect.WithCompression("gzip", nil, nil),
		connect.WithRecover(s.recovered))
	mux := http.NewServeMux()
	mux.Handle(path, s.admit(rpc))
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	srv := &http.Server{
		Handler: mux, TLSConfig: s.tlsConfig(), Protocols: protocols,
		ReadHeaderTimeout: handshakeTimeout, IdleTimeout: 2 * sessionAge, MaxHeaderBytes: 16 << 10,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams + 4, MaxReceiveBufferPerStream: streamWindow,
			MaxReceiveBufferPerConnection: connWindow, SendPingTimeout: pingAfter, PingTimeout: pingWait, WriteByteTimeout: time.Minute},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // handshakes of strangers; tls.go logs those that matter
	}
	work, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() { s.sweep(work) })
	ended := make(chan error, 1)
	helpers.Go(func() { ended <- srv.ServeTLS(netutil.LimitListener(s.socket, maxConnections), "", "") })

	var err error
	select {
	case err = <-ended:
		err = fmt.Errorf("site link at %s: %w", s.addr, err)
	case <-ctx.Done():
		drain, done := context.WithTimeout(context.WithoutCancel(ctx), s.drain)
		if errors.Is(srv.Shutdown(drain), context.DeadlineExceeded) {
			s.log.Warn("site link breaks off transfers that did not end in time", "listen", s.addr)
		}
		done()
	}
	if closing := srv.Close(); closing != nil && err == nil && !errors.Is(closing, net.ErrClosed) {
		err = fmt.Errorf("site link at %s: %w", s.addr, closing)
	}
	stop()
	helpers.Wait()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.handlers.Wait()
	return err
}

// begin counts a handler in, unless Serve is about to return.
func (s *listener) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.handlers.Add(1)
	}
	return !s.closed
}

// admit lets in who holds a joined site's certificate, also when the files have changed since the handshake.
func (s *listener) admit(next http.Handler) http.Handler {
	answer := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.begin() {
			return
		}
		defer s.handlers.Done()
		l, err := s.identify(r.TLS)
		if err != nil {
			s.refusals.Do(func() { s.log.Error("site link no longer trusts a caller", "peer", r.RemoteAddr, "err", err) })
			if err := answer.Write(w, r, connect.NewError(connect.CodeUnauthenticated, err)); err != nil {
				s.log.Debug("site link could not say so", "peer", r.RemoteAddr, "err", err)
			}
			return
		}
		c := &caller{link: l, addr: r.RemoteAddr, ctl: http.NewResponseController(w)}
		if err := errors.Join(c.bound(), c.ctl.SetReadDeadline(time.Now().Add(l.cfg.Timeout.D()))); err != nil {
			s.log.Debug("site link can't bound a call", "peer", r.RemoteAddr, "err", err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// recovered turns a panic of ours into an answer about that one message, so that the link stays up for the others.
func (s *listener) recovered(_ context.Context, spec connect.Spec, _ http.Header, p any) error {
	s.log.Error("site link: a call failed in a way that nobody foresaw", "procedure", spec.Procedure, "panic", p)
	return connect.NewError(connect.CodeInternal, errors.New("internal error"))
}

// sweep removes old parts once an hour.
func (s *listener) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		for _, l := range s.links {
			if err := l.spool.sweep(time.Now()); err != nil {
				l.log.Warn("site link can't tidy its spool", "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

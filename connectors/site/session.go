package site

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"backbone/connectors/site/sitev1"
	"backbone/connectors/site/sitev1/sitev1connect"
	"backbone/gateway/mail"

	"connectrpc.com/connect"
)

const (
	// protocol is the only version that there is.
	protocol    = 1
	dialTimeout = 10 * time.Second
	// sessionAge is how long Hello's answer is believed: a peer's limits may change while the connection stays.
	sessionAge = 5 * time.Minute
	// A connection that is quiet for pingAfter is asked for a sign of life and given up after pingWait without one.
	pingAfter = 15 * time.Second
	pingWait  = 15 * time.Second
	// answerLimit bounds what a peer may answer in one piece, in octets.
	answerLimit = 64 << 10
)

// session is what Hello agreed on, with the way to the peer.
type session struct {
	client    sitev1connect.SiteLinkClient
	replica   sitev1connect.SiteLinkClient // for answers of replicaLimit
	transport *http.Transport
	trust     *trust        // the files that it was made from
	maxSize   int64         // 0: not known
	places    chan struct{} // one for each transfer at once: ours or the peer's limit, whichever is less
	until     time.Time
}

// sessions keeps the link's one session. All transfers share it, and with it one connection.
type sessions struct {
	link  *Link
	turn  chan struct{} // whoever makes a session holds it
	lines lines

	mu      sync.Mutex
	current *session
}

// open gives the session in force, or makes one. Those who come while one is being made wait for it.
func (s *sessions) open(ctx context.Context) (*session, *mail.Failure) {
	if got := s.valid(); got != nil {
		return got, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, s.link.classify(ctx, ctx.Err())
	}
	if got := s.valid(); got != nil {
		return got, nil
	}
	fresh := s.dial()
	answer, err := s.link.hello(ctx, fresh.client)
	if err != nil {
		s.drop(s.former())
		fresh.transport.CloseIdleConnections()
		if brokenOff(err) && ctx.Err() == nil {
			if v := s.link.verdict(ctx, fresh.trust); s.link.trustFailure(v) != "" {
				err = v
			}
		}
		return nil, s.link.classify(ctx, err)
	}
	fresh.maxSize, fresh.until = int64(min(answer.MaxSize, 1<<62)), time.Now().Add(sessionAge)
	places := s.link.cfg.Streams
	if n := answer.MaxTransfers; n > 0 {
		places = min(places, int(n))
	}
	s.mu.Lock()
	old := s.current
	s.current = fresh
	if fresh.places = make(chan struct{}, places); old != nil && cap(old.places) == places {
		fresh.places = old.places // transfers of before still count
	}
	s.mu.Unlock()
	if old != nil && old.transport != fresh.transport {
		old.transport.CloseIdleConnections()
	}
	return fresh, nil
}

func (s *sessions) valid() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.current; c != nil && time.Now().Before(c.until) && c.trust == s.link.keys.now() {
		return c
	}
	return nil
}

// drop gives up a session whose connection failed: the next transfer makes a new one. Calls that still run over the old
// one end by themselves.
func (s *sessions) drop(old *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old != nil && s.current == old {
		s.current = nil
		old.transport.CloseIdleConnections()
	}
}

func (s *sessions) close() error {
	s.drop(s.former())
	return s.lines.close()
}

// former is the latest session, in force or not; nil when there is none.
func (s *sessions) former() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// dial prepares a session: over the former one's connection, unless the keys have changed since.
func (s *sessions) dial() *session {
	t := s.link.keys.now()
	if old := s.former(); old != nil && old.trust == t {
		return &session{client: old.client, replica: old.replica, transport: old.transport, trust: t}
	}
	timeout := s.link.cfg.Timeout.D()
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		DialContext:            s.lines.dial,
		TLSClientConfig:        s.link.dialTLS(t),
		TLSHandshakeTimeout:    dialTimeout,
		IdleConnTimeout:        sessionAge,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
		Protocols:              protocols,
		HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true, SendPingTimeout: pingAfter, PingTimeout: pingWait,
			WriteByteTimeout: timeout},
	}
	client := func(limit int) sitev1connect.SiteLinkClient {
		return sitev1connect.NewSiteLinkClient(&http.Client{Transport: transport, CheckRedirect: refuseRedirect},
			"https://"+s.link.cfg.Peer, connect.WithReadMaxBytes(limit), connect.WithAcceptCompression("gzip", nil, nil))
	}
	return &session{client: client(answerLimit), replica: client(replicaLimit), transport: transport, trust: t}
}

// refuseRedirect keeps a peer from sending us elsewhere.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// hello agrees on the version and learns the peer's limits.
func (l *Link) hello(ctx context.Context, client sitev1connect.SiteLinkClient) (*sitev1.HelloResponse, error) {
	call, stop := context.WithTimeoutCause(ctx, l.cfg.Timeout.D(), errSilent)
	defer stop()
	answer, err := client.Hello(call, &sitev1.HelloRequest{MinVersion: protocol, MaxVersion: protocol, Site: l.site})
	if err != nil {
		return nil, causeOf(call, err)
	}
	var text string
	switch {
	case answer.Version != protocol:
		text = fmt.Sprintf("site %s answers with version %d of the site link, and this site speaks %d", l.cfg.PeerSite, answer.Version, protocol)
	case answer.Site != l.cfg.PeerSite:
		text = fmt.Sprintf("%s calls itself site %q, and peer_site is %q", l.cfg.Peer, clean(answer.Site), l.cfg.PeerSite)
	default:
		l.log.Debug("site link open", "dest", l.cfg.PeerSite, "peer", l.cfg.Peer, "max_size", answer.MaxSize)
		return answer, nil
	}
	l.log.Error("site link can't be used", "dest", l.cfg.PeerSite, "peer", l.cfg.Peer, "err", text)
	return nil, mail.LinkDown(text, nil)
}

// causeOf puts the reason for which a call was ended in the place of the bare "context canceled".
func causeOf(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

// Ping asks the peer for a sign of life and gives the round trip's time, for a link monitor. It opens the connection
// when there is none. The error is a *mail.Failure.
func (l *Link) Ping(ctx context.Context) (time.Duration, error) {
	if l.cfg.Peer == "" {
		return 0, mail.NoRoute("link " + l.cfg.Name + " has no peer address")
	}
	s, f := l.session.open(ctx)
	if f != nil {
		return 0, f
	}
	call, stop := context.WithTimeoutCause(ctx, l.cfg.Timeout.D(), errSilent)
	defer stop()
	start := time.Now()
	if _, err := s.client.Ping(call, &sitev1.PingRequest{}); err != nil {
		l.session.drop(s)
		return 0, l.classify(ctx, causeOf(call, err))
	}
	return time.Since(start), nil
}

package site

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"connectrpc.com/connect"
)

// dialTLS is the calling side: our certificate goes along and the peer's must be the one that the link expects.
func (l *Link) dialTLS(t *trust) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{t.own},
		NextProtos:   []string{"h2"},
		ServerName:   cmp.Or(l.cfg.PeerName, l.cfg.PeerSite),
		// The library's own check knows only the system's authorities; VerifyConnection takes its place, for resumed
		// connections too.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return t.verify(l.cfg.PeerSite, s.PeerCertificates)
		},
	}
}

// tlsConfig is the called side: the caller must be one of the links that share the address. Nothing it sends reaches
// HTTP before that.
func (s *listener) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			from := hello.Conn.RemoteAddr().String()
			return &tls.Config{
				MinVersion:             tls.VersionTLS13,
				NextProtos:             []string{"h2"},
				Certificates:           []tls.Certificate{s.links[0].keys.now().own},
				ClientAuth:             tls.RequireAnyClientCert,
				SessionTicketsDisabled: true, // connections are few and long: nothing to gain, less to attack
				VerifyConnection: func(cs tls.ConnectionState) error {
					_, err := s.identify(&cs)
					if err != nil {
						s.refusals.Do(func() { s.log.Error("site link refused a caller", "peer", from, "err", err) })
					}
					return err
				},
			}, nil
		},
	}
}

// identify finds the link whose peer holds the connection's certificate.
func (s *listener) identify(cs *tls.ConnectionState) (*Link, error) {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return nil, &UntrustedError{Shown: "(none shown)", Reason: "the caller must show one"}
	}
	var last error
	for _, l := range s.links {
		if last = l.keys.now().verify(l.cfg.PeerSite, cs.PeerCertificates); last == nil {
			return l, nil
		}
	}
	if len(s.links) == 1 {
		return nil, last
	}
	return nil, &UntrustedError{Shown: describe(cs.PeerCertificates[0]),
		Reason: fmt.Sprintf("none of the %d links at %s expects it", len(s.links), s.addr)}
}

// verdict finds out why a peer breaks off new connections, or returns nil when it does not. In TLS 1.3 a caller's
// handshake is over before the called side has looked at its certificate; the refusal comes instead of the first
// octets, where net/http does not pass it on.
func (l *Link) verdict(ctx context.Context, t *trust) error {
	ctx, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	c, err := (&tls.Dialer{Config: l.dialTLS(t)}).DialContext(ctx, "tcp", l.cfg.Peer)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_, err = c.Read(make([]byte, 1)) // a server of HTTP/2 speaks first
	return err
}

// brokenOff tells a call whose connection was made and then lost, so that verdict may learn more. What could not be
// dialled or stays silent has nothing to say.
func brokenOff(err error) bool {
	var op *net.OpError
	var slow net.Error
	switch {
	case connect.IsWireError(err), errors.Is(err, errSilent):
		return false
	case errors.As(err, &op) && op.Op == "dial", errors.As(err, &slow) && slow.Timeout():
		return false
	}
	return true
}

// trustFailure gives words to a handshake that failed for lack of trust, "" when that was not the reason.
func (l *Link) trustFailure(err error) string {
	var untrusted *UntrustedError
	if errors.As(err, &untrusted) {
		return fmt.Sprintf("%s does not prove to be site %s: %v", l.cfg.Peer, l.cfg.PeerSite, untrusted)
	}
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" { // crypto/tls's words for an alert of the peer
		return fmt.Sprintf("site %s refused our certificate %s (%v): check that its peer_certificate is our %s",
			l.cfg.PeerSite, describe(l.keys.now().own.Leaf), alert.Err, l.cfg.Certificate)
	}
	return ""
}

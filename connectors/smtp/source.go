package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail/pace"

	"github.com/emersion/go-smtp"
)

// Source takes mail in at the addresses of one section.
type Source struct {
	name      string
	cfg       *Config
	hostname  string
	domain    string // of the bare postmaster
	normalise bool   // line ends, instead of refusing
	log       *slog.Logger
	relay     *relayPolicy
	users     *users
	certs     *certificate
	tlsConfig *tls.Config
	clientCA  *clientCA
	listeners []*listener
	sessions  *sessions
	rates     *rates
	dkim      *dkimVerifier // nil: nothing is verified

	// Set by Serve.
	gw      connectors.Acceptor
	working context.Context // outlives Serve's by the time that sessions may take to finish
}

// newSource binds the listening addresses.
func newSource(env connectors.Env, c *Config, certs *certificate) (*Source, error) {
	s := &Source{
		name: c.Name, cfg: c, hostname: hostname(env, c), normalise: c.LineEnds == "normalise", certs: certs,
		log: env.Log.With("connector", c.Name), relay: newRelayPolicy(env.Site, c), sessions: newSessions(c), rates: &rates{cfg: c, pace: pace.Pace{Shared: env.Limits}},
	}
	s.domain = s.hostname
	if len(env.Site.Domains) > 0 {
		s.domain = env.Site.Domains[0]
	}
	var err error
	if c.Users != "" {
		if s.users, err = openUsers(env.Path(c.Users)); err != nil {
			return nil, err
		}
	}
	if s.dkim, err = newDKIMVerifier(env, c, s.hostname); err != nil {
		return nil, err
	}
	if s.clientCA, err = openClientCA(env.Path(c.ClientCA)); err != nil {
		return nil, err
	}
	if certs != nil {
		s.tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.forServer}
		for _, r := range c.Relay {
			if len(r.Certificates) > 0 {
				// Asked for, never demanded: a stranger's certificate proves nothing and must not cost him the session.
				s.tlsConfig.ClientAuth = tls.RequestClientCert
			}
		}
	}
	for _, addr := range c.Listen {
		ln, err := env.ListenTCP(addr)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.listeners = append(s.listeners, &listener{Listener: ln, src: s})
	}
	return s, nil
}

// hostname is our name on the wire.
func hostname(env connectors.Env, c *Config) string {
	switch {
	case c.Hostname != "":
		return c.Hostname
	case len(env.Site.Domains) > 0:
		return env.Site.Domains[0]
	}
	return "localhost"
}

// Name is the section's name.
func (s *Source) Name() string { return s.name }

// Addrs are the addresses that the source is bound to.
func (s *Source) Addrs() []net.Addr {
	out := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = l.Addr()
	}
	return out
}

// Serve answers clients until ctx ends. Then it accepts no more, tells idle clients that it is closing (421), lets
// messages in transfer finish for the configured time, and cuts off what is left: those clients keep their message.
func (s *Source) Serve(ctx context.Context, gw connectors.Acceptor) error {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.gw, s.working = gw, working
	srv := s.server()
	var serving sync.WaitGroup
	failed := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		serving.Go(func() {
			if err := srv.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
				failed <- fmt.Errorf("smtp: %s: %w", l.Addr(), err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, s.close())
	s.sessions.stop()
	cutting := time.AfterFunc(s.cfg.Drain.D(), func() {
		cancel()
		s.sessions.cut()
	})
	defer cutting.Stop()
	serving.Wait()
	if serr := srv.Shutdown(context.WithoutCancel(ctx)); serr != nil && !errors.Is(serr, net.ErrClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// server is go-smtp behind our gate. Timeouts, line limits and TLS are the gate's.
func (s *Source) server() *smtp.Server {
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		g, ok := c.Conn().(*gate)
		if !ok {
			return nil, &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Not our connection"}
		}
		return &session{g: g, src: s}, nil
	}))
	srv.Domain = s.hostname
	srv.MaxRecipients = s.cfg.MaxRecipients
	srv.MaxMessageBytes = s.cfg.MaxSize
	srv.MaxLineLength = 0
	srv.AllowInsecureAuth = true // the session decides
	srv.EnableSMTPUTF8 = true
	srv.EnableDSN = true
	srv.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)
	return srv
}

// cutting tells that sessions are being cut off.
func (s *Source) cutting() bool { return s.working.Err() != nil }

// idleTime is how long a client may be silent. When nearly all places are taken it is a tenth of the configured time, so
// that slow clients can't keep everyone else out.
func (s *Source) idleTime() time.Duration {
	if s.sessions.crowded() {
		return max(s.cfg.Idle.D()/10, time.Second)
	}
	return s.cfg.Idle.D()
}

// handshakeTime bounds a TLS handshake.
func (s *Source) handshakeTime() time.Duration { return min(s.cfg.Idle.D(), 30*time.Second) }

// close stops listening.
func (s *Source) close() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

package site

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"backbone/connectors"
)

// Kind is the registry's line.
var Kind = connectors.Kind{Type: "site", NewConfig: NewConfig, Open: Open}

// Open builds all site links, with one listener for each address that they name. The addresses are bound here, so that
// one in use is found at start; nobody is answered before Serve.
func Open(env connectors.Env, cfgs []connectors.Config) (connectors.Opened, error) {
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	var out connectors.Opened
	var links []*Link
	var sockets []net.Listener
	shut := func() error {
		var errs []error
		for _, l := range links {
			errs = append(errs, l.session.close())
		}
		for _, s := range sockets {
			if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // Serve has closed it
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
	fail := func(err error) (connectors.Opened, error) { return connectors.Opened{}, errors.Join(err, shut()) }

	var addrs []string
	byAddr := map[string][]*Link{}
	for _, c := range cfgs {
		cfg, ok := c.(*Config)
		if !ok {
			return fail(fmt.Errorf("site link %s: configuration is a %T", c.Base().Name, c))
		}
		absolute := *cfg
		cfg = &absolute
		cfg.Certificate, cfg.Key, cfg.PeerCertificate, cfg.CA = env.Path(cfg.Certificate), env.Path(cfg.Key), env.Path(cfg.PeerCertificate), env.Path(cfg.CA)
		if cfg.PeerSite == env.Site.Name {
			return fail(fmt.Errorf("site link %s: peer_site is %s, which is this site itself", cfg.Name, cfg.PeerSite))
		}
		l, err := newLink(env, cfg)
		if err != nil {
			return fail(err)
		}
		links = append(links, l)
		out.Connectors = append(out.Connectors, l)
		if cfg.Listen != "" {
			if _, seen := byAddr[cfg.Listen]; !seen {
				addrs = append(addrs, cfg.Listen)
			}
			byAddr[cfg.Listen] = append(byAddr[cfg.Listen], l)
		}
	}
	for _, addr := range addrs {
		if err := checkShared(byAddr[addr]); err != nil {
			return fail(err)
		}
		// A pin says more than a name that an authority vouches for: those links are asked first.
		slices.SortStableFunc(byAddr[addr], func(a, b *Link) int { return len(a.cfg.CA) - len(b.cfg.CA) })
		s, err := listen(env, addr, byAddr[addr])
		if err != nil {
			return fail(err)
		}
		sockets = append(sockets, s.socket)
		out.Sources = append(out.Sources, s)
	}
	out.Close = shut
	return out, nil
}

// checkShared finds links at one address that could not be told apart, or that would have to show different
// certificates before the caller is known.
func checkShared(links []*Link) error {
	for i, l := range links {
		for _, other := range links[:i] {
			both := fmt.Sprintf("site links %s and %s share listen = %q", other.cfg.Name, l.cfg.Name, l.cfg.Listen)
			if l.cfg.Certificate != other.cfg.Certificate || l.cfg.Key != other.cfg.Key {
				return fmt.Errorf("%s and must then share certificate and key too", both)
			}
			a, b := other.keys.now(), l.keys.now()
			samePin := slices.ContainsFunc(b.pins, func(c *x509.Certificate) bool {
				return slices.ContainsFunc(a.pins, c.Equal)
			})
			sameName := a.roots != nil && b.roots != nil && a.name == b.name
			if samePin || sameName {
				return fmt.Errorf("%s, and their peers can't be told apart: same peer certificate or name", both)
			}
		}
	}
	return nil
}

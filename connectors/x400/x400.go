// Package x400 is the X.400 Connector: it hands messages to another MTA and takes messages from it, as Exchange's
// X.400 connector did with P1 (X.411, X.419). Each configured section is one peer MTA; sections may share a listener.
//
// It owns bind and refusal, the associations to each peer (reuse, idle release, extra ones under load) and what becomes
// of a transfer when one breaks. It never decides about retry or routes: an attempt ends in one outcome per recipient,
// classified once. A message that arrives is answered only after the gateway has made it durable; a hand-over that is
// offered again, because the answer was lost, is recognised and stored once.
//
// Below it stands one package per layer: tpkt, cotp, session, presentation, acse, rtse carry transfers, p1 and p22 are the
// codecs of what is transferred, mixer maps it to the gateway's canonical form, ber is the encoding of them all.
package x400

import (
	"errors"
	"fmt"
	"net"

	"backbone/connectors"
	"backbone/connectors/x400/rtse"
)

// Kind is the registry line of this connector.
var Kind = connectors.Kind{Type: "x400", NewConfig: func() connectors.Config { return NewConfig() }, Open: Open}

// Open builds a connector for each section and a source for each address that they listen on. It binds the listening
// addresses, so that a port that is taken is an error now, but accepts nothing.
func Open(env connectors.Env, cfgs []connectors.Config) (connectors.Opened, error) {
	var opened connectors.Opened
	var all []*Connector
	listeners := map[string]*listener{}
	var order []*listener
	closeAll := func() error {
		var errs []error
		for _, c := range all {
			c.pool.close()
		}
		for _, l := range order {
			if s, ok := l.transport.(*stack); ok {
				s.unfinished.Close()
			}
			if err := l.ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
	fail := func(err error) (connectors.Opened, error) { return connectors.Opened{}, errors.Join(err, closeAll()) }
	for _, cfg := range cfgs {
		c, ok := cfg.(*Config)
		if !ok {
			return fail(fmt.Errorf("x400: section %q is a %T, not an X.400 section", cfg.Base().Name, cfg))
		}
		conn, err := newConnector(env, c)
		if err != nil {
			return fail(fmt.Errorf("x400: connector %q: %w", c.Name, err))
		}
		all = append(all, conn)
		opened.Connectors = append(opened.Connectors, conn)
		if c.Listen == "" {
			if c.Dialogue == "twa" && c.Transport == "rfc1006" {
				opened.Sources = append(opened.Sources, &receptionist{conn.peer})
			}
			continue
		}
		l := listeners[c.Listen]
		if l == nil {
			ln, err := env.ListenTCP(c.Listen)
			if err != nil {
				return fail(fmt.Errorf("x400: connector %q: %w", c.Name, err))
			}
			l = &listener{env: env, ln: ln, transport: loopback{}}
			if c.Transport == "rfc1006" {
				l.transport = &stack{unfinished: rtse.NewUnfinished(c.Recovery.D())}
			}
			listeners[c.Listen] = l
			order = append(order, l)
			opened.Sources = append(opened.Sources, l)
		}
		if len(l.peers) > 0 && l.peers[0].cfg.Transport != c.Transport {
			return fail(fmt.Errorf("x400: connector %q: %s is the listener of connector %q, with another transport", c.Name, c.Listen, l.peers[0].connector))
		}
		l.peers = append(l.peers, conn.peer)
	}
	opened.Close = closeAll
	return opened, nil
}

// Package smtp is the Internet Mail Connector: it takes mail in over SMTP, on github.com/emersion/go-smtp behind a
// gate of our own, and hands mail on to smarthosts or mail exchangers.
//
// It owns the protocol on both sides and nothing else: who may relay (relay.go), what the wire may look like
// (gate.go, command.go, body.go), what a message tells of itself (header.go), where a domain's mail goes (mx.go), and
// how content is made fit for a peer that lacks an extension (downgrade.go). It never decides about retry or routes and
// stores nothing: a message is answered 250 only after the gateway's Accept returned nil, and each recipient of an
// attempt ends in one classified outcome.
//
// How it fails: a fault of ours is always a 4xx reply; a body that could not be read to its end closes the session,
// because what follows it can't be told from commands; a lost answer to the final dot is a deferred outcome, never a
// success.
//
// go-smtp serves; its client is not used. A client without pipelining needs twice the round trips and, with its
// writer that looks at each octet, twice the CPU at 4 KB a message and 15 times at 1 MB (BenchmarkClient), and each
// of its habits that we would have to work around (clear-text EHLO before STARTTLS, raw bare CR, no downgrade, no
// deadline in DATA, ORCPT of two types) needs more code than the dialogue itself.
package smtp

import (
	"errors"
	"fmt"
	"log/slog"

	"backbone/connectors"
)

// Kind is the registry line of this connector.
var Kind = connectors.Kind{Type: "smtp", NewConfig: func() connectors.Config { return NewConfig() }, Open: Open}

// Open builds a connector for each section, and a source for each that listens. It binds the listening addresses and
// reads certificates and users, so that a mistake in them is an error now, but accepts nothing.
func Open(env connectors.Env, cfgs []connectors.Config) (connectors.Opened, error) {
	var opened connectors.Opened
	var shut []func() error
	closeAll := func() error {
		var errs []error
		for _, f := range shut {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	for _, cfg := range cfgs {
		c, ok := cfg.(*Config)
		if !ok {
			return connectors.Opened{}, errors.Join(fmt.Errorf("smtp: section %q is a %T, not an SMTP section", cfg.Base().Name, cfg), closeAll())
		}
		certs, err := newCertificate(env, c)
		if err == nil && len(c.Listen) > 0 {
			var src *Source
			if src, err = newSource(env, c, certs); err == nil {
				opened.Sources = append(opened.Sources, src)
				shut = append(shut, src.close)
			}
		}
		var conn *Connector
		if err == nil {
			conn, err = newConnector(env, c, certs)
		}
		if err != nil {
			return connectors.Opened{}, errors.Join(fmt.Errorf("smtp: connector %q: %w", c.Name, err), closeAll())
		}
		opened.Connectors = append(opened.Connectors, conn)
		shut = append(shut, conn.close)
	}
	for _, c := range opened.Connectors {
		for _, s := range opened.Sources {
			c.(*Connector).self.listen(s.(*Source))
		}
	}
	opened.Close = closeAll
	return opened, nil
}

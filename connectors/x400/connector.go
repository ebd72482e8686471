package x400

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Connector delivers to one peer MTA.
type Connector struct {
	peer   *peer
	spaces []address.Space
	pool   *pool
	log    *slog.Logger
}

func newConnector(env connectors.Env, c *Config) (*Connector, error) {
	p, err := newPeer(env, c)
	if err != nil {
		return nil, err
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	spaces, _ := c.AddressSpaces() // Check has named what is wrong with them
	p.pool = newPool(p)
	return &Connector{peer: p, spaces: spaces, pool: p.pool, log: log.With("connector", c.Name)}, nil
}

// Name is the section's name.
func (c *Connector) Name() string { return c.peer.connector }

// Spaces are the configured address spaces.
func (c *Connector) Spaces() []address.Space { return slices.Clone(c.spaces) }

// NextHop is the peer's MTA name, for every recipient.
func (c *Connector) NextHop(rcpt address.Address) (string, error) {
	if rcpt.IsZero() {
		return "", mail.UnknownRecipient("nobody can receive at the null address")
	}
	if c.peer.cfg.Peer == "" && c.peer.cfg.Dialogue != "twa" {
		return "", mail.NoRoute("the remote MTA " + c.peer.remoteMTA + " only calls us: no address is configured at which to call it")
	}
	return c.peer.remoteMTA, nil
}

// Deliver hands t to the peer over an association of its own choosing. P1 hands over a message as a whole, so every
// recipient has the same outcome; the peer reports for itself on what becomes of each (X.411 14.3).
func (c *Connector) Deliver(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	return c.outcomes(t, c.hand(ctx, t, association.transfer))
}

// Probe hands an X.411 probe to the peer, which answers with reports.
func (c *Connector) Probe(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	return c.outcomes(t, c.hand(ctx, t, association.probe))
}

func (c *Connector) outcomes(t *connectors.Transfer, err error) []mail.Outcome {
	outcome := mail.Outcome{State: mail.Delivered, Peer: "taken by MTA " + c.peer.remoteMTA, PeerReports: true}
	if err != nil {
		f := mail.AsFailure(err)
		outcome = mail.Outcome{State: mail.Deferred, Failure: f}
		if f.Final() {
			outcome.State = mail.Failed
		}
		c.log.Info("transfer not taken", "id", t.Envelope.ID, "dest", t.NextHop, "attempt", t.Attempt, "class", f.Class, "err", f)
	}
	out := make([]mail.Outcome, len(t.Envelope.Recipients))
	for i := range out {
		out[i] = outcome
	}
	return out
}

// hand transfers t. An association that was kept from an earlier message may have died meanwhile: when the peer can't
// have taken t, it is offered once more on a new one.
func (c *Connector) hand(ctx context.Context, t *connectors.Transfer, do func(association, context.Context, *connectors.Transfer) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.peer.transferTime(t))
	defer cancel()
	for {
		a, reused, err := c.pool.get(ctx)
		if err != nil {
			return err
		}
		again, err := c.over(ctx, a, reused, t, do)
		if !again {
			return err
		}
	}
}

// over hands t over a, which goes back whatever happens, a panic included: who waits for it would wait for ever.
func (c *Connector) over(ctx context.Context, a association, reused bool, t *connectors.Transfer, do func(association, context.Context, *connectors.Transfer) error) (again bool, err error) {
	back := c.pool.drop
	defer func() { back(a) }()
	if reused && !a.usable() {
		return true, nil
	}
	if ctx.Err() != nil { // too late to begin: what was begun could be taken all the same
		back = c.pool.put
		return false, mail.LinkDown("no association to the remote MTA came free in time", ctx.Err())
	}
	err = do(a, ctx, t)
	f := mail.AsFailure(err)
	if err == nil || f.Scope != mail.ScopeLink {
		back = c.pool.put
		return false, err
	}
	return reused && errors.Is(err, errUntouched) && ctx.Err() == nil, err
}

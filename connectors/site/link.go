package site

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Link is the connector to one joined site. It implements connectors.Connector.
type Link struct {
	cfg    *Config
	site   string // ours
	spaces []address.Space
	keys   *keyring
	spool  *spool
	log    *slog.Logger

	served  chan struct{} // a place for each transfer that the peer starts
	session sessions
}

var _ connectors.Connector = (*Link)(nil)

func newLink(env connectors.Env, cfg *Config) (*Link, error) {
	log := env.Log.With("connector", cfg.Name)
	spaces, bad := cfg.AddressSpaces()
	if len(bad) > 0 {
		return nil, fmt.Errorf("site link %s: %s: %s", cfg.Name, bad[0].Key, bad[0].Text)
	}
	keys, err := openKeyring(cfg, log)
	if err != nil {
		return nil, fmt.Errorf("site link %s: %w", cfg.Name, err)
	}
	l := &Link{cfg: cfg, site: env.Site.Name, spaces: spaces, keys: keys, log: log,
		served: make(chan struct{}, cfg.Streams)}
	l.session.link, l.session.turn = l, make(chan struct{}, 1)
	l.session.lines = lines{dialer: net.Dialer{Timeout: dialTimeout}, open: map[*line]bool{}}
	if cfg.Listen != "" {
		dir, err := env.Dir(cfg.Name)
		if err != nil {
			return nil, fmt.Errorf("site link %s: %w", cfg.Name, err)
		}
		if l.spool, err = openSpool(dir, spoolCount, cfg.SpoolSize, cfg.SpoolAge.D()); err != nil {
			return nil, fmt.Errorf("site link %s: %w", cfg.Name, err)
		}
	}
	return l, nil
}

// Name is the name given in the configuration.
func (l *Link) Name() string { return l.cfg.Name }

// Spaces are the configured ones: nothing follows from a link's nature. Which post offices lie behind a site is for
// the directory to say.
func (l *Link) Spaces() []address.Space { return slices.Clone(l.spaces) }

// NextHop is the peer's site name, for any address.
func (l *Link) NextHop(rcpt address.Address) (string, error) {
	if rcpt.IsZero() {
		return "", mail.UnknownRecipient("there is no recipient address")
	}
	if l.cfg.Peer == "" {
		return "", mail.NoRoute(fmt.Sprintf("site %s can't be called over link %s: it has no peer address", l.cfg.PeerSite, l.cfg.Name))
	}
	return l.cfg.PeerSite, nil
}

// Deliver hands t over whole: the peer takes responsibility for all recipients or for none. Delivered therefore comes
// with PeerReports: each recipient's Notify travels along and the far site answers it, NOTIFY=SUCCESS included, so a
// positive report from here would be the second one.
func (l *Link) Deliver(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	o := mail.Outcome{State: mail.Delivered, PeerReports: true}
	words, f := l.handOver(ctx, t)
	switch {
	case f == nil:
		o.Peer = words
	case f.Final():
		o = mail.Outcome{State: mail.Failed, Failure: f}
	default:
		o = mail.Outcome{State: mail.Deferred, Failure: f}
	}
	return slices.Repeat([]mail.Outcome{o}, len(t.Envelope.Recipients))
}

// handOver makes the attempt and gives the peer's words on success.
func (l *Link) handOver(ctx context.Context, t *connectors.Transfer) (string, *mail.Failure) {
	size := t.Content.Size()
	switch {
	case l.cfg.Peer == "":
		return "", mail.NoRoute("link " + l.cfg.Name + " has no peer address")
	case l.cfg.MaxSize > 0 && size > l.cfg.MaxSize:
		return "", mail.TooLarge(fmt.Sprintf("%d octets, and link %s carries at most %d", size, l.cfg.Name, l.cfg.MaxSize))
	}
	offer, f := l.offer(t, size)
	if f != nil {
		return "", f
	}
	s, f := l.session.open(ctx)
	if f != nil {
		return "", f
	}
	if s.maxSize > 0 && size > s.maxSize {
		return "", mail.TooLarge(fmt.Sprintf("%d octets, and site %s takes at most %d", size, l.cfg.PeerSite, s.maxSize))
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
		return "", l.classify(ctx, ctx.Err())
	}
	if f := enclose(offer, t.Content); f != nil {
		return "", f
	}
	taken, f := l.send(ctx, s, offer, t.Content)
	if f != nil {
		if f.Scope == mail.ScopeLink {
			l.session.drop(s)
		}
		return "", f
	}
	if taken.Duplicate {
		return fmt.Sprintf("site %s already had it as %s", l.cfg.PeerSite, clean(taken.Id)), nil
	}
	return fmt.Sprintf("site %s took it as %s", l.cfg.PeerSite, clean(taken.Id)), nil
}

// wireKey is key where it can stand in the protocol, else a hash of it.
func wireKey(key string) string {
	if validKey(key) {
		return key
	}
	return fmt.Sprintf("sha256-%x", sha256.Sum256([]byte(key)))
}

func validKey(key string) bool { return key != "" && len(key) <= maxKey && printable(key) }

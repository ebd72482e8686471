package x400

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/mixer"
	"backbone/connectors/x400/p1"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// transport opens associations to a peer MTA and answers those that it opens.
type transport interface {
	// dial connects to p and binds. The error is a *mail.Failure of link scope.
	dial(ctx context.Context, p *peer) (association, error)
	// answer runs one incoming connection from its bind to its release. It returns nil after an orderly release, and
	// when ctx ends: then the message in hand was finished or given back. It closes conn.
	answer(ctx context.Context, conn net.Conn, d *desk) error
}

// association is one bound connection on which we may transfer. One goroutine at a time uses it.
type association interface {
	// probe asks what would become of a message with t's envelope; the answer comes as a report.
	probe(ctx context.Context, t *connectors.Transfer) error
	// transfer hands t over; nil means that the peer has taken responsibility. A *mail.Failure whose scope is not
	// the link leaves the association usable; after any other error it is not.
	transfer(ctx context.Context, t *connectors.Transfer) error
	// usable tells whether the peer still has an association that was kept idle, as far as can be seen from here.
	usable() bool
	// release ends the association in order, within ctx.
	release(ctx context.Context) error
	// abort ends it at once.
	abort()
}

// errUntouched goes with a failed transfer that the peer can't have taken: it may be offered again at once.
var errUntouched = errors.New("the peer has not taken the message")

// peer is one remote MTA and how we and it speak.
type peer struct {
	connector string // name of the section
	cfg       *Config
	transport transport

	localMTA, localPassword   string
	remoteMTA, remotePassword string

	site      connectors.Site
	dir       string // for spool files
	gdi       p1.GDI
	addresses *mixer.Addresses
	log       *slog.Logger
	gw        atomic.Pointer[connectors.Acceptor] // once its source serves
	served    chan struct{}                       // closed then
	pool      *pool
}

// serve begins to take the peer's mail for gw.
func (p *peer) serve(gw connectors.Acceptor) {
	if p.gw.Swap(&gw) == nil {
		close(p.served)
	}
}

// notCalled is why nothing can be sent to a peer that only calls us.
func (p *peer) notCalled() *mail.Failure {
	return mail.LinkDown("the remote MTA "+p.remoteMTA+" has not called: it only calls us", nil)
}

func newPeer(env connectors.Env, c *Config) (*peer, error) {
	p := &peer{connector: c.Name, served: make(chan struct{}), cfg: c, localMTA: c.LocalMTA, remoteMTA: c.RemoteMTA}
	if p.localMTA == "" {
		p.localMTA = env.Site.Name
	}
	var err error
	if p.localPassword, err = env.Secret(c.LocalPassword); err != nil {
		return nil, fmt.Errorf("local_password: %w", err)
	}
	if p.remotePassword, err = env.Secret(c.RemotePassword); err != nil {
		return nil, fmt.Errorf("remote_password: %w", err)
	}
	for key, pw := range map[string]string{"local_password": p.localPassword, "remote_password": p.remotePassword} {
		if len(pw) > maxPassword {
			return nil, fmt.Errorf("%s has %d octets: at most %d (X.411 ub-password-length)", key, len(pw), maxPassword)
		}
	}
	if p.log = env.Log; p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.site = env.Site
	if c.Transport == "loopback" {
		p.transport = loopback{}
		return p, nil
	}
	return p, p.forP1(env)
}

// forP1 prepares what only the real stack needs.
func (p *peer) forP1(env connectors.Env) error {
	var err error
	if p.dir, err = env.Dir(p.cfg.Name); err != nil {
		return err
	}
	p.addresses = &mixer.Addresses{Book: env.Book, Ours: env.Site.X400}
	if len(env.Site.Domains) > 0 {
		p.addresses.Domain = env.Site.Domains[0]
	}
	domain := env.Site.X400
	if p.cfg.GDI != "" {
		if domain, err = address.ParseORAddress(p.cfg.GDI); err != nil {
			return fmt.Errorf("gdi: %w", err)
		}
	}
	if env.Site.X400.C == "" || domain.C == "" {
		return errors.New("the site has no O/R address with a country: X.400 can't be spoken without one")
	}
	p.gdi = p1.GDI{Country: domain.C, ADMD: domain.A, PRMD: domain.P}
	if p.gdi.ADMD == "" {
		p.gdi.ADMD = " "
	}
	if p.cfg.RemoteAddress != "" {
		if p.addresses.Theirs, err = address.ParseORAddress(p.cfg.RemoteAddress); err != nil {
			return fmt.Errorf("remote_address: %w", err)
		}
	}
	for _, m := range p.cfg.Mappings {
		or, err := address.ParseORAddress(m.Address)
		if err != nil {
			return fmt.Errorf("mapping: %w", err)
		}
		p.addresses.Table = append(p.addresses.Table, mixer.Mapping{Domain: m.Domain, OR: or})
	}
	for _, table := range []struct {
		key, file string
		way       mixer.Way
	}{{"or2rfc", p.cfg.OR2RFC, mixer.ToDomain}, {"rfc2or", p.cfg.RFC2OR, mixer.ToOR}} {
		if table.file == "" {
			continue
		}
		f, err := os.Open(env.Path(table.file))
		if err != nil {
			return fmt.Errorf("%s: %w", table.key, err)
		}
		all, err := mixer.ReadTable(f, table.way)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %s: %w", table.key, table.file, err)
		}
		p.addresses.Table = append(p.addresses.Table, all...)
	}
	p.transport = &stack{}
	return nil
}

// mapper maps contents as this peer takes them.
func (p *peer) mapper(note func(mail.Note)) *mixer.Mapper {
	return &mixer.Mapper{Addresses: p.addresses, Bilateral: !p.cfg.BP15, Note: note,
		Options: p1.Options{Stack1984: p.cfg.Mode == "1984", ExplicitExtensionType: p.cfg.OldExtensions}}
}

// knows compares a name and password that the other side presented with those configured. Names compare without regard
// to case, passwords octet by octet (X.411 8.1.1; KB Q169159).
func (p *peer) knows(name, password string) bool {
	return strings.EqualFold(name, p.remoteMTA) && subtle.ConstantTimeCompare([]byte(password), []byte(p.remotePassword)) == 1
}

// transferTime is how long t may take: Exchange's seconds per KB, by priority.
func (p *peer) transferTime(t *connectors.Transfer) time.Duration {
	perKB := p.cfg.TimeoutNormal.D()
	switch {
	case t.Envelope.Priority > mail.Normal:
		perKB = p.cfg.TimeoutUrgent.D()
	case t.Envelope.Priority < mail.Normal:
		perKB = p.cfg.TimeoutNonUrgent.D()
	}
	const longest = 30 * 24 * time.Hour
	kb := int64(1)
	if t.Content != nil { // a probe may have none
		kb += t.Content.Size() / 1024
	}
	if kb > int64(longest/perKB) {
		return longest
	}
	return time.Duration(kb) * perKB
}

// desk is where incoming associations present themselves and their messages: the gateway, as one listener sees it.
type desk struct {
	gw    connectors.Acceptor
	peers []*peer
	log   *slog.Logger
	bound func() // called once the caller has bound
}

// admit finds the peer that presents name and password. False means authentication-error to the caller; who
// attempted it is logged here (Exchange's event 51).
func (d *desk) admit(name, password, from string) (*peer, bool) {
	for _, p := range d.peers {
		if p.knows(name, password) {
			return p, true
		}
	}
	d.log.Warn("unknown MTA has attempted to bind", "peer", name, "from", from)
	return nil, false
}

// patience is how long a caller may take to bind: the longest of its possible peers'.
func (d *desk) patience() time.Duration {
	var longest time.Duration
	for _, p := range d.peers {
		longest = max(longest, p.cfg.Disconnect.D())
	}
	return longest
}

package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Connector hands mail to the smarthosts of one section, or to the mail exchangers of its recipients' domains.
type Connector struct {
	cfg       *Config
	hostname  string
	site      connectors.Site
	book      connectors.AddressBook
	log       *slog.Logger
	spaces    []address.Space
	smart     []target // nil: mail exchangers
	domain    string   // under which recipients of other types are encapsulated; "": they can't be served
	password  string
	tlsConfig *tls.Config
	resolver  *net.Resolver
	self      selfNames
	pool      *pool
	sts       *stsPolicies // nil: none are asked for
	dkim      *dkimSigner  // nil: nothing is signed
}

func newConnector(env connectors.Env, c *Config, certs *certificate) (*Connector, error) {
	k := &Connector{cfg: c, hostname: hostname(env, c), site: env.Site, book: env.Book, log: env.Log.With("connector", c.Name),
		resolver: newResolver(c.DNS), domain: c.EncapsulateDomain}
	if k.domain == "" && len(env.Site.Partners) == 1 {
		k.domain = env.Site.Partners[0]
	}
	k.spaces, _ = c.AddressSpaces() // Check has named what is wrong with them
	for _, h := range c.Smarthosts {
		host, port, err := splitHost(h, c.Port)
		if err != nil {
			return nil, err
		}
		k.smart = append(k.smart, target{host: host, port: port})
	}
	var err error
	if k.password, err = env.Secret(c.Password); err != nil {
		return nil, err
	}
	if k.dkim, err = newDKIMSigner(env, c); err != nil {
		return nil, err
	}
	if c.MTASTS && c.TLS != "off" {
		k.sts = newSTSPolicies(k.resolver, k.log)
	}
	k.tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetClientCertificate: certs.forClient, InsecureSkipVerify: c.TLS != "verify"}
	if c.CA != "" {
		if k.tlsConfig.RootCAs, err = readPool(env.Path(c.CA)); err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
	}
	k.self.add(k.hostname)
	k.pool = newPool(c)
	return k, nil
}

// Name is the section's name.
func (c *Connector) Name() string { return c.cfg.Name }

// Spaces are the configured address spaces.
func (c *Connector) Spaces() []address.Space { return slices.Clone(c.spaces) }

// NextHop is the first smarthost as configured, else the recipient's domain. An address of another type goes
// encapsulated to the partner's domain; without one it can't be served.
func (c *Connector) NextHop(rcpt address.Address) (string, error) {
	mb, err := c.mailbox(rcpt)
	if err != nil {
		return "", err
	}
	if len(c.smart) > 0 {
		return c.cfg.Smarthosts[0], nil
	}
	return mb.Domain, nil
}

// mailbox is the recipient as SMTP can carry him.
func (c *Connector) mailbox(rcpt address.Address) (address.Mailbox, error) {
	switch {
	case rcpt.IsZero():
		return address.Mailbox{}, mail.UnknownRecipient("a recipient can't be null")
	case rcpt.Type != address.SMTP && c.domain == "":
		return address.Mailbox{}, mail.NoRoute(fmt.Sprintf("no domain is configured under which %s addresses go over SMTP (encapsulate_domain)", rcpt.Type))
	case rcpt.Type != address.SMTP:
		rcpt = address.Encapsulate(rcpt, c.domain)
	}
	mb, err := rcpt.SMTP()
	switch {
	case err != nil:
		return address.Mailbox{}, mail.UnknownRecipient("bad address: " + why(err))
	case mb.Domain == "":
		return address.Mailbox{}, mail.UnknownRecipient("an address without domain can't leave this site")
	}
	return mb, nil
}

// originator is the reverse path: null for reports.
func (c *Connector) originator(env *mail.Envelope) (address.Mailbox, error) {
	if env.Originator.IsZero() || env.Kind == mail.KindReport {
		return address.Mailbox{}, nil
	}
	return c.book.As(env.Originator, address.SMTP).SMTP()
}

// close ends the connections that wait for the next message.
func (c *Connector) close() error { return c.pool.close() }

// forHost is the TLS configuration for one host.
func (c *Connector) forHost(host string, strict bool) *tls.Config {
	t := c.tlsConfig.Clone()
	t.ServerName = host
	if strict && t.InsecureSkipVerify {
		t.InsecureSkipVerify, t.RootCAs = false, c.sts.roots
	}
	return t
}

// selfNames tells our own hosts from others.
type selfNames struct {
	names []string
	addrs []net.Addr // where we listen
}

func (s *selfNames) add(hostname string) { s.names = append(s.names, hostname) }

func (s *selfNames) listen(src *Source) {
	s.add(src.hostname)
	s.addrs = append(s.addrs, src.Addrs()...)
}

func (s *selfNames) named(host string) bool {
	return slices.ContainsFunc(s.names, func(n string) bool { return strings.EqualFold(n, host) })
}

// listens tells that a connection to addr would reach ourselves.
func (s *selfNames) listens(addr string) bool {
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(s.addrs, func(a net.Addr) bool {
		own, ok := a.(*net.TCPAddr)
		if !ok || own.Port != to.Port {
			return false
		}
		return own.IP.Equal(to.IP) || own.IP.IsUnspecified() && isOwnIP(to.IP)
	})
}

func isOwnIP(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

// cancelled is the failure of an attempt that was told to stop.
func cancelled(ctx context.Context) *mail.Failure {
	f := mail.LinkDown("the attempt was stopped", context.Cause(ctx))
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		f.Text = "the attempt took too long"
	}
	return f
}

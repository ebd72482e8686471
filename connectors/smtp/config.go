package smtp

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
)

// Config is one SMTP connector's section: a listener, a way out, or both.
type Config struct {
	connectors.Common
	Hostname    string `toml:"hostname" doc:"our name in greeting, EHLO and Received; default the site's first domain"`
	Certificate string `toml:"certificate" doc:"PEM file with certificate and chain, for STARTTLS; read again when it changes"`
	Key         string `toml:"key" doc:"PEM file with the certificate's private key; default the certificate's file"`

	Listen         []string            `toml:"listen" doc:"addresses to take mail at, host:port; empty: outbound only"`
	MaxRecipients  int                 `toml:"max_recipients" doc:"recipients of one transaction; further ones are answered 452"`
	MaxConnections int                 `toml:"max_connections" doc:"sessions at once; further clients are answered 421"`
	MaxPerHost     int                 `toml:"max_per_host" doc:"sessions at once from one address"`
	HostRate       int                 `toml:"messages_per_host" doc:"messages an hour from one address (IPv6: one /64), partners excepted: that many at once, further ones are answered 450; 0: no bound"`
	SenderRate     int                 `toml:"messages_per_sender" doc:"messages an hour with one envelope sender, in the same way; 0: no bound"`
	DestRate       int                 `toml:"recipients_per_destination" doc:"recipients an hour at one domain, post office or PRMD, in the same way; 0: no bound"`
	Idle           connectors.Duration `toml:"idle" doc:"longest silence of a client (RFC 5321 4.5.3.2.7: at least 5m)"`
	Session        connectors.Duration `toml:"session" doc:"longest session, however busy"`
	Drain          connectors.Duration `toml:"drain" doc:"on shutdown, how long messages in transfer may take to finish"`
	GreetingDelay  connectors.Duration `toml:"greeting_delay" doc:"wait before the greeting, and turn away who talks first; 0s: do not wait"`
	LineEnds       string              `toml:"line_ends" doc:"bare CR or LF in a message: reject (550 5.6.11) or normalise (to CRLF)"`
	Users          string              `toml:"users" doc:"file of name:hash lines for AUTH, bcrypt (htpasswd -B) or argon2id; read again when it changes"`
	LoopbackAuth   bool                `toml:"auth_on_loopback" doc:"offer AUTH without TLS to clients on this machine"`
	ClientCA       string              `toml:"client_ca" doc:"PEM file with the CAs whose client certificates prove a name to relay rules"`
	AnyoneTo       []string            `toml:"anyone_to" doc:"addresses beyond our own domains to which anyone may send in encapsulated form, as TYPE:pattern"`
	DKIMVerify     bool                `toml:"dkim_verify" doc:"say in Authentication-Results whether the DKIM signatures of what comes in hold; nothing is refused for it"`
	Relay          []Relay             `toml:"relay" doc:"who may send to everything else; nobody without a rule"`

	Smarthosts        []string            `toml:"smarthost" doc:"hosts that take all our mail, host or host:port, in order; empty: mail exchangers from DNS"`
	Port              int                 `toml:"port" doc:"port of mail exchangers, and of smarthosts written without one"`
	TLS               string              `toml:"tls" doc:"STARTTLS outbound: opportunistic, required (encrypted to whomever), verify (certificate and name checked) or off"`
	MTASTS            bool                `toml:"mta_sts" doc:"keep to what the recipients' domain says of its mail exchangers (MTA-STS, RFC 8461): only those it names, over TLS with a certificate for their name"`
	CA                string              `toml:"ca" doc:"PEM file with the CAs for tls = verify; default the system's"`
	User              string              `toml:"user" doc:"name for AUTH at the smarthost; empty: none"`
	Password          connectors.Secret   `toml:"password" doc:"password for it; @file reads it from a file"`
	DKIMKey           string              `toml:"dkim_key" doc:"PEM file with the private key (RSA of 2048 bits or more, or Ed25519) that signs mail from our domains; empty: none is signed"`
	DKIMSelector      string              `toml:"dkim_selector" doc:"name under which the key stands in DNS: <selector>._domainkey.<domain>"`
	DKIMDomains       []string            `toml:"dkim_domains" doc:"domains in From that are signed for; default the site's"`
	Partner           bool                `toml:"partner" doc:"the peer is a joined site's gateway: the trace goes along, and repeated hand-overs are recognised there"`
	EncapsulateDomain string              `toml:"encapsulate_domain" doc:"domain of the peer under which MS and X400 recipients are encapsulated (IMCEA); default the only partner domain"`
	DNS               string              `toml:"dns" doc:"name server to ask, host:port; default the system's"`
	ConnectTimeout    connectors.Duration `toml:"connect_timeout" doc:"longest wait for a connection to one address"`
	ReplyTimeout      connectors.Duration `toml:"reply_timeout" doc:"longest wait for a reply, and for a block of data to be taken (RFC 5321 4.5.3.2: 5m)"`
	FinalTimeout      connectors.Duration `toml:"final_timeout" doc:"longest wait for the reply to the final dot (RFC 5321 4.5.3.2.6: 10m)"`
	ReuseIdle         connectors.Duration `toml:"reuse_idle" doc:"how long a connection is kept for the next message; 0s: one message a connection"`
	ReuseMessages     int                 `toml:"reuse_messages" doc:"messages over one connection"`
}

// Relay lets some clients send beyond our own domains. A client matches when it is in one of the networks, or
// authenticated as one of the users, or presented one of the certificates.
type Relay struct {
	Networks     []string `toml:"networks" doc:"addresses or networks: 192.0.2.0/24, 2001:db8::1"`
	Users        []string `toml:"users" doc:"names authenticated by AUTH; * for any"`
	Certificates []string `toml:"certificates" doc:"client certificates: sha256:<fingerprint>, or a DNS name proved by client_ca"`
	From         []string `toml:"from" doc:"originators, as TYPE:pattern; empty: any"`
	To           []string `toml:"to" doc:"recipients after decoding, as TYPE:pattern; empty: any"`
	Partner      bool     `toml:"partner" doc:"these clients are joined sites: their trace is believed, and mail for system mailboxes taken"`
}

// NewConfig has the defaults: nobody may relay, mail goes to mail exchangers, encrypted where they offer it.
func NewConfig() *Config {
	d := func(t time.Duration) connectors.Duration { return connectors.Duration(t) }
	return &Config{
		Common:        connectors.Common{MaxSize: 35 << 20},
		MaxRecipients: 5000, MaxConnections: 1000, MaxPerHost: 200,
		Idle: d(5 * time.Minute), Session: d(4 * time.Hour), Drain: d(30 * time.Second),
		LineEnds: "reject", AnyoneTo: []string{"MS:", "X400:"},
		Port: 25, TLS: "opportunistic", MTASTS: true,
		ConnectTimeout: d(30 * time.Second), ReplyTimeout: d(5 * time.Minute), FinalTimeout: d(10 * time.Minute),
		ReuseIdle: d(10 * time.Second), ReuseMessages: 1000,
	}
}

// problems collects what Check finds.
type problems []connectors.Problem

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, connectors.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
}

// Check names each wrong value.
func (c *Config) Check() []connectors.Problem {
	var bad problems
	_, spaces := c.AddressSpaces()
	bad = append(bad, spaces...)
	if c.Hostname != "" && !isDomain(c.Hostname) {
		bad.add("hostname", "%q is not a host name", c.Hostname)
	}
	if c.Certificate == "" && c.Key != "" {
		bad.add("key", "a key needs a certificate")
	}
	c.checkInbound(&bad)
	c.checkOutbound(&bad)
	slices.SortStableFunc(bad, func(a, b connectors.Problem) int { return cmp.Compare(a.Key, b.Key) })
	return bad
}

func (c *Config) checkInbound(bad *problems) {
	for i, l := range c.Listen {
		if _, port, err := net.SplitHostPort(l); err != nil || port == "" {
			bad.add(fmt.Sprintf("listen[%d]", i), "%q: write host:port, or :port for every address", l)
		}
	}
	bad.atLeast("max_recipients", c.MaxRecipients, 100) // RFC 5321 4.5.3.1.8
	bad.atLeast("max_connections", c.MaxConnections, 1)
	bad.atLeast("max_per_host", c.MaxPerHost, 1)
	if c.MaxSize < 0 {
		bad.add("max_size", "%d is negative", c.MaxSize)
	}
	bad.atLeast("messages_per_host", c.HostRate, 0)
	bad.atLeast("messages_per_sender", c.SenderRate, 0)
	bad.atLeast("recipients_per_destination", c.DestRate, 0)
	bad.positive("idle", c.Idle)
	bad.positive("session", c.Session)
	bad.positive("drain", c.Drain)
	if c.GreetingDelay.D() > 2*time.Minute {
		bad.add("greeting_delay", "%s: clients wait for the greeting 5 minutes, many less; write 2m or less", c.GreetingDelay)
	}
	switch c.LineEnds {
	case "reject", "normalise":
	default:
		bad.add("line_ends", "%q: write reject or normalise", c.LineEnds)
	}
	if c.LoopbackAuth && c.Users == "" {
		bad.add("auth_on_loopback", "needs users")
	}
	bad.patterns("anyone_to", c.AnyoneTo)
	for i := range c.Relay {
		c.Relay[i].check(fmt.Sprintf("relay[%d].", i), c, bad)
	}
}

func (r *Relay) check(at string, c *Config, bad *problems) {
	if len(r.Networks)+len(r.Users)+len(r.Certificates) == 0 {
		bad.add(at+"networks", "this rule matches nobody: name networks, users or certificates")
	}
	for i, n := range r.Networks {
		if _, err := parseNetwork(n); err != nil {
			bad.add(fmt.Sprintf("%snetworks[%d]", at, i), "%q: write an address or a network such as 192.0.2.0/24", n)
		}
	}
	if len(r.Users) > 0 && c.Users == "" {
		bad.add(at+"users", "needs the key users, the file of names and hashes")
	}
	for i, n := range r.Certificates {
		key := fmt.Sprintf("%scertificates[%d]", at, i)
		if fp, ok := strings.CutPrefix(n, "sha256:"); ok {
			if b, err := hex.DecodeString(fp); err != nil || len(b) != 32 {
				bad.add(key, "%q: a fingerprint is sha256: and 64 hex digits", n)
			}
		} else if c.ClientCA == "" {
			bad.add(key, "%q: a name needs client_ca; without it write sha256:<fingerprint>", n)
		}
	}
	if len(r.Certificates) > 0 && c.Certificate == "" {
		bad.add(at+"certificates", "clients present certificates over TLS only: set certificate")
	}
	bad.patterns(at+"from", r.From)
	bad.patterns(at+"to", r.To)
}

func (c *Config) checkOutbound(bad *problems) {
	for i, h := range c.Smarthosts {
		if _, _, err := splitHost(h, c.Port); err != nil {
			bad.add(fmt.Sprintf("smarthost[%d]", i), "%q: write host or host:port", h)
		}
	}
	if c.Port < 1 || c.Port > 65535 {
		bad.add("port", "%d is outside 1..65535", c.Port)
	}
	switch c.TLS {
	case "opportunistic", "required", "verify", "off":
	default:
		bad.add("tls", "%q: write opportunistic, required, verify or off", c.TLS)
	}
	if c.TLS == "verify" && len(c.Smarthosts) == 0 {
		bad.add("tls", "verify needs smarthost: a mail exchanger's name comes from DNS, which proves nothing")
	}
	if c.CA != "" && c.TLS != "verify" {
		bad.add("ca", "is used with tls = \"verify\" only")
	}
	if c.User != "" && len(c.Smarthosts) == 0 {
		bad.add("user", "needs smarthost: a password is not for any mail exchanger")
	}
	if (c.User == "") != (c.Password == "") {
		bad.add("password", "user and password go together")
	}
	if (c.DKIMKey == "") != (c.DKIMSelector == "") {
		bad.add("dkim_selector", "dkim_key and dkim_selector go together")
	}
	if c.DKIMSelector != "" && !isDomain(c.DKIMSelector) {
		bad.add("dkim_selector", "%q is not a name in DNS", c.DKIMSelector)
	}
	for i, d := range c.DKIMDomains {
		if !isDomain(d) {
			bad.add(fmt.Sprintf("dkim_domains[%d]", i), "%q is not a domain", d)
		}
	}
	if d := c.EncapsulateDomain; d != "" && !isDomain(d) {
		bad.add("encapsulate_domain", "%q is not a domain", d)
	}
	if c.DNS != "" {
		if _, err := netip.ParseAddrPort(c.DNS); err != nil {
			bad.add("dns", "%q: write address:port", c.DNS)
		}
	}
	bad.positive("connect_timeout", c.ConnectTimeout)
	bad.positive("reply_timeout", c.ReplyTimeout)
	bad.positive("final_timeout", c.FinalTimeout)
	bad.atLeast("reuse_messages", c.ReuseMessages, 1)
}

func (p *problems) atLeast(key string, n, least int) {
	if n < least {
		p.add(key, "%d is too few: write %d or more", n, least)
	}
}

func (p *problems) positive(key string, d connectors.Duration) {
	if d <= 0 {
		p.add(key, "a time longer than zero is needed")
	}
}

func (p *problems) patterns(key string, list []string) {
	for i, s := range list {
		if _, err := address.ParseSpace(s); err != nil {
			p.add(fmt.Sprintf("%s[%d]", key, i), "%v", err)
		}
	}
}

func isDomain(s string) bool {
	_, err := address.ParseDomain(s)
	return err == nil
}

// splitHost reads host or host:port; an IPv6 address with a port stands in brackets.
func splitHost(s string, port int) (host string, p int, err error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, port, nil
	}
	host, p = s, port
	if h, text, err := net.SplitHostPort(s); err == nil {
		if p, err = strconv.Atoi(text); err != nil || p < 1 || p > 65535 {
			return "", 0, fmt.Errorf("port %q is outside 1..65535", text)
		}
		host = h
	}
	if _, err := netip.ParseAddr(host); err != nil && !isDomain(host) {
		return "", 0, fmt.Errorf("%q is not a host", host)
	}
	return host, p, nil
}

// parseNetwork reads a network or a single address.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

package smtp

import (
	"net/netip"
	"slices"
	"strings"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// client is who is at the other end of a session, as far as he proved it.
type client struct {
	addr         netip.Addr
	user         string   // by AUTH
	certificates []string // by TLS: the fingerprint of his certificate, and the names that client_ca vouches for
	rules        []*relayRule
}

// known tells a client whom the configuration names: by password, by certificate, or as a partner.
func (c *client) known() bool {
	return c.user != "" || len(c.certificates) > 0 && len(c.rules) > 0 || c.partner()
}

// partner tells a joined site's gateway.
func (c *client) partner() bool {
	return slices.ContainsFunc(c.rules, func(r *relayRule) bool { return r.partner })
}

// relayPolicy decides who may send where. Anyone may send to our own domains and to what anyone_to says; all else needs
// a rule. It looks at the address that an encapsulated one holds (KB Q237927, Q264330): SMTP inside IMCEA or inside
// an O/R address's DDA is SMTP.
type relayPolicy struct {
	domains map[string]bool // ours
	undone  map[string]bool // ours and the partners': those whose IMCEA forms the gateway undoes
	anyone  []address.Space
	rules   []*relayRule
}

type relayRule struct {
	networks     []netip.Prefix
	users        []string
	certificates []string
	from, to     []address.Space
	partner      bool
}

// newRelayPolicy takes a configuration that Check has passed.
func newRelayPolicy(site connectors.Site, c *Config) *relayPolicy {
	p := &relayPolicy{domains: map[string]bool{}, undone: map[string]bool{}, anyone: parseSpaces(c.AnyoneTo)}
	for _, d := range site.Domains {
		p.domains[strings.ToLower(d)], p.undone[strings.ToLower(d)] = true, true
	}
	for _, d := range site.Partners {
		p.undone[strings.ToLower(d)] = true
	}
	for _, r := range c.Relay {
		rule := &relayRule{users: r.Users, from: parseSpaces(r.From), to: parseSpaces(r.To), partner: r.Partner}
		for _, n := range r.Networks {
			if net, err := parseNetwork(n); err == nil {
				rule.networks = append(rule.networks, net)
			}
		}
		for _, name := range r.Certificates {
			rule.certificates = append(rule.certificates, strings.ToLower(name))
		}
		p.rules = append(p.rules, rule)
	}
	return p
}

func parseSpaces(list []string) []address.Space {
	out := make([]address.Space, 0, len(list))
	for _, s := range list {
		if sp, err := address.ParseSpace(s); err == nil {
			out = append(out, sp)
		}
	}
	return out
}

// matching are the rules that speak of c.
func (p *relayPolicy) matching(c client) []*relayRule {
	var out []*relayRule
	for _, r := range p.rules {
		if r.matches(c) {
			out = append(out, r)
		}
	}
	return out
}

func (r *relayRule) matches(c client) bool {
	return slices.ContainsFunc(r.networks, func(n netip.Prefix) bool { return n.Contains(c.addr) }) ||
		c.user != "" && slices.ContainsFunc(r.users, func(u string) bool { return u == "*" || u == c.user }) ||
		slices.ContainsFunc(r.certificates, func(n string) bool { return slices.Contains(c.certificates, n) })
}

// allows answers nil, or the refusal, for mail from originator to recipient, an address as RCPT gave it.
func (p *relayPolicy) allows(c client, originator, recipient address.Address) error {
	to := p.decode(recipient)
	if m, err := to.MSMail(); err == nil && (m.System() || m.Special()) && !c.known() {
		// Directory synchronisation believes what reaches these boxes.
		return mail.Restricted("system mailboxes take mail from joined sites only")
	}
	if to.Type == address.SMTP {
		if mb, err := to.SMTP(); err == nil && p.domains[mb.Domain] {
			return nil
		}
	}
	if slices.ContainsFunc(p.anyone, func(s address.Space) bool { return covers(s, to) }) {
		return nil
	}
	from := p.decode(originator)
	for _, r := range c.rules {
		if coversAny(r.to, to) && coversAny(r.from, from) {
			return nil
		}
	}
	return mail.Restricted("relaying denied")
}

// decode is the address that a stands for.
func (p *relayPolicy) decode(a address.Address) address.Address {
	for range 4 {
		in, ok := address.Decapsulate(a, func(d string) bool { return p.undone[d] })
		if !ok && a.Type == address.X400 {
			if or, err := a.ORAddress(); err == nil {
				// Whoever's O/R address it is: what its DDA holds is where the mail is to go in the end.
				in, ok = address.FromDDA(or, func(address.ORAddress) bool { return true })
			}
		}
		if !ok {
			break
		}
		a = in
	}
	return a
}

// coversAny tells that one of the spaces covers a, or that there are none.
func coversAny(spaces []address.Space, a address.Address) bool {
	return len(spaces) == 0 || slices.ContainsFunc(spaces, func(s address.Space) bool { return covers(s, a) })
}

// covers tells that a lies in s. A pattern without wildcard of MS or X400 covers all beneath it.
func covers(s address.Space, a address.Address) bool {
	if s.Type != a.Type {
		return false
	}
	if s.Pattern == "" || address.Glob(s.Pattern, a.Value) {
		return true
	}
	switch s.Type {
	case address.MS:
		return address.Glob(s.Pattern+"/*", a.Value)
	case address.X400:
		return address.Glob(s.Pattern+"*", a.Value)
	}
	return false
}

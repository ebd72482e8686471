package smtp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"backbone/gateway/mail"
)

// target is a host to try, by name or by address.
type target struct {
	host string
	port int
}

// maxAddresses is how many addresses are tried in one attempt, over all hosts (RFC 5321 5.1 asks for at least two).
const maxAddresses = 10

// newResolver asks the given name server, or the system's.
func newResolver(server string) *net.Resolver {
	if server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
}

// targets are the hosts that take mail for a next hop, best first.
func (c *Connector) targets(ctx context.Context, hop string) ([]target, *mail.Failure) {
	if len(c.smart) > 0 {
		return c.smart, nil
	}
	if ip, ok := addressLiteral(hop); ok {
		return []target{{ip.String(), c.cfg.Port}}, nil
	}
	return c.exchangers(ctx, hop)
}

// addressLiteral reads [192.0.2.1] and [IPv6:2001:db8::1] (RFC 5321 4.1.3).
func addressLiteral(domain string) (netip.Addr, bool) {
	in, ok := strings.CutPrefix(domain, "[")
	if !ok {
		return netip.Addr{}, false
	}
	in = strings.TrimSuffix(in, "]")
	if len(in) > 5 && strings.EqualFold(in[:5], "IPv6:") {
		in = in[5:]
	}
	ip, err := netip.ParseAddr(in)
	return ip, err == nil
}

// exchangers follows RFC 5321 5.1: MX records by preference, equal ones in random order; without MX records the domain's
// own address; a null MX (RFC 7505) means no mail. When we are an exchanger ourselves, only better ones than
// us are tried, or the message would come back.
func (c *Connector) exchangers(ctx context.Context, domain string) ([]target, *mail.Failure) {
	mxs, err := c.resolver.LookupMX(ctx, domain+".")
	var dnsErr *net.DNSError
	switch {
	case len(mxs) > 0:
	case ctx.Err() != nil:
		return nil, cancelled(ctx)
	case err == nil || errors.As(err, &dnsErr) && dnsErr.IsNotFound:
		return c.implicit(ctx, domain)
	default:
		return nil, dnsDown(domain, err)
	}
	if len(mxs) == 1 && mxs[0].Host == "." {
		return nil, &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeRecipient, Code: 556, Enhanced: "5.1.10", Reason: 1, Diagnostic: 0, MSMail: 2,
			Text: fmt.Sprintf("domain %s takes no mail (null MX)", domain)}
	}
	rand.Shuffle(len(mxs), func(i, j int) { mxs[i], mxs[j] = mxs[j], mxs[i] })
	slices.SortStableFunc(mxs, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	var out []target
	for _, mx := range mxs {
		host := strings.ToLower(strings.TrimSuffix(mx.Host, "."))
		if c.self.named(host) || c.leadsHere(ctx, host) {
			out = slices.DeleteFunc(out, func(t target) bool { return prefOf(mxs, t.host) >= mx.Pref })
			break
		}
		if host != "" {
			out = append(out, target{host, c.cfg.Port})
		}
	}
	if len(out) == 0 {
		return nil, loopsBack(domain)
	}
	return out, nil
}

func prefOf(mxs []*net.MX, host string) uint16 {
	i := slices.IndexFunc(mxs, func(m *net.MX) bool { return strings.EqualFold(strings.TrimSuffix(m.Host, "."), host) })
	return mxs[i].Pref
}

// implicit is the domain's own host as its exchanger.
func (c *Connector) implicit(ctx context.Context, domain string) ([]target, *mail.Failure) {
	_, err := c.resolver.LookupNetIP(ctx, "ip", domain+".")
	var dnsErr *net.DNSError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, cancelled(ctx)
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound:
		return nil, &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeRecipient, Code: 550, Enhanced: "5.1.2", Reason: 1, Diagnostic: 0, MSMail: 2,
			Text: fmt.Sprintf("domain %s does not exist or has no mail exchanger", domain), Cause: err}
	default:
		return nil, dnsDown(domain, err)
	}
	if c.self.named(domain) || c.leadsHere(ctx, domain) {
		return nil, loopsBack(domain)
	}
	return []target{{domain, c.cfg.Port}}, nil
}

// leadsHere tells that a host has an address at which we listen.
func (c *Connector) leadsHere(ctx context.Context, host string) bool {
	if len(c.self.addrs) == 0 || host == "" {
		return false
	}
	ips, err := c.resolver.LookupNetIP(ctx, "ip", host+".")
	return err == nil && slices.ContainsFunc(ips, func(ip netip.Addr) bool {
		return c.self.listens(net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(c.cfg.Port)))
	})
}

func dnsDown(domain string, err error) *mail.Failure {
	f := mail.LinkDown("the mail exchangers of "+domain+" can't be found at present", err)
	f.Enhanced = "4.4.3"
	return f
}

func loopsBack(domain string) *mail.Failure {
	f := mail.Loop("mail for " + domain + " would come back to this host: it is its best mail exchanger, and takes no mail for it")
	f.Scope = mail.ScopeRecipient
	return f
}

// addresses are a target's addresses, as host:port.
func (c *Connector) addresses(ctx context.Context, t target) ([]string, error) {
	port := strconv.Itoa(t.port)
	if ip, err := netip.ParseAddr(t.host); err == nil {
		return []string{net.JoinHostPort(ip.String(), port)}, nil
	}
	name := t.host
	if strings.Contains(name, ".") {
		name += "." // never with a search list's domains behind it
	}
	ips, err := c.resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(ips))
	for _, ip := range ips {
		out = append(out, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return out, nil
}

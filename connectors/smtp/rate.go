package smtp

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/pace"
)

// rates bounds what comes in an hour: by client, by sender, by destination. What is over a bound is answered 450: an honest
// client comes again later. Joined sites are excepted: behind their one address are many senders, whose mail they have taken.
type rates struct {
	cfg                *Config
	hosts, from, dests pace.Pace
}

// message counts a MAIL.
func (r *rates) message(c client, from address.Mailbox) error {
	if c.partner() {
		return nil
	}
	now := time.Now()
	if wait := r.hosts.Take(oneClient(c.addr).String(), r.cfg.HostRate, now); wait > 0 {
		return tooFast(wait, "too many messages from your address")
	}
	if from == (address.Mailbox{}) {
		return nil // everybody's reports
	}
	if wait := r.from.Take(strings.ToLower(from.String()), r.cfg.SenderRate, now); wait > 0 {
		return tooFast(wait, "too many messages from this sender")
	}
	return nil
}

// recipient counts one that is about to be taken, by the address that he stands for.
func (r *rates) recipient(c client, to address.Address) error {
	if c.partner() {
		return nil
	}
	if wait := r.dests.Take(destination(to), r.cfg.DestRate, time.Now()); wait > 0 {
		return tooFast(wait, "too many recipients at this destination")
	}
	return nil
}

// tooFast is RFC 3463's X.7.28 of IANA's registry, mail flood detected.
func tooFast(wait time.Duration, what string) error {
	return &mail.Failure{Class: mail.Transient, Scope: mail.ScopeRecipient, Code: 450, Enhanced: "4.7.28", Reason: 0, Diagnostic: 2,
		Text: fmt.Sprintf("%s, try again in %s", what, max(wait.Round(time.Second), time.Second)), RetryAfter: wait}
}

// destination is what an address's recipients are counted by.
func destination(a address.Address) string {
	switch a.Type {
	case address.SMTP:
		if mb, err := a.SMTP(); err == nil {
			return strings.ToLower(mb.Domain)
		}
	case address.MS:
		if m, err := a.MSMail(); err == nil {
			return strings.ToLower("MS:" + m.Net + "/" + m.PO)
		}
	case address.X400:
		if or, err := a.ORAddress(); err == nil {
			return strings.ToLower("X400:c=" + or.C + ";a=" + or.A + ";p=" + or.P)
		}
	}
	return strings.ToLower(string(a.Type))
}

// oneClient is an address as it is counted: one client has a whole /64 to call from.
func oneClient(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

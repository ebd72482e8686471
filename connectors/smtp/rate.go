package smtp

import (
	"context"
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
	cfg  *Config
	pace pace.Pace
}

// Kinds of counts, each section's own.
const (
	perHost   = "messages_per_host"
	perSender = "messages_per_sender"
	perDest   = "recipients_per_destination"
)

// message counts a MAIL.
func (r *rates) message(ctx context.Context, c client, from address.Mailbox) error {
	if c.partner() {
		return nil
	}
	limits := []pace.Limit{r.limit(perHost, oneClient(c.addr).String(), r.cfg.HostRate)}
	if from != (address.Mailbox{}) { // that is everybody's reports
		limits = append(limits, r.limit(perSender, strings.ToLower(from.String()), r.cfg.SenderRate))
	}
	wait, over := r.pace.Take(ctx, limits...)
	switch {
	case wait <= 0:
		return nil
	case over == limits[0].Kind:
		return tooFast(wait, "too many messages from your address")
	}
	return tooFast(wait, "too many messages from this sender")
}

// recipient counts one that is about to be taken, by the address that he stands for.
func (r *rates) recipient(ctx context.Context, c client, to address.Address) error {
	if c.partner() {
		return nil
	}
	if wait, _ := r.pace.Take(ctx, r.limit(perDest, destination(to), r.cfg.DestRate)); wait > 0 {
		return tooFast(wait, "too many recipients at this destination")
	}
	return nil
}

func (r *rates) limit(kind, key string, perHour int) pace.Limit {
	return pace.Limit{Kind: r.cfg.Name + " " + kind, Key: key, PerHour: perHour}
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

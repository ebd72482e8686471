package msmail

import (
	"fmt"
	"slices"
	"strings"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// officeSpaces are a post office's own NET/PO, at cost 1, and the spaces behind it (KB Q148389: mailbox left empty, so
// that the whole post office matches).
func (c *Config) officeSpaces(po *PostOffice) ([]address.Space, error) {
	name, err := address.ParsePostOffice(po.Address)
	if err != nil {
		return nil, err
	}
	own := address.Space{Type: address.MS, Pattern: name.String(), Cost: 1, Scope: "organization", Origin: "post office " + name.String()}
	behind, problems := (&connectors.Common{Spaces: po.Spaces}).AddressSpaces()
	if len(problems) > 0 {
		return nil, fmt.Errorf("post office %s: %s: %s", name, problems[0].Key, problems[0].Text)
	}
	for i := range behind {
		behind[i].Origin = "behind post office " + name.String()
	}
	return append([]address.Space{own}, behind...), nil
}

// NextHop is the post office whose address space fits rcpt best: more literal characters first, then the lower cost.
func (c *Connector) NextHop(rcpt address.Address) (string, error) {
	if rcpt.IsZero() {
		return "", mail.UnknownRecipient("nobody can receive at the null address")
	}
	best, literals, cost := "", -1, 0
	for _, o := range c.offices {
		for _, s := range o.spaces {
			if !matches(s, rcpt) {
				continue
			}
			if n := len(s.Pattern) - strings.Count(s.Pattern, "*") - strings.Count(s.Pattern, "%"); n > literals || n == literals && s.Cost < cost {
				best, literals, cost = o.name, n, s.Cost
			}
		}
	}
	if best == "" {
		return "", mail.NoRoute("no post office of connector " + c.name + " serves " + rcpt.String())
	}
	return best, nil
}

// matches tells whether a canonical pattern covers an address. Which connector gets a recipient is package routing's
// decision; here only one connector's post offices are told apart.
func matches(s address.Space, a address.Address) bool {
	if s.Type != a.Type {
		return false
	}
	switch {
	case s.Pattern == "" || s.Pattern == "*":
		return true
	case s.Type == address.MS:
		return elements(strings.Split(s.Pattern, "/"), strings.Split(a.Value, "/"))
	case s.Type == address.X400:
		return attributes(s.Pattern, a.Value)
	}
	return address.Glob(s.Pattern, a.Value)
}

// elements compares NET, PO and MBX one by one; those that the pattern lacks match anything.
func elements(pattern, have []string) bool {
	if len(pattern) > len(have) {
		return false
	}
	for i, p := range pattern {
		if !address.Glob(p, have[i]) {
			return false
		}
	}
	return true
}

// attributes asks that each attribute of a partial O/R address stands in the whole one.
func attributes(pattern, value string) bool {
	have := strings.Split(value, ";")
	for p := range strings.SplitSeq(pattern, ";") {
		if p != "" && !slices.ContainsFunc(have, func(h string) bool { return address.Glob(p, h) }) {
			return false
		}
	}
	return true
}

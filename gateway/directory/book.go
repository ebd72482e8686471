package directory

import (
	"strings"

	"backbone/gateway/address"
)

// As gives a as systems of type t can reply to it: a itself when it has that type; the address of that type of the
// entry that represents a; else a encapsulated for this site: IMCEA at our first domain for SMTP, domain-defined
// attributes under our O/R address for X400; a mailbox of our shadow post office that leads back to it for MS, when
// Options.ReplyAddresses has some. Other worlds carry typed addresses as they are (KB Q94410). It never fails.
func (d *Directory) As(a address.Address, t address.Type) address.Address {
	if a.IsZero() || a.Type == t {
		return a
	}
	d.mu.RLock()
	e, err := d.find(a)
	d.mu.RUnlock()
	if err == nil {
		if p, ok := e.Primary(t); ok {
			return p
		}
	}
	switch {
	case t == address.SMTP && len(d.o.Site.Domains) > 0:
		return address.Encapsulate(a, strings.ToLower(d.o.Site.Domains[0]))
	case t == address.MS:
		if m, ok := d.replyAddress(a); ok {
			return m
		}
	case t == address.X400:
		if x, err := address.ToDDA(a, d.o.Site.X400).Address(); err == nil {
			return x
		}
	}
	return a
}

// maxLayers bounds encapsulation inside encapsulation.
const maxLayers = 4

// Native undoes our own or a joined site's encapsulation: IMCEA forms at our domains and our partners', domain-defined
// attributes under O/R addresses of our private management domain, whose sites are all ours. What can't be undone
// stands for itself.
func (d *Directory) Native(a address.Address) address.Address {
	for range maxLayers {
		inner, ok := d.unwrap(a)
		if !ok {
			return a
		}
		a = inner
	}
	return a
}

func (d *Directory) unwrap(a address.Address) (address.Address, bool) {
	switch {
	case a.Type == address.SMTP && len(a.Value) > 5 && strings.EqualFold(a.Value[:5], "IMCEA"):
		return address.Decapsulate(a, func(domain string) bool { return d.own[domain] })
	case a.Type == address.X400 && strings.Contains(a.Value, "dda:"):
		or, err := a.ORAddress()
		if err != nil {
			return a, false
		}
		return address.FromDDA(or, d.ourOrganization)
	}
	return a, false
}

// ourOrganization compares country, ADMD and PRMD: the sites of one organization differ only below.
func (d *Directory) ourOrganization(or address.ORAddress) bool {
	us := d.o.Site.X400
	if us.P == "" {
		or.DDA = nil
		return !us.IsZero() && us.Equal(or)
	}
	return address.ORAddress{C: or.C, A: or.A, P: or.P}.Equal(address.ORAddress{C: us.C, A: us.A, P: us.P})
}

// Name is the display name of the entry that has a, or "".
func (d *Directory) Name(a address.Address) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e, err := d.find(a)
	if err != nil {
		return ""
	}
	return e.Display
}

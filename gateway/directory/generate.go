package directory

import (
	"slices"
	"strconv"
	"strings"

	"backbone/gateway/address"
)

// generate gives an entry the proxies that it lacks by Exchange's default rules: MS of the shadow post office (or
// ORGANIZATION/SITE) and the alias, SMTP alias@first domain, X400 the site's O/R address with the names. Taken ones get
// digits at the end. What can't be made is left out: the entry then appears encapsulated in that world.
func (b *batch) generate(e *Entry) {
	seed := firstOf(e.Alias, e.Name)
	taken := func(a address.Address) bool {
		o := b.owner(a.Key())
		return o != "" && o != e.key()
	}
	add := func(a address.Address, err error) {
		if err == nil && !taken(a) {
			e.Proxies = append(e.Proxies, a)
		}
	}
	if !e.hasPrimary(address.MS) {
		po := b.d.postOffice()
		mbx := address.ProxyElement(seed, func(m string) bool {
			a, err := address.MSMail{Net: po.Net, PO: po.PO, Mailbox: m}.Address()
			return err != nil || taken(a)
		})
		add(address.MSMail{Net: po.Net, PO: po.PO, Mailbox: mbx}.Address())
	}
	if !e.hasPrimary(address.SMTP) && len(b.d.o.Site.Domains) > 0 {
		local := smtpLocal(seed)
		for n := range 1000 {
			m := address.Mailbox{Local: numbered(local, n), Domain: strings.ToLower(b.d.o.Site.Domains[0])}
			a, err := m.Address()
			if err == nil && !taken(a) && !m.Postmaster() {
				add(a, nil)
				break
			}
		}
	}
	if !e.hasPrimary(address.X400) && !b.d.o.Site.X400.IsZero() {
		for n := range 1000 {
			or := b.d.o.Site.X400
			or.DDA = nil
			or.G, or.S = cutRunes(e.First, 16), cutRunes(numbered(firstOf(e.Last, seed), n), 40)
			a, err := or.Address()
			if err == nil && !taken(a) {
				add(a, nil)
				break
			}
		}
	}
}

// generateMissing brings entries that were written before Generate was switched on up to it. Callers hold write.
func (d *Directory) generateMissing() error {
	if !d.o.Generate {
		return nil
	}
	b := d.newBatch()
	for _, e := range d.entries {
		if e.Class != Recipient || fold(e.Site) != fold(d.o.Site.Name) {
			continue
		}
		if _, err := b.put(e.clone()); err != nil {
			d.o.Log.Warn("proxy addresses not generated", "entry", e.ID(), "err", err)
		}
	}
	return b.commit()
}

func (e *Entry) hasPrimary(t address.Type) bool {
	return e.Target.Type == t || slices.ContainsFunc(e.Proxies, func(p address.Address) bool { return p.Type == t })
}

func (d *Directory) postOffice() address.MSMail {
	if po, err := address.ParsePostOffice(d.o.Site.MS); err == nil {
		return po
	}
	return address.MSMail{Net: address.ProxyElement(d.o.Site.Organization, nil), PO: address.ProxyElement(d.o.Site.Name, nil)}
}

// smtpLocal keeps what stands in a dot-string.
func smtpLocal(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("-_.", r):
			return r
		case r == ' ':
			return '.'
		}
		return -1
	}, s)
	for strings.Contains(s, "..") {
		s = strings.ReplaceAll(s, "..", ".")
	}
	return firstOf(cutRunes(strings.Trim(s, "."), 60), "user")
}

func firstOf(s ...string) string {
	for _, t := range s {
		if t != "" {
			return t
		}
	}
	return ""
}

func numbered(s string, n int) string {
	if n == 0 {
		return s
	}
	return s + strconv.Itoa(n+1)
}

func cutRunes(s string, max int) string {
	if r := []rune(s); len(r) > max {
		return string(r[:max])
	}
	return s
}

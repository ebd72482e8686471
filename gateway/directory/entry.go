package directory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"backbone/gateway/address"
)

// Entry is a custom recipient, or the tombstone of one.
type Entry struct {
	// Name is the Directory Name, unique in a site without regard to case, at most 64 characters. It never changes.
	Name string `json:"name"`
	// Site is where the entry originates: only there may it be written.
	Site    string `json:"site"`
	Display string `json:"display,omitempty"` // at most 256 characters; MS Mail lists show 30
	Alias   string `json:"alias,omitempty"`   // seed of generated proxies
	First   string `json:"first,omitempty"`
	Last    string `json:"last,omitempty"`
	// Target is where the recipient's mail goes, whichever of his addresses it was sent to (KB Q166905).
	Target address.Address `json:"target,omitzero"`
	// Proxies are his primary proxy addresses, one a type: each stands for him in its world. Secondary are further ones
	// that mail to him may carry (KB Q153028).
	Proxies    []address.Address `json:"proxies,omitempty"`
	Secondary  []address.Address `json:"secondary,omitempty"`
	Hidden     bool              `json:"hidden,omitempty"` // left out of address lists; mail still reaches him
	Container  string            `json:"container,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"` // "Custom Attribute 1" and what else an import file says of him

	// Version counts the entry's writes at its site, over deletions too. USN is the local number of the last write here,
	// its own or a replicated one. Changed is when its site wrote it.
	Version uint64    `json:"version"`
	USN     uint64    `json:"usn"`
	Changed time.Time `json:"changed"`
	Deleted bool      `json:"deleted,omitempty"`
}

// ID names the entry in errors and listings: SITE/NAME.
func (e *Entry) ID() string { return e.Site + "/" + e.Name }

// key is the entry's place in maps and in the file.
func (e *Entry) key() string { return entryKey(e.Site, e.Name) }

func entryKey(site, name string) string { return fold(site) + "/" + fold(name) }

// fold makes names comparable.
func fold(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
		}
	}
	return strings.ToLower(s)
}

// addresses are the keys of all addresses that the entry claims, the target's first.
func (e *Entry) addresses() []string {
	out := make([]string, 0, 1+len(e.Proxies)+len(e.Secondary))
	out = append(out, e.Target.Key())
	for p := range e.proxies {
		out = append(out, p.Key())
	}
	return out
}

// proxies yields primary and secondary ones.
func (e *Entry) proxies(yield func(address.Address) bool) {
	for _, list := range [][]address.Address{e.Proxies, e.Secondary} {
		for _, p := range list {
			if !yield(p) {
				return
			}
		}
	}
}

// Primary is the address that stands for the entry in the world of type t: its target when that is of the type, else its
// primary proxy, else the first secondary one (*ours*: better than an encapsulated form).
func (e *Entry) Primary(t address.Type) (address.Address, bool) {
	if e.Target.Type == t {
		return e.Target, true
	}
	for p := range e.proxies {
		if p.Type == t {
			return p, true
		}
	}
	return address.Address{}, false
}

func (e *Entry) clone() *Entry {
	c := *e
	c.Proxies, c.Secondary = slices.Clone(e.Proxies), slices.Clone(e.Secondary)
	c.Attributes = maps.Clone(e.Attributes)
	return &c
}

// same tells that two entries say the same, whatever their versions.
func (e *Entry) same(o *Entry) bool {
	return e.Name == o.Name && e.Display == o.Display && e.Alias == o.Alias && e.First == o.First && e.Last == o.Last &&
		e.Target == o.Target && slices.Equal(e.Proxies, o.Proxies) && slices.Equal(e.Secondary, o.Secondary) && e.Hidden == o.Hidden && e.Container == o.Container &&
		maps.Equal(e.Attributes, o.Attributes) && e.Deleted == o.Deleted
}

// Longest values in characters, as Exchange's schema has them (from general knowledge; no article states them).
const (
	maxName      = 64
	maxDisplay   = 256
	maxShort     = 64 // alias, first and last name
	maxAttribute = 1024
	maxProxies   = 500 // ours
)

// complete makes the entry canonical and checks it. A further proxy of a type among the primary ones becomes a secondary
// one.
func (e *Entry) complete() error {
	for _, f := range []struct {
		what string
		at   *string
		max  int
	}{{"display name", &e.Display, maxDisplay}, {"alias", &e.Alias, maxShort}, {"first name", &e.First, maxShort},
		{"last name", &e.Last, maxShort}, {"container", &e.Container, maxDisplay}} {
		*f.at = strings.TrimSpace(*f.at)
		if err := checkText(f.what, *f.at, f.max); err != nil {
			return fmt.Errorf("directory entry %s: %w", e.ID(), err)
		}
	}
	for k, v := range e.Attributes {
		if err := errors.Join(checkText("attribute name", k, maxName), checkText("attribute "+k, v, maxAttribute)); err != nil {
			return fmt.Errorf("directory entry %s: %w", e.ID(), err)
		}
	}
	if err := e.checkNames(); err != nil {
		return err
	}
	if e.Target.IsZero() {
		return fmt.Errorf("directory entry %s: a target address is needed", e.ID())
	}
	if n := len(e.Proxies) + len(e.Secondary); n > maxProxies {
		return fmt.Errorf("directory entry %s: %d proxy addresses, at most %d", e.ID(), n, maxProxies)
	}
	if err := e.completeAddresses(); err != nil {
		return fmt.Errorf("directory entry %s: %w", e.ID(), err)
	}
	if len(e.Attributes) == 0 {
		e.Attributes = nil
	}
	return nil
}

func (e *Entry) checkNames() error {
	for what, at := range map[string]*string{"directory name": &e.Name, "site": &e.Site} {
		*at = strings.TrimSpace(*at)
		switch err := checkText(what, *at, maxName); {
		case err != nil:
			return fmt.Errorf("directory entry: %w", err)
		case *at == "":
			return fmt.Errorf("directory entry: a %s is needed", what)
		case strings.ContainsRune(*at, '/'):
			return fmt.Errorf("directory entry: %s %q: it may not have a slash", what, *at)
		}
	}
	return nil
}

func (e *Entry) completeAddresses() error {
	target, err := canonical(e.Target)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	e.Target = target
	seen := map[string]bool{target.Key(): true}
	types := map[address.Type]bool{}
	var primary, secondary []address.Address
	keep := func(list []address.Address, mayBePrimary bool) error {
		for _, p := range list {
			p, err := canonical(p)
			if err != nil {
				return fmt.Errorf("proxy: %w", err)
			}
			k := p.Key()
			switch {
			case seen[k]:
				continue
			case mayBePrimary && !types[p.Type]:
				types[p.Type] = true
				primary = append(primary, p)
			default:
				secondary = append(secondary, p)
			}
			seen[k] = true
		}
		return nil
	}
	if err := errors.Join(keep(e.Proxies, true), keep(e.Secondary, false)); err != nil {
		return err
	}
	e.Proxies, e.Secondary = primary, secondary
	return nil
}

func canonical(a address.Address) (address.Address, error) {
	if a.IsZero() {
		return a, fmt.Errorf("the null address has no mailbox")
	}
	return address.Parse(a.String())
}

func checkText(what, s string, max int) error {
	if n := utf8.RuneCountInString(s); n > max {
		return fmt.Errorf("%s has %d characters, at most %d", what, n, max)
	}
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf) && r != '\u200c' && r != '\u200d' {
			return fmt.Errorf("%s holds a control or invisible character", what)
		}
	}
	return nil
}

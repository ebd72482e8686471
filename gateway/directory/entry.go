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

// Class is what sort of object an entry is.
type Class string

const (
	Recipient Class = ""          // a custom recipient
	Connector Class = "connector" // a connector with its address spaces, as its site tells the others
)

// Entry is an object of the directory, or the tombstone of one: a custom recipient, or a connector, of which Spaces,
// Leads and Cost speak and nothing else.
type Entry struct {
	Class Class `json:"class,omitempty"`
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

	// Spaces are the address spaces of a connector. Leads is the joined site at its other end, "" when there is none, and
	// Cost that of going there.
	Spaces []address.Space `json:"spaces,omitempty"`
	Leads  string          `json:"leads,omitempty"`
	Cost   int             `json:"cost,omitempty"`

	// Version counts the entry's writes at its site, over deletions too. USN is the local number of the last write here,
	// its own or a replicated one. Changed is when its site wrote it.
	Version uint64    `json:"version"`
	USN     uint64    `json:"usn"`
	Changed time.Time `json:"changed"`
	Deleted bool      `json:"deleted,omitempty"`
	// Written and Stamp are the number and the stamp of the write at its own site: whether it is part of that site's
	// present history. From is the partner over which it came here, "" for our own.
	Written uint64 `json:"written,omitempty"`
	Stamp   uint64 `json:"stamp,omitempty"`
	From    string `json:"from,omitempty"`
}

// ID names the entry in errors and listings: SITE/NAME, or SITE/connector/NAME.
func (e *Entry) ID() string {
	if e.Class != Recipient {
		return e.Site + "/" + string(e.Class) + "/" + e.Name
	}
	return e.Site + "/" + e.Name
}

// key is the entry's place in maps and in the file. No name has a slash.
func (e *Entry) key() string {
	if e.Class != Recipient {
		return fold(e.Site) + "/" + string(e.Class) + "/" + fold(e.Name)
	}
	return entryKey(e.Site, e.Name)
}

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
	if e.Class != Recipient {
		return nil
	}
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
	c.Spaces = slices.Clone(e.Spaces)
	return &c
}

// same tells that two entries say the same, whatever their versions.
func (e *Entry) same(o *Entry) bool {
	return e.Name == o.Name && e.Display == o.Display && e.Alias == o.Alias && e.First == o.First && e.Last == o.Last &&
		e.Target == o.Target && slices.Equal(e.Proxies, o.Proxies) && slices.Equal(e.Secondary, o.Secondary) && e.Hidden == o.Hidden && e.Container == o.Container &&
		maps.Equal(e.Attributes, o.Attributes) && e.Deleted == o.Deleted &&
		slices.Equal(e.Spaces, o.Spaces) && e.Leads == o.Leads && e.Cost == o.Cost
}

// Longest values in characters, as Exchange's schema has them (from general knowledge; no article states them).
const (
	maxName      = 64
	maxDisplay   = 256
	maxShort     = 64 // alias, first and last name
	maxAttribute = 1024
	maxProxies   = 500 // ours
	maxSpaces    = 1000
)

// complete makes an entry from outside canonical and checks it.
func (e *Entry) complete() error {
	for _, at := range []*string{&e.Name, &e.Site, &e.Display, &e.Alias, &e.First, &e.Last, &e.Container} {
		*at = strings.TrimSpace(*at)
	}
	var err error
	switch e.Class {
	case Connector:
		err = e.checkConnector()
	case Recipient:
		if err = e.canonicalize(); err == nil {
			err = e.check()
		}
	default:
		err = fmt.Errorf("class %q is not known here", cutText(string(e.Class), 20))
	}
	if err != nil {
		return fmt.Errorf("directory entry %s: %w", e.ID(), err)
	}
	return nil
}

// check tells what is wrong with an entry whose addresses are canonical, and sorts its proxies out.
func (e *Entry) check() error {
	if err := e.checkNames(); err != nil {
		return err
	}
	for _, f := range []struct {
		what, text string
		max        int
	}{{"display name", e.Display, maxDisplay}, {"alias", e.Alias, maxShort}, {"first name", e.First, maxShort},
		{"last name", e.Last, maxShort}, {"container", e.Container, maxDisplay}} {
		if err := checkText(f.what, f.text, f.max); err != nil {
			return err
		}
	}
	for k, v := range e.Attributes {
		if err := errors.Join(checkText("attribute name", k, maxName), checkText("attribute "+k, v, maxAttribute)); err != nil {
			return err
		}
	}
	if n := len(e.Proxies) + len(e.Secondary); n > maxProxies {
		return fmt.Errorf("%d proxy addresses, at most %d", n, maxProxies)
	}
	if len(e.Attributes) == 0 {
		e.Attributes = nil
	}
	e.arrange()
	return nil
}

func (e *Entry) checkNames() error {
	for _, f := range [...]struct{ what, text string }{{"directory name", e.Name}, {"site", e.Site}} {
		switch err := checkText(f.what, f.text, maxName); {
		case err != nil:
			return err
		case f.text == "" || strings.TrimSpace(f.text) != f.text:
			return fmt.Errorf("a %s is needed, without blanks around it", f.what)
		case strings.ContainsRune(f.text, '/'):
			return fmt.Errorf("%s %q: it may not have a slash", f.what, f.text)
		}
	}
	return nil
}

// checkConnector drops what no connector has and reads its spaces.
func (e *Entry) checkConnector() error {
	*e = Entry{Class: e.Class, Name: e.Name, Site: e.Site, Spaces: e.Spaces, Leads: e.Leads, Cost: e.Cost,
		Version: e.Version, USN: e.USN, Changed: e.Changed, Written: e.Written, Stamp: e.Stamp, From: e.From}
	if err := errors.Join(e.checkNames(), checkText("joined site", e.Leads, maxName)); err != nil {
		return err
	}
	if len(e.Spaces) > maxSpaces {
		return fmt.Errorf("%d address spaces, at most %d", len(e.Spaces), maxSpaces)
	}
	for i, s := range e.Spaces {
		read, err := address.ParseSpace(string(s.Type) + ":" + s.Pattern)
		if err != nil {
			return err
		}
		e.Spaces[i].Type, e.Spaces[i].Pattern = read.Type, read.Pattern
		e.Spaces[i].Cost = min(max(s.Cost, 1), maxCost)
	}
	e.Cost = min(max(e.Cost, 0), maxCost)
	return nil
}

// maxCost is Exchange's: the last resort.
const maxCost = 100

// canonicalize gives each address its canonical text.
func (e *Entry) canonicalize() error {
	var err error
	if e.Target, err = canonical(e.Target); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	for _, list := range [][]address.Address{e.Proxies, e.Secondary} {
		for i := range list {
			if list[i], err = canonical(list[i]); err != nil {
				return fmt.Errorf("proxy: %w", err)
			}
		}
	}
	return nil
}

// arrange drops proxies that are there twice, or are the target, and makes a further primary one of a type secondary.
func (e *Entry) arrange() {
	var primary, secondary []address.Address
	have := func(a address.Address) bool {
		return a.Equal(e.Target) || slices.ContainsFunc(primary, a.Equal) || slices.ContainsFunc(secondary, a.Equal)
	}
	for _, p := range e.Proxies {
		switch {
		case have(p):
		case slices.ContainsFunc(primary, func(q address.Address) bool { return q.Type == p.Type }):
			secondary = append(secondary, p)
		default:
			primary = append(primary, p)
		}
	}
	for _, p := range e.Secondary {
		if !have(p) {
			secondary = append(secondary, p)
		}
	}
	e.Proxies, e.Secondary = primary, secondary
}

func canonical(a address.Address) (address.Address, error) {
	if a.IsZero() {
		return a, errors.New("an address is needed; the null one has no mailbox")
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

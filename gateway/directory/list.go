package directory

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.etcd.io/bbolt"

	"backbone/gateway/address"
)

// Filter selects entries: set fields are ANDed.
type Filter struct {
	// Text is a part of any name or address, in any letter case.
	Text string `json:"text,omitempty"`
	// Address is a glob over target and proxies ("MS:NORTHWIND/PO2/*", "*@example.com").
	Address string       `json:"address,omitempty"`
	Type    address.Type `json:"type,omitempty"` // of the target
	Site    string       `json:"site,omitempty"`
	Hidden  *bool        `json:"hidden,omitempty"`
	Class   Class        `json:"class,omitempty"` // custom recipients when empty
}

// List returns up to n entries that f selects, in the order of site and name, after the one whose SITE/NAME is given
// ("": from the start), and what to give for more ("": there is none). A page is one short read: it holds up nobody.
func (d *Directory) List(f Filter, after string, n int) (page []Entry, more string, err error) {
	if n < 1 {
		n = 100
	}
	start := []byte(fold(after))
	page = []Entry{}
	err = d.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketEntry).Cursor()
		k, _ := c.Seek(start)
		if k != nil && after != "" && bytes.Equal(k, start) {
			k, _ = c.Next()
		}
		for ; k != nil; k, _ = c.Next() {
			d.mu.RLock()
			e := d.entries[string(k)]
			d.mu.RUnlock()
			if e == nil || !f.match(e) {
				continue
			}
			if len(page) == n {
				more = page[n-1].ID()
				return nil
			}
			page = append(page, *e.clone())
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("directory: %w", err)
	}
	return page, more, nil
}

func (f *Filter) match(e *Entry) bool {
	switch {
	case f.Class != e.Class,
		f.Type != "" && f.Type != e.Target.Type,
		f.Site != "" && fold(f.Site) != fold(e.Site),
		f.Hidden != nil && *f.Hidden != e.Hidden,
		f.Address != "" && !f.anyAddress(e),
		f.Text != "" && !f.anyText(e):
		return false
	}
	return true
}

func (f *Filter) anyAddress(e *Entry) bool {
	p := f.Address
	if !strings.Contains(p, ":") && !strings.HasPrefix(p, "*") {
		p = "*:" + p
	}
	if address.Glob(p, e.Target.String()) {
		return true
	}
	for a := range e.proxies {
		if address.Glob(p, a.String()) {
			return true
		}
	}
	return false
}

func (f *Filter) anyText(e *Entry) bool {
	t := fold(f.Text)
	for _, s := range []string{e.Name, e.Display, e.Alias, e.First, e.Last, e.Target.Value} {
		if contains(s, t) {
			return true
		}
	}
	for a := range e.proxies {
		if contains(a.Value, t) {
			return true
		}
	}
	return false
}

// contains finds folded text in s without regard to case; it copies nothing when s is ASCII.
func contains(s, folded string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return strings.Contains(fold(s), folded)
		}
	}
	for i := 0; i+len(folded) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(folded)], folded) {
			return true
		}
	}
	return false
}

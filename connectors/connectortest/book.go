package connectortest

import (
	"strings"
	"sync"

	"backbone/connectors"
	"backbone/gateway/address"
)

// Book is a small address book: the entries that a test adds, else encapsulation under Domain (IMCEA) and OR (DDA) and
// back. The zero Book encapsulates under "sitea.example" and c=US;a= ;p=Northwind;o=SITEA.
type Book struct {
	Domain string
	OR     address.ORAddress

	mu      sync.Mutex
	proxies map[string]map[address.Type]address.Address // by Key of the target
	target  map[string]address.Address                  // by Key of the proxy
	names   map[string]string
}

var _ connectors.AddressBook = (*Book)(nil)

// Add makes proxies other spellings of target, whose display name is name ("" for none).
func (b *Book) Add(target address.Address, name string, proxies ...address.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.proxies == nil {
		b.proxies, b.target, b.names = map[string]map[address.Type]address.Address{}, map[string]address.Address{}, map[string]string{}
	}
	b.names[target.Key()] = name
	b.target[target.Key()] = target
	b.proxies[target.Key()] = map[address.Type]address.Address{target.Type: target}
	for _, p := range proxies {
		b.proxies[target.Key()][p.Type] = p
		b.target[p.Key()] = target
		b.names[p.Key()] = name
	}
}

// As gives a's proxy of type t, else a encapsulated.
func (b *Book) As(a address.Address, t address.Type) address.Address {
	if a.Type == t || a.IsZero() {
		return a
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, ok := b.proxies[b.target[a.Key()].Key()][t]; ok {
		return p
	}
	switch t {
	case address.SMTP:
		return address.Encapsulate(a, b.domain())
	case address.X400:
		if or, err := address.ToDDA(a, b.or()).Address(); err == nil {
			return or
		}
	}
	return a
}

// Native undoes As.
func (b *Book) Native(a address.Address) address.Address {
	b.mu.Lock()
	defer b.mu.Unlock()
	if target, ok := b.target[a.Key()]; ok {
		return target
	}
	switch a.Type {
	case address.SMTP:
		if n, ok := address.Decapsulate(a, func(d string) bool { return strings.EqualFold(d, b.domain()) }); ok {
			return n
		}
	case address.X400:
		if or, err := a.ORAddress(); err == nil {
			if n, ok := address.FromDDA(or, func(o address.ORAddress) bool { return o.C == b.or().C && o.P == b.or().P && o.O == b.or().O }); ok {
				return n
			}
		}
	}
	return a
}

// Name is the display name that Add gave.
func (b *Book) Name(a address.Address) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.names[a.Key()]
}

func (b *Book) domain() string {
	if b.Domain == "" {
		return "sitea.example"
	}
	return b.Domain
}

func (b *Book) or() address.ORAddress {
	if b.OR.C == "" {
		return address.ORAddress{C: "US", A: " ", P: "Northwind", O: "SITEA"}
	}
	return b.OR
}

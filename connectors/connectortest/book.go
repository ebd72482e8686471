package connectortest

import (
	"fmt"
	"strings"
	"sync"

	"backbone/connectors"
	"backbone/gateway/address"
)

// Book is a small address book: the entries that a test adds, else IMCEA under Domain in the one direction and back.
// The zero Book encapsulates under "sitea.example".
type Book struct {
	Domain string

	mu      sync.Mutex
	proxies map[address.Address]map[address.Type]address.Address
	native  map[address.Address]address.Address
	names   map[address.Address]string
}

var _ connectors.AddressBook = (*Book)(nil)

// Add makes proxies other spellings of target, whose display name is name ("" for none).
func (b *Book) Add(target address.Address, name string, proxies ...address.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.proxies == nil {
		b.proxies = map[address.Address]map[address.Type]address.Address{}
		b.native = map[address.Address]address.Address{}
		b.names = map[address.Address]string{}
	}
	b.proxies[target] = map[address.Type]address.Address{}
	for _, p := range proxies {
		b.proxies[target][p.Type] = p
		b.native[p] = target
		b.names[p] = name
	}
	b.names[target] = name
}

// As gives a's proxy of type t, else a encapsulated for SMTP, else a itself.
func (b *Book) As(a address.Address, t address.Type) address.Address {
	if a.Type == t || a.IsZero() {
		return a
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, ok := b.proxies[a][t]; ok {
		return p
	}
	if target, ok := b.native[a]; ok {
		if target.Type == t {
			return target
		}
		if p, ok := b.proxies[target][t]; ok {
			return p
		}
	}
	if t == address.SMTP {
		return address.Address{Type: address.SMTP, Value: "IMCEA" + string(a.Type) + "-" + imcea(a.Value) + "@" + b.domain()}
	}
	return a
}

// Native undoes As.
func (b *Book) Native(a address.Address) address.Address {
	b.mu.Lock()
	defer b.mu.Unlock()
	if target, ok := b.native[a]; ok {
		return target
	}
	local, domain, ok := strings.Cut(a.Value, "@")
	if a.Type != address.SMTP || !ok || !strings.EqualFold(domain, b.domain()) {
		return a
	}
	kind, value, ok := strings.Cut(local, "-")
	if !ok || !strings.HasPrefix(kind, "IMCEA") || len(kind) == len("IMCEA") {
		return a
	}
	return address.Address{Type: address.Type(kind[len("IMCEA"):]), Value: unIMCEA(value)}
}

// Name is the display name that Add gave.
func (b *Book) Name(a address.Address) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.names[a]
}

func (b *Book) domain() string {
	if b.Domain == "" {
		return "sitea.example"
	}
	return b.Domain
}

func imcea(s string) string {
	var out strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '-', c == '.', c == '=':
			out.WriteByte(c)
		case c == '/':
			out.WriteByte('_')
		default:
			fmt.Fprintf(&out, "+%02X", c)
		}
	}
	return out.String()
}

func unIMCEA(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		var c byte
		switch {
		case s[i] == '_':
			out.WriteByte('/')
		case s[i] == '+' && i+2 < len(s) && scan(s[i+1:i+3], &c):
			out.WriteByte(c)
			i += 2
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

func scan(hex string, c *byte) bool {
	n, err := fmt.Sscanf(hex, "%02X", c)
	return n == 1 && err == nil
}

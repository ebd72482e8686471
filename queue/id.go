package queue

import (
	"fmt"
	"strings"
)

// crockford is Douglas Crockford's base32 alphabet: no I, L, O, U, so that an ID can be read out over a telephone.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// String is the ID in Crockford base32 without leading zeros: "0", "Z", "FZZZZZZZZZZZZ".
func (id ID) String() string {
	var b [13]byte
	i := len(b)
	for {
		i--
		b[i] = crockford[id&31]
		if id >>= 5; id == 0 {
			return string(b[i:])
		}
	}
}

// ParseID reads what String writes, and what people make of it: lower case, O for 0, I and L for 1, hyphens between
// groups. The error names the text.
func ParseID(s string) (ID, error) {
	var id ID
	digits := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '-' && i > 0:
			continue
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		switch c {
		case 'O':
			c = '0'
		case 'I', 'L':
			c = '1'
		}
		v := strings.IndexByte(crockford, c)
		if v < 0 {
			return 0, fmt.Errorf("%q is not a queue ID: %q is no base32 digit", s, s[i:i+1])
		}
		if id>>59 != 0 {
			return 0, fmt.Errorf("%q is not a queue ID: it is larger than FZZZZZZZZZZZZ", s)
		}
		id = id<<5 | ID(v)
		digits++
	}
	if digits == 0 {
		return 0, fmt.Errorf("%q is not a queue ID: it has no digits", s)
	}
	return id, nil
}

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

// String is "connector:host"; a whole connector is "connector:".
func (d Dest) String() string { return d.Connector + ":" + d.Host }

// ParseDest reads "connector:host". The connector's name holds no colon, the host may (an IPv6 address, a port).
// A name alone means the whole connector: Host is "".
func ParseDest(s string) (Dest, error) {
	c, h, _ := strings.Cut(s, ":")
	if c == "" {
		return Dest{}, fmt.Errorf("%q is not a destination: write connector:host, or the connector's name", s)
	}
	return Dest{Connector: c, Host: h}, nil
}

// Covers tells whether d, which may be a whole connector, includes other.
func (d Dest) Covers(other Dest) bool {
	return d.Connector == other.Connector && (d.Host == "" || d.Host == other.Host)
}

package p1

import (
	"fmt"

	"backbone/connectors/x400/ber"
)

// Bind is an MTABindArgument or MTABindResult (X.411 12.1.1): who speaks, with simple credentials.
type Bind struct {
	Name     string // MTAName, at most 32 characters of IA5
	Password []byte // at most 62 octets
	// IA5 sends the password as an IA5String, the only form of 1984; else as an OCTET STRING.
	IA5 bool
	// Unauthenticated is the NULL form; Strong tells that credentials came which are not simple ones.
	Unauthenticated, Strong bool
}

// Bind errors (X.411 12.1.1).
const (
	BindBusy                  = 0
	BindAuthenticationError   = 2
	BindUnacceptableDialogue  = 3
	BindUnacceptableSecurity  = 4
	BindInadequateAssociation = 5
)

var bindErrors = map[int64]string{BindBusy: "busy", BindAuthenticationError: "authentication-error", BindUnacceptableDialogue: "unacceptable-dialogue-mode",
	BindUnacceptableSecurity: "unacceptable-security-context", BindInadequateAssociation: "inadequate-association-confidentiality"}

// BindError is the name of a bind error.
func BindError(n int64) string {
	if s := bindErrors[n]; s != "" {
		return s
	}
	return fmt.Sprintf("bind error %d", n)
}

// Tags of the remote operations bind, which wrap the three in normal mode (X.880 annex).
const (
	bindInvoke = 16
	bindResult = 17
	bindError  = 18
)

// ParseBind reads an argument or result, with or without the wrapper of normal mode.
func ParseBind(b []byte) (Bind, error) {
	d := ber.NewDecoder(b, ber.DefaultLimits)
	e := d.Root()
	if e.Is(ber.Context(bindInvoke)) || e.Is(ber.Context(bindResult)) {
		e = e.Only()
	}
	var v Bind
	switch e.Tag {
	case ber.Null:
		v.Unauthenticated = true
	case ber.Context(1):
		for m := range e.All() {
			switch m.Tag {
			case ber.Context(0):
				v.Name = m.Text()
			case ber.Context(1):
				c := m.Only()
				switch c.Tag {
				case ber.IA5String:
					v.Password, v.IA5 = c.Octets(), true
				case ber.OctetString:
					v.Password = c.Octets()
				default:
					v.Strong = true
				}
			}
		}
	default:
		e.Failf("no MTA bind")
	}
	if d.Err() != nil {
		return v, fmt.Errorf("p1: bind: %w", d.Err())
	}
	return v, nil
}

// Encode writes an argument, or with result a result; wrapped as normal mode wants it.
func (v Bind) Encode(result, wrapped bool) ([]byte, error) {
	var w ber.Writer
	body := func() {
		if v.Unauthenticated {
			w.Null(ber.Null)
			return
		}
		w.Cons(ber.Context(1), func() {
			w.Text(ber.Context(0), v.Name)
			w.Cons(ber.Context(1), func() {
				t := ber.OctetString
				if v.IA5 {
					t = ber.IA5String
				}
				w.Octets(t, v.Password)
			})
		})
	}
	tag := ber.Context(bindInvoke)
	if result {
		tag = ber.Context(bindResult)
	}
	if wrapped {
		w.Cons(tag, body)
	} else {
		body()
	}
	return w.Bytes()
}

// ParseBindError reads a bind error, with its wrapper or, as PP sends it, without.
func ParseBindError(b []byte) (int64, error) {
	d := ber.NewDecoder(b, ber.DefaultLimits)
	e := d.Root()
	if e.Is(ber.Context(bindError)) {
		e = e.Only()
	}
	n := e.Int()
	if d.Err() != nil {
		return 0, fmt.Errorf("p1: bind error: %w", d.Err())
	}
	return n, nil
}

// EncodeBindError writes a bind error with its wrapper.
func EncodeBindError(n int64) ([]byte, error) {
	var w ber.Writer
	w.Cons(ber.Context(bindError), func() { w.Int(ber.Integer, n) })
	return w.Bytes()
}

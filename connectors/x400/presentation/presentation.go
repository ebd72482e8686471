// Package presentation is the codec of the presentation protocol's PPDUs (ITU-T X.226) that P1 meets: connect, accept and
// refuse in normal and in X.410 mode, user data in the kernel's forms, and the user's and provider's abort.
//
// It turns octets into values and back and keeps no state: which context means what is the caller's to remember, by
// Contexts and Results. It never looks into the values that it carries. A PPDU that does not decode is an error.
package presentation

import (
	"fmt"

	"backbone/connectors/x400/ber"
)

// BER is the transfer syntax that everybody speaks (X.690).
const BER ber.OID = "2.1.1"

// Context is one entry of a presentation context definition list.
type Context struct {
	ID       int64
	Abstract ber.OID
	Transfer []ber.OID
}

// Result answers one Context, by position.
type Result struct {
	Result   int64 // ResultAccepted, ...
	Transfer ber.OID
	Reason   int64 // with provider-rejection: 1 abstract syntax, 2 transfer syntaxes not supported; -1 absent
}

// Results of a context.
const (
	ResultAccepted         = 0
	ResultUserRejection    = 1
	ResultProviderRejected = 2
)

// PDV is one value of a context.
type PDV struct {
	Transfer ber.OID // "" when not said
	Context  int64
	// Single is the encoding of a single-ASN1-type; when it is nil, Octets are an octet-aligned value.
	Single []byte
	Octets []byte
}

// Connect is a CP, CPA or CPR: what is in it tells which.
type Connect struct {
	Normal   bool
	Calling  []byte // presentation selectors; nil when absent
	Called   []byte
	Respond  []byte
	Contexts []Context // CP
	Results  []Result  // CPA, CPR
	Refused  *int64    // CPR: the provider's reason
	UserData []PDV
	// X410 are the members of the SET that X.410 mode has in place of all the above, without its header.
	X410 []byte
}

// CPR in normal mode is a SEQUENCE, all others are a SET.
const (
	modeX410   = 0
	modeNormal = 1
)

// ParseConnect reads a CP or CPA, or a CPR, whose normal mode is a bare SEQUENCE and whose X.410 mode is a bare SET of
// what X.410 puts into it.
func ParseConnect(b []byte, refuse bool) (Connect, error) {
	d := ber.NewDecoder(b, ber.DefaultLimits)
	root := d.Root()
	var c Connect
	switch {
	case refuse && root.Is(ber.Sequence):
		c.Normal = true
		c.normal(root)
	case refuse && root.Is(ber.Set):
		c.X410 = root.Body
	case root.Is(ber.Set):
		mode := int64(-1)
		for e := range root.All() {
			switch e.Tag {
			case ber.Context(0):
				for m := range e.All() {
					if m.Is(ber.Context(0)) {
						mode = m.Int()
					}
				}
			case ber.Context(1):
				c.X410 = e.Body
			case ber.Context(2):
				c.normal(e)
			}
		}
		switch mode {
		case modeNormal:
			c.Normal = true
		case modeX410:
			if c.X410 == nil {
				c.X410 = []byte{}
			}
		default:
			root.Failf("mode %d", mode)
		}
	default:
		root.Failf("no presentation connect")
	}
	return c, wrap("connect", d.Err())
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("presentation: %s: %w", what, err)
}

func (c *Connect) normal(e ber.Element) {
	for m := range e.All() {
		switch m.Tag {
		case ber.Context(1):
			c.Calling = m.Octets()
		case ber.Context(2):
			c.Called = m.Octets()
		case ber.Context(3):
			c.Respond = m.Octets()
		case ber.Context(4):
			for def := range m.All() {
				c.Contexts = append(c.Contexts, context(def))
			}
		case ber.Context(5):
			for res := range m.All() {
				c.Results = append(c.Results, result(res))
			}
		case ber.Context(10):
			r := m.Int()
			c.Refused = &r
		case ber.Application(0), ber.Application(1):
			c.UserData = userData(m)
		}
	}
}

func context(e ber.Element) Context {
	var c Context
	n := 0
	for m := range e.All() {
		switch n++; n {
		case 1:
			c.ID = m.Int()
		case 2:
			c.Abstract = m.OID()
		case 3:
			for t := range m.All() {
				c.Transfer = append(c.Transfer, t.OID())
			}
		}
	}
	return c
}

func result(e ber.Element) Result {
	r := Result{Reason: -1}
	for m := range e.All() {
		switch m.Tag {
		case ber.Context(0):
			r.Result = m.Int()
		case ber.Context(1):
			r.Transfer = m.OID()
		case ber.Context(2):
			r.Reason = m.Int()
		}
	}
	return r
}

// Append writes a CP or CPA, or with refuse a CPR.
func (c Connect) Append(refuse bool) ([]byte, error) {
	var w ber.Writer
	switch {
	case refuse && c.Normal:
		w.Cons(ber.Sequence, func() { c.members(&w) })
	case refuse:
		w.Cons(ber.Set, func() { w.Raw(c.X410) })
	default:
		w.Cons(ber.Set, func() {
			mode := int64(modeX410)
			if c.Normal {
				mode = modeNormal
			}
			w.Cons(ber.Context(0), func() { w.Int(ber.Context(0), mode) })
			if c.Normal {
				w.Cons(ber.Context(2), func() { c.members(&w) })
			} else {
				w.Cons(ber.Context(1), func() { w.Raw(c.X410) })
			}
		})
	}
	return w.Bytes()
}

func (c Connect) members(w *ber.Writer) {
	for n, sel := range [][]byte{c.Calling, c.Called, c.Respond} {
		if sel != nil {
			w.Octets(ber.Context(uint32(n+1)), sel)
		}
	}
	if len(c.Contexts) > 0 {
		w.Cons(ber.Context(4), func() {
			for _, def := range c.Contexts {
				w.Cons(ber.Sequence, func() {
					w.Int(ber.Integer, def.ID)
					w.OID(ber.ObjectIdentifier, def.Abstract)
					w.Cons(ber.Sequence, func() {
						for _, t := range def.Transfer {
							w.OID(ber.ObjectIdentifier, t)
						}
					})
				})
			}
		})
	}
	if len(c.Results) > 0 {
		w.Cons(ber.Context(5), func() {
			for _, r := range c.Results {
				w.Cons(ber.Sequence, func() {
					w.Int(ber.Context(0), r.Result)
					if r.Transfer != "" {
						w.OID(ber.Context(1), r.Transfer)
					}
					if r.Reason >= 0 {
						w.Int(ber.Context(2), r.Reason)
					}
				})
			}
		})
	}
	if c.Refused != nil {
		w.Int(ber.Context(10), *c.Refused)
	}
	if len(c.UserData) > 0 {
		appendUserData(w, c.UserData)
	}
}

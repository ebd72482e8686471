package p1

import (
	"time"

	"backbone/connectors/x400/ber"
)

// TraceElement is one domain's, or with MTA one MTA's, entry in the trace (X.411 12.2.1.1.1.20; internal trace 12.3.1.2).
type TraceElement struct {
	GDI
	MTA      string // internal trace only
	Arrival  time.Time
	Rerouted bool // else relayed
	// Redirected and DL are the other actions.
	Redirected, DL bool
	Attempted      *GDI
	// Raw is the encoding that was read. It is written again as it is.
	Raw []byte
}

func readTrace(e ber.Element) []TraceElement {
	var out []TraceElement
	for m := range e.All() {
		out = append(out, readTraceElement(m))
	}
	return out
}

func readTraceElement(e ber.Element) TraceElement {
	t := TraceElement{Raw: e.Raw}
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(3):
			t.GDI = readGDI(m)
		case ber.IA5String:
			t.MTA = m.Text()
		case ber.Set:
			for s := range m.All() {
				switch s.Tag {
				case ber.Context(0):
					t.Arrival, _ = s.Time() // a time that no clock shows stays in Raw
				case ber.Context(2):
					t.Rerouted = s.Int() == 1
				case ber.Context(3):
					bits := s.Bits()
					t.Redirected, t.DL = bits.Has(0), bits.Has(1)
				case ber.Application(3):
					g := readGDI(s)
					t.Attempted = &g
				}
			}
		}
	}
	return t
}

func (t TraceElement) write(w *ber.Writer) {
	if t.Raw != nil {
		w.Raw(t.Raw)
		return
	}
	w.Cons(ber.Sequence, func() {
		t.GDI.write(w)
		if t.MTA != "" {
			w.Text(ber.IA5String, t.MTA)
		}
		w.Cons(ber.Set, func() {
			w.Time(ber.Context(0), t.Arrival)
			action := int64(0)
			if t.Rerouted {
				action = 1
			}
			w.Int(ber.Context(2), action)
			if t.Attempted != nil {
				t.Attempted.write(w)
			}
			var other []int
			if t.Redirected {
				other = append(other, 0)
			}
			if t.DL {
				other = append(other, 1)
			}
			if other != nil {
				w.Bits(ber.Context(3), ber.NewBits(8, other...))
			}
		})
	})
}

func writeTrace(w *ber.Writer, trace []TraceElement) {
	w.Cons(ber.Application(9), func() {
		for _, t := range trace {
			t.write(w)
		}
	})
}

// InternalTrace is the value of the extension of that name; ok is false when there is none.
func InternalTrace(all []Extension) []TraceElement {
	x, ok := Find(all, ExtInternalTrace)
	if !ok {
		return nil
	}
	d := ber.NewDecoder(x.Value, ber.DefaultLimits)
	out := readTrace(d.Root())
	if d.Err() != nil {
		return nil
	}
	return out
}

// NewInternalTrace is the extension for trace.
func NewInternalTrace(trace []TraceElement) (Extension, error) {
	var w ber.Writer
	w.Cons(ber.Sequence, func() {
		for _, t := range trace {
			t.write(&w)
		}
	})
	b, err := w.Bytes()
	return Extension{Number: ExtInternalTrace, Value: b}, err
}

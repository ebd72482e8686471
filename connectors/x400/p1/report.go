package p1

import (
	"fmt"
	"time"

	"backbone/connectors/x400/ber"
)

// Report is a delivery or non-delivery report (X.411 12.2.1.3).
type Report struct {
	ID          MTSIdentifier
	Destination ORName
	Trace       []TraceElement
	Extensions  []Extension // of the envelope

	Subject           MTSIdentifier // of the message or probe that it is about
	SubjectTrace      []TraceElement
	EITs              []byte
	ContentType       *ContentType
	ContentID         string
	Returned          ber.Element // the returned content; not present when there is none
	ContentExtensions []Extension
	Recipients        []ReportedRecipient
}

// ReportedRecipient is what became of one recipient.
type ReportedRecipient struct {
	Actual     ORName
	Number     int64
	Indicators ber.Bits
	Arrival    time.Time // at the MTA that reports
	// Delivered is when it was delivered, UserType to what; for a non-delivery it is zero and Reason and Diagnostic stand.
	Delivered     time.Time
	UserType      int64
	NonDelivery   bool
	Reason        int64
	Diagnostic    int64   // -1 absent
	Intended      *ORName // originally
	Supplementary string
	Extensions    []Extension
}

func readReport(e ber.Element) *Report {
	r := &Report{}
	n := 0
	for m := range e.All() {
		if n++; n == 1 {
			r.readEnvelope(m)
		} else {
			r.readContent(m)
		}
	}
	if e.Present() && (n != 2 || len(r.Recipients) == 0) {
		e.Failf("a report of %d parts about %d recipients", n, len(r.Recipients))
	}
	return r
}

func (r *Report) readEnvelope(e ber.Element) {
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(4):
			r.ID = readIdentifier(m)
		case ber.Application(0):
			r.Destination = ReadORName(m)
		case ber.Application(9):
			r.Trace = readTrace(m)
		case ber.Context(1):
			r.Extensions = readExtensions(m)
		}
	}
}

func (r *Report) readContent(e ber.Element) {
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(4):
			r.Subject = readIdentifier(m)
		case ber.Application(9):
			r.SubjectTrace = readTrace(m)
		case ber.Application(5):
			r.EITs = m.Raw
		case ber.Application(6), ber.ObjectIdentifier, ber.RelativeOID:
			c := readContentType(m)
			r.ContentType = &c
		case ber.Application(10):
			r.ContentID = m.Text()
		case ber.Context(1):
			r.Returned = m
		case ber.Context(3):
			r.ContentExtensions = readExtensions(m)
		case ber.Context(0):
			for x := range m.All() {
				if len(r.Recipients) == maxRecipients {
					x.Failf("more than %d recipients", maxRecipients)
					break
				}
				r.Recipients = append(r.Recipients, readReported(x))
			}
		}
	}
}

func readReported(e ber.Element) ReportedRecipient {
	r := ReportedRecipient{Diagnostic: -1}
	for m := range e.All() {
		switch m.Tag {
		case ber.Context(0):
			r.Actual = ReadORName(m)
		case ber.Context(1):
			r.Number = m.Int()
		case ber.Context(2):
			r.Indicators = m.Bits()
		case ber.Context(3):
			r.readLastTrace(m)
		case ber.Context(4):
			n := ReadORName(m)
			r.Intended = &n
		case ber.Context(5):
			r.Supplementary = m.Text()
		case ber.Context(6):
			r.Extensions = readExtensions(m)
		}
	}
	return r
}

func (r *ReportedRecipient) readLastTrace(e ber.Element) {
	for m := range e.All() {
		switch m.Tag {
		case ber.Context(0):
			r.Arrival, _ = m.Time()
		case ber.Context(1):
			kind := m.Only()
			r.NonDelivery = kind.Is(ber.Context(1))
			for x := range kind.All() {
				switch {
				case !r.NonDelivery && x.Is(ber.Context(0)):
					r.Delivered, _ = x.Time()
				case !r.NonDelivery:
					r.UserType = x.Int()
				case x.Is(ber.Context(0)):
					r.Reason = x.Int()
				default:
					r.Diagnostic = x.Int()
				}
			}
		}
	}
}

// Encode writes the report. returned is the content to return, or nil. In 1984 a report is a DeliveryReportMPDU, whose members
// 1988 kept with their tags; those that 1988 added are left out.
func (r *Report) Encode(returned []byte, o Options) ([]byte, error) {
	var w ber.Writer
	w.Cons(ber.Context(1), func() {
		w.Cons(ber.Set, func() {
			r.ID.write(&w)
			r.Destination.Write(&w, ber.Application(0), o)
			writeTrace(&w, r.Trace)
			writeExtensions(&w, ber.Context(1), r.Extensions, o)
		})
		w.Cons(ber.Set, func() {
			r.Subject.write(&w)
			if len(r.SubjectTrace) > 0 {
				writeTrace(&w, r.SubjectTrace)
			}
			if !o.Stack1984 {
				w.Raw(r.EITs)
				if r.ContentType != nil {
					r.ContentType.write(&w)
				}
			}
			if r.ContentID != "" {
				w.Text(ber.Application(10), r.ContentID)
			}
			if returned != nil {
				w.Octets(ber.Context(1), returned)
			}
			writeExtensions(&w, ber.Context(3), r.ContentExtensions, o)
			w.Cons(ber.Context(0), func() {
				for _, x := range r.Recipients {
					x.write(&w, o)
				}
			})
		})
	})
	b, err := w.Bytes()
	if err != nil {
		return nil, fmt.Errorf("p1: report: %w", err)
	}
	return b, nil
}

// What a report of 1984 may say (X.411 of 1984, 4.3.2): its reasons and diagnostics are the first of those of 1988, and a
// user agent is public or private.
const (
	most1984Reason     = 2
	most1984Diagnostic = 11
	most1984UserType   = 1
)

// of1984 replaces what 1984 has no number for: a reason by unable-to-transfer, a kind of user by a private one; a
// diagnostic is left out.
func (r ReportedRecipient) of1984() ReportedRecipient {
	if r.Reason > most1984Reason {
		r.Reason = 1
	}
	if r.Diagnostic > most1984Diagnostic {
		r.Diagnostic = -1
	}
	r.UserType = min(r.UserType, most1984UserType)
	return r
}

func (r ReportedRecipient) write(w *ber.Writer, o Options) {
	if o.Stack1984 {
		r = r.of1984()
	}
	w.Cons(ber.Set, func() {
		r.Actual.Write(w, ber.Context(0), o)
		w.Int(ber.Context(1), r.Number)
		w.Bits(ber.Context(2), r.Indicators)
		w.Cons(ber.Context(3), func() {
			w.Time(ber.Context(0), r.Arrival)
			w.Cons(ber.Context(1), func() {
				if !r.NonDelivery {
					w.Cons(ber.Context(0), func() {
						w.Time(ber.Context(0), r.Delivered)
						if r.UserType != 0 {
							w.Int(ber.Context(1), r.UserType)
						}
					})
					return
				}
				w.Cons(ber.Context(1), func() {
					w.Int(ber.Context(0), r.Reason)
					if r.Diagnostic >= 0 {
						w.Int(ber.Context(1), r.Diagnostic)
					}
				})
			})
		})
		if r.Intended != nil {
			r.Intended.Write(w, ber.Context(4), o)
		}
		if r.Supplementary != "" {
			w.Text(ber.Context(5), r.Supplementary)
		}
		writeExtensions(w, ber.Context(6), r.Extensions, o)
	})
}

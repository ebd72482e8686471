package p22

import (
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
)

// IPN is a notification: of receipt, or of non-receipt.
type IPN struct {
	Subject    IPMID // the message that it is about
	Originator *ORDescriptor
	Intended   *ORDescriptor // the recipient that the message was for, when it is another
	// Received is when it was received, Automatic whether by itself; zero for a non-receipt, with its reasons.
	Received      time.Time
	Automatic     bool
	NonReceipt    bool
	Reason        int64 // NonReceipt: 0 discarded, 1 auto-forwarded
	DiscardReason int64 // -1 absent: 0 expired, 1 obsoleted, 2 the subscription ended
	Comment       string
	Supplementary string
}

func readIPN(e ber.Element) *IPN {
	n := &IPN{DiscardReason: -1}
	for m := range e.All() {
		switch m.Tag {
		case ber.Application(11):
			n.Subject = readID(m)
		case ber.Context(1):
			d := readDescriptor(m)
			n.Originator = &d
		case ber.Context(2):
			d := readDescriptor(m)
			n.Intended = &d
		case ber.Context(0):
			n.choice(m.Only())
		}
	}
	return n
}

func (n *IPN) choice(e ber.Element) {
	n.NonReceipt = e.Is(ber.Context(0))
	for m := range e.All() {
		switch {
		case n.NonReceipt && m.Is(ber.Context(0)):
			n.Reason = m.Int()
		case n.NonReceipt && m.Is(ber.Context(1)):
			n.DiscardReason = m.Int()
		case n.NonReceipt && m.Is(ber.Context(2)):
			n.Comment = m.Text()
		case !n.NonReceipt && m.Is(ber.Context(0)):
			n.Received, _ = m.Time()
		case !n.NonReceipt && m.Is(ber.Context(1)):
			n.Automatic = m.Int() == 1
		case !n.NonReceipt && m.Is(ber.Context(2)):
			n.Supplementary = m.Text()
		}
	}
}

// Encode writes the notification.
func (n *IPN) Encode(o p1.Options) ([]byte, error) {
	var w ber.Writer
	w.Cons(ber.Context(1), func() {
		n.Subject.write(&w, ber.Application(11), o)
		if n.Originator != nil {
			n.Originator.write(&w, ber.Context(1), o)
		}
		if n.Intended != nil {
			n.Intended.write(&w, ber.Context(2), o)
		}
		w.Cons(ber.Context(0), func() {
			if n.NonReceipt {
				w.Cons(ber.Context(0), func() {
					w.Int(ber.Context(0), n.Reason)
					if n.DiscardReason >= 0 {
						w.Int(ber.Context(1), n.DiscardReason)
					}
					if n.Comment != "" {
						w.Text(ber.Context(2), n.Comment)
					}
				})
				return
			}
			w.Cons(ber.Context(1), func() {
				w.Time(ber.Context(0), n.Received)
				if n.Automatic {
					w.Int(ber.Context(1), 1)
				}
				if n.Supplementary != "" {
					w.Text(ber.Context(2), n.Supplementary)
				}
			})
		})
	})
	return w.Bytes()
}

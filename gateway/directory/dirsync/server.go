package dirsync

import (
	"crypto/subtle"
	"fmt"
	"slices"
)

// Log is the list that one side has to tell the other, as a sequence of numbered changes.
type Log interface {
	// Head is the last change; the zero Mark before the first.
	Head() (Mark, error)
	// Has tells whether a mark is part of the sequence, and every change after it is still kept.
	Has(Mark) (bool, error)
	// Since gives the changes after a mark that it Has, in order.
	Since(Mark) ([]Transaction, error)
	// List gives the whole list, beginning with a Replace for each post office or gateway in it.
	List() ([]Transaction, error)
}

// maxMarks is how many exports may go unanswered before the whole list is sent again.
const maxMarks = 16

// Requestor is what a server keeps of one requestor. The caller stores it together with the changes taken.
type Requestor struct {
	Name  string   `json:"name"`
	Types []string `json:"types,omitempty"`
	// Taken is the last of the requestor's changes that were taken, Srv the last of ours that it has.
	Taken     Mark   `json:"taken"`
	Srv       Mark   `json:"srv"`
	ImpSeq    uint64 `json:"imp_seq"`
	Cycle     int64  `json:"cycle"`
	Templates bool   `json:"templates,omitempty"`
	// Heard is true from an export to the answer: who is silent at T1 gets nothing at T2 (KB Q131509).
	Heard bool `json:"heard,omitempty"`
	Whole bool `json:"whole,omitempty"` // the whole list was asked for
}

// Refusal is why a message is not served.
type Refusal struct {
	Code int
	Text string
}

func (r *Refusal) Error() string { return fmt.Sprintf("[%d] %s", r.Code, r.Text) }

// Taken is what is to be done with an export's transactions.
type Taken struct {
	Transactions []Transaction
	Whole        bool // they are the whole list
	Repeated     bool // the message was taken before, or is older than one that was
	// Elsewhere is set when the export does not go on from where this server is: nothing is taken, and the answer says where
	// to go on from.
	Elsewhere bool
}

// Receive takes a requestor's message. Password is the one expected, "" when there is none.
func (r *Requestor) Receive(m *Message, password string) (Taken, *Refusal) {
	if password != "" && subtle.ConstantTimeCompare([]byte(password), []byte(m.Password)) != 1 {
		return Taken{}, &Refusal{CodePassword, "the password is wrong"}
	}
	if m.Task != Export && m.Task != ImportRequest {
		return Taken{}, &Refusal{CodeTask, fmt.Sprintf("unknown TASK %q", cut(string(m.Task), 20))}
	}
	if m.Cycle != 0 {
		if m.Cycle <= r.Cycle {
			return Taken{Repeated: true}, nil
		}
		r.Cycle = m.Cycle
	}
	r.Heard, r.ImpSeq, r.Templates = true, max(r.ImpSeq, m.ImpSeq), m.Templates
	if m.Types != nil {
		r.Types = m.Types
	}
	if m.Counts {
		r.Srv = m.Srv
		r.Whole = r.Whole || m.Srv.Number == 0
	}
	if m.Task == ImportRequest {
		r.Whole = true
	}
	t := Taken{Transactions: m.Transactions}
	switch {
	case m.Full:
		t.Whole = true
		r.Taken = m.Req
		return t, nil
	case len(m.Base) == 0: // a foreign program: numbers are all there is
		t.Transactions = slices.DeleteFunc(slices.Clone(m.Transactions), func(x Transaction) bool { return x.Number != 0 && x.Number <= r.Taken.Number })
		r.Taken = Mark{Number: max(r.Taken.Number, m.Req.Number)}
		return t, nil
	case r.Taken == m.Req:
		return Taken{}, nil // nothing new
	case !slices.Contains(m.Base, r.Taken):
		return Taken{Elsewhere: true}, nil
	}
	t.Transactions = slices.DeleteFunc(slices.Clone(m.Transactions), func(x Transaction) bool { return x.Number <= r.Taken.Number })
	r.Taken = m.Req
	return t, nil
}

// Answer makes what is sent at T2. It does not count on its arrival: the requestor's next export says what it has.
func (r *Requestor) Answer(log Log) (m Message, err error) {
	m = Message{Task: Answer, Requestor: r.Name, Req: r.Taken, ImpSeq: r.ImpSeq, Cycle: r.Cycle, Templates: r.Templates}
	if m.Srv, err = log.Head(); err != nil {
		return m, err
	}
	known := false
	if !r.Whole && r.Srv.Number != 0 {
		if known, err = log.Has(r.Srv); err != nil {
			return m, err
		}
	}
	if known {
		m.Base = []Mark{r.Srv}
		m.Transactions, err = log.Since(r.Srv)
	} else {
		m.Full = true
		m.Transactions, err = log.List()
	}
	if err == nil {
		r.Heard, r.Whole = false, false
		if !known || r.Srv.Stamp == 0 {
			r.Srv = m.Srv // a foreign program may not repeat it
		}
	}
	return m, err
}

package dirsync

import (
	"slices"
	"time"
)

// Server is what a requestor keeps of its server. The caller stores it together with the changes taken.
type Server struct {
	Requestor string `json:"requestor"` // our own NET/PO
	// Acked is the last of our changes that the server is known to have; Sent are those sent since, in order.
	Acked  Mark   `json:"acked"`
	Sent   []Mark `json:"sent,omitempty"`
	Srv    Mark   `json:"srv"` // the last of the server's changes that we have
	ImpSeq uint64 `json:"imp_seq"`
	Cycle  int64  `json:"cycle"`
	// Answered is the cycle of the last answer. Missed counts the exports since without one.
	Answered int64 `json:"answered"`
	Missed   int   `json:"missed,omitempty"`
	Whole    bool  `json:"whole,omitempty"` // our whole list has to be sent
	// Last is the end of the latest export, LastWhole that it was our whole list.
	Last      Mark `json:"last"`
	LastWhole bool `json:"last_whole,omitempty"`
	Import    bool `json:"import,omitempty"`
}

// Full makes the next export ask for the server's whole list, and send ours.
func (s *Server) Full() {
	s.Whole, s.Import = true, true
	s.ImpSeq++
}

// Export makes what is sent at T1: all changes that the server may not have. They are kept until it says that it has them.
func (s *Server) Export(log Log, now time.Time) (m Message, err error) {
	s.Cycle = max(s.Cycle+1, now.UnixMilli())
	s.Missed++
	m = Message{Task: Export, Requestor: s.Requestor, Srv: s.Srv, Counts: true, ImpSeq: s.ImpSeq, Cycle: s.Cycle}
	if s.Import {
		m.Srv = Mark{}
	}
	if m.Req, err = log.Head(); err != nil {
		return m, err
	}
	known := s.Acked == Mark{} && !s.Whole && m.Req == Mark{}
	if s.Acked != (Mark{}) && !s.Whole {
		if known, err = log.Has(s.Acked); err != nil {
			return m, err
		}
	}
	if !known {
		m.Full = true
		m.Transactions, err = log.List()
	} else {
		m.Base = append([]Mark{s.Acked}, s.Sent...)
		m.Transactions, err = log.Since(s.Acked)
	}
	if err != nil {
		return m, err
	}
	s.Last, s.LastWhole = m.Req, m.Full
	if last := append([]Mark{s.Acked}, s.Sent...); last[len(last)-1] != m.Req {
		s.Sent = append(s.Sent, m.Req)
	}
	if len(s.Sent) >= maxMarks {
		s.Whole = true
		s.Sent = nil
	}
	return m, nil
}

// Receive takes the server's answer and gives the changes of its list; whole says that they are all of it.
func (s *Server) Receive(m *Message, log Log) (take []Transaction, whole, repeated bool, err error) {
	if m.Cycle != 0 && m.Cycle <= s.Answered {
		return nil, false, true, nil
	}
	whole = m.Full || len(m.Transactions) > 0 && len(m.Base) == 0 && m.Transactions[0].Op == Replace
	if !whole && len(m.Base) > 0 && !slices.Contains(m.Base, s.Srv) {
		return nil, false, true, nil // it goes on from where we were before a later answer, or before our backup
	}
	if m.Cycle != 0 && m.Cycle == s.Cycle {
		if err := s.acknowledged(m.Req, log); err != nil {
			return nil, false, false, err
		}
	}
	s.Answered, s.Missed = max(s.Answered, m.Cycle), 0
	s.Srv = m.Srv
	if whole {
		s.Import = false
	}
	return m.Transactions, whole, false, nil
}

// acknowledged notes what the server has of ours.
func (s *Server) acknowledged(k Mark, log Log) error {
	if k == s.Last {
		s.Acked, s.Sent, s.Whole = k, nil, s.Whole && !s.LastWhole
		return nil
	}
	if i := slices.Index(s.Sent, k); i >= 0 {
		s.Acked, s.Sent = k, s.Sent[i+1:]
		return nil
	}
	if k == s.Acked {
		s.Sent = nil // it took nothing of them
		return nil
	}
	known := k == Mark{}
	if !known {
		var err error
		if known, err = log.Has(k); err != nil {
			return err
		}
	}
	s.Acked, s.Sent = k, nil
	s.Whole = s.Whole || !known
	return nil
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"backbone/gateway/directory"
	"backbone/gateway/directory/dirsync"
)

// PostOfficeStatus is one synchronisation partner as an operator sees it.
type PostOfficeStatus struct {
	PostOffice string `json:"postoffice"`
	Role       string `json:"role"` // requestor: it asks us; server: we ask it
	// ReqSync is how many of the requestor's changes the server has, SrvSync the last of the server's that the requestor has.
	ReqSync uint64 `json:"req_sync"`
	SrvSync uint64 `json:"srv_sync"`
	ImpSeq  uint64 `json:"imp_seq"`
	Missed  int    `json:"missed,omitempty"`
	Exchanged
}

// Status is the agent at a glance.
type Status struct {
	Mailbox     string             `json:"mailbox,omitempty"`
	Changes     uint64             `json:"changes"` // of the list, so far
	NextT1      time.Time          `json:"next_t1,omitzero"`
	NextT2      time.Time          `json:"next_t2,omitzero"`
	NextT3      time.Time          `json:"next_t3,omitzero"`
	PostOffices []PostOfficeStatus `json:"postoffices"`
	Replication []PeerStatus       `json:"replication"`
}

// Status tells what was sent, received, refused and why, and where replication stands.
func (a *Agent) Status() (Status, error) {
	now := time.Now()
	s := Status{Mailbox: a.self.String(), NextT1: dirsync.Next(a.o.T1, now), NextT2: dirsync.Next(a.o.T2, now), NextT3: dirsync.Next(a.o.T3, now), PostOffices: []PostOfficeStatus{}}
	if a.self.IsZero() {
		s.Mailbox = ""
	}
	var head listHead
	if err := load(a.d.Record, keyList, &head); err != nil {
		return s, err
	}
	s.Changes = head.Head.Number
	for _, p := range a.o.Requestors {
		var st requestorState
		if err := load(a.d.Record, keyRequestor+p.Address, &st); err != nil {
			return s, err
		}
		s.PostOffices = append(s.PostOffices, PostOfficeStatus{PostOffice: p.Address, Role: "requestor", ReqSync: st.Taken.Number, SrvSync: st.Srv.Number,
			ImpSeq: st.ImpSeq, Exchanged: st.Exchanged})
	}
	for _, p := range a.o.Servers {
		var st serverState
		if err := load(a.d.Record, keyServer+p.Address, &st); err != nil {
			return s, err
		}
		s.PostOffices = append(s.PostOffices, PostOfficeStatus{PostOffice: p.Address, Role: "server", ReqSync: st.Acked.Number, SrvSync: st.Srv.Number,
			ImpSeq: st.ImpSeq, Missed: st.Missed, Exchanged: st.Exchanged})
	}
	var err error
	s.Replication, err = a.Peers()
	return s, err
}

// ExportList writes the list as IMPORT.EXE reads it (KB Q96060): what a post office that is not synchronised by mail can
// import by hand. With a post office it is what that one would get, a Replace and the Adds of each other one; without one,
// everything.
func (a *Agent) ExportList(_ context.Context, w io.Writer, po string) error {
	a.turn.Lock()
	defer a.turn.Unlock()
	if err := a.refresh(time.Now()); err != nil {
		return err
	}
	p := PostOffice{Address: po}
	for _, list := range [][]PostOffice{a.o.Requestors, a.o.Servers} {
		if have, ok := find(list, po); ok {
			p = have
		}
	}
	var ts []dirsync.Transaction
	err := a.d.Edit(func(ed *directory.Edit) (err error) {
		ts, err = a.view(ed, p).List()
		return err
	})
	if err != nil {
		return err
	}
	for i := range ts {
		ts[i].Number = 0
	}
	if _, err := io.WriteString(w, dirsync.ImportText(ts)); err != nil {
		return fmt.Errorf("address list: %w", err)
	}
	return nil
}

// ImportList takes a post office's list as IMPORT.EXE's text, for one that is not synchronised by mail: as if it had sent
// its transactions. With dry nothing is kept. It returns what became of them and what was refused.
func (a *Agent) ImportList(text, po string, dry bool) (Applied, []dirsync.Problem, error) {
	ts, problems := dirsync.ParseImport(text)
	ap := application{a: a, po: po}
	err := a.d.Edit(func(ed *directory.Edit) error {
		ap.ed = ed
		if err := ap.run(ts, false); err != nil {
			return err
		}
		if dry {
			return errStop
		}
		return nil
	})
	ap.n.Refused += len(problems)
	if errors.Is(err, errStop) {
		err = nil
	}
	return ap.n, append(problems, ap.problems...), err
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/directory/dirsync"
	"backbone/shadowpo/mmff"
)

// State of each post office, as records: keyRequestor of those that ask us, keyServer of those that we ask.
const (
	keyRequestor = "dirsync/requestor/"
	keyServer    = "dirsync/server/"
)

// Exchanged is what happened between us and a post office, for operators.
type Exchanged struct {
	LastSent     time.Time `json:"last_sent,omitzero"`
	LastReceived time.Time `json:"last_received,omitzero"`
	// Out and In are the transactions in the last message that was sent, and that was taken.
	Out      int               `json:"transactions_sent"`
	OutWhole bool              `json:"sent_whole_list,omitempty"`
	In       int               `json:"transactions_received"`
	Applied  Applied           `json:"applied"`
	Problems []dirsync.Problem `json:"problems,omitempty"` // of the last message that was taken, or why it was not
	Told     []dirsync.Problem `json:"told,omitempty"`     // what the other side did not take of ours
	Error    string            `json:"error,omitempty"`
	// Accept lets the next whole list delete as many users as it likes.
	Accept bool `json:"accept,omitempty"`
}

type requestorState struct {
	dirsync.Requestor
	Exchanged
}

type serverState struct {
	dirsync.Server
	Exchanged
}

// codePage is that of the post office that a message came from.
func (a *Agent) codePage(from address.Address) *mmff.CodePage {
	number := 0
	for _, list := range [][]PostOffice{a.o.Requestors, a.o.Servers} {
		for _, p := range list {
			if samePostOffice(from, p.Address) {
				number = p.CodePage
			}
		}
	}
	return codePage(number)
}

func codePage(number int) *mmff.CodePage {
	page, err := mmff.LookupCodePage(number)
	if err != nil {
		page, _ = mmff.LookupCodePage(850) // the configuration's check has found a wrong one; 850 is there
	}
	return page
}

func find(list []PostOffice, po string) (PostOffice, bool) {
	for _, p := range list {
		if p.Address == po {
			return p, true
		}
	}
	return PostOffice{}, false
}

// receiveDirSync takes a post office's message.
func (a *Agent) receiveDirSync(ctx context.Context, t *connectors.Transfer, m dirsync.Message) (string, error) {
	po := ""
	if x, err := t.Envelope.Originator.MSMail(); err == nil {
		po = x.PostOffice().String()
	}
	if m.Task == dirsync.Answer || m.Task == dirsync.Refuse {
		p, ok := find(a.o.Servers, po)
		if !ok {
			return a.ignored(t, fmt.Sprintf("%s is no directory synchronisation server of ours", t.Envelope.Originator)), nil
		}
		if err := a.genuine(&t.Envelope); err != nil && p.Password == "" {
			return a.ignored(t, err.Error()), nil
		}
		return a.receiveAnswer(p, &m)
	}
	p, ok := find(a.o.Requestors, m.Requestor)
	if !ok {
		return a.refuse(ctx, t, m, &dirsync.Refusal{Code: dirsync.CodeUnknown,
			Text: fmt.Sprintf("unknown directory synchronisation requestor %s: it is not registered at %s", m.Requestor, a.o.Site.MS)})
	}
	if po != m.Requestor {
		return a.refuse(ctx, t, m, &dirsync.Refusal{Code: dirsync.CodeUnknown,
			Text: fmt.Sprintf("%s does not speak for requestor %s", t.Envelope.Originator, m.Requestor)})
	}
	if err := a.genuine(&t.Envelope); err != nil && p.Password == "" {
		return a.ignored(t, err.Error()), nil
	}
	return a.receiveExport(ctx, t, p, &m)
}

// refuse answers a message that is not served, in MS Mail's words, and notes it.
func (a *Agent) refuse(ctx context.Context, t *connectors.Transfer, m dirsync.Message, r *dirsync.Refusal) (string, error) {
	a.log.Warn("directory synchronisation refused", "id", t.Envelope.ID, "originator", t.Envelope.Originator.String(), "code", r.Code, "err", r.Text)
	if err := a.noteProblem(m.Requestor, r); err != nil {
		return "", err
	}
	if m.Task == dirsync.Answer || m.Task == dirsync.Refuse || m.Requestor == "" || t.Envelope.Originator.Type != address.MS || a.genuine(&t.Envelope) != nil {
		return "refused: " + r.Error(), nil
	}
	no := dirsync.Message{Task: dirsync.Refuse, Requestor: m.Requestor, Cycle: m.Cycle, Code: r.Code, Reason: r.Text}
	text := no.Text(dirsync.InBody)
	return "refused: " + r.Error(), a.send(ctx, outgoing{to: t.Envelope.Originator, subject: text.Subject,
		body: fmt.Sprintf("Directory synchronisation was refused: %s\r\n\r\n%s", r.Error(), text.Body), dedup: "dirsync-refusal/" + t.Key})
}

// noteProblem keeps a refusal where the operator looks for the requestor.
func (a *Agent) noteProblem(po string, r *dirsync.Refusal) error {
	if _, ok := find(a.o.Requestors, po); !ok {
		return nil
	}
	return a.d.Edit(func(ed *directory.Edit) error {
		var s requestorState
		if err := load(record(ed), keyRequestor+po, &s); err != nil {
			return err
		}
		s.Problems = []dirsync.Problem{{Code: r.Code, Text: r.Text, At: time.Now()}}
		s.Error = r.Error()
		return store(ed, keyRequestor+po, s)
	})
}

// receiveExport takes a requestor's changes: entries and numbers in one transaction.
func (a *Agent) receiveExport(ctx context.Context, t *connectors.Transfer, p PostOffice, m *dirsync.Message) (string, error) {
	var words string
	var refusal *dirsync.Refusal
	ap := application{a: a, po: p.Address, requests: true, behind: p.Behind, types: p.Types}
	err := a.d.Edit(func(ed *directory.Edit) error {
		var s requestorState
		if err := load(record(ed), keyRequestor+p.Address, &s); err != nil {
			return err
		}
		s.Name = p.Address
		var got dirsync.Taken
		if got, refusal = s.Receive(m, p.Password); refusal != nil {
			return nil
		}
		if got.Repeated {
			words = "repeated: nothing done"
			return nil
		}
		s.LastReceived, s.Error, s.Told = time.Now(), "", m.Problems
		if got.Elsewhere {
			words = "it does not go on from where this server is: nothing taken, the answer says from where"
			return store(ed, keyRequestor+p.Address, s)
		}
		ap.ed = ed
		if s.Accept {
			ap.a = &Agent{} // without a guard
		}
		if err := ap.run(got.Transactions, got.Whole); err != nil {
			return err
		}
		s.Accept = false
		s.In, s.Applied, s.Problems = len(got.Transactions), ap.n, append(ownProblems(m), ap.problems...)
		words = fmt.Sprintf("%d transactions: %d added, %d modified, %d deleted, %d refused", s.In, ap.n.Added, ap.n.Modified, ap.n.Deleted, ap.n.Refused)
		return store(ed, keyRequestor+p.Address, s)
	})
	if errors.Is(err, errGuard) {
		refusal, err = &dirsync.Refusal{Code: dirsync.CodeManual, Text: err.Error() + "; `backbone dirsync run --accept-deletes " + p.Address + "` takes the next one"}, nil
	}
	if err != nil {
		return "", err
	}
	if refusal != nil {
		return a.refuse(ctx, t, *m, refusal)
	}
	a.logProblems(p.Address, ap.problems)
	return words, nil
}

// ownProblems are those found while the message was read.
func ownProblems(m *dirsync.Message) []dirsync.Problem {
	var out []dirsync.Problem
	for _, p := range m.Problems {
		if p.Line > 0 && len(out) < 100 {
			out = append(out, p)
		}
	}
	return out
}

func (a *Agent) logProblems(po string, ps []dirsync.Problem) {
	for i, p := range ps {
		if i == 10 {
			a.log.Warn("directory synchronisation: further transactions refused", "dest", po, "count", len(ps)-i)
			return
		}
		a.log.Warn("directory synchronisation: transaction refused", "dest", po, "err", p.String())
	}
}

// receiveAnswer takes our server's answer.
func (a *Agent) receiveAnswer(p PostOffice, m *dirsync.Message) (string, error) {
	var words string
	ap := application{a: a, po: p.Address}
	err := a.d.Edit(func(ed *directory.Edit) error {
		var s serverState
		if err := load(record(ed), keyServer+p.Address, &s); err != nil {
			return err
		}
		s.LastReceived = time.Now()
		if m.Task == dirsync.Refuse {
			s.Error = fmt.Sprintf("[%d] %s", m.Code, m.Reason)
			a.log.Warn("our directory synchronisation server refused us", "dest", p.Address, "err", s.Error)
			words = "refused by " + p.Address + ": " + s.Error
			return store(ed, keyServer+p.Address, s)
		}
		ts, whole, repeated, err := s.Receive(m, a.view(ed, p))
		if err != nil || repeated {
			words = "repeated, or not the next one: nothing done"
			return err
		}
		ap.ed = ed
		if s.Accept {
			ap.a = &Agent{} // without a guard
		}
		if err := ap.run(ts, whole); err != nil {
			return err
		}
		s.Accept, s.Error = false, ""
		s.In, s.Applied, s.Problems, s.Told = len(ts), ap.n, append(ownProblems(m), ap.problems...), m.Problems
		words = fmt.Sprintf("%d transactions: %d added, %d modified, %d deleted, %d refused", len(ts), ap.n.Added, ap.n.Modified, ap.n.Deleted, ap.n.Refused)
		return store(ed, keyServer+p.Address, s)
	})
	if errors.Is(err, errGuard) {
		a.log.Error("directory synchronisation: the server's list is not taken", "dest", p.Address, "err", err)
		text := err.Error()
		return "refused: " + text, a.d.Edit(func(ed *directory.Edit) error {
			var s serverState
			if err := load(record(ed), keyServer+p.Address, &s); err != nil {
				return err
			}
			s.Error = text
			return store(ed, keyServer+p.Address, s)
		})
	}
	a.logProblems(p.Address, ap.problems)
	return words, err
}

// export is T1: our changes to our servers.
func (a *Agent) export(ctx context.Context, po string) error {
	return a.each(ctx, a.o.Servers, po, a.exportTo)
}

// exportOnce is the export that was due at a time, of whichever gateway comes first where several share the directory and with it
// what each partner was sent. Their clocks are within a second or so.
func (a *Agent) exportOnce(due time.Time) func(context.Context, string) error {
	return func(ctx context.Context, po string) error {
		return a.each(ctx, a.o.Servers, po, func(ed *directory.Edit, p PostOffice) (*dirsync.Message, error) {
			var s serverState
			if err := load(record(ed), keyServer+p.Address, &s); err != nil || s.LastSent.After(due.Add(-30*time.Second)) {
				return nil, err
			}
			return a.exportTo(ed, p)
		})
	}
}

func (a *Agent) exportTo(ed *directory.Edit, p PostOffice) (*dirsync.Message, error) {
	var s serverState
	if err := load(record(ed), keyServer+p.Address, &s); err != nil {
		return nil, err
	}
	s.Requestor = a.o.Site.MS
	m, err := s.Export(a.view(ed, p), time.Now())
	if err != nil {
		return nil, err
	}
	m.Password, m.Templates, m.Problems = p.Password, p.Templates, s.Problems
	m.Types = []string{"PCM"}
	for _, t := range p.Types {
		m.Types = append(m.Types, dirsync.WireType(t))
	}
	s.LastSent, s.Out, s.OutWhole = time.Now(), len(m.Transactions), m.Full
	return &m, store(ed, keyServer+p.Address, s)
}

// answer is T2: each requestor that was heard gets what is new.
func (a *Agent) answer(ctx context.Context, po string) error {
	return a.each(ctx, a.o.Requestors, po, a.answerTo)
}

func (a *Agent) answerTo(ed *directory.Edit, p PostOffice) (*dirsync.Message, error) {
	var s requestorState
	if err := load(record(ed), keyRequestor+p.Address, &s); err != nil || !s.Heard {
		return nil, err // "No tasks from requestor" (KB Q131509)
	}
	v := a.view(ed, p)
	v.full = v.full || s.Templates
	m, err := s.Answer(v)
	if err != nil {
		return nil, err
	}
	m.Problems = s.Problems
	s.LastSent, s.Out, s.OutWhole = time.Now(), len(m.Transactions), m.Full
	return &m, store(ed, keyRequestor+p.Address, s)
}

// Planned is a message that a cycle would send.
type Planned struct {
	PostOffice   string `json:"postoffice"`
	Subject      string `json:"subject"`
	Transactions int    `json:"transactions"`
}

// Plan tells what Run would send, and sends nothing.
func (a *Agent) Plan(po string) ([]Planned, error) {
	a.turn.Lock()
	defer a.turn.Unlock()
	if err := a.refresh(time.Now()); err != nil {
		return nil, err
	}
	out := []Planned{}
	plan := func(list []PostOffice, make func(*directory.Edit, PostOffice) (*dirsync.Message, error)) error {
		for _, p := range list {
			if po != "" && po != p.Address {
				continue
			}
			err := a.d.Edit(func(ed *directory.Edit) error {
				m, err := make(ed, p)
				if err != nil || m == nil {
					return errors.Join(err, errStop)
				}
				out = append(out, Planned{p.Address, m.Text(dirsync.InBody).Subject, len(m.Transactions)})
				return errStop // nothing is kept
			})
			if err != nil && !errors.Is(err, errStop) {
				return err
			}
		}
		return nil
	}
	return out, errors.Join(plan(a.o.Servers, a.exportTo), plan(a.o.Requestors, a.answerTo))
}

// each makes a message for each post office of a list, or for one, stores the numbers, and sends it. Numbers first: a
// message that is then lost is like one lost on its way, and the next cycle makes up for it.
func (a *Agent) each(ctx context.Context, list []PostOffice, po string, make func(*directory.Edit, PostOffice) (*dirsync.Message, error)) error {
	if len(list) == 0 {
		return nil
	}
	a.turn.Lock()
	defer a.turn.Unlock()
	if err := a.refresh(time.Now()); err != nil {
		return err
	}
	var errs []error
	for _, p := range list {
		if po != "" && po != p.Address {
			continue
		}
		var m *dirsync.Message
		err := a.d.Edit(func(ed *directory.Edit) (err error) {
			m, err = make(ed, p)
			return err
		})
		if err == nil && m != nil {
			err = a.post(ctx, p, m)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Address, err))
		}
	}
	return errors.Join(errs...)
}

// post sends a message to a post office's system mailbox.
func (a *Agent) post(ctx context.Context, p PostOffice, m *dirsync.Message) error {
	to, err := systemBox(p.Address)
	if err != nil {
		return err
	}
	form := dirsync.InBody
	if len(m.Transactions) >= p.Attach {
		form = dirsync.InAttachment
	}
	text := m.Text(form)
	o := outgoing{to: to, subject: text.Subject, body: text.Body}
	if text.Attachment != "" {
		o.name = dirsync.AttachmentName
		o.attachment, _ = codePage(p.CodePage).Encode(text.Attachment)
	}
	a.log.Info("directory synchronisation sent", "dest", p.Address, "task", string(m.Task), "transactions", len(m.Transactions), "whole", m.Full)
	return a.send(ctx, o)
}

// review is T3: a server that has not answered is noted; several in a row are a warning (KB Q96060: one is not).
func (a *Agent) review(context.Context, string) error {
	return a.d.Edit(func(ed *directory.Edit) error {
		for _, p := range a.o.Servers {
			var s serverState
			if err := load(record(ed), keyServer+p.Address, &s); err != nil {
				return err
			}
			if s.Missed >= missedWarn {
				a.log.Warn("directory synchronisation server does not answer", "dest", p.Address, "cycles", s.Missed)
				s.Error = fmt.Sprintf("no answer for %d cycles", s.Missed)
				if err := store(ed, keyServer+p.Address, s); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// missedWarn is how many cycles without an answer are worth a warning.
const missedWarn = 3

// prepare sets what the next cycle does differently.
func (a *Agent) prepare(po string, full, accept bool) error {
	if !full && !accept {
		return nil
	}
	return a.d.Edit(func(ed *directory.Edit) error {
		for _, p := range a.o.Servers {
			if po != "" && po != p.Address {
				continue
			}
			var s serverState
			if err := load(record(ed), keyServer+p.Address, &s); err != nil {
				return err
			}
			if s.Accept = s.Accept || accept; full {
				s.Full()
			}
			if err := store(ed, keyServer+p.Address, s); err != nil {
				return err
			}
		}
		for _, p := range a.o.Requestors {
			if po != "" && po != p.Address {
				continue
			}
			var s requestorState
			if err := load(record(ed), keyRequestor+p.Address, &s); err != nil {
				return err
			}
			s.Name = p.Address
			if s.Accept = s.Accept || accept; full {
				s.Heard, s.Whole = true, true // it gets the whole list without having asked
			}
			if err := store(ed, keyRequestor+p.Address, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// Package dirsynctest is a Microsoft Mail post office as directory synchronisation sees it: its own users, the address
// list that it was told of others, and the requestor that keeps both sides up. Tests give it mail and look at its list.
package dirsynctest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/directory/dirsync"
)

// PostOffice is one post office. It is not safe for concurrent use.
type PostOffice struct {
	Name  string            // NET/PO
	Users map[string]string // by mailbox: full name
	List  map[string]string // others, by typed address: full name
	State dirsync.Server
	Log   []Change
	// Refusal is the last one that the server sent.
	Refusal string
	Told    []dirsync.Problem
}

// Change is one of its own users' changes.
type Change struct {
	Tx    dirsync.Transaction
	Stamp uint64
}

// New is an empty post office.
func New(name string) *PostOffice {
	return &PostOffice{Name: name, Users: map[string]string{}, List: map[string]string{}, State: dirsync.Server{Requestor: name}}
}

// Backup is a copy, to be restored with *p = *backup.Backup().
func (p *PostOffice) Backup() *PostOffice {
	c := *p
	c.Users, c.List, c.Log = maps.Clone(p.Users), maps.Clone(p.List), slices.Clone(p.Log)
	c.State.Sent = slices.Clone(p.State.Sent)
	return &c
}

func (p *PostOffice) identity(mailbox string) dirsync.Identity {
	return dirsync.Identity{Name: p.Users[mailbox], Address: address.Address{Type: address.MS, Value: p.Name + "/" + mailbox}}
}

func (p *PostOffice) log(t dirsync.Transaction) {
	t.Number = uint64(len(p.Log) + 1)
	p.Log = append(p.Log, Change{t, rand.Uint64() | 1})
}

// Set adds a user or changes his name.
func (p *PostOffice) Set(mailbox, name string) {
	old, there := p.Users[mailbox]
	if there && old == name {
		return
	}
	was := p.identity(mailbox)
	p.Users[mailbox] = name
	if there {
		p.log(dirsync.Transaction{Op: dirsync.Modify, Old: was, New: p.identity(mailbox)})
	} else {
		p.log(dirsync.Transaction{Op: dirsync.Add, New: p.identity(mailbox)})
	}
}

// Rename gives a user another mailbox, and name.
func (p *PostOffice) Rename(mailbox, to, name string) {
	was := p.identity(mailbox)
	p.Users[to] = name
	delete(p.Users, mailbox)
	p.log(dirsync.Transaction{Op: dirsync.Modify, Old: was, New: p.identity(to)})
}

// Delete removes a user.
func (p *PostOffice) Delete(mailbox string) {
	if _, there := p.Users[mailbox]; there {
		was := p.identity(mailbox)
		delete(p.Users, mailbox)
		p.log(dirsync.Transaction{Op: dirsync.Delete, Old: was})
	}
}

// Head implements dirsync.Log.
func (p *PostOffice) Head() (dirsync.Mark, error) {
	if len(p.Log) == 0 {
		return dirsync.Mark{}, nil
	}
	return dirsync.Mark{Number: uint64(len(p.Log)), Stamp: p.Log[len(p.Log)-1].Stamp}, nil
}

// Has implements dirsync.Log.
func (p *PostOffice) Has(m dirsync.Mark) (bool, error) {
	return m.Number == 0 || m.Number <= uint64(len(p.Log)) && p.Log[m.Number-1].Stamp == m.Stamp, nil
}

// Since implements dirsync.Log.
func (p *PostOffice) Since(m dirsync.Mark) (out []dirsync.Transaction, err error) {
	for _, c := range p.Log[m.Number:] {
		out = append(out, c.Tx)
	}
	return out, nil
}

// all is what ownLog lists.
func (p *PostOffice) all() []dirsync.Transaction {
	n := uint64(len(p.Log))
	out := []dirsync.Transaction{{Number: n, Op: dirsync.Replace, Scope: "PCM:" + p.Name}}
	for _, m := range slices.Sorted(maps.Keys(p.Users)) {
		out = append(out, dirsync.Transaction{Number: n, Op: dirsync.Add, New: p.identity(m)})
	}
	return out
}

// ownLog is the post office as a dirsync.Log.
type ownLog struct{ *PostOffice }

func (l ownLog) List() ([]dirsync.Transaction, error) { return l.all(), nil }

// Export is T1.
func (p *PostOffice) Export(now time.Time) (dirsync.Text, error) {
	m, err := p.State.Export(ownLog{p}, now)
	if err != nil {
		return dirsync.Text{}, err
	}
	m.Types = []string{"PCM"}
	return m.Text(dirsync.InBody), nil
}

// Receive is T3: a server's mail.
func (p *PostOffice) Receive(body string, attachments ...string) error {
	m, err := dirsync.Parse(body, attachments...)
	if err != nil {
		return err
	}
	if m.Task == dirsync.Refuse {
		p.Refusal = fmt.Sprintf("[%d] %s", m.Code, m.Reason)
		return nil
	}
	ts, whole, repeated, err := p.State.Receive(&m, ownLog{p})
	if err != nil || repeated {
		return err
	}
	p.Told = m.Problems
	if whole {
		clear(p.List)
	}
	for _, t := range ts {
		switch t.Op {
		case dirsync.Replace:
			prefix := strings.Replace(t.Scope, "PCM:", "MS:", 1)
			maps.DeleteFunc(p.List, func(k, _ string) bool { return strings.HasPrefix(k, prefix+"/") })
		case dirsync.Delete:
			delete(p.List, t.Old.Address.String())
		case dirsync.Modify:
			delete(p.List, t.Old.Address.String())
			p.List[t.New.Address.String()] = t.New.Name
		case dirsync.Add:
			p.List[t.New.Address.String()] = t.New.Name
		}
	}
	return nil
}

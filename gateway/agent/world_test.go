package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/directory/dirsync/dirsynctest"
	"backbone/gateway/mail"
)

// world is two sites with two post offices each, and mail between them that a test may lose, repeat and hold back.
type world struct {
	t     testing.TB
	dir   string
	sites map[string]*site
	pos   map[string]*dirsynctest.PostOffice
	mu    sync.Mutex // an agent that serves by itself posts while mail is being delivered
	mail  []letterTo // under way
	cut   bool       // the sites can't reach each other
	key   int
}

// letterTo is a message under way.
type letterTo struct {
	t  *connectors.Transfer
	to address.Address
}

type site struct {
	w        *world
	name, ms string
	pos      []string
	file     string
	d        *directory.Directory
	*Agent
	byMail bool
}

// drops stands for the MS Mail Connector, link for the site link.
type drops struct{ s *site }

func (drops) Name() string { return "msmail" }
func (d drops) Spaces() []address.Space {
	var out []address.Space
	for _, po := range d.s.pos {
		out = append(out, address.Space{Type: address.MS, Pattern: po, Cost: 1})
	}
	return out
}
func (d drops) NextHop(a address.Address) (string, error) {
	for _, po := range d.s.pos {
		if samePostOffice(a, po) {
			return po, nil
		}
	}
	return "", mail.NoRoute("none of ours")
}
func (drops) Deliver(context.Context, *connectors.Transfer) []mail.Outcome { return nil }

type link struct {
	drops
	peer string
}

func (link) Name() string                              { return "link" }
func (link) Spaces() []address.Space                   { return nil }
func (l link) NextHop(address.Address) (string, error) { return l.peer, nil }
func (l link) Replicate(ctx context.Context, q []byte) ([]byte, error) {
	if l.s.w.cut {
		return nil, mail.LinkDown("cut", nil)
	}
	return l.s.w.sites[l.peer].Answer(ctx, l.s.name, q)
}

// gateway is the Acceptor of one site: it puts mail on its way.
type gateway struct{ s *site }

func (gateway) Screen(context.Context, mail.Source, address.Address, address.Address) error {
	return nil
}
func (gateway) Known(context.Context, string) (bool, error) { return false, nil }
func (g gateway) Accept(_ context.Context, sub connectors.Submission) (connectors.Receipt, error) {
	b, err := io.ReadAll(sub.Content)
	if err != nil {
		return connectors.Receipt{}, err
	}
	g.s.w.put(sub.Envelope, b)
	return connectors.Receipt{ID: "x"}, nil
}

// put puts a message under way.
func (w *world) put(env mail.Envelope, content []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.key++
	w.mail = append(w.mail, letterTo{&connectors.Transfer{Key: fmt.Sprint(w.key), NextHop: agentHop, Envelope: env, Content: connectortest.Bytes(content),
		Attempt: 1, Note: func(mail.Note) {}}, env.Recipients[0].Address})
}

// newWorld builds SITEA with NET/PO1 and NET/PO2, SITEB with NET/PO3 and NET/PO4.
func newWorld(t testing.TB, dir string, byMail bool) *world {
	w := &world{t: t, dir: dir, sites: map[string]*site{}, pos: map[string]*dirsynctest.PostOffice{}}
	for i, name := range []string{"SITEA", "SITEB"} {
		s := &site{w: w, name: name, ms: "NET/" + name, file: filepath.Join(dir, name), byMail: byMail}
		for n := range 2 {
			po := fmt.Sprintf("NET/PO%d", 2*i+n+1)
			s.pos = append(s.pos, po)
			w.pos[po] = dirsynctest.New(po)
		}
		w.sites[name] = s
	}
	for _, s := range w.sites {
		s.open()
	}
	return w
}

func other(name string) string {
	if name == "SITEA" {
		return "SITEB"
	}
	return "SITEA"
}

func (s *site) open() {
	id := connectors.Site{Name: s.name, Organization: "Northwind", Domains: []string{strings.ToLower(s.name) + ".example"}, MS: s.ms}
	var err error
	if s.d, err = directory.Open(s.file, directory.Options{Site: directory.Identity{Name: s.name, Domains: id.Domains, MS: s.ms}, NoSync: true}); err != nil {
		s.w.t.Fatal(err)
	}
	p := Partner{Site: other(s.name), Connectors: []string{"link"}, Cost: 1, Interval: time.Minute}
	if s.byMail {
		p.Address, p.Key = address.Address{Type: address.MS, Value: "NET/" + other(s.name) + "/$SYSTEM"}, []byte("shared secret")
	}
	o := Options{Site: id, Directory: s.d, Partners: []Partner{p}, Guard: 50, Keep: 60 * 24 * time.Hour, Log: slog.New(slog.DiscardHandler)}
	for _, po := range s.pos {
		o.Requestors = append(o.Requestors, PostOffice{Address: po, Attach: 5})
	}
	if s.Agent, err = New(o); err != nil {
		s.w.t.Fatal(err)
	}
	s.Join([]connectors.Connector{drops{s}, link{drops{s}, other(s.name)}, s.Agent}, func() {})
	var gw connectors.Acceptor = gateway{s}
	s.gw.Store(&gw)
	if err := s.publish(); err != nil {
		s.w.t.Fatal(err)
	}
}

// copyTo closes the site's files, copies one and opens it again: a backup, or its restoration.
func (s *site) copyTo(from, to string) {
	if err := s.d.Close(); err != nil {
		s.w.t.Fatal(err)
	}
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		s.w.t.Fatal(err)
	}
	s.open()
}

func (w *world) close() {
	for _, s := range w.sites {
		if err := s.d.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// siteOf is where a post office is served.
func (w *world) siteOf(po string) *site {
	for _, s := range w.sites {
		if slices.Contains(s.pos, po) {
			return s
		}
	}
	return nil
}

// export is a post office's T1.
func (w *world) export(po string) {
	text, err := w.pos[po].Export(time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	s := w.siteOf(po)
	w.submit(s, po, s.ms+"/$SYSTEM", text.Subject, text.Body)
}

// submit is a message from a post office's system mailbox.
func (w *world) submit(_ *site, from, to, subject, body string) {
	content := "Subject: " + subject + "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + body
	w.put(mail.Envelope{Kind: mail.KindMessage, Originator: address.Address{Type: address.MS, Value: from + "/$SYSTEM"},
		Recipients: []mail.Recipient{{Address: address.Address{Type: address.MS, Value: to}}},
		Source:     mail.Source{Connector: "msmail", Peer: from, Authenticated: true}}, []byte(content))
}

// errUndelivered keeps a message under way.
var errUndelivered = errors.New("not now")

// deliver brings the i-th message that is under way to its place; it stays under way when again is true.
func (w *world) deliver(i int, again bool) {
	w.mu.Lock()
	l := w.mail[i]
	w.mu.Unlock()
	if err := w.bring(l); err != nil && !errors.Is(err, errUndelivered) {
		w.t.Fatal(err)
	} else if err == nil && !again {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mail = slices.Delete(w.mail, i, i+1)
	}
}

func (w *world) bring(l letterTo) error {
	m, err := l.to.MSMail()
	if err != nil {
		return err
	}
	if s := w.sites[m.PO]; s != nil {
		t := *l.t
		if t.Envelope.Source.Connector == Name { // from the other site's agent
			if w.cut {
				return errUndelivered
			}
			t.Envelope.Source = mail.Source{Connector: "link", Peer: other(s.name), Authenticated: true}
		}
		if out := s.Deliver(context.Background(), &t); out[0].State != mail.Delivered {
			return fmt.Errorf("%s: %v", s.name, out[0].Failure)
		}
		return nil
	}
	text, err := read(l.t.Content, codePage(850))
	if err != nil {
		return err
	}
	return w.pos[m.PostOffice().String()].Receive(text.body, text.lists...)
}

func (w *world) underWay() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mail)
}

// flush brings everything that is under way, and what follows from it.
func (w *world) flush() {
	for n := 0; w.underWay() > 0; n++ {
		if n > 10000 {
			w.t.Fatal("mail without end")
		}
		w.deliver(0, false)
	}
}

// cycle is one full cycle without trouble: T1 everywhere, replication both ways, T2 everywhere.
func (w *world) cycle() {
	for _, po := range slices.Sorted(maps.Keys(w.pos)) {
		w.export(po)
	}
	w.flush()
	w.replicateAll()
	for _, name := range slices.Sorted(maps.Keys(w.sites)) {
		if err := w.sites[name].answer(context.Background(), ""); err != nil {
			w.t.Fatal(err)
		}
	}
	w.flush()
	time.Sleep(time.Minute)
}

func (w *world) replicateAll() {
	for range 3 {
		for _, name := range slices.Sorted(maps.Keys(w.sites)) {
			if err := w.sites[name].Pull(context.Background(), other(name)); err != nil {
				w.t.Fatal(err)
			}
			w.flush()
		}
	}
}

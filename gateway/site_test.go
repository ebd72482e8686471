package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway"
	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/gateway/tracking"
	"backbone/queue"
	"backbone/queue/boltqueue"
)

// wire is a connector whose far end the test holds: what answer says happens to each attempt.
type wire struct {
	name, typ, hop string
	spaces         []address.Space
	maxSize        int64
	schedule       string

	mu     sync.Mutex
	fault  error                                     // what NextHop says instead of a next hop
	answer func(*connectors.Transfer) []mail.Outcome // nil: everything is taken
	got    []taken
	tried  []time.Time
}

// taken is one transfer that arrived at the far end.
type taken struct {
	env  mail.Envelope
	body []byte
	at   time.Time
	key  string
}

func (w *wire) Name() string            { return w.name }
func (w *wire) Spaces() []address.Space { return w.spaces }

func (w *wire) NextHop(a address.Address) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return "", w.fault
	}
	if w.hop == "" { // one destination a domain
		_, domain, ok := strings.Cut(a.Value, "@")
		if !ok {
			return "", mail.NoRoute(w.name + " knows domains only")
		}
		return domain, nil
	}
	return w.hop, nil
}

func (w *wire) Deliver(_ context.Context, t *connectors.Transfer) []mail.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tried = append(w.tried, time.Now())
	out := make([]mail.Outcome, len(t.Envelope.Recipients))
	for i := range out {
		out[i] = mail.Outcome{State: mail.Delivered, Peer: "taken"}
	}
	if w.answer != nil {
		out = w.answer(t)
	}
	env := t.Envelope
	env.Recipients = nil
	for i, o := range out {
		if o.State == mail.Delivered || o.State == mail.Relayed {
			env.Recipients = append(env.Recipients, t.Envelope.Recipients[i])
		}
	}
	if len(env.Recipients) > 0 {
		r, err := t.Content.Open()
		if err != nil {
			return repeated(mail.LocalFault("content", err), len(out))
		}
		defer r.Close()
		body, err := io.ReadAll(r)
		if err != nil {
			return repeated(mail.LocalFault("content", err), len(out))
		}
		w.got = append(w.got, taken{env, body, time.Now(), t.Key})
	}
	return out
}

// says makes f the answer for every recipient from now on; nil takes everything again.
func (w *wire) says(f *mail.Failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = nil
	if f != nil {
		w.answer = func(t *connectors.Transfer) []mail.Outcome { return repeated(f, len(t.Envelope.Recipients)) }
	}
}

func (w *wire) faulty(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = err
}

func (w *wire) does(f func(*connectors.Transfer) []mail.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// received waits for nothing: it is what has arrived.
func (w *wire) received() []taken {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func (w *wire) attempts() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tried)
}

func repeated(f *mail.Failure, n int) []mail.Outcome {
	out := make([]mail.Outcome, n)
	for i := range out {
		out[i] = mail.Outcome{State: mail.Deferred, Failure: f}
		if f.Final() {
			out[i].State = mail.Failed
		}
	}
	return out
}

func space(t testing.TB, s string) address.Space {
	t.Helper()
	sp, err := address.ParseSpace(s)
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

func addr(t testing.TB, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// dearer is a space that is used when no cheaper one can be.
func dearer(t testing.TB, s string) address.Space {
	sp := space(t, s)
	sp.Cost = 50
	return sp
}

// rig is Site A in a bubble: post office NET/PO1 here, NET/PO2 behind site B, everything SMTP behind the IMC.
type rig struct {
	t     *testing.T
	o     gateway.Options
	dir   string
	make  func() (queue.Store, error) // nil: the embedded store
	g     *gateway.Gateway
	store queue.Store
	book  *directory.Directory
	log   *tracking.Log
	po1   *wire
	site  *wire
	imc   *wire
	stop  func()
}

func ways(t testing.TB) (po1, site, imc *wire) {
	return &wire{name: "msmail", typ: "msmail", hop: "NET/PO1", spaces: []address.Space{space(t, "MS:NET/PO1")}},
		&wire{name: "site", typ: "site", hop: "SITEB", spaces: []address.Space{space(t, "MS:NET/PO2")}},
		&wire{name: "imc", typ: "smtp", spaces: []address.Space{space(t, "SMTP:*")}}
}

// inBubble runs f on a started site, in virtual time.
func inBubble(t *testing.T, f func(r *rig), more ...*wire) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: dir}
		r.po1, r.site, r.imc = ways(t)
		r.open(append([]*wire{r.po1, r.site, r.imc}, more...), nil)
		defer r.close()
		f(r)
	})
}

func (r *rig) open(wires []*wire, change func(*gateway.Options)) {
	t := r.t
	t.Helper()
	id := connectors.Site{Name: "SITEA", Domains: []string{"sitea.example"}, Partners: []string{"siteb.example"}}
	var err error
	if r.make == nil {
		r.make = func() (queue.Store, error) {
			return boltqueue.Open(filepath.Join(r.dir, "queue"), boltqueue.Options{Reserve: 1})
		}
	}
	if r.store, err = r.make(); err != nil {
		t.Fatal(err)
	}
	if r.book, err = directory.Open(filepath.Join(r.dir, "directory.db"), directory.Options{
		Site: directory.Identity{Name: id.Name, Domains: id.Domains, Partners: id.Partners}, ReplyRoutes: 24 * time.Hour,
	}); err != nil {
		t.Fatal(err)
	}
	if r.log, err = tracking.Open(filepath.Join(r.dir, "tracking"), tracking.Options{Subjects: true}); err != nil {
		t.Fatal(err)
	}
	r.o = gateway.Options{
		Settings: gateway.Settings{Policy: queue.DefaultPolicy(), MaxSize: 1 << 20, MaxRecipients: 100, MaxHops: 32, Poison: 2, OpenRetries: 144, ReplyRoutes: 24 * time.Hour},
		Site:     id, Store: r.store, Directory: r.book, Tracking: r.log, Workers: 8, LeaseFor: time.Hour,
		Rand: rand.New(rand.NewPCG(1, 2)), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, w := range wires {
		r.o.Members = append(r.o.Members, gateway.Member{Connector: w, Common: connectors.Common{Name: w.name, Type: w.typ, MaxSize: w.maxSize, Schedule: w.schedule}})
	}
	if change != nil {
		change(&r.o)
	}
	if r.g, err = gateway.New(r.o); err != nil {
		t.Fatal(err)
	}
	r.run()
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.g.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run ended with %v", err)
		}
	}
}

func (r *rig) close() {
	r.stop()
	if err := errors.Join(r.store.Close(), r.book.Close(), r.log.Close()); err != nil {
		r.t.Error(err)
	}
}

// send submits a message from MS Mail's ASMITH unless change says otherwise, and lets everything happen that can happen now.
func (r *rig) send(to string, change func(*connectors.Submission)) (string, error) {
	r.t.Helper()
	s := connectors.Submission{
		Envelope: mail.Envelope{
			Originator: addr(r.t, "MS:NET/PO1/ASMITH"), Name: "Anna Smith", Subject: "Figures", MessageID: "figures@sitea.example", Priority: mail.Normal,
			Source: mail.Source{Connector: "msmail", Peer: "NET/PO1"},
		},
		Content: bytes.NewReader(connectortest.Message(500, 1)),
	}
	for one := range strings.SplitSeq(to, ",") {
		s.Envelope.Recipients = append(s.Envelope.Recipients, mail.Recipient{Address: addr(r.t, one), Notify: mail.NotifyDefault})
	}
	if change != nil {
		change(&s)
	}
	rc, err := r.g.Accept(r.t.Context(), s)
	r.settle()
	return rc.ID, err
}

func (r *rig) must(to string, change func(*connectors.Submission)) string {
	r.t.Helper()
	id, err := r.send(to, change)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// settle waits until nothing moves any more. The store gathers changes for a moment before it syncs, hence the moment here.
func (r *rig) settle() {
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

func (r *rig) after(d time.Duration) {
	time.Sleep(d)
	r.settle()
}

// reports are the reports that have come back to PO1.
func (r *rig) reports() []*dsn.Report {
	r.t.Helper()
	return parsed(r.t, r.po1)
}

func parsed(t testing.TB, w *wire) (out []*dsn.Report) {
	t.Helper()
	for _, m := range w.received() {
		if m.env.Kind != mail.KindReport {
			continue
		}
		rep, err := dsn.Parse(bytes.NewReader(m.body))
		if err != nil {
			t.Fatalf("%v in:\n%s", err, m.body)
		}
		out = append(out, rep)
	}
	return out
}

func (r *rig) waiting() []queue.Item {
	r.t.Helper()
	return r.list(queue.Filter{})
}

// list is everything that a filter takes, page by page.
func (r *rig) list(f queue.Filter) (all []queue.Item) {
	r.t.Helper()
	for cur := queue.Cursor(""); ; {
		items, next, err := r.store.List(r.t.Context(), f, cur, 1000)
		if err != nil {
			r.t.Fatal(err)
		}
		if all = append(all, items...); next == "" {
			return all
		}
		cur = next
	}
}

func (r *rig) expect(what string, got, want any) {
	r.t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		r.t.Errorf("%s: %s, want %s", what, g, w)
	}
}

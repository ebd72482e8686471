package dashboard

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/address"
	"backbone/gateway/agent"
	"backbone/gateway/control"
	"backbone/gateway/directory"
	"backbone/gateway/mail"
	"backbone/gateway/tracking"
	"backbone/queue"
	"backbone/queue/boltqueue"
)

// idle is a connector whose mail waits: nothing runs that could deliver it. It keeps one file in quarantine.
type idle struct{}

func (idle) Name() string { return "x400" }
func (idle) Spaces() []address.Space {
	s, _ := address.ParseSpace("MS:NET/PO2")
	s.Cost = 1
	return []address.Space{s}
}
func (idle) NextHop(address.Address) (string, error) { return "SITEB", nil }
func (idle) Deliver(context.Context, *connectors.Transfer) []mail.Outcome {
	return nil
}

func (idle) Quarantined(context.Context) ([]connectors.Quarantined, error) {
	return []connectors.Quarantined{{ID: hostile, Place: hostile, File: hostile, Size: 9, Reason: hostile, Offset: 3}}, nil
}
func (idle) QuarantinedBytes(context.Context, string, int64) ([]byte, error) {
	return []byte(hostile), nil
}
func (idle) ReplayQuarantined(context.Context, string, []byte) error { return nil }
func (idle) DiscardQuarantined(context.Context, string) error        { return nil }

// hostile is text from a stranger that wants to be more than text.
const hostile = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{.}}\u202egnp.exe\x1b[31m"

// bench is a dashboard over a real gateway and store, with one message waiting.
type bench struct {
	t     *testing.T
	s     *control.Service
	h     http.Handler
	d     *Dashboard
	item  queue.ID
	audit *control.Audit
	// peer and host are where the next request comes from and goes to.
	peer, host string
	cookie     *http.Cookie
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := boltqueue.Open(filepath.Join(dir, "queue"), boltqueue.Options{Reserve: 1})
	must(err)
	names, err := directory.Open(filepath.Join(dir, "directory.db"), directory.Options{Site: directory.Identity{Name: "SITEA", Domains: []string{"sitea.example"}}})
	must(err)
	log, err := tracking.Open(filepath.Join(dir, "tracking"), tracking.Options{Subjects: true})
	must(err)
	audit, err := control.OpenAudit(filepath.Join(dir, "audit.log"))
	must(err)
	t.Cleanup(func() {
		for _, c := range []io.Closer{store, names, log} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		audit.Close()
	})
	members := []gateway.Member{{Connector: idle{}, Common: connectors.Common{Name: "x400", Type: "x400"}}}
	gw, err := gateway.New(gateway.Options{
		Settings: gateway.Settings{Policy: queue.DefaultPolicy(), MaxSize: 1 << 20, MaxRecipients: 100, MaxHops: 32, Poison: 2, OpenRetries: 144},
		Site:     connectors.Site{Name: "SITEA", Domains: []string{"sitea.example"}}, Store: store, Directory: names, Tracking: log, Members: members,
		Workers: 1, LeaseFor: time.Minute,
	})
	must(err)
	target, err := address.Parse("MS:NET/PO2/MKUMAR")
	must(err)
	_, err = names.Add(directory.Entry{Name: "MKUMAR", Display: hostile[:strings.IndexRune(hostile, '\u202e')], Target: target})
	must(err)
	from, err := address.Parse("MS:NET/PO1/ASMITH")
	must(err)
	_, err = gw.Accept(context.Background(), connectors.Submission{
		Envelope: mail.Envelope{Originator: from, Name: hostile, Subject: hostile, Recipients: []mail.Recipient{{Address: target, Name: hostile}}, Source: mail.Source{Connector: "x400", Peer: hostile, Detail: hostile}},
		Content:  strings.NewReader("Subject: x\r\n\r\ntop secret\r\n"), Notes: []mail.Note{{Field: hostile, Action: mail.NoteLost, Detail: hostile}},
	})
	must(err)
	items, _, err := store.List(context.Background(), queue.Filter{}, "", 10)
	must(err)
	if len(items) != 1 {
		t.Fatalf("%d entries wait, want 1", len(items))
	}
	b := &bench{t: t, item: items[0].ID, audit: audit, peer: "127.0.0.1:4000", host: "127.0.0.1:8025"}
	system, err := address.Parse("MS:NET/SITEB/$SYSTEM")
	must(err)
	sync, err := agent.New(agent.Options{
		Site: connectors.Site{Name: "SITEA", MS: "NET/SITEA"}, Directory: names, Log: slog.New(slog.DiscardHandler),
		Requestors: []agent.PostOffice{{Address: "NET/PO5"}}, Partners: []agent.Partner{{Site: "SITEB", Address: system}},
	})
	must(err)
	b.s = &control.Service{
		Agent: sync, Gateway: gw, Store: store, Directory: names, Tracking: log, Members: members, Drops: []connectors.Quarantine{idle{}}, Audit: audit,
		Flow: control.NewFlow(store.Stats), Version: "test", Started: time.Now(), Log: slog.New(slog.DiscardHandler),
	}
	o.Service, o.Listen = b.s, "127.0.0.1:8025"
	if b.d, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	b.h = b.d.Handler(ctx)
	return b
}

// do makes a request as a browser would that keeps cookies; edit changes it first.
func (b *bench) do(method, path string, form url.Values, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr, r.Host = b.peer, b.host
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://"+b.host)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	return w
}

func (b *bench) get(path string, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil, edit...)
}

var tokenField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// token is what the forms of a page carry.
func (b *bench) token(path string) string {
	b.t.Helper()
	m := tokenField.FindStringSubmatch(b.get(path).Body.String())
	if m == nil {
		b.t.Fatalf("%s has no form with a token", path)
	}
	return m[1]
}

// hold is the form that holds the waiting message.
func (b *bench) hold(token string) url.Values {
	return url.Values{"csrf": {token}, "verb": {"hold"}, "id": {b.item.String()}, "reason": {"a test"}, "return": {"/queue"}}
}

func (b *bench) state() queue.State {
	b.t.Helper()
	it, err := b.s.Store.Get(context.Background(), b.item)
	if err != nil {
		b.t.Fatal(err)
	}
	return it.State
}

func (b *bench) pages() []string {
	key := url.QueryEscape(b.item.String())
	return []string{
		"/", "/queue", "/message", "/message?key=" + key, "/message?key=NONE", "/destinations", "/routes", "/routes?address=MS:NET/PO2/MKUMAR", "/routes?address=" + url.QueryEscape(hostile),
		"/directory", "/directory?text=" + url.QueryEscape(hostile), "/directory/entry?name=MKUMAR", "/synchronization", "/quarantine", "/quarantine/entry?id=" + url.QueryEscape(hostile), "/figures", "/audit", "/sign-in",
		"/queue?from=" + url.QueryEscape(hostile), "/queue?state=" + url.QueryEscape(hostile), "/message?key=" + url.QueryEscape(hostile), "/no/such/page",
	}
}

// Package dashboard is the site's pages for operators: what moves, what waits and why, and the verbs of the CLI on it.
//
// It owns the pages, who may see them and the guards around them, and no decision about mail: each page is a few calls of
// control.Service, and a change goes the same way as the CLI's, through the same audit log. Every page reads completely
// without JavaScript; the scripts (htmx, uPlot and app.js, all embedded) refresh, complete and draw.
//
// A request that fails a guard is answered with the reason and changes nothing. What comes from outside, subjects and
// names and peers' words, is shown with control characters and direction overrides made visible, and escaped by
// html/template; scripts and styles come from this host only.
package dashboard

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"
	"unicode"

	"backbone/gateway/control"
)

// Options are what the dashboard is made of.
type Options struct {
	Service *control.Service
	Users   []User
	// Loopback is what a browser on this host may do without signing in; RoleNone: it must sign in, too.
	Loopback Role
	// Hosts are the names by which browsers reach the dashboard, besides the loopback names and Listen's host.
	Hosts  []string
	Listen string
	Log    *slog.Logger
}

// Dashboard serves the pages.
type Dashboard struct {
	o        Options
	s        *control.Service
	pages    map[string]*template.Template
	sessions *sessions
	hosts    map[string]bool
	key      [32]byte // of the tokens against cross-site requests
	throttle *throttle
	streams  chan struct{}
	log      *slog.Logger
}

// New checks the options. The error names the user whose hash can't be read.
func New(o Options) (*Dashboard, error) {
	d := &Dashboard{o: o, s: o.Service, sessions: newSessions(), hosts: knownHosts(o), throttle: newThrottle(), streams: make(chan struct{}, 64), log: o.Log}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	for _, u := range o.Users {
		if err := CheckHash(u.Hash); err != nil {
			return nil, fmt.Errorf("control.user %s: %w", u.Name, err)
		}
	}
	// crypto/rand.Read never fails.
	_, _ = rand.Read(d.key[:])
	var err error
	d.pages, err = parsePages()
	return d, err
}

// Handler serves the dashboard, and health and metrics beside it. The event streams end with ctx.
func (d *Dashboard) Handler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	public := d.s.Public()
	for _, p := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.Handle("GET "+p, public)
	}
	mux.HandleFunc("GET /static/{name}", d.static)
	mux.HandleFunc("GET /sign-in", d.signInPage)
	mux.HandleFunc("POST /sign-in", d.signIn)
	mux.HandleFunc("POST /sign-out", d.signOut)

	read := func(path string, do func(*visit) error) { mux.HandleFunc("GET "+path, d.visited(RoleRead, do)) }
	operate := func(path string, do func(*visit) error) { mux.HandleFunc("POST "+path, d.visited(RoleOperate, do)) }
	read("/{$}", d.mapPage)
	read("/queue", d.queuePage)
	operate("/queue/review", d.reviewPage)
	operate("/queue/apply", d.apply)
	read("/message", d.messagePage)
	mux.HandleFunc("GET /message/content", d.visited(RoleOperate, d.content))
	read("/destinations", d.destinationsPage)
	operate("/destinations/suspend", d.suspend)
	operate("/destinations/resume", d.resume)
	read("/routes", d.routesPage)
	read("/directory", d.directoryPage)
	read("/directory/entry", d.entryPage)
	read("/synchronization", d.syncPage)
	operate("/synchronization/run", d.sync)
	mux.HandleFunc("GET /quarantine", d.visited(RoleRead, d.quarantinePage))
	mux.HandleFunc("GET /quarantine/entry", d.visited(RoleOperate, d.quarantinedPage))
	operate("/quarantine/replay", d.replay)
	operate("/quarantine/discard", d.discard)
	read("/figures", d.figuresPage)
	read("/figures/history", d.history)
	read("/audit", d.auditPage)
	read("/events", func(v *visit) error { return d.events(ctx, v) })
	mux.HandleFunc("/", d.visited(RoleRead, func(*visit) error {
		return &control.Error{Status: http.StatusNotFound, Text: "There is no such page."}
	}))
	return d.guard(mux)
}

// visit is one request of somebody who may make it.
type visit struct {
	w http.ResponseWriter
	r *http.Request
	session
	token string // against cross-site requests
}

// by is who an audit line names.
func (v *visit) by() string { return v.User.Name }

// ctx carries to the audit log that the change comes from a browser.
func (v *visit) ctx() context.Context { return control.Via(v.r.Context(), "dashboard") }

// frame is what every page's template gets; Page is the page's own.
type frame struct {
	Site, Version string
	Title, Nav    string
	User          User
	Operate       bool
	SignedIn      bool
	CSRF          string
	Self          string // path and query of this page
	Flash         *flash
	Now           time.Time
	Live          bool // the page refreshes itself
	Page          any
}

// act is what a small form about a destination needs.
type act struct{ Connector, Host, Name, Return, CSRF string }

// Act is called by the templates.
func (f frame) Act(connector, host, to string) act {
	a := act{connector, host, host, to, f.CSRF}
	if host == "" {
		a.Name = connector
	}
	return a
}

// show renders a page. It is put together in memory first, so that a failure is not half a page.
func (d *Dashboard) show(v *visit, status int, name, title string, page any) error {
	f := frame{
		Site: d.s.Gateway.Site().Name, Version: d.s.Version, Title: title, Nav: name, User: v.User, Operate: v.User.Role == RoleOperate, SignedIn: v.signedIn,
		CSRF: v.token, Self: v.r.URL.RequestURI(), Now: time.Now(), Page: page, Live: v.r.Method == http.MethodGet && livePages[name],
	}
	if v.r.Method == http.MethodGet && v.r.Header.Get("HX-Request") == "" {
		f.Flash = d.sessions.takeFlash(v.id)
	}
	var b bytes.Buffer
	if err := d.pages[name].ExecuteTemplate(&b, "layout", f); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	if _, err := v.w.Write(bytes.Map(printing, b.Bytes())); err != nil {
		d.log.Debug("page not sent", "page", name, "err", err)
	}
	return nil
}

// printing is the last guard of a page: templates show what doesn't print as its escape; where one forgot, or gives back what
// was typed, it is a mark.
func printing(r rune) rune {
	if unicode.IsPrint(r) || r == '\n' || r == '\t' || r == thinSpace {
		return r
	}
	return unicode.ReplacementChar
}

// fail shows an error as a page.
func (d *Dashboard) fail(v *visit, err error) {
	e := control.AsError(err)
	status := e.Status
	if status >= 500 {
		d.log.Error("dashboard", "path", v.r.URL.Path, "err", err)
	}
	if err := d.show(v, status, "error", http.StatusText(status), e); err != nil {
		d.log.Error("dashboard", "path", v.r.URL.Path, "err", err)
		http.Error(v.w, e.Text, status)
	}
}

// done remembers what to say on the next page and leads there, so that a reload does not repeat the change.
func (d *Dashboard) done(v *visit, to string, f flash) error {
	d.sessions.setFlash(v.id, f)
	http.Redirect(v.w, v.r, ownPath(to), http.StatusSeeOther)
	return nil
}

// ownPath is a path of this site, whatever a form said.
func ownPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || len(u.Path) == 0 || u.Path[0] != '/' || len(u.Path) > 1 && (u.Path[1] == '/' || u.Path[1] == '\\') {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}

func badRequest(format string, args ...any) error {
	return &control.Error{Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...)}
}

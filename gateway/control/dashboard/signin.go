package dashboard

import (
	"net"
	"net/http"
	"sync"
	"time"

	"backbone/gateway/control"

	"golang.org/x/time/rate"
)

// throttle slows the guessing of passwords: a few tries, then one in ten seconds, per remote address and per name. Hashes
// are computed one at a time, so that guessers can't take the machine's memory from the mail.
type throttle struct {
	mu      sync.Mutex
	tries   map[string]*rate.Limiter
	hashing sync.Mutex
}

const maxThrottled = 10_000

func newThrottle() *throttle { return &throttle{tries: map[string]*rate.Limiter{}} }

func (t *throttle) allow(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.tries[key]
	if l == nil {
		if len(t.tries) >= maxThrottled {
			clear(t.tries)
		}
		l = rate.NewLimiter(rate.Every(10*time.Second), 5)
		t.tries[key] = l
	}
	return l.Allow()
}

// dummyHash is verified for names that are not known, so that the time taken does not tell them.
var dummyHash = sync.OnceValue(func() string {
	h, err := Hash("nobody has this password")
	if err != nil {
		return ""
	}
	return h
})

type signInForm struct {
	To, Name, Error string
	Users           bool // somebody is configured
	Clear           bool // the connection is not encrypted and comes from another host
}

func (d *Dashboard) signInPage(w http.ResponseWriter, r *http.Request) {
	d.showSignIn(w, r, http.StatusOK, signInForm{To: r.URL.Query().Get("to")})
}

func (d *Dashboard) showSignIn(w http.ResponseWriter, r *http.Request, status int, f signInForm) {
	v := &visit{w: w, r: r, session: d.identify(w, r)}
	v.token = d.csrf(v.id)
	f.Users, f.Clear = len(d.o.Users) > 0, !secure(r) && !fromLoopback(r)
	if err := d.show(v, status, "sign-in", "Sign in", f); err != nil {
		d.log.Error("dashboard", "path", r.URL.Path, "err", err)
		http.Error(w, "the page can't be shown", http.StatusInternalServerError)
	}
}

func (d *Dashboard) signIn(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r, session: d.identify(w, r)}
	if err := r.ParseForm(); err != nil || !d.csrfOK(v.id, r.PostFormValue("csrf")) {
		d.showSignIn(w, r, http.StatusForbidden, signInForm{Error: "The form has gone stale. Try again."})
		return
	}
	name, to := r.PostFormValue("name"), r.PostFormValue("to")
	f := signInForm{To: to, Name: name}
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // as it is when it can't be split
	if !secure(r) && !fromLoopback(r) {
		d.showSignIn(w, r, http.StatusForbidden, f)
		return
	}
	if !d.throttle.allow("host "+host) || !d.throttle.allow("name "+name) {
		f.Error = "Too many tries. Wait ten seconds and try again."
		d.showSignIn(w, r, http.StatusTooManyRequests, f)
		return
	}
	u, ok := d.verify(name, r.PostFormValue("password"))
	rec := control.Record{By: u.Name, Via: "dashboard", Verb: "sign in", What: "from " + host}
	if !ok {
		rec.By, rec.Error = name, "wrong name or password"
	}
	if d.s.Audit != nil {
		if err := d.s.Audit.Append(rec); err != nil {
			d.log.Error("sign-in not recorded", "err", err)
			f.Error = "Nobody can sign in while the audit log can't be written."
			d.showSignIn(w, r, http.StatusServiceUnavailable, f)
			return
		}
	}
	if !ok {
		d.log.Warn("sign-in refused", "by", name, "peer", host)
		f.Error = "Wrong name or password."
		d.showSignIn(w, r, http.StatusForbidden, f)
		return
	}
	d.sessions.end(v.id)
	d.setCookie(w, r, d.sessions.start(u)) // a new id: one that was planted before is worth nothing
	http.Redirect(w, r, ownPath(to), http.StatusSeeOther)
}

func (d *Dashboard) verify(name, password string) (User, bool) {
	d.throttle.hashing.Lock()
	defer d.throttle.hashing.Unlock()
	for _, u := range d.o.Users {
		if u.Name == name {
			return u, Verify(u.Hash, password)
		}
	}
	Verify(dummyHash(), password)
	return User{}, false
}

func (d *Dashboard) signOut(w http.ResponseWriter, r *http.Request) {
	s := d.identify(w, r)
	if err := r.ParseForm(); err == nil && d.csrfOK(s.id, r.PostFormValue("csrf")) {
		d.sessions.end(s.id)
	}
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

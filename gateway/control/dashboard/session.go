package dashboard

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Role is what somebody may do.
type Role string

const (
	RoleNone    Role = "none"
	RoleRead    Role = "read"    // see everything but message content
	RoleOperate Role = "operate" // and change it
)

// allows tells whether whoever has role r may do what needs role want.
func (r Role) allows(want Role) bool { return r == RoleOperate || r == want }

// User may sign in.
type User struct {
	Name string
	Hash string // argon2id or bcrypt
	Role Role
}

const (
	idleFor     = time.Hour      // a session that is not used ends
	sessionFor  = 12 * time.Hour // one that is used ends, too
	maxSessions = 1000           // the oldest go first
	flashFor    = 5 * time.Minute
)

// session is who a browser is. One that has not signed in has an id too: its token against cross-site requests and its
// flash hang on it.
type session struct {
	id       string
	User     User
	signedIn bool
}

// flash is what a page says once, about what was just done.
type flash struct {
	Text  string
	Error bool
	// Undo, when set, is the verb that takes it back, for these entries.
	Undo string
	IDs  []string
	at   time.Time
}

// sessions are kept in memory: a restart signs everybody out.
type sessions struct {
	mu      sync.Mutex
	users   map[string]*kept
	flashes map[string]flash
}

type kept struct {
	user      User
	born, use time.Time
}

func newSessions() *sessions {
	return &sessions{users: map[string]*kept{}, flashes: map[string]flash{}}
}

func (s *sessions) start(u User) string {
	id := rand.Text()
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.users) >= maxSessions {
		oldest := ""
		for k, v := range s.users {
			if oldest == "" || v.use.Before(s.users[oldest].use) {
				oldest = k
			}
		}
		delete(s.users, oldest)
	}
	s.users[id] = &kept{u, now, now}
	return id
}

func (s *sessions) find(id string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, now := s.users[id], time.Now()
	if k == nil {
		return User{}, false
	}
	if now.Sub(k.use) > idleFor || now.Sub(k.born) > sessionFor {
		delete(s.users, id)
		return User{}, false
	}
	k.use = now
	return k.user, true
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, id)
	delete(s.flashes, id)
}

func (s *sessions) setFlash(id string, f flash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.at = time.Now()
	for k, v := range s.flashes {
		if f.at.Sub(v.at) > flashFor || len(s.flashes) > maxSessions {
			delete(s.flashes, k)
		}
	}
	s.flashes[id] = f
}

func (s *sessions) takeFlash(id string) *flash {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.flashes[id]
	if !ok {
		return nil
	}
	delete(s.flashes, id)
	return &f
}

// cookie's name has the site in it: two sites on one host share the browser's cookies.
func (d *Dashboard) cookieName(secure bool) string {
	name := "backbone-" + d.s.Gateway.Site().Name
	if secure {
		name = "__Host-" + name
	}
	return name
}

// secure tells that the browser speaks TLS, to us or to a proxy on this host.
func secure(r *http.Request) bool {
	return r.TLS != nil || fromLoopback(r) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func fromLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// atThisHost tells a browser that runs on this host: it came over loopback, by a loopback name, through no proxy.
func atThisHost(r *http.Request) bool {
	return fromLoopback(r) && loopbackName(hostOnly(r.Host)) && r.Header.Get("Forwarded") == "" && r.Header.Get("X-Forwarded-For") == ""
}

// identify finds out who a request comes from, and gives the browser an id when it has none.
func (d *Dashboard) identify(w http.ResponseWriter, r *http.Request) session {
	var s session
	if c, err := r.Cookie(d.cookieName(secure(r))); err == nil && len(c.Value) == len(rand.Text()) {
		s.id = c.Value
		if s.User, s.signedIn = d.sessions.find(s.id); s.signedIn {
			return s
		}
	}
	if s.id == "" {
		s.id = rand.Text()
		d.setCookie(w, r, s.id)
	}
	s.User = User{Role: RoleNone}
	if atThisHost(r) && d.o.Loopback != RoleNone {
		s.User = User{Name: "browser on this host", Role: d.o.Loopback}
	}
	return s
}

func (d *Dashboard) setCookie(w http.ResponseWriter, r *http.Request, id string) {
	sec := secure(r)
	http.SetCookie(w, &http.Cookie{Name: d.cookieName(sec), Value: id, Path: "/", HttpOnly: true, Secure: sec, SameSite: http.SameSiteStrictMode})
}

// csrf is the token that forms of a browser carry.
func (d *Dashboard) csrf(id string) string {
	m := hmac.New(sha256.New, d.key[:])
	m.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (d *Dashboard) csrfOK(id, token string) bool {
	return hmac.Equal([]byte(d.csrf(id)), []byte(token))
}

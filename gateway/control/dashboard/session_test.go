package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backbone/queue"

	"golang.org/x/crypto/bcrypt"
)

// slowHash is made once: it is meant to be slow.
var slowHash = sync.OnceValues(func() (string, error) { return Hash("correct horse") })

func users(t *testing.T) []User {
	t.Helper()
	argon, err := slowHash()
	if err != nil {
		t.Fatal(err)
	}
	bc, err := bcrypt.GenerateFromPassword([]byte("battery staple"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return []User{{"kim", argon, RoleOperate}, {"lee", string(bc), RoleRead}}
}

// signIn signs in and returns the answer.
func (b *bench) signIn(name, password string) int {
	b.t.Helper()
	w := b.do(http.MethodPost, "/sign-in", url.Values{"csrf": {b.token("/sign-in")}, "name": {name}, "password": {password}, "to": {"/queue"}})
	return w.Code
}

func TestWhoHasNotSignedInIsLedToTheForm(t *testing.T) {
	b := newBench(t, Options{Users: users(t), Loopback: RoleNone, Hosts: []string{"backbone.example"}})
	for _, p := range b.pages() {
		if p == "/sign-in" {
			continue
		}
		w := b.get(p)
		if w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/sign-in") {
			t.Errorf("%s: %d to %q", p, w.Code, w.Header().Get("Location"))
		}
	}
	if w := b.do(http.MethodPost, "/queue/apply", b.hold(b.token("/sign-in"))); w.Code != 303 || b.state() != queue.Ready {
		t.Errorf("a change: %d, the entry is %s", w.Code, b.state())
	}
}

// TestOnlyABrowserOnThisHostNeedsNoSignIn: what a proxy passes on, and what comes by another name, is from elsewhere.
func TestOnlyABrowserOnThisHostNeedsNoSignIn(t *testing.T) {
	b := newBench(t, Options{Users: users(t), Loopback: RoleOperate, Hosts: []string{"backbone.example"}})
	for name, c := range map[string]struct {
		edit func(*http.Request)
		want int
	}{
		"loopback":                       {func(*http.Request) {}, 200},
		"loopback by name":               {func(r *http.Request) { r.Host = "localhost:8025" }, 200},
		"another host":                   {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5000" }, 303},
		"through a proxy":                {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, 303},
		"through a proxy, by RFC 7239":   {func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1") }, 303},
		"through a proxy that is silent": {func(r *http.Request) { r.Host = "backbone.example" }, 303},
	} {
		if w := b.get("/queue", c.edit); w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
	}
}

func TestSignInGivesANewSessionThatEndsBySigningOut(t *testing.T) {
	b := newBench(t, Options{Users: users(t), Loopback: RoleNone})
	if code := b.signIn("kim", "wrong password"); code != 403 {
		t.Errorf("a wrong password: %d", code)
	}
	before := b.cookie.Value
	if code := b.signIn("kim", "correct horse"); code != 303 {
		t.Fatalf("the right password: %d", code)
	}
	if c := b.cookie; c.Value == before || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("the cookie is %v, before it was %s", c, before)
	}
	if w := b.get("/queue"); w.Code != 200 || !strings.Contains(w.Body.String(), "kim") {
		t.Errorf("signed in: %d", w.Code)
	}
	old := b.cookie
	b.do(http.MethodPost, "/sign-out", url.Values{"csrf": {b.token("/queue")}})
	b.cookie = old
	if w := b.get("/queue"); w.Code != 303 {
		t.Errorf("after signing out the old cookie is answered %d", w.Code)
	}
	rs, _, err := b.audit.Latest(0)
	if err != nil || len(rs) != 2 || rs[0].By != "kim" || rs[0].Error != "" || rs[1].Error == "" {
		t.Errorf("the audit log has %+v (%v)", rs, err)
	}
}

// TestAReaderReads: the role is looked at on every page and form, not only where a button would be.
func TestAReaderReads(t *testing.T) {
	b := newBench(t, Options{Users: users(t), Loopback: RoleNone})
	if code := b.signIn("lee", "battery staple"); code != 303 {
		t.Fatalf("sign-in: %d", code)
	}
	if w := b.get("/queue"); w.Code != 200 || strings.Contains(w.Body.String(), "/queue/review") {
		t.Errorf("the queue: %d, with the form: %v", w.Code, strings.Contains(w.Body.String(), "/queue/review"))
	}
	for _, p := range []string{"/message/content?id=" + b.item.String(), "/quarantine/entry?id=" + url.QueryEscape(hostile)} {
		if w := b.get(p); w.Code != 403 || strings.Contains(w.Body.String(), "top secret") {
			t.Errorf("%s: %d", p, w.Code)
		}
	}
	for _, p := range []string{"/queue/review", "/queue/apply", "/destinations/suspend", "/destinations/resume", "/quarantine/replay", "/quarantine/discard"} {
		f := b.hold(b.token("/queue"))
		f.Set("connector", "x400")
		if w := b.do(http.MethodPost, p, f); w.Code != 403 {
			t.Errorf("%s: %d", p, w.Code)
		}
	}
	if b.state() != queue.Ready || len(b.s.Store.Suspensions()) != 0 {
		t.Error("a reader has changed something")
	}
}

func TestGuessingPasswordsIsSlow(t *testing.T) {
	b := newBench(t, Options{Users: users(t), Loopback: RoleNone})
	for i := range 5 {
		if code := b.signIn("nobody", "guess"); code != 403 {
			t.Fatalf("try %d: %d", i, code)
		}
	}
	if code := b.signIn("kim", "correct horse"); code != http.StatusTooManyRequests {
		t.Errorf("the sixth try, even with the right password: %d", code)
	}
}

// TestNobodySignsInInTheClear from another host; with TLS the cookie is for TLS only.
func TestNobodySignsInInTheClear(t *testing.T) {
	b := newBench(t, Options{Users: users(t), Loopback: RoleNone, Hosts: []string{"backbone.example"}})
	b.host, b.peer = "backbone.example", "192.0.2.1:5000"
	if w := b.get("/sign-in"); strings.Contains(w.Body.String(), `type="password"`) {
		t.Error("a password is asked for in the clear")
	}
	w := b.do(http.MethodPost, "/sign-in", url.Values{"csrf": {b.d.csrf(b.cookie.Value)}, "name": {"kim"}, "password": {"correct horse"}})
	if w.Code != 403 {
		t.Errorf("a password in the clear: %d", w.Code)
	}
	b.cookie, b.peer = nil, "127.0.0.1:5000"
	proxied := func(r *http.Request) {
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
	}
	if w := b.get("/sign-in", proxied); !strings.Contains(w.Body.String(), `type="password"`) || !b.cookie.Secure || !strings.HasPrefix(b.cookie.Name, "__Host-") {
		t.Errorf("over TLS: cookie %v", b.cookie)
	}
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions()
		idle, used := s.start(User{Name: "idle"}), s.start(User{Name: "used"})
		for range 11 {
			time.Sleep(59 * time.Minute)
			if _, ok := s.find(used); !ok {
				t.Fatal("a session in use has ended")
			}
		}
		if _, ok := s.find(idle); ok {
			t.Error("an unused session has not ended")
		}
		time.Sleep(59 * time.Minute)
		s.find(used)
		time.Sleep(59 * time.Minute)
		if _, ok := s.find(used); ok {
			t.Error("a session lasts for more than twelve hours")
		}
	})
}

// TestWhatCantBeRecordedIsNotDone: the audit log's disk has failed.
func TestWhatCantBeRecordedIsNotDone(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleOperate})
	token := b.token("/queue")
	if err := b.audit.Close(); err != nil {
		t.Fatal(err)
	}
	if w := b.do(http.MethodPost, "/queue/apply", b.hold(token)); w.Code != 500 || b.state() != queue.Ready {
		t.Errorf("%d, the entry is %s", w.Code, b.state())
	}
	if w := b.get("/message/content?id=" + b.item.String()); w.Code != 500 || strings.Contains(w.Body.String(), "top secret") {
		t.Errorf("content: %d", w.Code)
	}
}

func TestHashes(t *testing.T) {
	for name, c := range map[string]struct {
		hash string
		ok   bool
	}{
		"argon2id":                       {users(t)[0].Hash, true},
		"bcrypt":                         {users(t)[1].Hash, true},
		"a password in the clear":        {"correct horse", false},
		"argon2id that wants all memory": {"$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHRzYWx0$c3Vtc3Vtc3Vtc3Vtc3Vtc3Vt", false},
		"argon2id without an end":        {"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$", false},
		"argon2i":                        {"$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$c3Vtc3Vtc3Vtc3Vtc3Vtc3Vt", false},
		"argon2id with no threads":       {"$argon2id$v=19$m=19456,t=2,p=0$c2FsdHNhbHRzYWx0$c3Vtc3Vtc3Vtc3Vtc3Vtc3Vt", false},
	} {
		if err := CheckHash(c.hash); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []struct {
		hash, password string
		want           bool
	}{{users(t)[0].Hash, "correct horse", true}, {users(t)[0].Hash, "correct horsE", false}, {users(t)[1].Hash, "battery staple", true}, {users(t)[1].Hash, "", false}} {
		if got := Verify(c.hash, c.password); got != c.want {
			t.Errorf("%q: %v", c.password, got)
		}
	}
	if _, err := Hash("short"); err == nil {
		t.Error("a short password was taken")
	}
}

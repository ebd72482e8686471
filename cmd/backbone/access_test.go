package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheControlSocketIsItsOwnersAlone, and so is everything that the daemon keeps.
func TestTheControlSocketIsItsOwnersAlone(t *testing.T) {
	s, _ := openedSite(t)
	l, err := s.listenControl()
	check(t, err)
	defer l.Close()
	st, err := os.Stat(s.cfg.Control.Socket)
	check(t, err)
	if st.Mode()&os.ModeSocket == 0 || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v", st.Mode())
	}
	check(t, filepath.WalkDir(s.cfg.Site.Data, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil && st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", path, st.Mode())
		}
		return err
	}))
	if st, err := os.Stat(s.cfg.Site.Data); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the data folder: %v, %v", st.Mode(), err)
	}
}

// TestTheNetReachesNeitherAPINorProfiles: what the socket serves is not on the TCP address, whoever asks; without sign-in there
// are health, readiness, metrics, the sign-in page and its style, and nothing else.
func TestTheNetReachesNeitherAPINorProfiles(t *testing.T) {
	s, _ := openedSite(t)
	socket, net := s.service.Handler(), s.dash.Handler(t.Context())
	ask := func(h http.Handler, from, method, path string) int {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // streams end at once
		r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader("{}"))
		r.RemoteAddr, r.Host = from, "127.0.0.1"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	const here, elsewhere = "127.0.0.1:4000", "192.0.2.1:4000"
	paths := registered(t, filepath.Join("..", "..", "gateway", "control"))
	if len(paths) < 35 {
		t.Fatalf("%d paths: %v", len(paths), paths)
	}
	for _, p := range paths {
		method, path, _ := strings.Cut(p, " ")
		path = strings.NewReplacer("{id}", "1", "{verb}", "hold", "{id...}", "x", "{name}", "x").Replace(path)
		public := path == "/healthz" || path == "/readyz" || path == "/metrics"
		if strings.HasPrefix(path, "/debug/pprof/") && len(path) > len("/debug/pprof/") {
			continue // asked for below, without its seconds
		}
		if code := ask(socket, here, method, path); code == http.StatusMethodNotAllowed {
			t.Errorf("%s on the socket: %d: the test asks for nothing", p, code)
		}
		for _, from := range []string{here, elsewhere} {
			code := ask(net, from, method, path)
			if public && code >= 400 && code != http.StatusServiceUnavailable || !public && code < 300 {
				t.Errorf("%s over TCP from %s: %d", p, from, code)
			}
		}
		if code := ask(net, here, method, path); !public && code != http.StatusNotFound && code != http.StatusForbidden && code != http.StatusMethodNotAllowed {
			t.Errorf("%s over TCP, for who may operate: %d", p, code)
		}
	}
	for _, p := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine", "/debug/pprof/cmdline", "/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=1"} {
		if code := ask(net, here, "GET", p); code != http.StatusNotFound {
			t.Errorf("%s over TCP: %d", p, code)
		}
	}
	for _, p := range []string{"/", "/queue", "/message?key=x", "/message/content?id=1", "/destinations", "/routes", "/directory", "/quarantine", "/figures", "/figures/history", "/audit", "/events"} {
		if code := ask(net, elsewhere, "GET", p); code != http.StatusSeeOther {
			t.Errorf("%s without sign-in: %d", p, code)
		}
	}
}

var registration = regexp.MustCompile(`(?:HandleFunc|Handle|get|post)\((?:mux, )?"((?:GET |POST )?/[^"]*)"`)

// registered are the paths that the API's source registers.
func registered(t *testing.T, dir string) (out []string) {
	t.Helper()
	for _, f := range glob(t, dir, "*.go") {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range registration.FindAllStringSubmatch(read(t, f), -1) {
			p := m[1]
			if !strings.Contains(p, " ") {
				p = map[bool]string{true: "POST ", false: "GET "}[strings.Contains(m[0], "post(")] + p
			}
			out = append(out, p)
		}
	}
	return out
}

// TestALookAtContentIsOnTheAuditLog: the command line's as the dashboard's.
func TestALookAtContentIsOnTheAuditLog(t *testing.T) {
	s, _ := openedSite(t)
	w := httptest.NewRecorder()
	s.service.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/v1/queue/1/raw?by=kim", nil))
	rs, _, err := s.service.Audit.Latest(1)
	if err != nil || len(rs) != 1 || rs[0].By != "kim" || rs[0].Verb != "look at content" || rs[0].What != "1" {
		t.Errorf("%v: %+v", err, rs)
	}
}

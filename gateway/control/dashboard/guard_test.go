package dashboard

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"backbone/queue"
)

var (
	inlineStyle  = regexp.MustCompile(`(?i)<[^>]*\sstyle\s*=|<style`)
	fieldValue   = regexp.MustCompile(` value="[^"]*"`)
	inlineScript = regexp.MustCompile(`(?i)<script(?:\s+defer)?\s*>|<[a-z][^>]*\son[a-z]+\s*=|javascript:`)
)

// TestEveryPageRunsNothingOfAStranger: hostile names stand on every page, as text; nothing inline would run even if one
// got through.
func TestEveryPageRunsNothingOfAStranger(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleOperate})
	shown := 0
	for _, p := range b.pages() {
		w := b.get(p)
		// What somebody typed comes back in its field as it was typed, quoted.
		body := fieldValue.ReplaceAllString(w.Body.String(), ` value=""`)
		if csp := w.Header().Get("Content-Security-Policy"); csp != policy || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: policy %q", p, csp)
		}
		for k, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"} {
			if got := w.Header().Get(k); got != want {
				t.Errorf("%s: %s is %q, want %q", p, k, got, want)
			}
		}
		for what, re := range map[string]*regexp.Regexp{"style": inlineStyle, "script": inlineScript} {
			if m := re.FindString(body); m != "" {
				t.Errorf("%s: inline %s: %s", p, what, m)
			}
		}
		for _, raw := range []string{"<script>alert", "<img src=x", "\u202e", "\x1b"} {
			if strings.Contains(body, raw) {
				t.Errorf("%s shows %q raw", p, raw)
			}
		}
		shown += strings.Count(body, "&lt;script&gt;alert(1)")
	}
	if shown < 10 {
		t.Errorf("the hostile text was shown %d times only: the test looks at nothing", shown)
	}
}

// TestPagesReadWithoutJavaScript: what a page is about stands in its HTML, in a table or a timeline.
func TestPagesReadWithoutJavaScript(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleRead})
	for path, want := range map[string]string{
		"/": "MS:NET/PO2", "/queue": b.item.String(), "/message?key=" + b.item.String(): "queued", "/destinations": "SITEB",
		"/routes?address=MS:NET/PO2/MKUMAR": "<strong>chosen</strong>", "/directory": "MKUMAR", "/quarantine": "gnp.exe", "/figures": "Queue by age", "/audit": "Nobody has changed anything yet",
	} {
		if w := b.get(path); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d without %q", path, w.Code, want)
		}
	}
}

// TestAChangeNeedsTheFormOfThisSite: each way in which another site's page could make a browser send a form is refused,
// and changes nothing.
func TestAChangeNeedsTheFormOfThisSite(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleOperate})
	token := b.token("/queue")
	cookie := b.cookie
	for name, c := range map[string]struct {
		token string
		edit  func(*http.Request)
		want  int
	}{
		"no token":                 {"", func(*http.Request) {}, 403},
		"another browser's token":  {b.d.csrf("somebody else"), func(*http.Request) {}, 403},
		"the cookie is missing":    {token, func(r *http.Request) { r.Header.Del("Cookie") }, 403},
		"a foreign origin":         {token, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		"a null origin":            {token, func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		"sent from a foreign page": {token, func(r *http.Request) { r.Header.Del("Origin"); r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"a foreign name that resolves here": {token, func(r *http.Request) {
			r.Host = "evil.example:8025"
			r.Header.Set("Origin", "http://evil.example:8025")
		}, 421},
	} {
		if w := b.do(http.MethodPost, "/queue/apply", b.hold(c.token), c.edit); w.Code != c.want {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, c.want, w.Body)
		}
		b.cookie = cookie
		if s := b.state(); s != queue.Ready {
			t.Fatalf("%s: the entry is %s", name, s)
		}
	}
	if rs, _, err := b.audit.Latest(0); err != nil || len(rs) != 0 {
		t.Errorf("refused forms left %v on the audit log (%v)", rs, err)
	}
	if w := b.do(http.MethodPost, "/queue/apply", b.hold(token)); w.Code != 303 || b.state() != queue.Held {
		t.Errorf("the site's own form: %d, the entry is %s", w.Code, b.state())
	}
}

// TestHealthIsThereForProbes: probes ask by address and have no cookie.
func TestHealthIsThereForProbes(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleNone})
	b.host, b.peer = "10.9.8.7:8025", "10.0.0.1:999"
	for _, p := range []string{"/healthz", "/readyz", "/metrics"} {
		if w := b.get(p); w.Code != 200 {
			t.Errorf("%s: %d", p, w.Code)
		}
	}
	if w := b.get("/"); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("the map, by a name that is not ours: %d", w.Code)
	}
}

// TestRedirectsStayHere: what a form says of where to go next never leads away.
func TestRedirectsStayHere(t *testing.T) {
	for to, want := range map[string]string{
		"/queue?state=held": "/queue?state=held", "": "/", "https://evil.example/": "/", "//evil.example/": "/", `/\evil.example`: "/", "javascript:alert(1)": "/", "queue": "/",
		"/message?key=" + url.QueryEscape("//evil.example"): "/message?key=%2F%2Fevil.example", "/\tevil": "/",
	} {
		if got := ownPath(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}

package dashboard

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"backbone/gateway/control"
)

// policy lets a page load scripts, styles and data from this host and nothing from anywhere else; nothing inline runs.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// maxForm bounds what a form may send: an edited copy of poison is the largest.
const maxForm = 2 << 20

// guard stands before everything: it answers only to names of this host (DNS rebinding would come by another), refuses
// what another site's page makes a browser send, and tells browsers to load and frame nothing foreign.
func (d *Dashboard) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "refused: the request comes from another site's page", http.StatusForbidden)
	}))
	inner := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		// Probes and Prometheus ask by address; what they get is not worth a rebinding.
		if p := r.URL.Path; p != "/healthz" && p != "/readyz" && p != "/metrics" && !d.hosts[hostOnly(r.Host)] {
			http.Error(w, "refused: this host is not known as "+hostOnly(r.Host)+"; if it should be, add the name to control.hosts", http.StatusMisdirectedRequest)
			return
		}
		// A browser sends Origin with every form; one that names another host is another site's page even if it resolves to us.
		if o := r.Header.Get("Origin"); o != "" && r.Method != http.MethodGet {
			if u, err := url.Parse(o); err != nil || u.Host != r.Host {
				http.Error(w, "refused: the request comes from another site's page", http.StatusForbidden)
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		inner.ServeHTTP(w, r)
	})
}

func knownHosts(o Options) map[string]bool {
	out := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	if h, _, err := net.SplitHostPort(o.Listen); err == nil && h != "" {
		if ip := net.ParseIP(h); ip == nil || !ip.IsUnspecified() {
			out[strings.ToLower(h)] = true
		}
	}
	for _, h := range o.Hosts {
		out[strings.ToLower(h)] = true
	}
	return out
}

func loopbackName(h string) bool {
	ip := net.ParseIP(h)
	return h == "localhost" || ip != nil && ip.IsLoopback()
}

// hostOnly is a Host header without port and brackets, in lower case.
func hostOnly(h string) string {
	if name, _, err := net.SplitHostPort(h); err == nil {
		h = name
	}
	return strings.ToLower(strings.Trim(h, "[]"))
}

// visited lets do run for those who have the role; others are led to the sign-in page, or told that they may not.
func (d *Dashboard) visited(want Role, do func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{w: w, r: r, session: d.identify(w, r)}
		v.token = d.csrf(v.id)
		switch {
		case v.User.Role == RoleNone:
			to := "/sign-in?to=" + url.QueryEscape(r.URL.RequestURI())
			if r.Header.Get("HX-Request") != "" {
				w.Header().Set("HX-Redirect", "/sign-in")
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			http.Redirect(w, r, to, http.StatusSeeOther)
			return
		case !v.User.Role.allows(want):
			d.fail(v, &control.Error{Status: http.StatusForbidden, Text: "Your role is read: you can look, but this needs the role operate."})
			return
		case r.Method == http.MethodPost:
			if err := r.ParseForm(); err != nil {
				d.fail(v, badRequest("The form can't be read: %v.", err))
				return
			}
			if !d.csrfOK(v.id, r.PostFormValue("csrf")) {
				d.fail(v, &control.Error{Status: http.StatusForbidden, Text: "The form has gone stale: it was made before the daemon started, or for another browser. Nothing was changed; go back, reload and try again."})
				return
			}
		}
		if err := do(v); err != nil {
			d.fail(v, err)
		}
	}
}

package dashboard

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/routing"
	"backbone/gateway/tracking"
)

//go:embed templates static
var files embed.FS

// livePages fetch themselves anew when something has changed.
var livePages = map[string]bool{"map": true, "queue": true, "message": true, "destinations": true, "quarantine": true, "figures": true, "audit": true, "synchronization": true}

var functions = template.FuncMap{
	"plain":    tracking.Plain,
	"short":    short,
	"since":    func(t time.Time) string { return span(time.Since(t)) },
	"until":    func(t time.Time) string { return span(time.Until(t)) },
	"past":     func(t time.Time) bool { return !t.After(time.Now()) },
	"span":     span,
	"ms":       ms,
	"linkword": linkWord,
	"holder":   func(owner string) string { node, _, _ := strings.Cut(owner, "/"); return node }, // the gateway that has a lease
	"peer":     peer,
	"stamp":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"num":      num,
	"size":     size,
	"display":  func(a address.Address) string { return tracking.Plain(a.Display()) },
	"join":     strings.Join,
	"query":    func(kv ...string) template.URL { return query(kv...) },
	"traceURL": func(key string) string { return "/message?" + url.Values{"key": {key}}.Encode() },
	"lower":    strings.ToLower,
	"title": func(s string) string {
		if s == "" {
			return s
		}
		return strings.ToUpper(s[:1]) + s[1:]
	},
	"list": func(s ...string) []string { return s },
	"add":  func(a, b int) int { return a + b },
}

// query is a query string of the pairs whose value is not empty.
func query(kv ...string) template.URL {
	q := url.Values{}
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] != "" {
			q.Set(kv[i], kv[i+1])
		}
	}
	return template.URL(q.Encode()) //nolint:gosec // url.Values has encoded it
}

// short is s, made harmless and cut to n characters.
func short(n int, s string) string {
	r := []rune(tracking.Plain(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// span is a length of time in its two largest units.
func span(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	switch s := int64(math.Round(d.Seconds())); {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 86400:
		if m := s % 3600 / 60; m > 0 {
			return fmt.Sprintf("%d h %d min", s/3600, m)
		}
		return fmt.Sprintf("%d h", s/3600)
	default:
		if h := s % 86400 / 3600; h > 0 {
			return fmt.Sprintf("%d d %d h", s/86400, h)
		}
		return fmt.Sprintf("%d d", s/86400)
	}
}

// linkWord is a link's state as the badges name it.
func linkWord(l routing.LinkState) string {
	switch l.State {
	case "", routing.Up:
		return "up"
	case routing.OpenRetry:
		return "down"
	}
	return string(l.State)
}

// ms is a short length of time.
func ms(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return span(d)
}

// peer is the peer's words, unless the text beside them has them already.
func peer(words, text string) string {
	if strings.Contains(text, words) {
		return ""
	}
	return words
}

const thinSpace = '\u202f' // that does not break: between thousands

// num groups thousands.
func num(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + string(thinSpace) + s[i:]
	}
	return s
}

// size is a number of octets for a person.
func size(v int64) string {
	f := float64(v)
	for _, u := range []string{"B", "kB", "MB", "GB"} {
		if f < 1000 {
			if u == "B" || f >= 100 {
				return fmt.Sprintf("%.0f %s", f, u)
			}
			return fmt.Sprintf("%.1f %s", f, u)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1f TB", f)
}

func parsePages() (map[string]*template.Template, error) {
	base, err := template.New("").Funcs(functions).ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, f := range names {
		name := strings.TrimSuffix(path.Base(f), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if pages[name], err = t.ParseFS(files, f); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

var contentTypes = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".svg": "image/svg+xml"}

// static serves the embedded scripts and styles.
func (d *Dashboard) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, err := files.ReadFile("static/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", contentTypes[path.Ext(name)])
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Etag", fmt.Sprintf("%q", d.s.Version+"-"+fmt.Sprint(len(b))))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(b)))
}

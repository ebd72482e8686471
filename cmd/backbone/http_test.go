package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/gateway/config"
	"backbone/gateway/tracking"
)

// openedSite is a site with its connectors, opened in this process; nothing of it runs.
func openedSite(t *testing.T) (*site, string) {
	t.Helper()
	dir := t.TempDir()
	d := embeddedSite
	d.SMTP, d.X400, d.Control = "127.0.0.1:0", "127.0.0.1:0", ""
	p, err := writeSite(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(p, kinds)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSite(cfg, slog.New(slog.DiscardHandler), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s, dir
}

// TestTheTrackingLogKeepsWhatTheConfigurationSays: so long, so much, and subjects or only their hashes.
func TestTheTrackingLogKeepsWhatTheConfigurationSays(t *testing.T) {
	const bound = 300_000
	dir := t.TempDir()
	d := embeddedSite
	d.SMTP, d.X400, d.Control = "127.0.0.1:0", "127.0.0.1:0", ""
	p, err := writeSite(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, p, fmt.Sprintf("\n[tracking]\nkeep = \"3d\"\nmax_size = %d\nsubjects = false\n", bound), func(s string) string { return s })
	cfg, err := config.Load(p, kinds)
	if err != nil {
		t.Fatal(err)
	}
	logs := filepath.Join(cfg.Site.Data, "tracking")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	day := func(ago int) string {
		return filepath.Join(logs, time.Now().UTC().AddDate(0, 0, -ago).Format("20060102")+".log")
	}
	for _, ago := range []int{2, 5} {
		line := fmt.Sprintf(`{"time":%q,"type":"queued","id":"OLD%d"}`+"\n", time.Now().UTC().AddDate(0, 0, -ago).Format(time.RFC3339), ago)
		if err := os.WriteFile(day(ago), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := openSite(cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := os.Stat(day(5)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of five days ago, with keep = 3d: %v", err)
	}
	if es, err := s.track.Trace(t.Context(), "OLD2"); err != nil || len(es) != 1 {
		t.Errorf("an event of two days ago: %v, %v", es, err)
	}
	for i := range 2000 {
		if err := s.track.Append(t.Context(), tracking.Event{Time: time.Now(), Type: tracking.Received, ID: fmt.Sprintf("M%d", i), Subject: "Takeover plan", Text: strings.Repeat("x", 200)}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(logs)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, f := range files {
		st, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
	}
	if total > bound*5/4 {
		t.Errorf("%d octets are kept, max_size = %d", total, bound)
	}
	es, err := s.track.Trace(t.Context(), "M1999")
	if err != nil || len(es) != 1 || es[0].Subject != "" || es[0].SubjectHash == "" {
		t.Errorf("the newest event is %+v, %v; want it with a hash for its subject", es, err)
	}
	if _, err := s.track.Trace(t.Context(), "M0"); !errors.Is(err, tracking.ErrNotFound) {
		t.Errorf("the oldest event is still there: %v", err)
	}
}

func ask(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}

func TestTheAPIAnswersMistakesAsMistakes(t *testing.T) {
	s, _ := openedSite(t)
	h := s.service.Handler()
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		says                     string
	}{
		{"no such entry", "GET", "/v1/queue/7ZZ", "", 404, "no such queue entry"},
		{"no id", "GET", "/v1/queue/!", "", 400, ""},
		{"no such verb", "POST", "/v1/queue/destroy", "{}", 404, "destroy"},
		{"no JSON", "POST", "/v1/queue/hold", "{", 400, ""},
		{"an unknown field", "POST", "/v1/queue/hold", `{"fliter":{}}`, 400, "fliter"},
		{"no address", "GET", "/v1/route?address=MS:NET", "", 400, "NETWORK/POSTOFFICE/MAILBOX"},
		{"no connector", "POST", "/v1/suspend", `{"dest":{"connector":"nowhere"}}`, 400, "nowhere"},
		{"not suspended", "POST", "/v1/resume", `{"dest":{"connector":"imc"}}`, 404, ""},
		{"a page size that is none", "GET", "/v1/queue?limit=many", "", 200, "items"},
		{"nothing there", "GET", "/v2/queue", "", 404, ""},
		{"the wrong method", "DELETE", "/v1/queue", "", 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := ask(t, h, c.method, c.path, c.body)
			if code != c.code || !strings.Contains(text, c.says) {
				t.Errorf("%d %s, want %d with %q", code, text, c.code, c.says)
			}
		})
	}
}

func TestReadinessNamesWhatIsWrong(t *testing.T) {
	s, dir := openedSite(t)
	h := s.service.Public()
	if code, text := ask(t, h, "GET", "/healthz", ""); code != 200 {
		t.Errorf("healthz: %d %s", code, text)
	}
	if code, text := ask(t, h, "GET", "/readyz", ""); code != 200 {
		t.Errorf("readyz: %d %s", code, text)
	}
	// The share is not mounted any more: an empty folder is there instead.
	if err := os.Rename(filepath.Join(dir, "NET.PO1"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "NET.PO1"), 0o750); err != nil {
		t.Fatal(err)
	}
	if code, text := ask(t, h, "GET", "/readyz", ""); code != 503 || !strings.Contains(text, "NET/PO1") {
		t.Errorf("readyz without the drop: %d %s, want 503 naming NET/PO1", code, text)
	}
}

func TestReadyMeansThatMailWouldBeTakenAndSent(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *site, dir string)
		says string // "" when it is ready
	}{
		{"all is well", func(*testing.T, *site, string) {}, ""},
		{"the queue's folder is gone", func(t *testing.T, s *site, dir string) {
			if err := os.Rename(filepath.Join(dir, "data", "queue", "log"), filepath.Join(dir, "away")); err != nil {
				t.Fatal(err)
			}
		}, `"name":"queue","ok":false`},
		{"a drop is gone", func(t *testing.T, s *site, dir string) {
			if err := os.Rename(filepath.Join(dir, "NET.PO1"), filepath.Join(dir, "away")); err != nil {
				t.Fatal(err)
			}
		}, "post office NET/PO1"},
		{"a connector that alone has an address space is suspended", func(t *testing.T, s *site, _ string) {
			if code, text := ask(t, s.service.Handler(), "POST", "/v1/suspend", `{"dest":{"connector":"msmail"},"reason":"works"}`); code != 200 {
				t.Fatal(code, text)
			}
		}, "MS:NET/PO1 is served by nobody: connector msmail is suspended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, dir := openedSite(t)
			c.do(t, s, dir)
			code, text := ask(t, s.service.Public(), "GET", "/readyz", "")
			if (code == http.StatusOK) != (c.says == "") || !strings.Contains(text, c.says) {
				t.Errorf("%d %s, want %q", code, text, c.says)
			}
		})
	}
}

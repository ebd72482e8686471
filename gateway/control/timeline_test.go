package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"backbone/gateway"
	"backbone/gateway/directory"
	"backbone/gateway/tracking"
	"backbone/queue/boltqueue"
)

// awayArchive does not answer.
type awayArchive struct{}

var errAway = errors.New("db1.internal does not answer")

func (awayArchive) Position(context.Context, string) (tracking.Cursor, error) { return "", errAway }
func (awayArchive) Add(context.Context, string, tracking.Cursor, tracking.Cursor, []tracking.Record) (bool, error) {
	return false, errAway
}
func (awayArchive) Named(context.Context, []int64, int) ([]tracking.Record, error) {
	return nil, errAway
}
func (awayArchive) Page(context.Context, tracking.Query, tracking.Mark) ([]tracking.Record, tracking.Mark, error) {
	return nil, tracking.Mark{}, errAway
}

// lonely is a service whose database is away, as its API shows it.
func lonely(t *testing.T) (*Service, *Client) {
	t.Helper()
	dir := t.TempDir()
	log, err := tracking.Open(filepath.Join(dir, "tracking"), tracking.Options{Archive: awayArchive{}, Node: "gw1"})
	if err != nil {
		t.Fatal(err)
	}
	store, err := boltqueue.Open(filepath.Join(dir, "queue"), boltqueue.Options{Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	names, err := directory.Open(filepath.Join(dir, "directory.db"), directory.Options{Site: directory.Identity{Name: "SITEA"}})
	if err != nil {
		t.Fatal(err)
	}
	gw, err := gateway.New(gateway.Options{Store: store, Directory: names, Tracking: log})
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Gateway: gw, Store: store, Directory: names, Tracking: log, Log: slog.New(slog.DiscardHandler)}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		srv.Close()
		if err := errors.Join(log.Close(), store.Close(), names.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, e := range []tracking.Event{{Type: tracking.Received, ID: "A-1", Connector: "link", Peer: "SITEB"}, {Type: tracking.Delivered, ID: "A-1"}} {
		if err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	c := &Client{name: "test", http: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}}}
	t.Cleanup(c.http.CloseIdleConnections)
	return s, c
}

// TestAnAnswerWithoutTheDatabaseSaysWhatItLacks in each form that the API has.
func TestAnAnswerWithoutTheDatabaseSaysWhatItLacks(t *testing.T) {
	s, c := lonely(t)
	const lacks = "only what gateway gw1 wrote itself: db1.internal does not answer"
	for _, path := range []string{"/v1/trace", "/v1/timeline"} {
		var tl Timeline
		if err := c.Get(t.Context(), path, url.Values{"key": {"A-1"}}, &tl); err != nil || len(tl.Events) != 2 || strings.Join(tl.Missing, "") != lacks {
			t.Errorf("%s: %v, %d events, missing %q", path, err, len(tl.Events), tl.Missing)
		}
	}
	var p Page[tracking.Event]
	if err := c.Get(t.Context(), "/v1/tracking", nil, &p); err != nil || len(p.Items) != 2 || strings.Join(p.Missing, "") != lacks {
		t.Errorf("search: %v, %d events, missing %q", err, len(p.Items), p.Missing)
	}
	var text strings.Builder
	var partly Partly
	if err := c.Text(t.Context(), "/v1/tracking/exchange", nil, &text); !errors.As(err, &partly) || err.Error() != lacks || strings.Count(text.String(), "A-1") != 2 {
		t.Errorf("Exchange's form: %v\n%s", err, &text)
	}
	var tl Timeline
	if err := c.Get(t.Context(), "/v1/timeline", url.Values{"key": {"elsewhere"}}, &tl); !IsNotFound(err) || !strings.Contains(err.Error(), lacks) {
		t.Errorf("a name that is not here: %v", err)
	}
	// Another site learns that there may be more, and nothing of our hosts.
	far, err := s.AnswerTrace(t.Context(), "SITEB", "A-1", []string{"SITEB"})
	if out, merr := json.Marshal(far); err != nil || merr != nil || len(far.Missing) != 1 || strings.Contains(string(out), "db1") {
		t.Errorf("to another site: %s, %v, %v", out, err, merr)
	}
	for _, check := range s.Ready(t.Context()) {
		if check.Name == "tracking" {
			if !check.OK || !strings.Contains(check.Text, "db1.internal does not answer") {
				t.Errorf("readiness: %+v", check)
			}
			return
		}
	}
	t.Error("readiness says nothing of the events that wait")
}

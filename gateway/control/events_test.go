package control

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"backbone/gateway/tracking"
)

// streamed is a service that has only a tracking log, served.
func streamed(t *testing.T) (log *tracking.Log, url string, stop context.CancelFunc) {
	t.Helper()
	log, err := tracking.Open(t.TempDir(), tracking.Options{Subjects: true})
	if err != nil {
		t.Fatal(err)
	}
	stopping, stop := context.WithCancel(context.Background())
	s := &Service{Tracking: log, Stopping: stopping, Log: slog.New(slog.DiscardHandler)}
	srv := httptest.NewServer(http.HandlerFunc(s.events))
	t.Cleanup(func() {
		stop()
		srv.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log, srv.URL, stop
}

func happens(t *testing.T, log *tracking.Log, kind tracking.Type, id, text string) {
	t.Helper()
	if err := log.Append(t.Context(), tracking.Event{Time: time.Now(), Type: kind, ID: id, Text: text}); err != nil {
		t.Fatal(err)
	}
}

// sse is one server-sent event (HTML, 9.2.6).
type sse struct {
	id, event string
	data      tracking.Entry
}

// listen opens a stream as a browser does.
func listen(t *testing.T, url, last string) (next func() (sse, bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s, Content-Type %q", resp.Status, got)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() (e sse, ok bool) {
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.event = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.data); err != nil {
					t.Fatalf("%v in %s", err, value)
				}
			case "":
				return e, true
			default:
				t.Fatalf("a line that no browser knows: %q", lines.Text())
			}
		}
		return e, false
	}
}

// TestTheEventStreamGoesOnAfterTheLastEventThatABrowserHas: nothing twice, nothing lost, what happens now as it happens; its
// filter holds; it ends with the daemon.
func TestTheEventStreamGoesOnAfterTheLastEventThatABrowserHas(t *testing.T) {
	log, url, stop := streamed(t)
	happens(t, log, tracking.Received, "M1", "two\nlines \u2028 and a third")
	happens(t, log, tracking.Queued, "M1", "")
	happens(t, log, tracking.Delivered, "M1", "")
	next := listen(t, url+"?after=start", "")
	var first []sse
	for range 3 {
		e, ok := next()
		if !ok {
			t.Fatal("the stream ended")
		}
		first = append(first, e)
	}
	for i, want := range []tracking.Type{tracking.Received, tracking.Queued, tracking.Delivered} {
		if e := first[i]; e.event != string(want) || e.data.Type != want || e.data.ID != "M1" || e.id == "" || e.id != string(e.data.Cursor) {
			t.Errorf("event %d: %+v, want %s", i, e, want)
		}
	}
	if got := first[0].data.Text; got != "two\nlines \u2028 and a third" {
		t.Errorf("text %q", got)
	}
	// A browser that has lost the connection comes back with the last id that it has.
	again := listen(t, url, first[1].id)
	if e, _ := again(); e.id != first[2].id || e.event != "delivered" {
		t.Errorf("after %s comes %+v, want %s", first[1].id, e, first[2].id)
	}
	failures := listen(t, url+"?after=start&type=failed", "")
	happens(t, log, tracking.Failed, "M2", "no such mailbox")
	for name, stream := range map[string]func() (sse, bool){"first": next, "second": again, "filtered": failures} {
		if e, ok := stream(); !ok || e.event != "failed" || e.data.ID != "M2" {
			t.Errorf("%s stream: %+v, %v; want what has just happened", name, e, ok)
		}
	}
	stop()
	if e, ok := next(); ok {
		t.Errorf("after the end: %+v", e)
	}
}

// TestACursorThatIsNoneIsRefused.
func TestACursorThatIsNoneIsRefused(t *testing.T) {
	_, url, _ := streamed(t)
	resp, err := http.Get(url + "?after=yesterday")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%s, want 400", resp.Status)
	}
}

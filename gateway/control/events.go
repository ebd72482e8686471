package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"backbone/gateway/mail"
	"backbone/gateway/tracking"
)

// trackingFilter reads a filter over the tracking log from a query: key (any name of a message, or a drop file), from, to,
// subject (or its hash), connector, type (repeatable), class, since and until (RFC 3339). TrackingQuery writes it.
func trackingFilter(q url.Values) (tracking.Filter, error) {
	f := tracking.Filter{ID: q.Get("key"), Sender: q.Get("from"), Recipient: q.Get("to"), Subject: q.Get("subject"), Connector: q.Get("connector"), Class: mail.Class(q.Get("class"))}
	for _, t := range q["type"] {
		f.Types = append(f.Types, tracking.Type(t))
	}
	var errs []error
	at := func(key string, into *time.Time) {
		if v := q.Get(key); v != "" {
			t, err := time.Parse(time.RFC3339, v)
			errs = append(errs, err)
			*into = t
		}
	}
	at("since", &f.From)
	at("until", &f.To)
	return f, errors.Join(errs...)
}

// TrackingQuery is a filter as the API takes it.
func TrackingQuery(f tracking.Filter) url.Values {
	q := url.Values{}
	for _, kv := range [][2]string{{"key", f.ID}, {"from", f.Sender}, {"to", f.Recipient}, {"subject", f.Subject}, {"connector", f.Connector}, {"class", string(f.Class)}} {
		if kv[1] != "" {
			q.Set(kv[0], kv[1])
		}
	}
	for _, t := range f.Types {
		q.Add("type", string(t))
	}
	for key, t := range map[string]time.Time{"since": f.From, "until": f.To} {
		if !t.IsZero() {
			q.Set(key, t.Format(time.RFC3339Nano))
		}
	}
	return q
}

// events streams the tracking log: what stands after a cursor (parameter after, or Last-Event-ID), then each new event as
// it happens, until the caller goes or the daemon stops. Without a cursor it begins now; after=start begins with the oldest
// event. Each entry carries the cursor with which to go on after it, across restarts. The answer is JSON lines, or
// server-sent events for a caller that accepts text/event-stream (HTML, 9.2).
func (s *Service) events(w http.ResponseWriter, r *http.Request) {
	f, err := trackingFilter(r.URL.Query())
	if err != nil {
		answer(w, nil, bad(err))
		return
	}
	sse := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	after := tracking.Cursor(r.URL.Query().Get("after"))
	if id := r.Header.Get("Last-Event-ID"); sse && id != "" {
		after = tracking.Cursor(id)
	}
	switch after {
	case "":
		after = s.Tracking.Tail()
	case "start":
		after = ""
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if s.Stopping != nil {
		defer context.AfterFunc(s.Stopping, cancel)()
	}
	if _, _, err := s.Tracking.Search(ctx, tracking.Filter{}, after, 1); errors.Is(err, tracking.ErrCursor) {
		answer(w, nil, bad(err))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if sse {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil {
		return // the caller is gone
	}
	for e, err := range s.Tracking.Follow(ctx, after) {
		if err != nil {
			s.Log.Warn("event stream broken off", "err", err)
			return
		}
		if !f.Matches(&e.Event) {
			continue
		}
		if writeEvent(w, e, sse) != nil || out.Flush() != nil {
			return // the caller is gone
		}
	}
}

func writeEvent(w http.ResponseWriter, e tracking.Entry, sse bool) error {
	b, err := MarshalJSON(e)
	if err != nil {
		return err
	}
	if !sse {
		_, err = w.Write(append(b, '\n'))
		return err
	}
	_, err = fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", e.Cursor, e.Type, b)
	return err
}

package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/tracking"
)

// Timeline is what happened to a message here, at whichever gateway of this site, and at the sites that it went on to.
type Timeline struct {
	Events  []tracking.Event `json:"events"`            // by their own time: sites' clocks may differ
	Missing []string         `json:"missing,omitempty"` // what a site, or the database with the other gateways' events, said instead of an answer
}

// askSite bounds the question to one site.
const askSite = 10 * time.Second

// Timeline finds a message by any of its names, as tracking.Log.Trace does, and asks each site that it was handed over to
// and that a site link leads to. ErrNotFound of package tracking: nothing here has that name.
func (s *Service) Timeline(ctx context.Context, key string) (Timeline, error) {
	t, err := s.trace(ctx, key)
	if err != nil {
		return Timeline{}, err
	}
	s.follow(ctx, &t, nil)
	slices.SortStableFunc(t.Events, func(a, b tracking.Event) int { return a.Time.Compare(b.Time) })
	return t, nil
}

// trace finds a message at this site.
func (s *Service) trace(ctx context.Context, key string) (t Timeline, err error) {
	t.Events, err = s.Tracking.Trace(ctx, key)
	t.Missing, err = missing(err)
	return t, err
}

// missing is what an answer lacks, when it is one nevertheless.
func missing(err error) ([]string, error) {
	if partly, is := errors.AsType[*tracking.Partly](err); is && !errors.Is(err, tracking.ErrNotFound) {
		return []string{partly.Error()}, nil
	}
	return nil, err
}

// follow adds what the next sites know, each asked once for each message.
func (s *Service) follow(ctx context.Context, t *Timeline, asked []string) {
	own := s.Gateway.Site().Name
	asked = append(slices.Clone(asked), own)
	type question struct{ site, id string }
	done := map[question]bool{}
	for _, e := range slices.Clone(t.Events) {
		_, host, _ := strings.Cut(e.Dest, ":")
		q := question{host, e.ID}
		if e.Type != tracking.Delivered && e.Type != tracking.Relayed || e.Site != own || done[q] || slices.Contains(asked, host) {
			continue
		}
		done[q] = true
		link := s.tracer(host)
		if link == nil {
			continue
		}
		call, stop := context.WithTimeout(ctx, askSite)
		far, err := link.Trace(call, e.ID, asked)
		stop()
		if err != nil {
			t.Missing = append(t.Missing, fmt.Sprintf("site %s: %v", host, err))
			continue
		}
		for _, line := range far.Events {
			var fe tracking.Event
			if err := json.Unmarshal(line, &fe); err != nil || fe.Site == own {
				continue // what happened here only our own log says
			}
			t.Events = append(t.Events, fe)
		}
		t.Missing = append(t.Missing, far.Missing...)
	}
}

// tracer is the link that leads to a site; nil when none does.
func (s *Service) tracer(site string) connectors.Tracer {
	for _, m := range s.Members {
		if t, ok := m.Connector.(connectors.Tracer); ok && site != "" && t.Peer() == site {
			return t
		}
	}
	return nil
}

var errNotYours = errors.New("this site has no message of that name from the asking site")

// AnswerTrace tells a site that has shown who it is what became of a message which it has handed over to us, over
// whichever link, and of the reports about it.
func (s *Service) AnswerTrace(ctx context.Context, site, id string, asked []string) (connectors.Timeline, error) {
	t, err := s.trace(ctx, id)
	if err != nil && !errors.Is(err, tracking.ErrNotFound) {
		return connectors.Timeline{}, err
	}
	if _, partly := errors.AsType[*tracking.Partly](err); partly || len(t.Missing) > 0 { // in words that are for strangers
		t.Missing = []string{fmt.Sprintf("site %s: only what one of its gateways wrote", s.Gateway.Site().Name)}
	}
	es := t.Events
	if !slices.ContainsFunc(es, func(e tracking.Event) bool {
		return e.Type == tracking.Received && strings.EqualFold(e.ID, id) && e.Peer == site && s.provesPeer(e.Connector)
	}) {
		if len(t.Missing) > 0 {
			return connectors.Timeline{Missing: t.Missing}, nil
		}
		return connectors.Timeline{}, errNotYours
	}
	t.Events = slices.DeleteFunc(es, func(e tracking.Event) bool { return e.ID != id && e.About != id })
	s.follow(ctx, &t, append(slices.Clone(asked), site))
	out := connectors.Timeline{Missing: t.Missing}
	for _, e := range t.Events {
		b, err := json.Marshal(e)
		if err != nil {
			return out, err
		}
		out.Events = append(out.Events, b)
	}
	return out, nil
}

// provesPeer tells whether a kind of connector knows the site's name at the other end from a certificate or a bind, and
// not from what a caller says.
func (s *Service) provesPeer(connector string) bool {
	for _, m := range s.Members {
		if m.Connector.Name() == connector {
			return m.Type == "site" || m.Type == "x400"
		}
	}
	return false
}

// missingTrailer is what a text lacks, when it is an answer nevertheless.
const missingTrailer = "Backbone-Missing"

func (s *Service) timelineRoutes(mux *http.ServeMux) {
	get(mux, "/v1/trace", func(r *http.Request) (any, error) { return s.trace(r.Context(), r.URL.Query().Get("key")) })
	get(mux, "/v1/timeline", func(r *http.Request) (any, error) { return s.Timeline(r.Context(), r.URL.Query().Get("key")) })
	get(mux, "/v1/tracking", func(r *http.Request) (any, error) {
		f, err := trackingFilter(r.URL.Query())
		if err != nil {
			return nil, bad(err)
		}
		es, next, err := s.Tracking.Search(r.Context(), f, tracking.Cursor(r.URL.Query().Get("after")), pageSize(r))
		if errors.Is(err, tracking.ErrCursor) {
			err = bad(err)
		}
		lacks, err := missing(err)
		return Page[tracking.Event]{es, string(next), lacks}, err
	})
	mux.HandleFunc("GET /v1/tracking/exchange", func(w http.ResponseWriter, r *http.Request) {
		f, err := trackingFilter(r.URL.Query())
		if err != nil {
			answer(w, nil, bad(err))
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Trailer", missingTrailer)
		lacks, err := missing(s.Tracking.WriteExchange(r.Context(), w, f, s.connectorType))
		if err != nil {
			s.Log.Warn("tracking export broken off", "err", err)
		}
		for _, m := range lacks {
			w.Header().Add(missingTrailer, tracking.Plain(m))
		}
	})
	mux.HandleFunc("GET /v1/events", s.events)
}

func (s *Service) connectorType(name string) string {
	for _, m := range s.Members {
		if m.Connector.Name() == name {
			return m.Type
		}
	}
	return cmp.Or(name, "control")
}

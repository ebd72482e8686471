package control

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

// maxSubmit bounds a message handed in over the API; the gateway's own limit is checked behind it.
const maxSubmit = 1 << 30

// Handler serves the whole API: for the unix socket, whose file mode says who may operate.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	s.public(mux)
	get(mux, "/v1/queue", func(r *http.Request) (any, error) {
		f, err := filterFrom(r.URL.Query())
		if err != nil {
			return nil, bad(err)
		}
		items, next, err := s.Store.List(r.Context(), f, queue.Cursor(r.URL.Query().Get("after")), pageSize(r))
		return Page[queue.Item]{Items: items, Next: string(next)}, err
	})
	mux.HandleFunc("GET /v1/queue/lines", s.lines)
	get(mux, "/v1/queue/{id}", func(r *http.Request) (any, error) {
		id, err := queue.ParseID(r.PathValue("id"))
		if err != nil {
			return nil, bad(err)
		}
		return s.Store.Get(r.Context(), id)
	})
	mux.HandleFunc("GET /v1/queue/{id}/raw", func(w http.ResponseWriter, r *http.Request) {
		id, err := queue.ParseID(r.PathValue("id"))
		if err != nil {
			answer(w, nil, bad(err))
			return
		}
		if by := r.URL.Query().Get("by"); by != "" && s.Audit != nil { // who looks; a backup has no name on it
			if err := s.Audit.Append(Record{By: by, Via: "socket", Verb: "look at content", What: id.String()}); err != nil {
				answer(w, nil, err)
				return
			}
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := s.Raw(r.Context(), id, w); err != nil {
			answer(w, nil, err)
		}
	})
	post(mux, "/v1/queue/{verb}", func(r *http.Request, req ChangeRequest) (any, error) {
		return s.Change(r.Context(), r.PathValue("verb"), req)
	})
	get(mux, "/v1/dests", func(r *http.Request) (any, error) { return s.Dests(r.Context()) })
	get(mux, "/v1/connectors", func(r *http.Request) (any, error) { return s.Connectors(r.Context()) })
	post(mux, "/v1/suspend", func(r *http.Request, req SuspendRequest) (any, error) { return s.Suspend(r.Context(), req) })
	post(mux, "/v1/resume", func(r *http.Request, req SuspendRequest) (any, error) { return s.Resume(r.Context(), req) })
	get(mux, "/v1/status", func(r *http.Request) (any, error) { return s.Status(r.Context()) })
	get(mux, "/v1/check", func(r *http.Request) (any, error) { return s.Store.Check(r.Context()) })
	get(mux, "/v1/route", func(r *http.Request) (any, error) {
		a, err := address.Parse(r.URL.Query().Get("address"))
		if err != nil {
			return nil, bad(err)
		}
		return s.Gateway.Explain(a), nil
	})
	post(mux, "/v1/probe", func(r *http.Request, req ProbeRequest) (any, error) { return s.Probe(r.Context(), req) })
	mux.HandleFunc("GET /v1/route/table", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		var err error
		if r.URL.Query().Get("format") == "gwart" {
			err = s.Gateway.Table().WriteGWART(w)
		} else {
			err = WriteJSON(w, s.Gateway.Table().Entries())
		}
		if err != nil {
			s.Log.Debug("route table not sent", "err", err)
		}
	})
	mux.HandleFunc("POST /v1/reinstate", s.reinstate)
	mux.HandleFunc("GET /v1/backup/directory", s.backupDirectory)
	mux.HandleFunc("POST /v1/send", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		out, err := s.Submit(r.Context(), Submission{From: q.Get("from"), To: q["to"], Subject: q.Get("subject"), Notify: q.Get("notify")}, io.LimitReader(r.Body, maxSubmit))
		answer(w, out, err)
	})
	s.directoryRoutes(mux)
	s.dirsyncRoutes(mux)
	s.quarantineRoutes(mux)
	s.auditRoutes(mux)
	s.reloadRoutes(mux)
	profiles(mux)
	s.timelineRoutes(mux)
	return mux
}

// Public serves health and metrics, without sign-in: for the TCP address, where probes and Prometheus ask.
func (s *Service) Public() http.Handler {
	mux := http.NewServeMux()
	s.public(mux)
	return mux
}

func (s *Service) public(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"status": "ok"}, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		checks := s.Ready(r.Context())
		status := http.StatusOK
		for _, c := range checks {
			if !c.OK {
				status = http.StatusServiceUnavailable
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := WriteJSON(w, checks); err != nil {
			s.Log.Debug("readiness not sent", "err", err)
		}
	})
	mux.Handle("GET /metrics", s.Metrics())
}

func get(mux *http.ServeMux, path string, do func(*http.Request) (any, error)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		v, err := do(r)
		answer(w, v, err)
	})
}

func post[T any](mux *http.ServeMux, path string, do func(*http.Request, T) (any, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var req T
		dec := json.NewDecoder(io.LimitReader(r.Body, 16<<20))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil && err != io.EOF {
			answer(w, nil, bad(err))
			return
		}
		v, err := do(r, req)
		answer(w, v, err)
	})
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		e := asError(err)
		w.WriteHeader(e.Status)
		v = e
	}
	// The caller may have gone away; there is nobody left to tell.
	_ = WriteJSON(w, v)
}

func pageSize(r *http.Request) int {
	n, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || n <= 0 || n > 1000 {
		return 1000
	}
	return n
}

// filterFrom reads a queue filter from a query; filterTo writes it.
func filterFrom(q url.Values) (f queue.Filter, err error) {
	for _, id := range q["id"] {
		n, err := queue.ParseID(id)
		if err != nil {
			return f, err
		}
		f.IDs = append(f.IDs, n)
	}
	f.Connector, f.Host, f.From, f.To, f.Message = q.Get("connector"), q.Get("dest"), q.Get("from"), q.Get("to"), q.Get("message")
	f.State, f.Class = queue.State(q.Get("state")), mail.Class(q.Get("class"))
	var errs []error
	dur := func(key string, into *time.Duration) {
		if v := q.Get(key); v != "" {
			d, err := time.ParseDuration(v)
			errs = append(errs, err)
			*into = d
		}
	}
	dur("older", &f.Older)
	dur("newer", &f.Newer)
	if v := q.Get("larger"); v != "" {
		f.Larger, err = strconv.ParseInt(v, 10, 64)
		errs = append(errs, err)
	}
	return f, errors.Join(errs...)
}

func filterTo(f queue.Filter) url.Values {
	q := url.Values{}
	set := func(k, v string) {
		if v != "" {
			q.Set(k, v)
		}
	}
	for _, id := range f.IDs {
		q.Add("id", id.String())
	}
	set("connector", f.Connector)
	set("dest", f.Host)
	set("from", f.From)
	set("to", f.To)
	set("message", f.Message)
	set("state", string(f.State))
	set("class", string(f.Class))
	if f.Older > 0 {
		set("older", f.Older.String())
	}
	if f.Newer > 0 {
		set("newer", f.Newer.String())
	}
	if f.Larger > 0 {
		set("larger", strconv.FormatInt(f.Larger, 10))
	}
	return q
}

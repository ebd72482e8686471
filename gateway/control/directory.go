package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"backbone/gateway/address"
	"backbone/gateway/directory"
)

// Resolved is the answer of `directory resolve`.
type Resolved struct {
	Asked address.Address `json:"asked"`
	directory.Resolution
}

// Imported is the answer of `directory import`: the summary, and the per-line result file.
type Imported struct {
	directory.Summary
	Results string `json:"results"`
}

// EntryRequest adds, replaces or removes one custom recipient.
type EntryRequest struct {
	Entry  directory.Entry `json:"entry"`
	By     string          `json:"by,omitempty"`
	Reason string          `json:"reason,omitempty"`
	DryRun bool            `json:"dry_run,omitempty"`
}

func (s *Service) directoryRoutes(mux *http.ServeMux) {
	get(mux, "/v1/directory", func(r *http.Request) (any, error) {
		q := r.URL.Query()
		items, next, err := s.Directory.List(directory.Filter{Text: q.Get("text"), Address: q.Get("address"), Site: s.listedSite(q)}, q.Get("after"), pageSize(r))
		return Page[directory.Entry]{Items: items, Next: next}, err
	})
	get(mux, "/v1/directory/entry", func(r *http.Request) (any, error) { return s.Directory.Get(r.URL.Query().Get("name")) })
	get(mux, "/v1/directory/resolve", func(r *http.Request) (any, error) {
		a, err := address.Parse(r.URL.Query().Get("address"))
		if err != nil {
			return nil, bad(err)
		}
		res, err := s.Directory.Resolve(a)
		return Resolved{a, res}, err
	})
	post(mux, "/v1/directory/add", func(r *http.Request, req EntryRequest) (any, error) {
		if req.DryRun {
			return req.Entry, nil
		}
		var e directory.Entry
		_, err := s.audited(r.Context(), Record{By: req.By, Verb: "directory add", What: req.Entry.Name, Reason: req.Reason}, func() (_ Changed, err error) {
			e, err = s.Directory.Add(req.Entry)
			return Changed{Changed: 1}, err
		})
		if errors.Is(err, directory.ErrUnavailable) {
			return nil, err
		}
		if err != nil {
			return nil, bad(err)
		}
		return e, nil
	})
	post(mux, "/v1/directory/remove", func(r *http.Request, req EntryRequest) (any, error) {
		if _, err := s.Directory.Get(req.Entry.Name); err != nil || req.DryRun {
			return Changed{1, req.DryRun}, err
		}
		return s.audited(r.Context(), Record{By: req.By, Verb: "directory remove", What: req.Entry.Name, Reason: req.Reason}, func() (Changed, error) {
			return Changed{1, false}, s.Directory.Remove(req.Entry.Name)
		})
	})
	mux.HandleFunc("POST /v1/directory/import", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		out, err := s.importDirectory(r.Context(), r.Body, q.Get("by"), q.Get("reason"), q.Get("dry_run") != "", q.Get("all_or_nothing") != "")
		answer(w, out, err)
	})
	mux.HandleFunc("GET /v1/directory/export", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		if _, err := s.Directory.Export(r.Context(), w, exportOptions(r.URL.Query())); err != nil {
			s.Log.Error("directory export broke off", "err", err)
		}
	})
}

// listedSite is the site whose entries a query asks for: "" for all, with own this one.
func (s *Service) listedSite(q url.Values) string {
	if q.Get("own") != "" {
		return s.Gateway.Site().Name
	}
	return q.Get("site")
}

// exportOptions are a query's: entries with an address, of a site, or of all sites.
func exportOptions(q url.Values) directory.ExportOptions {
	return directory.ExportOptions{Filter: directory.Filter{Address: q.Get("address"), Site: q.Get("site")}, AllSites: q.Get("all_sites") != "" || q.Get("site") != ""}
}

func (s *Service) importDirectory(ctx context.Context, r io.Reader, by, reason string, dry, all bool) (Imported, error) {
	var results bytes.Buffer
	var sum directory.Summary
	do := func() (_ Changed, err error) {
		sum, err = s.Directory.Import(ctx, r, directory.ImportOptions{DryRun: dry, AllOrNothing: all, DeleteGuard: s.DeleteGuard, Results: &results})
		return Changed{sum.Created + sum.Modified + sum.Deleted, dry}, err
	}
	var err error
	if dry {
		_, err = do()
	} else {
		_, err = s.audited(ctx, Record{By: by, Verb: "directory import", Reason: reason}, do)
	}
	if err != nil {
		return Imported{sum, results.String()}, bad(err)
	}
	return Imported{sum, results.String()}, nil
}

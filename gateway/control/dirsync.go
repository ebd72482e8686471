package control

import (
	"context"
	"errors"
	"io"
	"net/http"

	"backbone/gateway/address"
	"backbone/gateway/agent"
	"backbone/gateway/directory/dirsync"
)

// SyncRequest runs a cycle of directory synchronisation, or of replication, now.
type SyncRequest struct {
	PostOffice string `json:"postoffice,omitempty"` // "": all
	Site       string `json:"site,omitempty"`       // replicate from this site instead
	// Full asks for and sends whole lists. AcceptDeletes takes the next whole list whatever it deletes.
	Full          bool   `json:"full,omitempty"`
	AcceptDeletes bool   `json:"accept_deletes,omitempty"`
	By            string `json:"by,omitempty"`
	Reason        string `json:"reason,omitempty"`
	DryRun        bool   `json:"dry_run,omitempty"`
}

// SyncRun is the answer: what would be sent, or where everything stands now.
type SyncRun struct {
	Planned []agent.Planned `json:"planned,omitempty"`
	agent.Status
}

// ListImported is the answer of `dirsync import`.
type ListImported struct {
	agent.Applied
	Problems []dirsync.Problem `json:"problems,omitempty"`
	DryRun   bool              `json:"dry_run,omitempty"`
}

// maxList bounds an address list's text.
const maxList = 256 << 20

func (s *Service) dirsyncRoutes(mux *http.ServeMux) {
	get(mux, "/v1/dirsync", func(*http.Request) (any, error) { return s.Agent.Status() })
	post(mux, "/v1/dirsync/run", func(r *http.Request, req SyncRequest) (any, error) { return s.RunDirsync(r.Context(), req) })
	mux.HandleFunc("POST /v1/dirsync/import", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		out, err := s.importList(r.Context(), io.LimitReader(r.Body, maxList), q.Get("postoffice"), q.Get("by"), q.Get("reason"), q.Get("dry_run") != "")
		answer(w, out, err)
	})
	mux.HandleFunc("GET /v1/dirsync/export", func(w http.ResponseWriter, r *http.Request) {
		po := r.URL.Query().Get("postoffice")
		if po != "" {
			p, err := address.ParsePostOffice(po)
			if err != nil {
				answer(w, nil, bad(errors.New("write the post office as NET/PO")))
				return
			}
			po = p.String()
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := s.Agent.ExportList(r.Context(), w, po); err != nil {
			s.Log.Error("address list broke off", "err", err)
		}
	})
}

// RunDirsync runs a cycle now, or with DryRun says what would be sent.
func (s *Service) RunDirsync(ctx context.Context, req SyncRequest) (out SyncRun, err error) {
	if req.PostOffice != "" {
		po, err := address.ParsePostOffice(req.PostOffice)
		if err != nil {
			return out, bad(err)
		}
		req.PostOffice = po.String()
	}
	if req.DryRun {
		out.Planned, err = s.Agent.Plan(req.PostOffice)
	} else {
		what := req.PostOffice + req.Site
		if req.Full {
			what += " --full"
		}
		if req.AcceptDeletes {
			what += " --accept-deletes"
		}
		_, err = s.audited(ctx, Record{By: req.By, Verb: "dirsync run", What: what, Reason: req.Reason}, func() (Changed, error) {
			if req.Site != "" {
				return Changed{Changed: 1}, s.Agent.Pull(ctx, req.Site)
			}
			return Changed{Changed: 1}, s.Agent.Run(ctx, req.PostOffice, req.Full, req.AcceptDeletes)
		})
	}
	if err != nil {
		return out, err
	}
	out.Status, err = s.Agent.Status()
	return out, err
}

func (s *Service) importList(ctx context.Context, r io.Reader, postOffice, by, reason string, dry bool) (out ListImported, err error) {
	po, err := address.ParsePostOffice(postOffice)
	if err != nil {
		return out, bad(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return out, bad(err)
	}
	out.DryRun = dry
	do := func() (_ Changed, err error) {
		out.Applied, out.Problems, err = s.Agent.ImportList(string(text), po.String(), dry)
		return Changed{out.Added + out.Modified + out.Deleted, dry}, err
	}
	if dry {
		_, err = do()
	} else {
		_, err = s.audited(ctx, Record{By: by, Verb: "dirsync import", What: po.String(), Reason: reason}, do)
	}
	if err != nil {
		return out, bad(err)
	}
	return out, nil
}

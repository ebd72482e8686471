package control

import (
	"errors"
	"net/http"

	"backbone/gateway/address"
)

// SyncRequest runs a cycle of directory synchronisation, or of replication, now.
type SyncRequest struct {
	PostOffice string `json:"postoffice,omitempty"` // "": all
	Site       string `json:"site,omitempty"`       // replicate from this site instead
	// Full asks for and sends whole lists. AcceptDeletes takes the next whole list whatever it deletes.
	Full          bool `json:"full,omitempty"`
	AcceptDeletes bool `json:"accept_deletes,omitempty"`
}

func (s *Service) dirsyncRoutes(mux *http.ServeMux) {
	get(mux, "/v1/dirsync", func(*http.Request) (any, error) { return s.Agent.Status() })
	post(mux, "/v1/dirsync/run", func(r *http.Request, req SyncRequest) (any, error) {
		if req.Site != "" {
			if err := s.Agent.Pull(r.Context(), req.Site); err != nil {
				return nil, err
			}
			return s.Agent.Status()
		}
		if req.PostOffice != "" {
			po, err := address.ParsePostOffice(req.PostOffice)
			if err != nil {
				return nil, bad(err)
			}
			req.PostOffice = po.String()
		}
		if err := s.Agent.Run(r.Context(), req.PostOffice, req.Full, req.AcceptDeletes); err != nil {
			return nil, err
		}
		return s.Agent.Status()
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

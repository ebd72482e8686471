package control

import (
	"errors"
	"net/http"

	"backbone/gateway/config"
)

// ReloadRequest asks the daemon to read its configuration again.
type ReloadRequest struct {
	DryRun bool   `json:"dry_run,omitempty"` // only compare
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Reloaded is what came of it. Either every change is in force or none is: not applied means that there was nothing to
// do, that it was a dry run, or that at least one of the changes is not live.
type Reloaded struct {
	Changes []config.Change `json:"changes"`
	Applied bool            `json:"applied"`
}

// NeedRestart are the changes that a running daemon can't make.
func (r Reloaded) NeedRestart() []config.Change {
	var out []config.Change
	for _, c := range r.Changes {
		if !c.Live {
			out = append(out, c)
		}
	}
	return out
}

func (s *Service) reloadRoutes(mux *http.ServeMux) {
	post(mux, "/v1/config/reload", func(r *http.Request, req ReloadRequest) (any, error) {
		if s.Reload == nil {
			return nil, &Error{http.StatusConflict, "there is no running daemon whose configuration could be compared"}
		}
		var out Reloaded
		reload := func() (Changed, error) {
			var err error
			if out, err = s.Reload(req.DryRun); !out.Applied {
				return Changed{}, err
			}
			return Changed{Changed: len(out.Changes)}, err
		}
		var err error
		if req.DryRun {
			_, err = reload()
		} else {
			_, err = s.audited(r.Context(), Record{By: req.By, Verb: "config reload", Reason: req.Reason}, reload)
		}
		var wrong *config.Errors
		if errors.As(err, &wrong) {
			return nil, bad(err)
		}
		return out, err
	})
}

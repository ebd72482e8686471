package control

import (
	"context"
	"net/http"

	"backbone/connectors"
)

// Quarantined lists what connectors keep aside.
func (s *Service) Quarantined(ctx context.Context) ([]connectors.Quarantined, error) {
	out := []connectors.Quarantined{}
	for _, d := range s.Drops {
		list, err := d.Quarantined(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// QuarantineBytes is the answer to a look at an entry.
type QuarantineBytes struct {
	connectors.Quarantined
	Bytes []byte `json:"bytes"`
}

// QuarantineRequest names an entry; Replacement, when not nil, is replayed instead of its own bytes.
type QuarantineRequest struct {
	ID          string `json:"id"`
	Replacement []byte `json:"replacement,omitempty"`
	By          string `json:"by,omitempty"`
	Reason      string `json:"reason,omitempty"`
	DryRun      bool   `json:"dry_run,omitempty"`
}

func (s *Service) withQuarantine(ctx context.Context, id string, do func(connectors.Quarantine, connectors.Quarantined) error) error {
	for _, d := range s.Drops {
		list, err := d.Quarantined(ctx)
		if err != nil {
			return err
		}
		for _, q := range list {
			if q.ID == id {
				return do(d, q)
			}
		}
	}
	return connectors.ErrNoQuarantine
}

// maxQuarantineBytes bounds what a look at poison shows.
const maxQuarantineBytes = 4 << 20

func (s *Service) quarantineRoutes(mux *http.ServeMux) {
	get(mux, "/v1/quarantine", func(r *http.Request) (any, error) { return s.Quarantined(r.Context()) })
	get(mux, "/v1/quarantine/show", func(r *http.Request) (any, error) {
		var out QuarantineBytes
		err := s.withQuarantine(r.Context(), r.URL.Query().Get("id"), func(d connectors.Quarantine, q connectors.Quarantined) error {
			b, err := d.QuarantinedBytes(r.Context(), q.ID, maxQuarantineBytes)
			out = QuarantineBytes{q, b}
			return err
		})
		return out, err
	})
	act := func(name string, do func(ctx context.Context, d connectors.Quarantine, req QuarantineRequest) error) {
		post(mux, "/v1/quarantine/"+name, func(r *http.Request, req QuarantineRequest) (any, error) {
			err := s.withQuarantine(r.Context(), req.ID, func(d connectors.Quarantine, q connectors.Quarantined) error {
				if req.DryRun {
					return nil
				}
				s.Log.Info("quarantine "+name, "file", q.ID, "by", req.By, "reason", req.Reason)
				return do(r.Context(), d, req)
			})
			if err != nil {
				return nil, err
			}
			return Changed{1, req.DryRun}, nil
		})
	}
	act("replay", func(ctx context.Context, d connectors.Quarantine, req QuarantineRequest) error {
		return d.ReplayQuarantined(ctx, req.ID, req.Replacement)
	})
	act("discard", func(ctx context.Context, d connectors.Quarantine, req QuarantineRequest) error {
		return d.DiscardQuarantined(ctx, req.ID)
	})
}

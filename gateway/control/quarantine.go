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
		return s.QuarantinedEntry(r.Context(), r.URL.Query().Get("id"))
	})
	for _, verb := range []string{"replay", "discard"} {
		post(mux, "/v1/quarantine/"+verb, func(r *http.Request, req QuarantineRequest) (any, error) {
			return s.ChangeQuarantined(r.Context(), verb, req)
		})
	}
}

// QuarantinedEntry is one entry with its first octets.
func (s *Service) QuarantinedEntry(ctx context.Context, id string) (out QuarantineBytes, err error) {
	err = s.withQuarantine(ctx, id, func(d connectors.Quarantine, q connectors.Quarantined) error {
		b, err := d.QuarantinedBytes(ctx, q.ID, maxQuarantineBytes)
		out = QuarantineBytes{q, b}
		return err
	})
	return out, err
}

// ChangeQuarantined replays or discards an entry.
func (s *Service) ChangeQuarantined(ctx context.Context, verb string, req QuarantineRequest) (out Changed, err error) {
	err = s.withQuarantine(ctx, req.ID, func(d connectors.Quarantine, q connectors.Quarantined) error {
		if req.DryRun {
			out = Changed{1, true}
			return nil
		}
		what := q.ID
		if req.Replacement != nil {
			what += " as edited"
		}
		out, err = s.audited(ctx, Record{By: req.By, Verb: "quarantine " + verb, What: what, Reason: req.Reason}, func() (Changed, error) {
			if verb == "discard" {
				return Changed{1, false}, d.DiscardQuarantined(ctx, q.ID)
			}
			return Changed{1, false}, d.ReplayQuarantined(ctx, q.ID, req.Replacement)
		})
		return err
	})
	return out, err
}

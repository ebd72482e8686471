package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/address"
)

// ProbeRequest asks whether mail for an address would get there. Wait is how long to wait for the report on an X.411
// probe, at most an hour.
type ProbeRequest struct {
	Address string              `json:"address"`
	From    string              `json:"from,omitempty"`
	Size    int64               `json:"size,omitempty"` // octets
	Wait    connectors.Duration `json:"wait,omitempty"`
	By      string              `json:"by,omitempty"`
}

// maxProbeWait bounds how long a call stays open.
const maxProbeWait = time.Hour

// Probe routes the address, asks the next hop and waits for what it reports.
func (s *Service) Probe(ctx context.Context, r ProbeRequest) (gateway.ProbeAnswer, error) {
	to, err := address.Parse(r.Address)
	if err != nil {
		return gateway.ProbeAnswer{}, bad(err)
	}
	var from address.Address
	if r.From != "" {
		if from, err = address.Parse(r.From); err != nil {
			return gateway.ProbeAnswer{}, bad(fmt.Errorf("from: %w", err))
		}
	}
	if r.Size < 0 {
		return gateway.ProbeAnswer{}, bad(errors.New("a size is zero or more octets"))
	}
	return s.Gateway.Probe(ctx, gateway.ProbeRequest{To: to, From: from, Size: r.Size, Wait: min(r.Wait.D(), maxProbeWait), By: r.By}), nil
}

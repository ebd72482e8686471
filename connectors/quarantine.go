package connectors

import (
	"context"
	"errors"
	"time"
)

// ErrNoQuarantine is the answer for an entry that is not there.
var ErrNoQuarantine = errors.New("no such quarantined file")

// Quarantined is one input that could not be taken: its bytes are kept as they came.
type Quarantined struct {
	ID     string    `json:"id"`    // unique over the site: "NORTHWIND.PO1/MMFF7"
	Place  string    `json:"place"` // post office or listener
	File   string    `json:"file"`
	Size   int64     `json:"size"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"` // "141-001-007 token not recognised: CC"
	Offset int64     `json:"offset"` // of the mistake, in octets from the beginning; -1 when unknown
}

// Quarantine is implemented by connectors that keep poison aside (msmail's badmail folders).
type Quarantine interface {
	Quarantined(ctx context.Context) ([]Quarantined, error)
	// Bytes returns the first max octets of an entry.
	QuarantinedBytes(ctx context.Context, id string, max int64) ([]byte, error)
	// Replay offers the entry again, with replacement instead of its own bytes when that is not nil. Discard removes it.
	ReplayQuarantined(ctx context.Context, id string, replacement []byte) error
	DiscardQuarantined(ctx context.Context, id string) error
}

package connectors

import "context"

// Tracer is a connector that can ask the site at its other end what became of a message that was handed over to it.
type Tracer interface {
	// Peer is the name of the site at the other end, as NextHop gives it.
	Peer() string
	// Trace asks. Asked names the sites that need not be asked again, ours among them. The error is a *mail.Failure.
	Trace(ctx context.Context, id string, asked []string) (Timeline, error)
}

// Timeline is what one site, and those that it has asked in turn, know about a message.
type Timeline struct {
	Events  [][]byte // lines of the tracking logs (JSON)
	Missing []string // what sites said instead of an answer
}

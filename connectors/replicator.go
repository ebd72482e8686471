package connectors

import "context"

// Replicator is a connector that can ask the site at its other end for its directory's changes at once. The texts are
// the directory's own; with the other connectors they go by mail.
type Replicator interface {
	// Replicate puts a question to the peer and gives its answer. The error is a *mail.Failure.
	Replicate(ctx context.Context, question []byte) ([]byte, error)
}

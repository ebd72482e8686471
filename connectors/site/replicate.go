package site

import (
	"context"
	"errors"
	"fmt"

	"backbone/connectors"
	"backbone/connectors/site/sitev1"
	"backbone/gateway/mail"

	"connectrpc.com/connect"
)

// replicaLimit bounds an answer about a directory, in octets.
const replicaLimit = 2<<20 + 1024

var _ connectors.Replicator = (*Link)(nil)

// Replicate puts a question about the peer's directory.
func (l *Link) Replicate(ctx context.Context, question []byte) ([]byte, error) {
	if l.cfg.Peer == "" {
		return nil, mail.NoRoute("link " + l.cfg.Name + " has no peer address")
	}
	s, f := l.session.open(ctx)
	if f != nil {
		return nil, f
	}
	call, stop := context.WithTimeoutCause(ctx, l.cfg.Timeout.D(), errSilent)
	defer stop()
	answer, err := s.replica.Replicate(call, &sitev1.ReplicateRequest{Question: question})
	if err != nil {
		f := l.classify(ctx, causeOf(call, err))
		if f.Scope == mail.ScopeLink && connect.CodeOf(err) != connect.CodeFailedPrecondition && connect.CodeOf(err) != connect.CodeUnimplemented {
			l.session.drop(s)
		}
		return nil, f
	}
	return answer.Answer, nil
}

// Replicate answers sitev1's Replicate.
func (s *listener) Replicate(ctx context.Context, q *sitev1.ReplicateRequest) (*sitev1.ReplicateResponse, error) {
	c, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if s.replica == nil {
		return nil, connect.NewError(connect.CodeUnimplemented, fmt.Errorf("site %s does not replicate its directory", c.link.site))
	}
	answer, err := s.replica(ctx, c.link.cfg.PeerSite, q.Question)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	if len(answer) > replicaLimit {
		return nil, connect.NewError(connect.CodeInternal, errors.New("the answer is too long"))
	}
	return &sitev1.ReplicateResponse{Answer: answer}, nil
}

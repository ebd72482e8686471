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

const (
	traceLimit = 1 << 20 // octets of events in one answer
	traceSites = 64      // names in one question
)

var _ connectors.Tracer = (*Link)(nil)

// Peer is the site at the other end.
func (l *Link) Peer() string { return l.cfg.PeerSite }

// Trace asks the peer what became of a message that was handed over to it.
func (l *Link) Trace(ctx context.Context, id string, asked []string) (connectors.Timeline, error) {
	if l.cfg.Peer == "" {
		return connectors.Timeline{}, mail.NoRoute("link " + l.cfg.Name + " has no peer address")
	}
	s, f := l.session.open(ctx)
	if f != nil {
		return connectors.Timeline{}, f
	}
	call, stop := context.WithTimeoutCause(ctx, l.cfg.Timeout.D(), errSilent)
	defer stop()
	answer, err := s.replica.Trace(call, &sitev1.TraceRequest{Id: id, Asked: asked})
	if err != nil {
		return connectors.Timeline{}, l.classify(ctx, causeOf(call, err))
	}
	return connectors.Timeline{Events: answer.Events, Missing: answer.Missing}, nil
}

// Trace answers sitev1's Trace: the gateway decides what the caller may know.
func (s *listener) Trace(ctx context.Context, q *sitev1.TraceRequest) (*sitev1.TraceResponse, error) {
	c, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case s.trace == nil:
		return nil, connect.NewError(connect.CodeUnimplemented, fmt.Errorf("site %s answers no questions about messages", c.link.site))
	case q.Id == "" || len(q.Asked) > traceSites:
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("a trace names one message and at most 64 sites"))
	}
	t, err := s.trace(ctx, c.link.cfg.PeerSite, q.Id, q.Asked)
	if err != nil {
		return nil, connect.NewError(connect.CodeNotFound, err)
	}
	out := &sitev1.TraceResponse{Missing: t.Missing}
	for n := 0; len(out.Events) < len(t.Events); {
		e := t.Events[len(out.Events)]
		if n += len(e); n > traceLimit {
			out.Missing = append(out.Missing, fmt.Sprintf("site %s: %d further events, too many for one answer", c.link.site, len(t.Events)-len(out.Events)))
			break
		}
		out.Events = append(out.Events, e)
	}
	return out, nil
}

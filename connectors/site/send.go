package site

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"backbone/connectors"
	"backbone/connectors/site/sitev1"
	"backbone/gateway/mail"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
)

// offer is the first step of a hand-over, still without content. What the peer would refuse in the envelope is refused
// here.
func (l *Link) offer(t *connectors.Transfer, size int64) (*sitev1.Offer, *mail.Failure) {
	o := &sitev1.Offer{Version: protocol, Key: wireKey(t.Key), Size: uint64(size), Envelope: packEnvelope(&t.Envelope)}
	if err := checkEnvelope(o.Envelope); err != nil {
		return nil, protocolFault("the envelope can't go over the site link: " + err.Error())
	}
	if n := proto.Size(o); n > envelopeLimit {
		return nil, protocolFault(fmt.Sprintf("an envelope of %d octets: the site link carries at most %d", n, envelopeLimit))
	}
	return o, nil
}

// enclose puts a small content into its offer.
func enclose(o *sitev1.Offer, content mail.Content) *mail.Failure {
	if o.Size > inlineLimit {
		return nil
	}
	r, err := content.Open()
	if err != nil {
		return unreadable(err)
	}
	b := make([]byte, o.Size+1) // one more, to find that there is more
	n, err := io.ReadFull(r, b)
	switch closing := r.Close(); {
	case err == nil || uint64(n) != o.Size:
		return unreadable(errors.Join(fmt.Errorf("it says %d octets and gave %d", o.Size, n), err))
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return unreadable(err)
	case closing != nil:
		return unreadable(closing)
	}
	sum := sha256.Sum256(b[:n])
	o.Content, o.Sha256 = b[:n], sum[:]
	return nil
}

func unreadable(err error) *mail.Failure {
	return mail.LocalFault("the stored message can't be read", err)
}

// send makes one hand-over and returns the peer's Taken, or why there is none.
func (l *Link) send(ctx context.Context, s *session, offer *sitev1.Offer, content mail.Content) (*sitev1.Taken, *mail.Failure) {
	c, err := l.call(ctx, s)
	if err == nil {
		var taken *sitev1.Taken
		if taken, err = l.transfer(c, offer, content); err == nil {
			c.finish()
			return taken, nil
		}
		c.abandon()
	}
	return nil, l.classify(ctx, err)
}

func (l *Link) transfer(c *call, offer *sitev1.Offer, content mail.Content) (*sitev1.Taken, error) {
	whole := offer.Content != nil
	if err := c.send(&sitev1.TransferRequest{Step: &sitev1.TransferRequest_Offer{Offer: offer}}, whole); err != nil && !answered(err) {
		return nil, err
	}
	answer, err := c.receive()
	if err != nil {
		return nil, err
	}
	if r := answer.GetResume(); r != nil && !whole {
		if err := l.stream(c, content, offer.Size, r.Offset); err != nil && !answered(err) {
			return nil, err
		}
		if answer, err = c.receive(); err != nil {
			return nil, err
		}
	}
	switch a := answer.GetAnswer().(type) {
	case *sitev1.TransferResponse_Taken:
		return a.Taken, nil
	case *sitev1.TransferResponse_Refused:
		return nil, unpackFailure(l.cfg.PeerSite, a.Refused)
	}
	return nil, fmt.Errorf("site %s answered out of turn", l.cfg.PeerSite)
}

// stream sends the content from offset on. All of it is read, for its hash.
func (l *Link) stream(c *call, content mail.Content, size, offset uint64) error {
	if offset > size {
		return fmt.Errorf("site %s wants to go on at octet %d of %d", l.cfg.PeerSite, offset, size)
	}
	r, err := content.Open()
	if err != nil {
		return unreadable(err)
	}
	defer r.Close() // it was only read: what Close could say is of no use any more
	hash := sha256.New()
	if _, err := io.CopyN(hash, r, int64(offset)); err != nil {
		return unreadable(err)
	}
	buf := make([]byte, l.cfg.Chunk)
	for at := offset; at < size; {
		part := buf[:min(uint64(len(buf)), size-at)]
		if _, err := io.ReadFull(r, part); err != nil {
			return unreadable(fmt.Errorf("at octet %d of %d: %w", at, size, err))
		}
		hash.Write(part)
		if err := c.send(&sitev1.TransferRequest{Step: &sitev1.TransferRequest_Chunk{Chunk: &sitev1.Chunk{Data: part}}}, false); err != nil {
			return err
		}
		at += uint64(len(part))
	}
	if n, err := io.ReadFull(r, buf[:1]); n != 0 || !errors.Is(err, io.EOF) {
		return unreadable(errors.Join(fmt.Errorf("there is more than the %d octets that it says", size), err))
	}
	return c.send(&sitev1.TransferRequest{Step: &sitev1.TransferRequest_End{End: &sitev1.End{Sha256: hash.Sum(nil)}}}, true)
}

// call is one Transfer as its caller sees it. A peer that says nothing, or takes nothing, for longer than limit ends it.
type call struct {
	stream *connect.BidiStreamForClientSimple[sitev1.TransferRequest, sitev1.TransferResponse]
	ctx    context.Context
	end    context.CancelCauseFunc
	ended  chan struct{} // closed when nothing of the call is left
	alarm  *time.Timer
	limit  time.Duration
	log    *slog.Logger
}

func (l *Link) call(ctx context.Context, s *session) (*call, error) {
	c := &call{log: l.log, limit: l.cfg.Timeout.D(), ended: make(chan struct{})}
	c.ctx, c.end = context.WithCancelCause(ctx)
	c.alarm = time.AfterFunc(c.limit, func() { c.end(errSilent) })
	var err error
	if c.stream, err = s.client.Transfer(c.ctx); err != nil {
		c.alarm.Stop()
		c.end(nil)
		return nil, err
	}
	// Cancelling alone does not wake a sender that waits for room in the stream's window (net/http's HTTP/2 client looks
	// at the context only before it waits); closing the answer does.
	context.AfterFunc(c.ctx, func() {
		defer close(c.ended)
		if err := c.stream.CloseResponse(); err != nil {
			l.log.Debug("site link: end of a call", "err", err)
		}
	})
	return c, nil
}

// send sends one step; last says that none follows. answered(err) means that the peer has spoken without waiting for it.
func (c *call) send(m *sitev1.TransferRequest, last bool) error {
	c.alarm.Reset(c.limit)
	err := c.stream.Send(m)
	if err == nil && last {
		err = c.stream.CloseRequest()
	}
	if err != nil && !answered(err) {
		return causeOf(c.ctx, err)
	}
	return err
}

// answered tells connect's sign that the other side has ended the call, so that receive knows why.
func answered(err error) bool { return errors.Is(err, io.EOF) }

func (c *call) receive() (*sitev1.TransferResponse, error) {
	c.alarm.Reset(c.limit)
	m, err := c.stream.Receive()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the peer ended the call without an answer")
	}
	if err != nil {
		return nil, causeOf(c.ctx, err)
	}
	return m, nil
}

// finish ends a call that has its answer, in good order: the peer's end is waited for. What goes wrong here changes
// nothing about the answer.
func (c *call) finish() {
	if c.stream.CloseRequest() == nil {
		if m, err := c.receive(); err == nil {
			c.log.Debug("site link: the peer had more to say", "answer", m)
		}
	}
	c.abandon()
}

// abandon ends a call at once and waits until nothing of it is left.
func (c *call) abandon() {
	c.alarm.Stop()
	c.end(nil)
	<-c.ended
}

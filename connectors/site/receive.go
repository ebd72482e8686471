package site

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"backbone/connectors"
	"backbone/connectors/site/sitev1"
	"backbone/gateway/mail"

	"connectrpc.com/connect"
)

// caller is who is at the other end of a request, as the certificate proved it, with the reins of the request.
type caller struct {
	link *Link
	addr string
	ctl  *http.ResponseController
}

// bound gives the caller time to take what is written from now on; unbound lifts that, because a transfer lasts as long as
// it moves, and the gateway's Accept as long as it takes.
func (c *caller) bound() error   { return c.ctl.SetWriteDeadline(time.Now().Add(c.link.cfg.Timeout.D())) }
func (c *caller) unbound() error { return c.ctl.SetWriteDeadline(time.Time{}) }

type callerKey struct{}

func callerOf(ctx context.Context) (*caller, error) {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c, nil
	}
	return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("the caller is not known"))
}

// Hello answers sitev1's Hello.
func (s *listener) Hello(ctx context.Context, q *sitev1.HelloRequest) (*sitev1.HelloResponse, error) {
	c, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	l := c.link
	var text string
	switch {
	case q.MinVersion > protocol || q.MaxVersion < protocol:
		text = fmt.Sprintf("site %s speaks version %d to %d of the site link, and site %s version %d: update the older one",
			l.cfg.PeerSite, q.MinVersion, q.MaxVersion, l.site, protocol)
	case q.Site != l.cfg.PeerSite:
		text = fmt.Sprintf("the caller names itself site %q, and its certificate belongs to site %s: correct peer_site at site %s",
			clean(q.Site), l.cfg.PeerSite, l.site)
	default:
		size := l.cfg.MaxSize
		if size == 0 {
			size = l.cfg.SpoolSize
		}
		return &sitev1.HelloResponse{Version: protocol, Site: l.site, MaxSize: uint64(size), MaxTransfers: uint32(l.cfg.Streams)}, nil
	}
	l.log.Error("site link refused a caller", "dest", l.cfg.PeerSite, "peer", c.addr, "err", text)
	return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New(text))
}

// Ping answers sitev1's Ping.
func (s *listener) Ping(context.Context, *sitev1.PingRequest) (*sitev1.PingResponse, error) {
	return &sitev1.PingResponse{Now: packTime(time.Now())}, nil
}

// receipt is one Transfer as the receiver sees it.
type receipt struct {
	*caller
	gw     connectors.Acceptor
	stream *connect.BidiStream[sitev1.TransferRequest, sitev1.TransferResponse]
	offer  *sitev1.Offer
	env    mail.Envelope
	dedup  string
}

// Transfer answers sitev1's Transfer. An error ends the call without an answer to the offer; a refusal is an answer.
func (s *listener) Transfer(ctx context.Context, stream *connect.BidiStream[sitev1.TransferRequest, sitev1.TransferResponse]) error {
	c, err := callerOf(ctx)
	if err != nil {
		return err
	}
	if err := c.unbound(); err != nil {
		return err
	}
	err = s.transfer(ctx, c, stream)
	if late := c.bound(); err == nil { // the end of the stream is still to be written
		err = late
	}
	return err
}

func (s *listener) transfer(ctx context.Context, c *caller, stream *connect.BidiStream[sitev1.TransferRequest, sitev1.TransferResponse]) error {
	r := &receipt{caller: c, gw: s.gw, stream: stream}
	release, err := c.enter(ctx)
	if err != nil {
		return r.refuse(mail.AsFailure(err))
	}
	defer release()
	m, err := r.next()
	if err != nil {
		return err
	}
	if r.offer = m.GetOffer(); r.offer == nil {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("a transfer begins with an offer"))
	}
	taken, err := r.take(ctx)
	if err == nil {
		return r.answer(&sitev1.TransferResponse{Answer: &sitev1.TransferResponse_Taken{Taken: taken}})
	}
	var refused *mail.Failure
	if !errors.As(err, &refused) {
		return err
	}
	return r.refuse(refused)
}

// enter waits for a place among the peer's transfers. HTTP/2 holds an honest caller back before it comes to that.
func (c *caller) enter(ctx context.Context) (release func(), err error) {
	wait := time.NewTimer(c.link.cfg.Timeout.D() / 2)
	defer wait.Stop()
	select {
	case c.link.served <- struct{}{}:
		return func() { <-c.link.served }, nil
	case <-wait.C:
	case <-ctx.Done():
	}
	return nil, &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 452, Enhanced: "4.3.2", Reason: 1, Diagnostic: 2, MSMail: 5,
		Text: fmt.Sprintf("site %s has %d transfers under way and takes no more at once", c.link.site, cap(c.link.served)), RetryAfter: time.Minute}
}

// next is the caller's next step, which must be there whole in time, however slowly it comes.
func (r *receipt) next() (*sitev1.TransferRequest, error) {
	if err := r.ctl.SetReadDeadline(time.Now().Add(r.link.cfg.Timeout.D())); err != nil {
		return nil, err
	}
	m, err := r.stream.Receive()
	if errors.Is(err, io.EOF) {
		err = connect.NewError(connect.CodeInvalidArgument, errors.New("the transfer ended before its end"))
	}
	return m, err
}

// answer sends one answer. A caller that does not take it in time loses the stream.
func (r *receipt) answer(m *sitev1.TransferResponse) error {
	if err := r.bound(); err != nil {
		return err
	}
	if err := r.stream.Send(m); err != nil {
		return err
	}
	return r.unbound()
}

func (r *receipt) refuse(f *mail.Failure) error {
	r.link.log.Info("site link refused a message", "dest", r.link.cfg.PeerSite, "id", r.env.ID, "class", f.Class, "err", f)
	return r.answer(&sitev1.TransferResponse{Answer: &sitev1.TransferResponse_Refused{Refused: packFailure(f)}})
}

// take deals with the offer. A *mail.Failure is the refusal to answer; any other error ends the call.
func (r *receipt) take(ctx context.Context) (*sitev1.Taken, error) {
	o, l := r.offer, r.link
	if o.Version != protocol {
		return nil, connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("version %d of the site link, and site %s speaks %d",
			o.Version, l.site, protocol))
	}
	if !validKey(o.Key) {
		return nil, protocolFault(fmt.Sprintf("the transfer's key is not 1 to %d printable characters", maxKey))
	}
	var err error
	if r.env, err = unpackEnvelope(o.Envelope); err != nil {
		return nil, protocolFault("envelope: " + err.Error())
	}
	if o.Size > uint64(l.cfg.SpoolSize) || l.cfg.MaxSize > 0 && o.Size > uint64(l.cfg.MaxSize) {
		return nil, mail.TooLarge(fmt.Sprintf("%d octets are too many for site %s", o.Size, l.site))
	}
	r.dedup = "site/" + l.cfg.PeerSite + "/" + o.Key
	r.env.Source = mail.Source{Connector: l.cfg.Name, Peer: l.cfg.PeerSite, Detail: r.addr, Authenticated: true}
	if n := len(r.env.Trace); n == 0 || r.env.Trace[n-1].Site != l.cfg.PeerSite {
		// Whoever handed it to us is in the trace, whether it wrote itself there or not: loops are found by that.
		r.env.Trace = append(r.env.Trace, mail.Hop{Site: l.cfg.PeerSite, Via: l.cfg.Name, At: time.Now().UTC()})
	}
	if o.Content != nil {
		sum := sha256.Sum256(o.Content)
		if uint64(len(o.Content)) != o.Size || len(o.Content) > inlineLimit || !bytes.Equal(sum[:], o.Sha256) {
			return nil, damaged()
		}
		return r.accept(ctx, bytes.NewReader(o.Content))
	}
	return r.takeLarge(ctx)
}

// takeLarge fetches a content that was not in the offer, unless the gateway knows the message already.
func (r *receipt) takeLarge(ctx context.Context) (*sitev1.Taken, error) {
	wait, stop := context.WithTimeout(ctx, r.link.cfg.Timeout.D())
	defer stop()
	p, err := r.link.spool.claim(wait, r.offer.Key, int64(r.offer.Size))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := p.letGo(); err != nil {
			r.link.log.Warn("site link can't tidy its spool", "err", err)
		}
	}()
	taken, err := r.fill(ctx, p)
	var refused *mail.Failure
	if err == nil || errors.As(err, &refused) && refused.Final() {
		p.spoilt = true // nobody will go on with it
	}
	return taken, err
}

func (r *receipt) fill(ctx context.Context, p *part) (*sitev1.Taken, error) {
	known, err := r.gw.Known(ctx, r.dedup)
	if err != nil {
		return nil, mail.AsFailure(err)
	}
	if known {
		return &sitev1.Taken{Id: r.env.ID, Duplicate: true}, nil
	}
	if err := r.answer(&sitev1.TransferResponse{Answer: &sitev1.TransferResponse_Resume{Resume: &sitev1.Resume{Offset: uint64(p.received)}}}); err != nil {
		return nil, err
	}
	for {
		m, err := r.next()
		if err != nil {
			return nil, err
		}
		if end := m.GetEnd(); end != nil {
			if p.received != p.size || !bytes.Equal(p.hash.Sum(nil), end.Sha256) {
				p.spoilt = true
				return nil, damaged()
			}
			return r.accept(ctx, p.content())
		}
		data := m.GetChunk().GetData()
		if len(data) == 0 || len(data) > chunkLimit || int64(len(data)) > p.size-p.received {
			return nil, connect.NewError(connect.CodeInvalidArgument,
				fmt.Errorf("%d octets after %d of %d: not what was offered", len(data), p.received, p.size))
		}
		if err := p.write(data); err != nil {
			return nil, mail.LocalFault("the spool of the site link can't be written", err)
		}
	}
}

// accept hands the message to the gateway. From here on the caller's going away changes nothing: what is whole is taken,
// and the next offer learns of it.
func (r *receipt) accept(ctx context.Context, content io.Reader) (*sitev1.Taken, error) {
	got, err := r.gw.Accept(context.WithoutCancel(ctx), connectors.Submission{Envelope: r.env, Content: content, Dedup: r.dedup})
	if err != nil {
		return nil, mail.AsFailure(err)
	}
	return &sitev1.Taken{Id: got.ID, Duplicate: got.Duplicate}, nil
}

// damaged asks for the content once more, from the beginning.
func damaged() *mail.Failure {
	return &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.5.0", Reason: 1, Diagnostic: 14, MSMail: 5,
		Text: "the content did not arrive as it was sent"}
}

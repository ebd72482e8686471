package x400

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/cotp"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/rtse"
	"backbone/connectors/x400/session"
	"backbone/connectors/x400/tpkt"
	"backbone/gateway/mail"
)

// stack is the real transport: P1 over RTSE, session and RFC 1006.
type stack struct {
	unfinished *rtse.Unfinished

	mu     sync.Mutex
	owners map[string]owner // of associations whose transfers may be resumed, by their reference
}

// owner is whose association it was, and from where: a recovery carries no credentials, so it must come from there.
type owner struct {
	peer *peer
	host string
}

func host(c net.Conn) string {
	h, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return h
}

func mode(s string) rtse.Mode {
	switch s {
	case "x410":
		return rtse.X410
	case "1984":
		return rtse.P1984
	}
	return rtse.Normal
}

// random is a reference that differs from the last one, never 0.
func random() uint16 {
	var b [2]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 1
	}
	return binary.BigEndian.Uint16(b[:]) | 1
}

// dial connects, binds and checks who answers.
func (s *stack) dial(ctx context.Context, p *peer) (association, error) {
	a := &p1Association{peer: p}
	if err := a.open(ctx, nil); err != nil {
		return nil, err
	}
	return a, nil
}

// p1Association is an association that we opened.
type p1Association struct {
	peer *peer
	conn *patient
	cotp *cotp.Conn
	rtse *rtse.Association
	// sitting is set when it is two-way alternate; theirs when the peer has opened it.
	sitting *sitting
	theirs  bool
}

// open opens the association: with recover, only to resume the transfer of the one that it names.
func (a *p1Association) open(ctx context.Context, recover *session.Ref) error {
	p, c := a.peer, a.peer.cfg
	down := func(what string, err error) error {
		return mail.LinkDown("the remote MTA "+p.remoteMTA+" "+what, err)
	}
	dialer := net.Dialer{Timeout: c.Disconnect.D()}
	conn, err := dialer.DialContext(ctx, "tcp", c.Peer)
	if err != nil {
		return down("can't be called", err)
	}
	a.conn = &patient{Conn: conn, patience: c.Disconnect.D()}
	defer cutOn(ctx, conn)()
	fail := func(what string, err error) error {
		a.abort()
		return down(what, err)
	}
	local, remote := mustSelector(c.LocalTSelector), mustSelector(c.RemoteTSelector)
	packets := tpkt.New(a.conn)
	if a.cotp, err = cotp.Connect(packets, local, remote, random()); err != nil {
		return fail("refused the transport connection", err)
	}
	t := rtse.Terms{Mode: mode(c.Mode), Checkpoint: c.CheckpointSize, Window: c.Window, Name: p.localMTA, Time: time.Now(), TWA: c.Dialogue == "twa",
		Unique: random(), CallingSession: optional(c.LocalSSelector), CalledSession: optional(c.RemoteSSelector),
		CallingPresentation: optional(c.LocalPSelector), CalledPresentation: optional(c.RemotePSelector), Recover: recover}
	normal := t.Mode == rtse.Normal
	if recover == nil {
		bind := p1.Bind{Name: p.localMTA, Password: []byte(p.localPassword), IA5: c.IA5Password || t.Mode == rtse.P1984}
		if t.User, err = bind.Encode(false, normal); err != nil {
			return fail("can't be bound to", err)
		}
	}
	sess := session.New(a.cotp)
	a.rtse, err = rtse.Open(sess, t)
	var refused *rtse.Refused
	switch {
	case errors.As(err, &refused):
		return fail("refused the bind: "+refusal(refused), err)
	case err != nil:
		return fail("did not open the association", err)
	}
	if t.TWA {
		p.takes(a.cotp)
		a.sitting = newSitting(conn, packets, sess)
	}
	if recover != nil {
		return nil
	}
	result, err := p1.ParseBind(a.rtse.User())
	if err != nil {
		return fail("answered the bind with something else", err)
	}
	if result.Strong || result.Unauthenticated || !p.knows(result.Name, string(result.Password)) {
		//nolint:errcheck // we hang up either way
		a.rtse.Abort(rtse.AbortPermanent)
		return fail(fmt.Sprintf("is not who answers: %q, or its password is wrong", result.Name), nil)
	}
	return nil
}

// refusal is the reason in X.411's words.
func refusal(r *rtse.Refused) string {
	if r.User != nil {
		if n, err := p1.ParseBindError(r.User); err == nil {
			return p1.BindError(n)
		}
	}
	return r.Reason.String()
}

// mustSelector reads a selector that Check has accepted.
func mustSelector(s string) []byte {
	b, err := selector(s)
	if err != nil {
		return nil
	}
	return b
}

// optional leaves an empty selector out.
func optional(s string) []byte {
	if s == "" {
		return nil
	}
	return mustSelector(s)
}

func (a *p1Association) transfer(ctx context.Context, t *connectors.Transfer) error {
	apdu, err := a.peer.render(t)
	if err != nil {
		return err
	}
	defer apdu.done()
	return a.send(ctx, apdu)
}

func (a *p1Association) probe(ctx context.Context, t *connectors.Transfer) error {
	apdu, err := a.peer.renderProbe(t)
	if err != nil {
		return err
	}
	defer apdu.done()
	return a.send(ctx, apdu)
}

// send hands an APDU over. When the association breaks, what was confirmed by then is not sent again: for the
// recovery time another one is opened and the transfer resumed (X.228 7.8.3).
func (a *p1Association) send(ctx context.Context, apdu *octets) error {
	tr := &rtse.Transfer{Content: &apdu.joined, Size: apdu.size}
	stop := cutOn(ctx, a.conn.Conn)
	err := a.rtse.Send(tr)
	stop()
	until := time.Now().Add(a.peer.cfg.Recovery.D())
	for pause := 100 * time.Millisecond; err != nil; pause = min(2*pause, 10*time.Second) {
		var exception *rtse.Exception
		if errors.As(err, &exception) {
			return &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.0", Reason: 0, Diagnostic: 2,
				MSMail: 5, Text: "the remote MTA did not take the message now", Peer: a.peer.remoteMTA + ": " + exception.Error(), Cause: err}
		}
		if apdu.failed != nil {
			return &mail.Failure{Class: mail.Local, Scope: mail.ScopeLink, Code: 451, Enhanced: "4.3.0", Reason: 0, Diagnostic: 2,
				MSMail: 1, Text: "the content can't be read", Cause: apdu.failed}
		}
		if !tr.Ended() {
			err = errors.Join(err, errUntouched)
		}
		lost := mail.LinkDown("the association to "+a.peer.remoteMTA+" broke", err)
		if a.theirs || !tr.Resumable() || ctx.Err() != nil || time.Now().After(until) {
			return lost
		}
		a.abort()
		ref := tr.Ref()
		again := &p1Association{peer: a.peer}
		if openErr := again.open(ctx, &ref); openErr != nil {
			var refused *rtse.Refused
			if errors.As(openErr, &refused) && refused.Reason != rtse.Busy {
				return lost // it has forgotten: the message is begun anew at the next attempt
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		a.conn, a.cotp, a.rtse, a.sitting = again.conn, again.cotp, again.rtse, again.sitting
		stop := cutOn(ctx, a.conn.Conn)
		err = a.rtse.Resume(tr)
		stop()
	}
	return nil
}

func (a *p1Association) release(ctx context.Context) error {
	defer cutOn(ctx, a.conn.Conn)()
	if err := a.rtse.Release(); err != nil {
		return err
	}
	//nolint:errcheck // class 0 ends with the connection; ISODE's stacks like to hear it
	a.cotp.Disconnect(cotp.ReasonNormal)
	return a.conn.Close()
}

// usable tells whether the peer has kept it too.
func (a *p1Association) usable() bool {
	if a.sitting != nil {
		return a.heed()
	}
	return silent(a.conn.Conn)
}

func (a *p1Association) abort() {
	// the association is over either way
	a.conn.Close()
}

// maxConnect bounds what a caller may say before it has bound: X.225 has at most 10240 octets of user data in a connect.
const maxConnect = 16 << 10

// maxSegment is the longest segment that is taken when no limit is set on messages: a file of a mapping, not memory.
const maxSegment = 1 << 30

// answer serves a caller.
func (s *stack) answer(ctx context.Context, conn net.Conn, d *desk) error {
	defer conn.Close() // over either way
	c := &patient{Conn: conn, patience: d.patience(), by: time.Now().Add(d.patience())}
	gate := &turnstile{conn: conn}
	stop := context.AfterFunc(ctx, gate.close)
	defer stop()
	packets := tpkt.New(c)
	call, err := cotp.Accept(packets)
	if err != nil {
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil // a port probe
		}
		return err
	}
	candidates := d.called(call.Called)
	if len(candidates) == 0 {
		if err := call.Refuse(cotp.ReasonUnknown); err != nil {
			return err
		}
		return fmt.Errorf("transport selector %q is nobody's", call.Called)
	}
	transport, err := call.Confirm(random())
	if err != nil {
		return err
	}
	transport.MaxTSDU = maxConnect
	sess := session.New(transport)
	a, p, err := s.bind(sess, &desk{gw: d.gw, peers: candidates, log: d.log}, conn)
	if err != nil || a == nil {
		return err
	}
	p.takes(transport)
	defer transport.Drop() //nolint:errcheck // unnamed, and the association is over
	d.bound()
	c.bound()
	in := &arrivals{peer: p, gw: d.gw, from: conn.RemoteAddr().String(), mode: a.Mode()}
	begin := func() (rtse.Sink, error) {
		if !gate.enter() {
			return nil, errors.New("the gateway is ending")
		}
		return in.sink(context.WithoutCancel(ctx))
	}
	idle := idleLifetimes * p.cfg.AssociationLifetime.D()
	c.wait(idle)
	var g *guest
	if _, _, twa := a.Terms(); twa {
		g = &guest{sitting: newSitting(conn, packets, sess)}
		p.pool.join(g)
		defer p.pool.leave(g)
		if w, ok := d.gw.(connectors.Waker); ok {
			w.Called(p.connector, p.remoteMTA)
		}
	}
	for {
		if g != nil && !g.asked {
			if p.pool.wanted() {
				if err := a.RequestTurn(0); err != nil {
					return err
				}
				g.asked = true
			} else if come, err := g.wait(idle); !come && err == nil {
				continue // somebody wants it
			} else if errors.Is(err, syscall.ETIMEDOUT) {
				//nolint:errcheck // a courtesy: the association has been idle for too long
				a.Abort(rtse.AbortPermanent)
				return fmt.Errorf("the association was idle for %s", idle)
			} // what else is wrong with the connection is Receive's to say
		}
		ev, err := a.Receive(func() (rtse.Sink, error) {
			c.wait(p.cfg.Disconnect.D())
			return begin()
		}, s.unfinished)
		more := gate.leave()
		c.wait(idle)
		switch {
		case ev == rtse.Released:
			return nil
		case ev == rtse.Turn:
			if g != nil {
				g.asked = false
				c.wait(p.cfg.Disconnect.D())
				switch sound, more := p.pool.lend(&p1Association{peer: p, conn: c, cotp: transport, rtse: a, theirs: true}, gate); {
				case !sound:
					return fmt.Errorf("the association broke in our turn")
				case !more:
					return nil
				}
				c.wait(idle)
			}
			if err := a.GiveTurn(); err != nil {
				return err
			}
		case !more || (err != nil && ctx.Err() != nil):
			return nil
		case err != nil:
			s.remember(a.Ref(), owner{p, host(conn)})
			if !errors.Is(err, io.EOF) {
				//nolint:errcheck // a courtesy: the association is lost
				a.Abort(rtse.AbortProtocolError)
			}
			return err
		}
	}
}

// takes sets what an association takes from the peer.
func (p *peer) takes(transport *cotp.Conn) {
	transport.MaxTSDU = maxSegment
	if limit := transferLimit(p.cfg.MaxSize); limit > 0 { // a transfer somewhat beyond its limit gets an answer
		transport.MaxTSDU = int(min(4*limit, maxSegment))
	}
	transport.Spill = func() (cotp.Spill, error) { return tsdu{newSpool(p.dir, 0)}, nil }
}

func newSitting(conn net.Conn, packets *tpkt.Conn, sess *session.Conn) *sitting {
	return &sitting{conn: conn, pending: func() bool { return packets.Buffered() > 0 || sess.Waiting() }}
}

// called are the peers that may call selector: those without one of their own, or with this.
func (d *desk) called(sel []byte) []*peer {
	var out []*peer
	for _, p := range d.peers {
		if own := mustSelector(p.cfg.LocalTSelector); len(own) == 0 || string(own) == string(sel) {
			out = append(out, p)
		}
	}
	return out
}

func refKey(r session.Ref) string {
	return string(r.Calling) + "\x00" + string(r.Common) + "\x00" + string(r.Additional)
}

func (s *stack) remember(r session.Ref, o owner) {
	if !s.unfinished.Known(r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners == nil {
		s.owners = map[string]owner{}
	}
	for k := range s.owners { // those whose time has passed
		if !s.unfinished.KnownKey(k) {
			delete(s.owners, k)
		}
	}
	s.owners[refKey(r)] = o
}

// bind answers a caller's bind. A caller that was refused is no error here but for the log of admit.
func (s *stack) bind(sess *session.Conn, d *desk, conn net.Conn) (*rtse.Association, *peer, error) {
	call, err := rtse.Accept(sess)
	if err != nil {
		return nil, nil, err
	}
	if call.Recover != nil {
		s.mu.Lock()
		o := s.owners[refKey(*call.Recover)]
		s.mu.Unlock()
		p := o.peer
		if p == nil || o.host != host(conn) || !s.unfinished.Known(*call.Recover) {
			return nil, nil, call.Refuse(rtse.CannotRecover, nil)
		}
		a, err := call.Accept(p.terms(call, nil))
		return a, p, err
	}
	refuse := func(reason rtse.RefuseReason, bindError int64) (*rtse.Association, *peer, error) {
		user, err := p1.EncodeBindError(bindError)
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, call.Refuse(reason, user)
	}
	bind, err := p1.ParseBind(call.User)
	if err != nil {
		d.log.Warn("a bind can't be read", "from", conn.RemoteAddr(), "err", err)
		return refuse(rtse.ValidationFailure, p1.BindAuthenticationError)
	}
	if bind.Strong || bind.Unauthenticated {
		d.log.Warn("a bind without simple credentials is refused", "from", conn.RemoteAddr(), "mta", bind.Name, "strong", bind.Strong)
		return refuse(rtse.ValidationFailure, p1.BindAuthenticationError)
	}
	p, ok := d.admit(bind.Name, string(bind.Password), conn.RemoteAddr().String())
	if !ok {
		return refuse(rtse.ValidationFailure, p1.BindAuthenticationError)
	}
	if call.TWA && p.cfg.Dialogue != "twa" {
		return refuse(rtse.UnacceptableDialogue, p1.BindUnacceptableDialogue)
	}
	normal := call.Mode == rtse.Normal
	result, err := p1.Bind{Name: p.localMTA, Password: []byte(p.localPassword), IA5: bind.IA5}.Encode(true, normal)
	if err != nil {
		return nil, nil, err
	}
	a, err := call.Accept(p.terms(call, result))
	return a, p, err
}

// terms are what p is content with as an answerer. A caller whose protocol is no known one is taken for what the section says.
func (p *peer) terms(call *rtse.Call, user []byte) rtse.Terms {
	m := mode(p.cfg.Mode)
	if m == rtse.Normal {
		m = rtse.X410 // the caller has spoken in X.410 mode
	}
	if !call.Odd {
		m = call.Mode
	}
	return rtse.Terms{Mode: m, Checkpoint: p.cfg.CheckpointSize, Window: p.cfg.Window, TWA: p.cfg.Dialogue == "twa", User: user}
}

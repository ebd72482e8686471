package x400

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"
)

// loopback is the transport for tests of everything above the OSI stack: bind, transfer and release as frames on a
// TCP connection between two processes of one machine (*ours*). A frame is one octet of type, four of length, and its
// contents: JSON, or a piece of the message's content. It keeps the rules that RTSE gives P1: both sides name
// themselves, one message at a time, and the answer to its end is the hand-over of responsibility.
type loopback struct{}

const (
	frameBind    = 'B' // bindFrame; answered with frameBind or frameRefuse
	frameRefuse  = 'R' // refuseFrame
	frameOffer   = 'O' // offerFrame; answered with frameGo, frameTaken or frameFailure
	frameGo      = 'G' // send the content
	framePiece   = 'P' // some of the content
	frameEnd     = 'E' // the content is whole; answered with frameTaken or frameFailure
	frameTaken   = 'T' // the peer is responsible
	frameFailure = 'F' // mail.Failure
	frameRelease = 'Q' // answered with the same
)

const (
	pieceSize    = 32 << 10
	maxJSONFrame = 8 << 20 // 5,000 recipients with their names
)

type bindFrame struct{ Name, Password, Called string }
type refuseFrame struct{ Reason string }
type offerFrame struct {
	Key      string
	Size     int64
	Envelope mail.Envelope
}

type framer struct {
	conn  net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	frame []byte
	// idle bounds the wait for the next octet of an exchange under way.
	idle time.Duration
}

func newFramer(conn net.Conn, idle time.Duration) *framer {
	return &framer{conn: conn, r: bufio.NewReader(conn), w: bufio.NewWriter(conn), idle: idle}
}

func (f *framer) write(kind byte, body []byte) error {
	if err := f.conn.SetWriteDeadline(time.Now().Add(f.idle)); err != nil {
		return err
	}
	var head [5]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(len(body)))
	if _, err := f.w.Write(head[:]); err != nil {
		return err
	}
	_, err := f.w.Write(body)
	return err
}

// say writes a frame and flushes it.
func (f *framer) say(kind byte, v any) error {
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return err
		}
	}
	if err := f.write(kind, body); err != nil {
		return err
	}
	return f.w.Flush()
}

// hear reads a frame; its body is valid until the next one. Without wait, it waits for as long as the peer is silent.
func (f *framer) hear(wait bool) (byte, []byte, error) {
	deadline := time.Time{}
	if wait {
		deadline = time.Now().Add(f.idle)
	}
	if err := f.conn.SetReadDeadline(deadline); err != nil {
		return 0, nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[1:]))
	limit := maxJSONFrame
	if head[0] == framePiece {
		limit = pieceSize
	}
	if n > limit {
		return 0, nil, fmt.Errorf("frame %q of %d octets is over the limit of %d", head[0], n, limit)
	}
	if cap(f.frame) < n {
		f.frame = make([]byte, n)
	}
	f.frame = f.frame[:n]
	if _, err := io.ReadFull(f.r, f.frame); err != nil {
		return 0, nil, fmt.Errorf("frame %q broke off: %w", head[0], err)
	}
	return head[0], f.frame, nil
}

// dial connects and binds.
func (loopback) dial(ctx context.Context, p *peer) (association, error) {
	dialer := net.Dialer{Timeout: p.cfg.Disconnect.D()}
	conn, err := dialer.DialContext(ctx, "tcp", p.cfg.Peer)
	if err != nil {
		return nil, mail.LinkDown("the remote MTA "+p.remoteMTA+" can't be called", err)
	}
	a := &loopbackAssociation{peer: p, f: newFramer(conn, p.cfg.Disconnect.D())}
	if err := a.bind(ctx); err != nil {
		a.abort()
		return nil, err
	}
	return a, nil
}

type loopbackAssociation struct {
	peer *peer
	f    *framer
}

func (a *loopbackAssociation) bind(ctx context.Context) error {
	defer cutOn(ctx, a.f.conn)()
	p := a.peer
	if err := a.f.say(frameBind, bindFrame{p.localMTA, p.localPassword, p.remoteMTA}); err != nil {
		return mail.LinkDown("the remote MTA "+p.remoteMTA+" hung up", err)
	}
	kind, body, err := a.f.hear(true)
	if err != nil {
		return mail.LinkDown("the remote MTA "+p.remoteMTA+" did not answer the bind", err)
	}
	switch kind {
	case frameBind:
		var b bindFrame
		if err := json.Unmarshal(body, &b); err != nil {
			return mail.LinkDown("bind result from "+p.remoteMTA, err)
		}
		if !p.knows(b.Name, b.Password) {
			return mail.LinkDown(fmt.Sprintf("who answers as %q is not %s: its name or password is wrong", b.Name, p.remoteMTA), nil)
		}
		return nil
	case frameRefuse:
		var r refuseFrame
		if err := json.Unmarshal(body, &r); err != nil {
			return mail.LinkDown("refusal from "+p.remoteMTA, err)
		}
		return mail.LinkDown("the remote MTA "+p.remoteMTA+" refused the bind: "+r.Reason, nil)
	}
	return mail.LinkDown(fmt.Sprintf("the remote MTA %s answered the bind with frame %q", p.remoteMTA, kind), nil)
}

// cutOn closes conn when ctx ends; the function that it returns ends the watch.
func cutOn(ctx context.Context, conn net.Conn) func() {
	stop := context.AfterFunc(ctx, func() {
		// closing wakes whoever reads or writes; nothing can be done about a failure
		conn.Close()
	})
	return func() { stop() }
}

func (a *loopbackAssociation) transfer(ctx context.Context, t *connectors.Transfer) error {
	defer cutOn(ctx, a.f.conn)()
	broken := func(err error, untouched bool) error {
		if untouched {
			err = errors.Join(err, errUntouched)
		}
		return mail.LinkDown("the association to "+a.peer.remoteMTA+" broke", err)
	}
	r, err := t.Content.Open()
	if err != nil {
		return mail.LocalFault("the content can't be opened", err)
	}
	defer r.Close() // read only
	if err := a.f.say(frameOffer, offerFrame{t.Key, t.Content.Size(), t.Envelope}); err != nil {
		return broken(err, true)
	}
	kind, body, err := a.f.hear(true)
	if err != nil {
		return broken(err, true)
	}
	if kind != frameGo {
		return a.answer(kind, body)
	}
	piece := make([]byte, pieceSize)
	left := t.Content.Size()
	for err == nil {
		var n int
		n, err = io.ReadFull(r, piece)
		if n > 0 {
			left -= int64(n)
			if err := a.f.write(framePiece, piece[:n]); err != nil {
				return broken(err, true)
			}
		}
	}
	if left != 0 || (!errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)) {
		// The peer would take half of it for the whole: only the end of the association tells it not to.
		return &mail.Failure{Class: mail.Local, Scope: mail.ScopeLink, Code: 451, Enhanced: "4.3.0", Reason: 0, Diagnostic: 2,
			MSMail: 1, Text: fmt.Sprintf("the content can't be read: %d octets are missing", left), Cause: err}
	}
	if err := a.f.say(frameEnd, nil); err != nil {
		return broken(err, false)
	}
	if kind, body, err = a.f.hear(true); err != nil {
		return broken(err, false)
	}
	return a.answer(kind, body)
}

// probe is not spoken on the loop-back.
func (a *loopbackAssociation) probe(context.Context, *connectors.Transfer) error {
	return &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeMessage, Reason: 1, Diagnostic: 18, Enhanced: "5.3.3", Text: "the loop-back transport has no probes"}
}

func (a *loopbackAssociation) answer(kind byte, body []byte) error {
	switch kind {
	case frameTaken:
		return nil
	case frameFailure:
		f := &mail.Failure{}
		if err := json.Unmarshal(body, f); err != nil {
			return mail.LinkDown("answer from "+a.peer.remoteMTA, err)
		}
		if f.Class == mail.Local {
			f.Class = mail.Transient // its fault, not ours
		}
		if f.Scope == mail.ScopeLink {
			f.Scope = mail.ScopeMessage
		}
		f.Peer = a.peer.remoteMTA + ": " + f.Text
		return f
	}
	return mail.LinkDown(fmt.Sprintf("the remote MTA %s answered with frame %q", a.peer.remoteMTA, kind), nil)
}

func (a *loopbackAssociation) release(ctx context.Context) error {
	defer cutOn(ctx, a.f.conn)()
	if err := a.f.say(frameRelease, nil); err != nil {
		return err
	}
	if kind, _, err := a.f.hear(true); err != nil || kind != frameRelease {
		return fmt.Errorf("release answered with frame %q: %w", kind, err)
	}
	return a.f.conn.Close()
}

func (a *loopbackAssociation) usable() bool { return silent(a.f.conn) }

func (a *loopbackAssociation) abort() {
	// the association is over either way
	a.f.conn.Close()
}

// answer serves one caller.
func (loopback) answer(ctx context.Context, conn net.Conn, d *desk) error {
	defer conn.Close() // over either way
	f := newFramer(conn, d.patience())
	kind, body, err := f.hear(true)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil // a port probe
		}
		return err
	}
	var b bindFrame
	if kind != frameBind || json.Unmarshal(body, &b) != nil {
		return fmt.Errorf("frame %q before the bind", kind)
	}
	p, ok := d.admit(b.Name, b.Password, conn.RemoteAddr().String())
	if !ok {
		return f.say(frameRefuse, refuseFrame{"authentication-error"})
	}
	d.bound()

	f.idle = p.cfg.Disconnect.D()
	if err := f.say(frameBind, bindFrame{Name: p.localMTA, Password: p.localPassword}); err != nil {
		return err
	}
	for {
		// Between messages the end of ctx ends the wait; within one it does not.
		stop := cutOn(ctx, conn)
		kind, body, err := f.hear(false)
		stop()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case kind == frameRelease:
			return f.say(frameRelease, nil)
		case kind != frameOffer:
			return fmt.Errorf("frame %q where a message or the release was due", kind)
		}
		if err := takeOffer(ctx, f, d, p, conn.RemoteAddr().String(), body); err != nil {
			return err
		}
	}
}

// takeOffer takes one message. The end of ctx does not interrupt it: the peer waits for an answer, and the gateway
// bounds how long Accept takes.
func takeOffer(ctx context.Context, f *framer, d *desk, p *peer, from string, body []byte) error {
	ctx = context.WithoutCancel(ctx)
	var o offerFrame
	if err := json.Unmarshal(body, &o); err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	dedup := "x400/" + p.remoteMTA + "/" + o.Key
	known, err := d.gw.Known(ctx, dedup)
	if err != nil {
		return f.say(frameFailure, mail.AsFailure(err))
	}
	if known {
		return f.say(frameTaken, nil)
	}
	if err := f.say(frameGo, nil); err != nil {
		return err
	}
	o.Envelope.Source = mail.Source{Connector: p.connector, Peer: p.remoteMTA, Detail: from, Authenticated: true}
	content := &pieces{f: f, left: o.Size}
	_, err = d.gw.Accept(ctx, connectors.Submission{Envelope: o.Envelope, Content: content, Dedup: dedup})
	if content.err != nil {
		return content.err
	}
	if err != nil {
		if drainErr := content.drain(); drainErr != nil {
			return drainErr
		}
		return f.say(frameFailure, mail.AsFailure(err))
	}
	if err := content.drain(); err != nil {
		return err
	}
	return f.say(frameTaken, nil)
}

// pieces reads the content's frames up to its end.
type pieces struct {
	f     *framer
	piece []byte
	left  int64
	end   bool
	err   error // the association's, not the gateway's
}

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.piece) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		if p.end {
			return 0, io.EOF
		}
		kind, body, err := p.f.hear(true)
		switch {
		case err != nil:
			p.err = fmt.Errorf("content broke off: %w", err)
		case kind == framePiece && int64(len(body)) <= p.left:
			p.piece, p.left = body, p.left-int64(len(body))
		case kind == frameEnd && p.left == 0:
			p.end = true
		default:
			p.err = fmt.Errorf("frame %q with %d octets of content still due", kind, p.left)
		}
	}
	n := copy(b, p.piece)
	p.piece = p.piece[n:]
	return n, nil
}

// drain reads to the end what Accept left.
func (p *pieces) drain() error {
	_, err := io.Copy(io.Discard, p)
	return err
}

package smtp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// gate is the connection that go-smtp serves. It stands between the wire and the library and gives it one checked
// command line at a time, never more: so it knows after each Read what the library has made of all that came before,
// can end TLS itself, and takes the message body past the library. What that stops, each found in go-smtp (v0.25.1):
//
//   - a quoted local part that loses its quotes and brings parameters along (command.go parses, not the library);
//   - BDAT and RSET lifting the line limit: lines are bounded here, BDAT is not offered;
//   - a DATA whose deadline runs out and whose rest is read as commands: deadlines roll, and a body that breaks off
//     ends the session (body.go);
//   - CR CR LF before the final dot, which the library's reader misses (body.go);
//   - commands glued to STARTTLS or sent before the reply to DATA.
//
// Replies are gathered and written when the client has nothing more to say (RFC 2920 3.2).
//
// Only the library's goroutine calls Read, Write and what they lead to; stop, cut and Close may come from others.
type gate struct {
	net.Conn          // as accepted: what stop and cut act on
	wire     net.Conn // the same, or TLS on it
	src      *Source
	end      time.Time // of the session, however busy

	buf  []byte // what came from the wire: buf[r:w]
	r, w int
	out  []byte // replies not yet written
	feed []byte // what the library reads next
	// narrow is the buffer for commands while buf is a borrowed one for a body.
	narrow []byte
	mode   mode
	cmd    command // the line that the library is working on

	greeted bool // the client said HELO or EHLO since the connection or TLS began
	inMail  bool // a MAIL was taken
	helo    string
	esmtp   bool
	tls     *tls.ConnectionState
	user    string // authenticated by AUTH
	penalty int    // grows with each command that carries no mail; see wornOut

	mu       sync.Mutex
	resting  bool // waiting for a command: nothing is lost when it ends now
	stopping bool
	release  func() // gives the listener's slot back; once
}

// mode is what the client's next octets are.
type mode uint8

const (
	modeGreeting mode = iota // nothing: our greeting comes first
	modeCommand
	modeAuth  // an answer to a SASL challenge
	modeBody  // message data, read by Session.Data
	modeTaken // the body is read; the library still has to be told its end
	modeOver  // nothing: the session is over
)

const (
	// maxLine bounds a command line. RFC 5321 asks for 512 octets and each extension for more; an encapsulated address
	// with its ORCPT is the longest that we have use for.
	maxLine = 8 << 10
	// maxPenalty is how much a client may do without bringing mail: refused recipients and idle commands count 1, wrong
	// passwords 50, other errors 5.
	maxPenalty = 200
	// bodyBuffer is the size of reads during a body.
	bodyBuffer = 64 << 10
)

var errOver = errors.New("the session is over")

// bodyBuffers are lent to a gate while it reads a body.
var bodyBuffers = sync.Pool{New: func() any { return new([bodyBuffer]byte) }}

func newGate(c net.Conn, src *Source, release func()) *gate {
	return &gate{Conn: c, wire: c, src: src, end: time.Now().Add(src.cfg.Session.D()), buf: make([]byte, maxLine), release: sync.OnceFunc(release)}
}

// Read gives the library its next command line.
func (g *gate) Read(p []byte) (int, error) {
	for len(g.feed) == 0 {
		switch g.mode {
		case modeTaken:
			g.mode = modeCommand
			g.feed = []byte(".\r\n")
		case modeCommand:
			if g.wornOut() {
				return 0, g.over()
			}
			line, err := g.line()
			if err != nil {
				return 0, g.over()
			}
			g.feed = g.command(line)
		case modeAuth:
			line, err := g.line()
			if err != nil {
				return 0, g.over()
			}
			g.mode = modeCommand
			g.feed = append(append(g.feed, line...), "\r\n"...)
		default: // a body that nobody took to its end, or the end
			return 0, g.over()
		}
	}
	n := copy(p, g.feed)
	g.feed = g.feed[n:]
	return n, nil
}

// over ends the session for the library: it closes without a word of its own.
func (g *gate) over() error {
	g.mode = modeOver
	return io.EOF
}

// line takes one command line off the wire, without its CRLF. It is valid until the next one. On error the session
// is over, and the client was told why.
func (g *gate) line() ([]byte, error) {
	for scanned := 0; ; {
		if i := bytes.IndexByte(g.buf[g.r+scanned:g.w], '\n'); i >= 0 {
			line := g.buf[g.r : g.r+scanned+i]
			g.r += scanned + i + 1
			if n := len(line); n > 0 && line[n-1] == '\r' {
				return line[:n-1], nil
			}
			if g.src.normalise {
				return line, nil
			}
			g.say("500 5.5.2 Bare LF: a command ends with CRLF")
			return nil, errOver
		}
		if scanned = g.w - g.r; scanned >= maxLine {
			g.say("500 5.5.2 Line too long")
			return nil, errOver
		}
		if err := g.fill(true); err != nil {
			switch {
			case g.isStopping():
				g.say("421 4.3.2 " + g.src.hostname + " is shutting down")
			case errors.Is(err, os.ErrDeadlineExceeded):
				g.say("421 4.4.2 " + g.src.hostname + " heard nothing for too long")
			}
			return nil, err
		}
	}
}

// fill reads more from the wire behind what is there, after it has written the replies that wait. rest tells that a
// shutdown may end the session here.
func (g *gate) fill(rest bool) error {
	if err := g.flush(); err != nil {
		return err
	}
	if g.r == g.w {
		g.r, g.w = 0, 0
	} else if g.w == len(g.buf) && g.r > 0 {
		g.w = copy(g.buf, g.buf[g.r:g.w])
		g.r = 0
	}
	if err := g.arm(rest); err != nil {
		return err
	}
	n, err := g.wire.Read(g.buf[g.w:])
	g.mu.Lock()
	g.resting = false
	g.mu.Unlock()
	g.w += n
	if n > 0 {
		return nil
	}
	return err
}

// arm rolls the read deadline on.
func (g *gate) arm(rest bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if rest && g.stopping {
		return errOver
	}
	g.resting = rest
	t := time.Now().Add(g.src.idleTime())
	if t.After(g.end) {
		t = g.end
	}
	return g.Conn.SetReadDeadline(t)
}

// Write takes a reply line from the library.
func (g *gate) Write(p []byte) (int, error) {
	if g.mode == modeGreeting {
		g.mode = modeCommand
		if d := g.src.cfg.GreetingDelay.D(); d > 0 && g.talksFirst(d) {
			g.src.log.Info("client talked before the greeting", "peer", g.RemoteAddr().String())
			g.hangUp("554 5.5.1 Protocol error: you talked before the greeting")
		}
	}
	if g.mode == modeOver {
		return len(p), nil
	}
	g.out = g.rewrite(g.out, p)
	if len(g.out) > 16<<10 {
		return len(p), g.flush()
	}
	return len(p), nil
}

// talksFirst waits for the time that a polite client is silent before the greeting.
func (g *gate) talksFirst(d time.Duration) bool {
	if err := g.Conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return false
	}
	n, _ := g.wire.Read(g.buf)
	g.w = n
	return n > 0
}

// flush writes the replies that wait.
func (g *gate) flush() error {
	if len(g.out) == 0 {
		return nil
	}
	if err := g.wire.SetWriteDeadline(time.Now().Add(g.src.idleTime())); err != nil {
		return err
	}
	_, err := g.wire.Write(g.out)
	g.out = g.out[:0]
	return err
}

// say answers in the library's stead.
func (g *gate) say(reply string) {
	g.out = append(append(g.out, reply...), "\r\n"...)
}

// hangUp says a last word.
func (g *gate) hangUp(reply string) {
	g.say(reply)
	g.mode = modeOver
}

// wornOut ends the session of a client that goes on without bringing mail.
func (g *gate) wornOut() bool {
	if g.penalty <= maxPenalty {
		return false
	}
	g.src.log.Info("client turned away: too many errors or idle commands", "peer", g.RemoteAddr().String())
	g.say("421 4.7.0 " + g.src.hostname + " closes: too many errors or idle commands")
	return true
}

// buffered tells that the client sent more than it was asked for.
func (g *gate) buffered() bool { return g.r < g.w }

// Close writes what is left to say and closes the connection.
func (g *gate) Close() error {
	defer g.release()
	flushed := g.flush()
	g.mode = modeOver
	return errors.Join(flushed, g.wire.Close())
}

// The library's own deadlines would replace ours: they are dropped.

func (g *gate) SetDeadline(time.Time) error      { return nil }
func (g *gate) SetReadDeadline(time.Time) error  { return nil }
func (g *gate) SetWriteDeadline(time.Time) error { return nil }

// addr is the client's address.
func (g *gate) addr() netip.Addr {
	return hostOf(g.RemoteAddr())
}

func hostOf(a net.Addr) netip.Addr {
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

package smtp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// conversation is one SMTP session with a peer, with us as the client. It is used by one delivery at a time.
type conversation struct {
	c      *Connector
	host   string // as the peer is called in words to people
	raw    net.Conn
	wire   net.Conn // the same, or TLS on it
	r      *bufio.Reader
	w      []byte            // commands and data not yet written
	ext    map[string]string // EHLO keyword in capitals: its parameters
	tls    bool
	strict bool // the host must prove its name
	sent   int  // messages
}

// sendBuffer is how much is gathered before it is written.
const sendBuffer = 64 << 10

// ask sends one command and reads its reply.
func (v *conversation) ask(line string) (reply, error) {
	v.w = append(append(v.w, line...), "\r\n"...)
	return v.read(v.c.cfg.ReplyTimeout.D())
}

// read writes what waits and reads one reply.
func (v *conversation) read(limit time.Duration) (reply, error) {
	if err := v.flush(); err != nil {
		return reply{}, err
	}
	if err := v.wire.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return reply{}, err
	}
	rep, err := readReply(v.r, true)
	if errors.Is(err, io.EOF) {
		err = errors.New("the peer closed the connection")
	}
	return rep, err
}

// flush writes what waits. Each block has a time limit of its own.
func (v *conversation) flush() error {
	if len(v.w) == 0 {
		return nil
	}
	if err := v.wire.SetWriteDeadline(time.Now().Add(v.c.cfg.ReplyTimeout.D())); err != nil {
		return err
	}
	_, err := v.wire.Write(v.w)
	v.w = v.w[:0]
	return err
}

// has tells that the peer offers an extension.
func (v *conversation) has(keyword string) bool {
	_, ok := v.ext[keyword]
	return ok
}

// sizeLimit is the largest message that the peer takes, 0 when it does not say (RFC 1870 4).
func (v *conversation) sizeLimit() int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(v.ext["SIZE"]), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// limit reads one of the peer's LIMITS (RFC 9422), or gives what stands without it.
func (v *conversation) limit(name string, without int) int {
	for _, l := range strings.Fields(v.ext["LIMITS"]) {
		if k, n, ok := strings.Cut(l, "="); ok && strings.EqualFold(k, name) {
			if n, err := strconv.Atoi(n); err == nil && n > 0 {
				return min(n, without)
			}
		}
	}
	return without
}

// full tells that no further message may go over this connection: the peer says so, or the configuration.
func (v *conversation) full() bool { return v.sent >= v.limit("MAILMAX", v.c.cfg.ReuseMessages) }

// cut closes the connection without a word.
func (v *conversation) cut() { v.raw.Close() }

// quit says goodbye and closes. It does not wait for the answer.
func (v *conversation) quit() {
	v.w = append(v.w[:0], "QUIT\r\n"...)
	if err := v.wire.SetWriteDeadline(time.Now().Add(time.Second)); err == nil {
		v.wire.Write(v.w) //nolint:errcheck // the peer may be gone already
	}
	v.cut()
}

package smtp

import (
	"crypto/tls"
	"strings"
	"time"
)

// startTLS answers STARTTLS and puts TLS on the wire (RFC 3207). Whatever the client said before is forgotten.
func (g *gate) startTLS() {
	switch {
	case g.src.certs == nil:
		g.refuse("502 5.5.1 STARTTLS is not offered")
		return
	case g.tls != nil:
		g.refuse("503 5.5.1 TLS is on already")
		return
	case g.inMail:
		g.refuse("503 5.5.1 STARTTLS in a mail transaction")
		return
	case g.user != "":
		g.refuse("503 5.5.1 STARTTLS after AUTH")
		return
	case g.buffered(): // STARTTLS injection: the rest would be taken for what came encrypted (CVE-2011-0411)
		g.src.log.Warn("client sent commands behind STARTTLS", "peer", g.RemoteAddr().String())
		g.hangUp("554 5.5.0 Protocol error: commands behind STARTTLS")
		return
	}
	g.say("220 2.0.0 Ready to start TLS")
	t := tls.Server(g.Conn, g.src.tlsConfig)
	err := g.flush()
	if err == nil {
		err = t.SetDeadline(time.Now().Add(g.src.handshakeTime()))
	}
	if err == nil {
		err = t.Handshake()
	}
	if err != nil {
		g.src.log.Info("TLS handshake failed", "peer", g.RemoteAddr().String(), "err", err)
		g.mode = modeOver
		return
	}
	state := t.ConnectionState()
	g.wire, g.tls = t, &state
	g.greeted, g.esmtp, g.helo = false, false, ""
}

// takeBody gives the message data that the library's DATA has asked for. endBody must follow.
func (g *gate) takeBody() *body {
	g.narrow = g.buf
	g.buf = bodyBuffers.Get().(*[bodyBuffer]byte)[:]
	g.w = copy(g.buf, g.narrow[g.r:g.w])
	g.r = 0
	return &body{g: g, max: g.src.cfg.MaxSize, normalise: g.src.normalise}
}

// endBody ends the reading of message data. Unless its true end was reached the session is over: what follows can't be
// told from commands.
func (g *gate) endBody(b *body) {
	if left := g.buf[g.r:g.w]; len(left) <= len(g.narrow) {
		wide := (*[bodyBuffer]byte)(g.buf)
		g.r, g.w = 0, copy(g.narrow, left)
		g.buf, g.narrow = g.narrow, nil
		bodyBuffers.Put(wide)
	}
	if b.state == endOfData {
		g.mode = modeTaken
	} else {
		g.mode = modeOver
	}
}

// stop ends the session as soon as no message is in transfer.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopping = true
	if g.resting {
		g.Conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection is what we want
	}
}

func (g *gate) isStopping() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopping
}

// protocol is the word for a Received header (RFC 3848, RFC 6531 4.3).
func (g *gate) protocol(utf8, auth bool) string {
	if !g.esmtp {
		return "SMTP"
	}
	var b strings.Builder
	if utf8 {
		b.WriteString("UTF8SMTP")
	} else {
		b.WriteString("ESMTP")
	}
	if g.tls != nil {
		b.WriteByte('S')
	}
	if auth {
		b.WriteByte('A')
	}
	return b.String()
}

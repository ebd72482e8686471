package smtp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// peer is a fake server that follows a script of reactions, one for each thing the client does, in any number of
// connections. A reaction is what it answers:
//
//	"250 ok"          the reply; \n parts its lines
//	"drop"            closes the connection
//	"silent"          says nothing more
//
// Words name what it reacts to: greeting, EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, body, RSET, QUIT. A word may stand several
// times; the last one goes on for good. Words without a reaction have a kind answer.
type peer struct {
	t    testing.TB
	addr string
	ln   net.Listener
	wg   sync.WaitGroup

	mu        sync.Mutex
	script    map[string][]string
	conns     []net.Conn
	log       []string // commands, and bodies as "body: ..."
	bodies    []string
	connected int
}

// newPeer parses steps of the form "WORD reaction"; "silent" alone is silence from the start.
func newPeer(t testing.TB, steps ...string) *peer {
	t.Helper()
	p := &peer{t: t, script: map[string][]string{}}
	for _, s := range steps {
		word, reaction, ok := strings.Cut(s, " ")
		if !ok {
			word, reaction = "greeting", s
		}
		p.script[word] = append(p.script[word], strings.ReplaceAll(reaction, `\n`, "\n"))
	}
	var err error
	if p.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.addr = p.ln.Addr().String()
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *peer) close() error {
	err := p.ln.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *peer) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns = append(p.conns, c)
		p.connected++
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(c) })
	}
}

var kind = map[string]string{
	"greeting": "220 peer.example ESMTP", "EHLO": "250-peer.example\n250-PIPELINING\n250-8BITMIME\n250-SIZE 0\n250-DSN\n250 SMTPUTF8", "HELO": "250 peer.example",
	"DATA": "354 go on", "QUIT": "221 bye", "STARTTLS": "454 not now", "AUTH": "235 ok",
}

// react answers word and tells whether the session goes on.
func (p *peer) react(c net.Conn, word string) (code string, ok bool) {
	p.mu.Lock()
	reaction := kind[word]
	if reaction == "" {
		reaction = "250 2.0.0 ok"
	}
	if list := p.script[word]; len(list) > 0 {
		reaction = list[0]
		if len(list) > 1 {
			p.script[word] = list[1:]
		}
	}
	p.mu.Unlock()
	switch reaction {
	case "drop":
		return "", false
	case "silent":
		b := make([]byte, 1)
		for {
			if _, err := c.Read(b); err != nil {
				return "", false
			}
		}
	}
	reaction, drop := strings.CutSuffix(reaction, " then drop")
	_, err := c.Write([]byte(strings.ReplaceAll(reaction, "\n", "\r\n") + "\r\n"))
	return reaction[:3], err == nil && !drop
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	if _, ok := p.react(c, "greeting"); !ok {
		return
	}
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		p.note(line)
		word, _, _ := strings.Cut(strings.ToUpper(line), " ")
		code, ok := p.react(c, word)
		if !ok {
			return
		}
		if word == "DATA" && code == "354" {
			body, err := readBody(r)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.bodies = append(p.bodies, body)
			p.mu.Unlock()
			if _, ok := p.react(c, "body"); !ok {
				return
			}
		}
		if word == "QUIT" {
			return
		}
	}
}

// readBody reads to the final dot, dots left stuffed.
func readBody(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == ".\r\n" {
			return b.String(), nil
		}
		b.WriteString(line)
	}
}

func (p *peer) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, line)
}

// heard is every command so far.
func (p *peer) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.log...)
}

func (p *peer) received() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.bodies...)
}

func (p *peer) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connected
}

// lossy relays connections to a server and cuts them, once, when taken says so and before an answer gets through.
type lossy struct {
	addr string
	ln   net.Listener
	wg   sync.WaitGroup
}

func loseAnswer(t testing.TB, to string, taken func() bool) *lossy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &lossy{addr: ln.Addr().String(), ln: ln}
	var once sync.Once
	l.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			l.wg.Go(func() { pump(up, c, nil) })
			l.wg.Go(func() {
				pump(c, up, func() bool {
					cut := false
					if taken() {
						once.Do(func() { cut = true })
					}
					return cut
				})
			})
		}
	})
	return l
}

func (l *lossy) close() error {
	err := l.ln.Close()
	l.wg.Wait()
	return err
}

// pump copies until either end closes, or until cut says so after something was read.
func pump(dst, src net.Conn, cut func() bool) {
	defer func() { _, _ = dst.Close(), src.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if cut != nil && cut() {
			return
		}
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cutter is a server of one message that closes its connection once it has read so many octets.
type cutter struct {
	addr   string
	ln     net.Listener
	wg     sync.WaitGroup
	bodies int // after close
}

func newCutter(t testing.TB, octets int) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &cutter{addr: ln.Addr().String(), ln: ln}
	k.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p := &peer{t: t, script: map[string][]string{}}
			p.serve(&shortConn{Conn: c, left: octets})
			k.bodies += len(p.bodies)
		}
	})
	return k
}

func (k *cutter) close() error {
	err := k.ln.Close()
	k.wg.Wait()
	return err
}

// shortConn ends after so many octets were read from it.
type shortConn struct {
	net.Conn
	left int
}

func (c *shortConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/mail"
)

// inMemory serves one client over a pipe, in a synctest bubble.
func inMemory(t *testing.T, change func(*Config)) (*served, *pipeListener) {
	t.Helper()
	cfg := NewConfig()
	cfg.Name, cfg.Type, cfg.Hostname = "mail", "smtp", "mx.sitea.example"
	if change != nil {
		change(cfg)
	}
	src, err := newSource(connectors.Env{Site: testSite, Log: bareSource(nil).log}, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	pl := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	src.listeners = []*listener{{Listener: pl, src: src}}
	s := &served{t: t, gw: &connectortest.Acceptor{}, src: src}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := src.Serve(ctx, s.gw); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	s.stop = func() { cancel(); <-done }
	return s, pl
}

type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// pipe is a client's end in the bubble. What the server says is gathered as it comes.
type pipe struct {
	t    testing.TB
	conn net.Conn
	mu   sync.Mutex
	said bytes.Buffer
	over bool
}

func (l *pipeListener) dial(t testing.TB) *pipe {
	t.Helper()
	a, b := net.Pipe()
	l.conns <- b
	p := &pipe{t: t, conn: a}
	go func() {
		buf := make([]byte, 1024)
		for {
			n, err := a.Read(buf)
			p.mu.Lock()
			p.said.Write(buf[:n])
			p.over = err != nil
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	synctest.Wait()
	return p
}

// send sends and gives what the server says to it.
func (p *pipe) send(s string) string {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(s)); err != nil {
		return "write: " + err.Error()
	}
	synctest.Wait()
	return p.take()
}

func (p *pipe) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.said.String()
	p.said.Reset()
	return s
}

func (p *pipe) ended() bool {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

func (p *pipe) toData() {
	p.t.Helper()
	for _, s := range []string{"EHLO c.example\r\n", "MAIL FROM:<a@far.example>\r\n", "RCPT TO:<bob@sitea.example>\r\n"} {
		if r := p.send(s); !strings.HasPrefix(r, "2") {
			p.t.Fatalf("%q: %q", s, r)
		}
	}
	if r := p.send("DATA\r\n"); !strings.HasPrefix(r, "354") {
		p.t.Fatalf("DATA: %q", r)
	}
}

// sleep lets virtual time pass.
func sleep(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestASlowButSteadyMessageIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, nil)
		p := l.dial(t)
		p.take()
		p.toData()
		for i := range 30 { // two hours, where a whole DATA once had five minutes
			sleep(4 * time.Minute)
			p.send(fmt.Sprintf("line %d\r\n", i))
		}
		if r := p.send(".\r\n"); !strings.HasPrefix(r, "250 2.0.0") {
			t.Errorf("reply %q", r)
		}
		if len(s.gw.Taken()) != 1 {
			t.Error("not taken")
		}
		p.conn.Close()
		s.stop()
	})
}

func TestAMessageThatStopsIsNotReadAsCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, nil)
		p := l.dial(t)
		p.take()
		p.toData()
		p.send("Subject: x\r\n\r\nbeginning\r\n")
		sleep(6 * time.Minute)
		if r := p.take(); !strings.HasPrefix(r, "421 4.4.2 ") {
			t.Errorf("reply %q", r)
		}
		p.send("MAIL FROM:<evil@far.example>\r\nRCPT TO:<victim@sitea.example>\r\n")
		if !p.ended() {
			t.Error("the session goes on")
		}
		if n := len(s.gw.Taken()); n != 0 {
			t.Errorf("%d messages taken", n)
		}
		s.stop()
	})
}

func TestSilenceAndEndlessSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, nil)
		idle := l.dial(t)
		sleep(5*time.Minute + time.Second)
		if r := idle.take(); !strings.HasSuffix(r, "421 4.4.2 mx.sitea.example heard nothing for too long\r\n") || !idle.ended() {
			t.Errorf("an idle client heard %q", r)
		}
		slow := l.dial(t)
		begun := time.Now()
		for !slow.ended() && time.Since(begun) < 24*time.Hour { // an octet now and then
			slow.send("x")
			sleep(4 * time.Minute)
		}
		if d := time.Since(begun); d < 3*time.Hour || d > 5*time.Hour {
			t.Errorf("a slow loris was served for %v", d)
		}
		s.stop()
	})
}

func TestCrowdedMeansImpatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, func(c *Config) { c.MaxConnections = 5 })
		var all []*pipe
		for range 5 {
			all = append(all, l.dial(t))
		}
		all[4].send("EHLO c.example\r\n") // heard when places were few
		sleep(31 * time.Second)
		if !all[4].ended() {
			t.Error("an idle client keeps its place although nearly all are taken")
		}
		for _, p := range all {
			p.conn.Close()
		}
		s.stop()
	})
}

func TestShutdownWaitsForMessagesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, nil)
		idle, busy, stuck := l.dial(t), l.dial(t), l.dial(t)
		for _, p := range []*pipe{idle, busy, stuck} {
			p.take()
		}
		busy.toData()
		stuck.toData()
		begun := time.Now()
		go s.stop()
		synctest.Wait()
		if r := idle.take(); !strings.HasPrefix(r, "421 4.3.2 ") || !idle.ended() {
			t.Errorf("the idle client heard %q", r)
		}
		sleep(10 * time.Second)
		if r := busy.send("Subject: x\r\n\r\nfinished\r\n.\r\n"); !strings.HasPrefix(r, "250 2.0.0") || !strings.Contains(r, "421 4.3.2") {
			t.Errorf("the busy client heard %q", r)
		}
		s.stop()
		if d := time.Since(begun); d != 30*time.Second {
			t.Errorf("shut down after %v", d)
		}
		if n := len(s.gw.Taken()); n != 1 || !stuck.ended() {
			t.Errorf("%d messages taken, the stuck client's session over: %v", n, stuck.ended())
		}
	})
}

func TestAcceptIsToldToStopWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, nil)
		s.gw.OnAccept(func(ctx context.Context, _ connectors.Submission) error {
			<-ctx.Done()
			return mail.LocalFault("stopped", ctx.Err())
		})
		p := l.dial(t)
		p.take()
		p.toData()
		p.send("Subject: x\r\n\r\n.\r\n")
		begun := time.Now()
		s.stop()
		if d := time.Since(begun); d != 30*time.Second {
			t.Errorf("stopped after %v", d)
		}
		if r := p.take(); strings.HasPrefix(r, "2") {
			t.Errorf("reply %q", r)
		}
	})
}

func TestPlacesAreLimited(t *testing.T) {
	s := serve(t, func(c *Config) { c.MaxPerHost = 3 })
	var open []*talk
	for range 3 {
		open = append(open, s.dial())
	}
	c := s.dialOnly()
	c.expect("421 4.3.2 mx.sitea.example has too many connections from you, *")
	c.end()
	open[0].do("QUIT", "221 *")
	open[0].end()
	connectortest.Until(t, "a free place", func() bool {
		c := s.dialOnly()
		return strings.HasPrefix(c.line(), "220 ")
	})

	s = serve(t, func(c *Config) { c.MaxConnections = 2 })
	s.dial()
	s.dial()
	c = s.dialOnly()
	c.expect("421 4.3.2 mx.sitea.example has too many connections, *")
	c.end()
}

func TestALineWithoutEndIsNotGathered(t *testing.T) {
	s := serve(t, nil)
	c := s.dial().hello()
	c.do("MAIL FROM:<a@far.example>", "250 *")
	c.do("RCPT TO:<bob@sitea.example>", "250 *")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	block := []byte(strings.Repeat("N", 1<<16))
	sent := 0
	for range 1600 { // 100 MB, if anyone reads them
		if err := c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := c.conn.Write(block)
		if sent += n; err != nil {
			break
		}
	}
	runtime.ReadMemStats(&after)
	if sent > 20<<20 {
		t.Errorf("%d octets of one line were read", sent)
	}
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 20<<20 {
		t.Errorf("%d octets allocated", grown)
	}
}

// TestOverloadShedsAndRecovers sends twice what fits, then as much as fits.
func TestOverloadShedsAndRecovers(t *testing.T) {
	s := serve(t, func(c *Config) { c.MaxConnections = 20 })
	gate := make(chan struct{})
	s.gw.OnAccept(func(context.Context, connectors.Submission) error { <-gate; return nil })
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[string]int{}
	var clients []*talk
	for range 40 {
		clients = append(clients, s.dialOnly())
	}
	for _, c := range clients {
		wg.Go(func() {
			word := "421"
			if l := c.line(); strings.HasPrefix(l, "220") {
				c.raw("EHLO c.example\r\n")
				c.expect("250 *")
				c.raw("MAIL FROM:<a@far.example>\r\nRCPT TO:<bob@sitea.example>\r\nDATA\r\n")
				c.expect("250 *")
				c.expect("250 *")
				c.expect("354 *")
				c.raw("Subject: x\r\n\r\n.\r\n")
				word = c.expect("*")[:3]
			}
			mu.Lock()
			count[word]++
			mu.Unlock()
		})
	}
	connectortest.Until(t, "the clients that were turned away", func() bool { mu.Lock(); defer mu.Unlock(); return count["421"] == 20 })
	close(gate)
	wg.Wait()
	if count["250"] != 20 || count["421"] != 20 {
		t.Errorf("answers %v, want 20 taken and 20 turned away", count)
	}
	for _, c := range clients {
		c.conn.Close()
	}
	connectortest.Until(t, "a place again", func() bool {
		c := s.dialOnly()
		return strings.HasPrefix(c.line(), "220 ")
	})
}

// TestAPanicCostsOneSession keeps the service up when a message makes the gateway panic.
func TestAPanicCostsOneSession(t *testing.T) {
	s := serve(t, nil)
	s.gw.OnAccept(func(context.Context, connectors.Submission) error { panic("a mistake") })
	c := s.dial().hello()
	c.envelope()
	c.raw("Subject: x\r\n\r\n.\r\n")
	if l := c.line(); l != "" && !strings.HasPrefix(l, "421 ") {
		t.Errorf("reply %q", l)
	}
	s.gw.OnAccept(nil)
	c = s.dial().hello()
	c.envelope()
	c.do("Subject: x\r\n\r\n.", "250 2.0.0 *")
}

// TestNobodyTakesHalfAMessage: an acceptor that stops reading before the end has not taken the message.
func TestNobodyTakesHalfAMessage(t *testing.T) {
	s := serve(t, nil)
	c := s.dial().hello()
	c.envelope()
	s.src.gw = halfReader{s.gw}
	c.raw("Subject: x\r\n\r\n" + strings.Repeat("text\r\n", 1000) + ".\r\n")
	c.expect("451 4.3.0 *")
	c.do("NOOP", "250 *")
}

type halfReader struct{ *connectortest.Acceptor }

func (halfReader) Accept(_ context.Context, s connectors.Submission) (connectors.Receipt, error) {
	_, err := s.Content.Read(make([]byte, 100))
	return connectors.Receipt{ID: "HALF"}, err
}

func TestFailuresBecomeTheRightReplies(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing said at all", errors.New("disk /var/lib/backbone/queue is gone"), "451 4.3.0 local error in processing"},
		{"a local fault is never permanent", &mail.Failure{Class: mail.Local, Code: 554, Enhanced: "5.3.0", Text: "disk full"}, "451 4.3.0 disk full"},
		{"a cause is not for the peer", &mail.Failure{Class: mail.Local, Cause: errors.New("/etc/secret")}, "451 4.3.0 Local error in processing, try again later"},
		{"transient with a permanent code", &mail.Failure{Class: mail.Transient, Code: 550, Enhanced: "5.1.1", Text: "later"}, "451 4.1.1 later"},
		{"permanent without a code", &mail.Failure{Class: mail.Permanent, Text: "never"}, "554 5.0.0 never"},
		{"policy with a temporary code", &mail.Failure{Class: mail.Policy, Code: 451, Enhanced: "4.7.1", Text: "no"}, "554 5.7.1 no"},
		{"wrapped", fmt.Errorf("accept: %w", mail.TooLarge("too large")), "552 5.3.4 too large"},
		{"text of many lines and characters", &mail.Failure{Class: mail.Permanent, Code: 550, Enhanced: "5.1.1", Text: "no\r\n250 ok\x1b[31mü"}, "550 5.1.1 no  250 ok?[31m?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := gateOver(bareSource(nil))
			g.sayFailure(mail.AsFailure(tt.err))
			if got := strings.TrimSuffix(string(g.out), "\r\n"); got != tt.want {
				t.Errorf("reply %q, want %q", got, tt.want)
			}
		})
	}
}

package smtp

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// mute is a connection whose client hears, says nothing and stays.
type mute struct {
	from net.Addr

	mu       sync.Mutex
	heard    bytes.Buffer
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
	closed   bool
}

func newMute(n int) *mute {
	ip := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	return &mute{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 25)), moved: make(chan struct{})}
}

func (m *mute) Read([]byte) (int, error) {
	for {
		m.mu.Lock()
		closed, deadline, moved := m.closed, m.deadline, m.moved
		m.mu.Unlock()
		switch {
		case closed:
			return 0, net.ErrClosed
		case !deadline.IsZero() && !time.Now().Before(deadline):
			return 0, os.ErrDeadlineExceeded
		}
		over := make(<-chan time.Time)
		var timer *time.Timer
		if !deadline.IsZero() {
			timer = time.NewTimer(time.Until(deadline))
			over = timer.C
		}
		select {
		case <-over:
		case <-moved:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

func (m *mute) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, net.ErrClosed
	}
	return m.heard.Write(b)
}

func (m *mute) change(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.moved)
	m.moved = make(chan struct{})
	return nil
}

func (m *mute) Close() error                      { return m.change(func() { m.closed = true }) }
func (m *mute) SetReadDeadline(t time.Time) error { return m.change(func() { m.deadline = t }) }
func (m *mute) SetDeadline(t time.Time) error     { return m.SetReadDeadline(t) }
func (m *mute) SetWriteDeadline(time.Time) error  { return nil }
func (m *mute) LocalAddr() net.Addr               { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }
func (m *mute) RemoteAddr() net.Addr              { return m.from }
func (m *mute) said() (text string, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard.String(), m.closed
}

// crowd has n silent clients come, each from an address of its own.
func (l *pipeListener) crowd(n int) []*mute {
	all := make([]*mute, n)
	for i := range all {
		all[i] = newMute(i)
		l.conns <- all[i]
	}
	synctest.Wait()
	return all
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// delivers tells whether one more client gets a message through, and what it heard else.
func (l *pipeListener) delivers(t *testing.T) (bool, string) {
	p := l.dial(t)
	defer p.conn.Close()
	if r := p.take(); !strings.HasPrefix(r, "220 ") {
		return false, r
	}
	p.toData()
	r := p.send("Subject: x\r\n\r\nx\r\n.\r\n")
	return strings.HasPrefix(r, "250 "), r
}

// TestTenThousandIdleConnectionsCostLittle where so many are allowed, and another client is served at once.
func TestTenThousandIdleConnectionsCostLittle(t *testing.T) {
	const many = 10_000
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, func(c *Config) { c.MaxConnections = 2 * many })
		before := heap()
		all := l.crowd(many)
		each := (heap() - before) / many
		t.Logf("an idle connection costs %d octets", each)
		if each > 40<<10 {
			t.Errorf("an idle connection costs %d octets", each)
		}
		if ok, r := l.delivers(t); !ok {
			t.Errorf("another client heard %q", r)
		}
		sleep(6 * time.Minute)
		for i, m := range all {
			if text, ended := m.said(); !ended || !strings.Contains(text, "\r\n421 4.4.2 ") {
				t.Fatalf("client %d heard %q, its connection closed: %v", i, text, ended)
			}
		}
		s.stop()
	})
}

// TestTenThousandIdleConnectionsKeepNobodyOutForLong: beyond the limit they are turned away, and those within it lose their
// places after a tenth of the time that is allowed otherwise.
func TestTenThousandIdleConnectionsKeepNobodyOutForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, nil)
		turned := 0
		for _, m := range l.crowd(10_000) {
			if text, ended := m.said(); ended && strings.HasPrefix(text, "421 4.3.2 ") {
				turned++
			}
		}
		if want := 10_000 - NewConfig().MaxConnections; turned != want {
			t.Errorf("%d turned away, want %d", turned, want)
		}
		if ok, r := l.delivers(t); ok || !strings.HasPrefix(r, "421 ") {
			t.Errorf("another client heard %q, want 421", r)
		}
		begun, served := time.Now(), false
		for !served && time.Since(begun) < 10*time.Minute {
			sleep(5 * time.Second)
			served, _ = l.delivers(t)
		}
		if d := time.Since(begun); d > time.Minute {
			t.Errorf("another client was served after %v", d)
		}
		sleep(6 * time.Minute)
		s.stop()
	})
}

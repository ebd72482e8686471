package integration

import (
	"net"
	"strconv"
	"sync"
	"testing"

	"backbone/integration/loopback"
)

// line is a network between a gateway and a server: while it is cut, nothing goes either way and nobody is told.
type line struct {
	Port int
	open sync.RWMutex // held for writing while it is cut
}

// newLine joins a new port to a server's.
func newLine(t *testing.T, port int) *line {
	t.Helper()
	addr := loopback.Port(t)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	w := &line{}
	if w.Port, err = strconv.Atoi(p); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	keep := func(cs ...net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range cs {
			conns[c] = true
		}
	}
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil { // the server is down
				near.Close()
				continue
			}
			keep(near, far)
			all.Go(func() { w.carry(near, far) })
			all.Go(func() { w.carry(far, near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return w
}

// carry moves octets one way until either end closes.
func (w *line) carry(from, to net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if werr := w.pass(to, buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// pass waits while the line is cut.
func (w *line) pass(to net.Conn, b []byte) error {
	w.open.RLock()
	defer w.open.RUnlock()
	_, err := to.Write(b)
	return err
}

func (w *line) cut()  { w.open.Lock() }
func (w *line) mend() { w.open.Unlock() }

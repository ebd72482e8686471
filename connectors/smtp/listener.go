package smtp

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// listener gives go-smtp one gate for each connection that there is a place for, and turns the others away.
type listener struct {
	net.Listener
	src *Source
}

// Accept waits for a client that gets a place. One that gets none hears 421 and has to come back: under overload that
// is what keeps the rest served.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g, full := l.src.sessions.admit(c, l.src)
		if g != nil {
			return g, nil
		}
		l.src.log.Info("client turned away: "+full, "peer", c.RemoteAddr().String())
		turnAway(c, "421 4.3.2 "+l.src.hostname+" "+full+", try again later\r\n")
	}
}

// turnAway says why and closes. The words fit into an empty send buffer: nobody waits for the client.
func turnAway(c net.Conn, reply string) {
	c.SetWriteDeadline(time.Now().Add(time.Second)) //nolint:errcheck // the connection is being closed
	c.Write([]byte(reply))                          //nolint:errcheck // the client may be gone: nothing was promised to him
	c.Close()
}

// sessions are the connections of one source.
type sessions struct {
	max, perHost int

	mu       sync.Mutex
	open     map[*gate]bool
	hosts    map[netip.Addr]int
	stopping bool
}

func newSessions(c *Config) *sessions {
	return &sessions{max: c.MaxConnections, perHost: c.MaxPerHost, open: map[*gate]bool{}, hosts: map[netip.Addr]int{}}
}

// admit makes a gate for c, or says why there is no place.
func (s *sessions) admit(c net.Conn, src *Source) (g *gate, full string) {
	host := oneClient(hostOf(c.RemoteAddr()))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return nil, "is shutting down"
	case len(s.open) >= s.max:
		return nil, "has too many connections"
	case s.hosts[host] >= s.perHost:
		return nil, "has too many connections from you"
	}
	g = newGate(c, src, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, g)
		if s.hosts[host]--; s.hosts[host] == 0 {
			delete(s.hosts, host)
		}
	})
	s.open[g] = true
	s.hosts[host]++
	return g, ""
}

// crowded tells that more than four fifths of the places are taken.
func (s *sessions) crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)*5 > s.max*4
}

// stop ends sessions as they become idle; cut ends them now.
func (s *sessions) stop() {
	for _, g := range s.each(true) {
		g.stop()
	}
}

func (s *sessions) cut() {
	for _, g := range s.each(true) {
		g.Conn.Close()
	}
}

func (s *sessions) each(stopping bool) []*gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = s.stopping || stopping
	out := make([]*gate, 0, len(s.open))
	for g := range s.open {
		out = append(out, g)
	}
	return out
}

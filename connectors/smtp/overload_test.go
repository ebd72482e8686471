package smtp

import (
	"bufio"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
)

// offer is one client with one message; it gives the answer that decides.
func (l *pipeListener) offer(t *testing.T) string {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	defer ours.Close()
	r := bufio.NewReader(ours)
	last := ""
	ask := func(text string, replies int) bool {
		if text != "" {
			if _, err := io.WriteString(ours, text); err != nil {
				t.Errorf("%q: %v", text, err)
				return false
			}
		}
		for range replies {
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					t.Errorf("behind %q: %v", last, err)
					return false
				}
				if last = line; len(line) > 3 && line[3] == ' ' {
					break
				}
			}
			if last[0] != '2' && last[0] != '3' {
				return false
			}
		}
		return true
	}
	if ask("", 1) && ask("EHLO c.example\r\n", 1) && ask("MAIL FROM:<a@far.example>\r\nRCPT TO:<bob@sitea.example>\r\nDATA\r\n", 3) &&
		ask("Subject: x\r\n\r\n"+strings.Repeat("hello\r\n", 100)+".\r\n", 1) {
		taken := last
		ask("QUIT\r\n", 1)
		return taken
	}
	return last
}

// TestTwiceTheLoadForMinutes offers twice what can be taken: as much as can be is taken, the rest hears 421, and what it costs does not
// grow; with the load gone everything is taken.
func TestTwiceTheLoadForMinutes(t *testing.T) {
	const places = 20 // and as many messages a second, since each takes one
	synctest.Test(t, func(t *testing.T) {
		s, l := inMemory(t, func(c *Config) { c.MaxConnections, c.MaxPerHost = places, 100*places })
		s.gw.DiscardContent()
		s.gw.OnAccept(func(context.Context, connectors.Submission) error { <-time.After(time.Second); return nil })
		idle := runtime.NumGoroutine()
		load := func(perSecond int, lasts time.Duration) (taken, shed, other int64) {
			var clients sync.WaitGroup
			var n [3]atomic.Int64
			tick := time.NewTicker(time.Second / time.Duration(perSecond))
			defer tick.Stop()
			for end := time.Now().Add(lasts); time.Now().Before(end); <-tick.C {
				clients.Go(func() {
					switch r := l.offer(t); {
					case strings.HasPrefix(r, "250 2.0.0 "):
						n[0].Add(1)
					case strings.HasPrefix(r, "421 4.3.2 "):
						n[1].Add(1)
					default:
						n[2].Add(1)
						t.Errorf("reply %q", r)
					}
				})
			}
			clients.Wait()
			return n[0].Load(), n[1].Load(), n[2].Load()
		}
		load(2*places, 20*time.Second)
		before := heap()
		taken, shed, _ := load(2*places, 3*time.Minute)
		if taken < 180*places*9/10 || shed < 180*places*9/10 {
			t.Errorf("%d taken and %d turned away in three minutes, want nearly %d each", taken, shed, 180*places)
		}
		if grown := heap() - before; grown > 16<<20 {
			t.Errorf("it grew by %d octets", grown)
		}
		if taken, shed, _ := load(places/2, 30*time.Second); shed != 0 || taken < 30*places/2 {
			t.Errorf("with half the load %d taken and %d turned away", taken, shed)
		}
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > idle+2 {
			t.Errorf("%d goroutines, %d before", n, idle)
		}
		s.stop()
	})
}

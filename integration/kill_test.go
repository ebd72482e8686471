package integration

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// kill ends the daemon with -9.
func (s *site) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err == nil {
		s.t.Fatal("killed, yet it ended in good order")
	}
}

// kills is how often a process is killed during a run: few in every test run, more with KILLS=n (make crash).
func kills(t *testing.T, few int) int {
	t.Helper()
	v := os.Getenv("KILLS")
	if v == "" {
		return few
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("KILLS=%q is no number", v)
	}
	return n
}

// inTurn kills and starts a and b in turn, once for every 20 messages, a random moment after the last of them.
func inTurn(a, b *site) func(int) {
	rnd := rand.New(rand.NewPCG(3, 4))
	return func(i int) {
		if i%20 != 19 {
			return
		}
		<-time.After(time.Duration(rnd.IntN(100)) * time.Millisecond)
		s := []*site{a, b}[i/20%2]
		s.kill()
		s.start()
	}
}

func TestKilledWith9DuringTheSiteLinkEveryMessageArrivesOnce(t *testing.T) {
	a, b := pair(t, overSite(t))
	exchange(t, a, b, 20*kills(t, 50), once, inTurn(a, b))
}

func TestKilledWith9OverSMTPEveryMessageArrives(t *testing.T) {
	a, b := pair(t, overSMTP)
	exchange(t, a, b, 20*kills(t, 50), atLeastOnce, inTurn(a, b))
}

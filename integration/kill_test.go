package integration

import (
	"fmt"
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

func TestKilledWith9OverX400EveryMessageArrivesOnce(t *testing.T) {
	a, b := pair(t, overX400)
	exchange(t, a, b, 20*kills(t, 20), once, inTurn(a, b))
}

// TestKilledWith9WithinLargeTransfersOverX400 kills a side while megabytes are under way: what was confirmed by checkpoints dies
// with it.
func TestKilledWith9WithinLargeTransfersOverX400(t *testing.T) {
	a, b := pair(t, overX400)
	rnd := rand.New(rand.NewPCG(5, 6))
	const n = 8
	want := map[string]string{}
	for i := range n {
		data := make([]byte, 8<<20)
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		subject := fmt.Sprintf("Large %d", i)
		want[subject] = string(data)
		drop(t, a.po("NET/PO1"), fmt.Sprintf("L%d", i), message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", subject, "see the file\r\n", data))
		<-time.After(time.Duration(100+rnd.IntN(250)) * time.Millisecond)
		s := []*site{a, b}[i%2]
		s.kill()
		s.start()
	}
	until(t, 2*time.Minute, "all arrive", func() bool { return len(delivered(t, b.po("NET/PO2"))) >= n })
	for _, name := range delivered(t, b.po("NET/PO2")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f := fieldsOf(t, name, text)
		if len(f.Attachments) != 1 || f.Attachments[0].Octets != want[f.Subject] {
			t.Errorf("%q came twice, or with another attachment", f.Subject)
		}
		delete(want, f.Subject)
	}
	for subject := range want {
		t.Errorf("%q did not arrive", subject)
	}
}

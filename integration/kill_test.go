package integration

import "testing"

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

func TestKilledWith9DuringTheSiteLinkEveryMessageArrivesOnce(t *testing.T) {
	a, b := pair(t, overSite(t))
	exchange(t, a, b, 300, func() {
		for i := range 10 {
			s := []*site{a, b}[i%2]
			s.kill()
			s.start()
		}
	})
}

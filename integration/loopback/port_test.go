//go:build linux

package loopback

import (
	"net"
	"testing"
)

// TestAPortIsNobodyElses: not another test's while this one has it, though nobody listens there yet.
func TestAPortIsNobodyElses(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		p := Port(t)
		if seen[p] {
			t.Fatalf("%s is given twice", p)
		}
		seen[p] = true
	}
	for p := range seen {
		l, err := net.Listen("tcp", p)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		break
	}
}

// TestAReleasedPortComesBack: else a long run would end without any.
func TestAReleasedPortComesBack(t *testing.T) {
	for range 2 * (lastPort - firstPort) / 10 {
		_, release, err := Reserve()
		if err != nil {
			t.Fatal(err)
		}
		if err := release(); err != nil {
			t.Fatal(err)
		}
	}
}

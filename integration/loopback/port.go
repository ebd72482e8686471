//go:build linux

// Package loopback gives tests TCP ports that stay theirs until somebody listens there: a daemon that a test starts has its
// ports in a configuration file, so it can't be given a bound socket, and a port that the system has just handed out and got
// back may be anybody's a moment later. It owns which ports tests of ours hold, on the whole machine; it never opens one for use.
//
// The ports lie below those that the system hands out (ip(7), ip_local_port_range), so that no call that goes out takes one.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const firstPort, lastPort = 15000, 29999

// Port is a port of 127.0.0.1, as HOST:PORT, that is the test's until it ends.
func Port(t testing.TB) string {
	t.Helper()
	addr, release, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	return addr
}

// Reserve is Port for what is no test; release gives it back.
func Reserve() (addr string, release func() error, err error) {
	name := filepath.Join(os.TempDir(), fmt.Sprintf("backbone-test-ports-%d", os.Getuid()))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, err
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		// One octet of the file stands for one port; the lock goes with f (fcntl(2), open file description locks).
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(port), Len: 1}
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			continue
		} else if err != nil {
			return "", nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, f.Close, l.Close()
		}
		lock.Type = unix.F_UNLCK
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
			return "", nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
		}
	}
	return "", nil, errors.Join(errors.New("no free port on 127.0.0.1 between 15000 and 29999"), f.Close())
}

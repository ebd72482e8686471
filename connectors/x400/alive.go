package x400

import (
	"errors"
	"net"
	"syscall"
)

// silent tells that nothing has come on a connection since it was last read: no end, no octets. An association that was kept
// idle is of no use when its peer has ended it, or has released or aborted it meanwhile; a message written to it would be
// lost to sight, since its end is sent before the reset comes back.
func silent(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		err := error(syscall.EINTR)
		for errors.Is(err, syscall.EINTR) {
			_, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		}
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && quiet
}

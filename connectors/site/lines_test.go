package site

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestClosingALinkClosesEveryLine(t *testing.T) {
	addr, stop := silentAddress(t)
	defer stop()
	ls := &lines{dialer: net.Dialer{Timeout: time.Second}, open: map[*line]bool{}}
	var conns []net.Conn
	for range 3 {
		c, err := ls.dial(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if err := conns[0].Close(); err != nil {
		t.Fatal(err)
	}
	if len(ls.open) != 2 {
		t.Errorf("%d lines are counted open, want 2", len(ls.open))
	}
	if err := ls.close(); err != nil {
		t.Error(err)
	}
	for i, c := range conns {
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("line %d still takes octets (%v)", i, err)
		}
	}
	if _, err := ls.dial(t.Context(), "tcp", addr); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a new line after the end: %v, want closed", err)
	}
}

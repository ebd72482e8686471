package main

import (
	"net"
	"sync"
)

// nowhere is a listener that nobody can call: for the connectors of a site whose daemon is down.
type nowhere struct {
	addr net.Addr
	once sync.Once
	done chan struct{}
}

func listenNowhere(network, address string) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return &nowhere{addr: addr, done: make(chan struct{})}, nil
}

// Accept waits for Close.
func (l *nowhere) Accept() (net.Conn, error) {
	<-l.done
	return nil, net.ErrClosed
}

func (l *nowhere) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *nowhere) Addr() net.Addr { return l.addr }

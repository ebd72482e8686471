package x400

import (
	"net"
	"testing"

	"backbone/connectors/connectortest"
)

func TestAConnectionIsSilentUntilItsPeerSpeaksOrLeaves(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, act := range map[string]func(net.Conn) error{
		"it leaves": net.Conn.Close,
		"it speaks": func(c net.Conn) error { _, err := c.Write([]byte("x")); return err },
	} {
		here, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		there, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if !silent(here) {
			t.Errorf("%s: not silent before", name)
		}
		if err := act(there); err != nil {
			t.Error(err)
		}
		connectortest.Until(t, name, func() bool { return !silent(here) })
		if name == "it speaks" { // looking takes nothing away
			b := make([]byte, 2)
			if n, err := here.Read(b); n != 1 || err != nil || !silent(here) {
				t.Errorf("%d octets, %v, silent afterwards %t", n, err, silent(here))
			}
		}
		here.Close()
		there.Close()
		if silent(here) {
			t.Errorf("%s: silent although closed", name)
		}
	}
}

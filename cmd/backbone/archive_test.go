package main

import (
	"bytes"
	"strings"
	"testing"

	"backbone/queue/boltqueue"
	"backbone/queue/pgqueue"
	"backbone/queue/pgqueue/pgtest"
)

func TestAnExportTellsOfGatewaysThatRun(t *testing.T) {
	server, err := pgtest.Start("")
	check(t, err)
	t.Cleanup(func() { check(t, server.Remove()) })
	gw, err := pgqueue.Open(t.Context(), pgqueue.Options{DSN: server.DSN(), Node: "gw1"})
	check(t, err)
	t.Cleanup(func() { check(t, gw.Close()) })
	command, err := pgqueue.Open(t.Context(), pgqueue.Options{DSN: server.DSN(), Node: "gw1 (command 1)", Connections: 2, Command: true})
	check(t, err)
	t.Cleanup(func() { check(t, command.Close()) })
	var said bytes.Buffer
	check(t, tellRunning(t.Context(), &said, command))
	if got := said.String(); !strings.HasPrefix(got, "backbone: gw1 ran a moment ago") {
		t.Errorf("said %q", got)
	}
	embedded, err := boltqueue.Open(t.TempDir(), boltqueue.Options{Reserve: 1})
	check(t, err)
	t.Cleanup(func() { check(t, embedded.Close()) })
	said.Reset()
	check(t, tellRunning(t.Context(), &said, embedded))
	if said.Len() > 0 {
		t.Errorf("of an embedded queue it said %q", said.String())
	}
}

package main

import (
	"context"
	"log/slog"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/gateway/config"
	"backbone/queue/pgqueue/pgtest"
)

// TestALimitIsThatOfTheCluster: two gateways on one queue, each asked by the same client.
func TestALimitIsThatOfTheCluster(t *testing.T) {
	server, err := pgtest.Start("")
	check(t, err)
	t.Cleanup(func() { check(t, server.Remove()) })
	first, second := clustered(t, server.DSN(), "gw1"), clustered(t, server.DSN(), "gw2")
	for i, c := range []struct{ at, want string }{{first, "250"}, {second, "250"}, {first, "250"}, {second, "450 4.7.28"}, {first, "450 4.7.28"}} {
		if got := mailFrom(t, c.at); !strings.HasPrefix(got, c.want) {
			t.Errorf("message %d: %q, want %s", i+1, got, c.want)
		}
	}
}

// clustered runs a gateway that takes three messages an hour from a host, and answers its SMTP address.
func clustered(t *testing.T, dsn, node string) (smtp string) {
	t.Helper()
	d := embeddedSite
	d.SMTP, d.X400, d.Control = "127.0.0.1:0", "127.0.0.1:0", ""
	p, err := writeSite(filepath.Join(t.TempDir(), node), d)
	check(t, err)
	text, err := os.ReadFile(p)
	check(t, err)
	changed := strings.Replace(string(text), "type = \"smtp\"\n", "type = \"smtp\"\nmessages_per_host = 3\n", 1) +
		"\n[queue]\nstore = \"postgres\"\ndsn = \"" + dsn + "\"\nnode = \"" + node + "\"\n"
	check(t, os.WriteFile(p, []byte(changed), 0o600))
	cfg, err := config.Load(p, kinds)
	check(t, err)
	s, err := openSite(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)), true)
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() { ended <- s.serve(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		check(t, <-ended)
	})
	<-ready
	for _, src := range s.sources {
		if l, ok := src.(interface{ Addrs() []net.Addr }); ok {
			return l.Addrs()[0].String()
		}
	}
	t.Fatal("nothing listens")
	return ""
}

// mailFrom is a server's answer to the beginning of a message.
func mailFrom(t *testing.T, server string) string {
	t.Helper()
	conn, err := net.Dial("tcp", server)
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	c := textproto.NewConn(conn)
	_, _, err = c.ReadResponse(220)
	check(t, err)
	check(t, c.PrintfLine("EHLO client.example"))
	_, _, err = c.ReadResponse(250)
	check(t, err)
	check(t, c.PrintfLine("MAIL FROM:<kim@far.example>"))
	line, err := c.ReadLine()
	check(t, err)
	return line
}

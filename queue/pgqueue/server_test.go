package pgqueue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"backbone/queue/pgqueue/pgtest"
)

func TestTheServerReportNamesGatewaysAndStandbys(t *testing.T) {
	dsn := schema(t)
	a, b := member(t, dsn, "a"), member(t, dsn, "b")
	put(t, a, "", far.Host)
	leaseFar(t, a, 1)
	text, err := b.ServerReport(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PostgreSQL 1", "no synchronous standby", "a with 1 leases", "b"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q says nothing of %q", text, want)
		}
	}
}

// TestTheGatewaysAreListed: one without work as long as it lives, one that died, and a command only while it runs.
func TestTheGatewaysAreListed(t *testing.T) {
	dsn := schema(t)
	short := func(o *Options) { o.Silence = 600 * time.Millisecond }
	busy, dead := member(t, dsn, "busy"), member(t, dsn, "dead", short)
	member(t, dsn, "idle", short)
	command := member(t, dsn, "a command", func(o *Options) { o.Command = true })
	put(t, busy, "", far.Host)
	leaseFar(t, busy, 1)
	seen := func() string {
		ns, err := busy.Gateways(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, n := range ns {
			out = append(out, fmt.Sprintf("%s %d %t", n.Name, n.Leases, n.Silent))
		}
		return strings.Join(out, ", ")
	}
	dead.quit() // as kill -9: it says no more
	eventually(t, "the dead one to be silent", func() bool {
		return seen() == "a command 0 false, busy 1 false, dead 0 true, idle 0 false"
	})
	if err := command.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the idle one to be heard again and again", func() bool { return seen() == "busy 1 false, dead 0 true, idle 0 false" })
	if n := busy.Stats().FreeBytes; n != -1 {
		t.Errorf("%d octets free on a disk that is the server's", n)
	}
	if text, err := busy.ServerReport(t.Context()); err != nil || !strings.Contains(text, "busy with 1 leases, dead (silent), idle") {
		t.Errorf("the report: %s, %v", text, err)
	}
}

// TestAStandbyThatIsNamedAndNotThere has a server of its own: no commit on it ends.
func TestAStandbyThatIsNamedAndNotThere(t *testing.T) {
	alone, err := pgtest.Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := alone.Remove(); err != nil {
			t.Error(err)
		}
	})
	s := member(t, alone.DSN(), "a")
	if err := alone.Set(t.Context(), "synchronous_standby_names = 'nobody'"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the report to tell", func() bool {
		_, err := s.ServerReport(t.Context())
		return err != nil && strings.Contains(err.Error(), `"nobody" and no such standby is connected`)
	})
	// Commits wait from the moment at which the server's checkpointer has seen the setting, which may be after a session has.
	eventually(t, "the probe to say that mail can't be taken", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		return s.Probe(ctx) != nil
	})
}

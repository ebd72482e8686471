package pgqueue

import (
	"context"
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
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Probe(ctx); err == nil {
		t.Error("the probe says that mail can be taken")
	}
}

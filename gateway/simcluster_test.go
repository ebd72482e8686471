package gateway_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"backbone/queue"
	"backbone/queue/pgqueue"
	"backbone/queue/pgqueue/pgtest"
)

// The same lives on a queue in a real PostgreSQL. The server keeps the mail and the locks; what time it is, it is told.

func TestSimulatedLivesOnPostgreSQL(t *testing.T) {
	onServer(t, 24, simKind{nodes: 1, late: time.Second})
}

const (
	simPoll    = time.Minute
	simSilence = 30 * time.Minute
)

// onServer lives shorter lives than the embedded store's: an hour is a hundred trips to the server.
func onServer(t *testing.T, hours int, kind simKind) {
	server, err := pgtest.Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	})
	if *simHours < hours || *simRuns > 0 {
		hours = *simHours
	}
	lives(t, hours, func(name string) simKind {
		if err := server.Exec(t.Context(), "create schema "+name); err != nil {
			t.Fatal(err)
		}
		kind.store = func(node string, log *slog.Logger) (queue.Store, error) {
			return pgqueue.Open(t.Context(), pgqueue.Options{
				DSN: fmt.Sprintf("%s&search_path=%s", server.DSN(), name), Node: node, Clock: time.Now, Poll: simPoll, Silence: simSilence, Log: log,
			})
		}
		return kind
	})
}

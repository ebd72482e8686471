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

// The same lives on a queue in a real PostgreSQL: of one gateway, and of three that share it, of which any may be gone for a
// while. The server keeps the mail and the locks; what time it is, it is told.

func TestSimulatedLivesOnPostgreSQL(t *testing.T) {
	onServer(t, 12, simKind{nodes: 1, late: time.Second})
}

func TestSimulatedLivesOfACluster(t *testing.T) {
	// What a gateway that died had under way is free when it has been silent for half an hour, and then somebody must look.
	onServer(t, 18, simKind{nodes: 3, late: simSilence + simSilence/2 + 3*simPoll})
}

const (
	simPoll    = 5 * time.Minute
	simSilence = 30 * time.Minute
)

// onServer lives shorter lives than the embedded store's: an hour is hundreds of trips to the server.
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
	if *simSeed != 0 || *simHours < hours {
		hours = *simHours
	} else if *simRuns > 0 {
		hours = max(hours, *simHours/10)
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

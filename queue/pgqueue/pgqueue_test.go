package pgqueue

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"backbone/queue"
	"backbone/queue/pgqueue/pgtest"
	"backbone/queue/queuetest"
)

// server is the one that this package's tests share; each store has a schema of its own.
var server *pgtest.Server

func TestMain(m *testing.M) {
	flag.Parse()
	// A step of the model is a dozen trips to a server.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	var err error
	if server, err = pgtest.Start(""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var schemas atomic.Int64

// schema makes room for one store.
func schema(t testing.TB) (dsn string) {
	t.Helper()
	name := fmt.Sprintf("q%d", schemas.Add(1))
	if err := server.Exec(context.Background(), "create schema "+name); err != nil {
		t.Fatal(err)
	}
	return server.DSN() + "&search_path=" + name
}

func fixture(t testing.TB, o Options) *queuetest.Fixture {
	t.Helper()
	o.DSN, o.Node, o.Clock = schema(t), "tester", time.Now
	o.Poll = 24 * time.Hour // nobody else is there: only our own leases run out
	var s *Store
	f := &queuetest.Fixture{}
	f.Open = func() (queue.Store, error) {
		var err error
		s, err = Open(context.Background(), o)
		return s, err
	}
	f.Crash = func() error { return s.Close() } // it says nothing to the database that a dead process would not
	var err error
	if f.Store, err = f.Open(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestConformance(t *testing.T) {
	queuetest.Run(t, func(t testing.TB) *queuetest.Fixture { return fixture(t, Options{}) })
}

func TestModel(t *testing.T) {
	queuetest.Model(t, func(t testing.TB) *queuetest.Fixture { return fixture(t, Options{bodyLimit: 4 << 10}) })
}

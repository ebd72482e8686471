package pgqueue

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestPlansMadeWhileTheQueueWasEmptyGoByIndexes has statements planned for tables that are known to be empty, and then a backlog.
func TestPlansMadeWhileTheQueueWasEmptyGoByIndexes(t *testing.T) {
	dsn := schema(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	s := member(t, dsn, "a", func(o *Options) { o.Connections = 1 })
	carry := func() {
		t.Helper()
		put(t, s, "", far.Host)
		put(t, s, "key", far.Host)
		for _, x := range settlements {
			for _, l := range leaseFar(t, s, 2) {
				if err := s.Settle(t.Context(), l, x.of(l).st); err != nil {
					t.Fatal(err)
				}
			}
		}
		if ds, _ := s.Due(timeOf(0), 10); len(ds) > 0 {
			t.Fatalf("due long ago: %v", ds)
		}
	}
	carry()
	for _, table := range []string{"item", "chunk", "recipient"} {
		exec("alter table " + table + " set (autovacuum_enabled = off)")
	}
	exec("vacuum (analyze) item, chunk, lease, recipient, dedup, suspension, node")
	carry()
	exec(`insert into item select g + 1000000, g + 1000000, 1, '', 'internet', 'dead.example', 1, 'ready', '', 9000000000000000000, 0, 1, null, 0, '', false, false, '', '', null,
		'', '', '', '', '{}', '{}', '' from generate_series(1, 20000) g`)
	exec("insert into chunk select g + 1000000, 0, '' from generate_series(1, 20000) g")
	exec("insert into recipient select g + 1000000, 1, '', '', '', '', 0, 0 from generate_series(1, 20000) g")
	carry()
	if err := s.Close(); err != nil { // its sessions say what they did
		t.Fatal(err)
	}
	var read int
	eventually(t, "the sessions to have ended", func() bool {
		var n int
		err := conn.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = 'backbone a'").Scan(&n)
		return err == nil && n == 0
	})
	if err := conn.QueryRow(t.Context(), `select sum(seq_tup_read) from pg_stat_user_tables
		where schemaname = current_schema() and relname in ('item', 'chunk', 'recipient')`).Scan(&read); err != nil {
		t.Fatal(err)
	}
	if read >= 20000 {
		t.Errorf("%d rows were looked at that no index led to", read)
	}
}

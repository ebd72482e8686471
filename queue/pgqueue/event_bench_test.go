package pgqueue

import (
	"fmt"
	"os"
	"testing"
	"time"

	"backbone/gateway/mail"
	"backbone/gateway/tracking"
	"backbone/queue/pgqueue/pgtest"
)

// life is the events of one message that comes from a drop and goes over SMTP.
func life(i int) []tracking.Event {
	id, item, mid := fmt.Sprintf("SITEA-01J9Z3K6T2C7V5X1%08d", i), fmt.Sprintf("%013d", i), fmt.Sprintf("<01J9Z3K6T2C7V5X1%08d@sitea.example>", i)
	from, to := fmt.Sprintf("MS:NET/PO1/USER%d", i%500), []string{fmt.Sprintf("SMTP:user%d@elsewhere.example", i%700)}
	e := func(typ tracking.Type, f func(e *tracking.Event)) tracking.Event {
		e := tracking.Event{Type: typ, Site: "SITEA", ID: id, MessageID: mid, Originator: from, Recipients: to, Subject: fmt.Sprintf("Figures of week %d", i%52)}
		f(&e)
		return e
	}
	return []tracking.Event{
		e(tracking.Received, func(e *tracking.Event) {
			e.Connector, e.Size, e.Source = "po1", 4096, fmt.Sprintf("NET.PO1/submit/M%07d.MSG#1", i)
			e.Notes = []mail.Note{{Field: "PRIORITY", Action: "dropped", Detail: "no counterpart"}}
		}),
		e(tracking.Queued, func(e *tracking.Event) {
			e.Item, e.Dest, e.Size = item, "internet:elsewhere.example", 4096
			e.Route = []tracking.Candidate{{Connector: "internet", Space: "SMTP:*", Match: "*", Cost: 10}, {Connector: "backup", Space: "SMTP:*", Match: "*", Cost: 50, Lost: "cost"}}
		}),
		e(tracking.Relayed, func(e *tracking.Event) {
			e.Item, e.Dest, e.Attempt, e.Took, e.Waited, e.Peer = item, "internet:elsewhere.example", 1, 40*time.Millisecond, 90*time.Millisecond, "250 2.0.0 queued as 4XyzAbc"
		}),
	}
}

// BenchmarkEvents ships the events of messages to the database: what a message costs there.
func BenchmarkEvents(b *testing.B) {
	disk, err := pgtest.Start(os.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := disk.Remove(); err != nil {
			b.Error(err)
		}
	})
	s, err := Open(b.Context(), Options{DSN: disk.DSN(), Node: "a", KeepEvents: 30 * 24 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	l, err := tracking.Open(b.TempDir(), tracking.Options{Subjects: true, Archive: s.Events(), Node: "a"})
	if err != nil {
		b.Fatal(err)
	}
	theirs, err := disk.CPU()
	if err != nil {
		b.Fatal(err)
	}
	mine := ours(b)
	events := 0
	b.ResetTimer()
	for i := range b.N {
		es := life(i)
		events += len(es)
		if err := l.Append(b.Context(), es...); err != nil {
			b.Fatal(err)
		}
	}
	for l.Stats().Shipped < int64(events) {
		<-time.After(10 * time.Millisecond)
	}
	b.StopTimer()
	used, err := disk.CPU()
	if err != nil {
		b.Fatal(err)
	}
	var heap, names, at int64
	if err := s.pool.QueryRow(b.Context(), `select sum(pg_table_size(c.oid))::bigint,
		(select sum(pg_relation_size(i.oid))::bigint from pg_class i where i.relkind = 'i' and i.relname like 'event%names_idx'),
		(select sum(pg_relation_size(i.oid))::bigint from pg_class i where i.relkind = 'i' and i.relname like 'event%at_idx')
		from pg_class c where c.relkind = 'r' and c.relname like 'event\_2%'`).Scan(&heap, &names, &at); err != nil {
		b.Fatal(err)
	}
	n := float64(b.N)
	b.ReportMetric(float64(events)/n, "rows")
	b.ReportMetric(float64(heap)/n, "table-octets")
	b.ReportMetric(float64(names)/n, "names-octets")
	b.ReportMetric(float64(at)/n, "time-octets")
	b.ReportMetric((used-theirs)*1e6/n, "server-cpu-us")
	b.ReportMetric((ours(b)-mine)*1e6/n, "gateway-cpu-us")
	if err := l.Close(); err != nil {
		b.Error(err)
	}
	if err := s.Close(); err != nil {
		b.Error(err)
	}
}

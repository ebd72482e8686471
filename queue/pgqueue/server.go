package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// safe refuses a server whose commits may be gone after a power cut. A role or a database may have settings of its own, so it
// is this session that is asked.
func safe(ctx context.Context, c *pgx.Conn) error {
	var bad []string
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		var v string
		// An engine that has no such setting has no such way to lose mail.
		if err := c.QueryRow(ctx, "select coalesce(current_setting($1, true), 'on')", setting).Scan(&v); err != nil {
			return err
		}
		if v == "off" || v == "local" && setting == "synchronous_commit" {
			bad = append(bad, setting+" = "+v)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("the server would lose mail that it has taken: %s: set it to on", strings.Join(bad, ", "))
	}
	return nil
}

const (
	// healthLimit is how long a health check waits: a balancer does not wait longer.
	healthLimit = 5 * time.Second
	// oldSnapshot is how long a transaction may last before it is told: no row that was deleted meanwhile can be cleared away, and
	// every lease has to look past them (a forgotten psql, a pg_dump, an idle replication slot). *Ours*.
	oldSnapshot = 30 * time.Minute
	// manyDead is how many cleared-away-to-be rows of a table are told, where they are also more than the living. *Ours*.
	manyDead = 1_000_000
)

// ServerReport is the server's state in a few words: which one it is, its standbys, the gateways on it. What may cost mail or
// make the queue slow is an error: unsafe settings, a synchronous standby that is named and not there (commits wait for it),
// a transaction that keeps deleted rows from being cleared away.
func (s *Store) ServerReport(ctx context.Context) (text string, err error) {
	if err := s.open(ctx); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return "", err
	}
	defer c.Release()
	text, err = s.report(ctx, c.Conn())
	return text, errors.Join(err, safe(ctx, c.Conn()))
}

// Probe implements queue.Store: a row is written and its commit waited for.
func (s *Store) Probe(ctx context.Context) error {
	if err := s.openWrite(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("queue database: %w", err)
	}
	defer c.Release()
	if err := safe(ctx, c.Conn()); err != nil {
		return err
	}
	if _, err = c.Exec(ctx, "update node set alive = alive where name = $1", s.o.Node); err != nil {
		return fmt.Errorf("queue database: %w", err)
	}
	return nil
}

func (s *Store) report(ctx context.Context, c *pgx.Conn) (string, error) {
	var version, named string
	var syncs, standbys int
	if err := c.QueryRow(ctx, `select current_setting('server_version'), coalesce(current_setting('synchronous_standby_names', true), ''),
		(select count(*) from pg_stat_replication where sync_state in ('sync', 'quorum')), (select count(*) from pg_stat_replication)`).
		Scan(&version, &named, &syncs, &standbys); err != nil {
		return "", err
	}
	parts := []string{"PostgreSQL " + version}
	var wrong []error
	switch {
	case named == "":
		parts = append(parts, fmt.Sprintf("no synchronous standby (%d others): a failover would lose the latest mail", standbys))
	case syncs == 0:
		wrong = append(wrong, fmt.Errorf("synchronous_standby_names is %q and no such standby is connected: mail can't be taken until one is", named))
	default:
		parts = append(parts, fmt.Sprintf("%d of %d standbys synchronous", syncs, standbys))
	}
	nodes, err := s.nodes(ctx, c)
	if err != nil {
		return "", err
	}
	var names []string
	for _, n := range nodes {
		name := n.Name
		if n.Silent {
			name += " (silent)"
		}
		if n.Leases > 0 {
			name = fmt.Sprintf("%s with %d leases", name, n.Leases)
		}
		names = append(names, name)
	}
	parts = append(parts, "gateways: "+strings.Join(names, ", "))
	used, err := s.restUsed(ctx, c)
	if err != nil {
		return "", err
	}
	if used != "" {
		parts = append(parts, "history without a partition: "+used)
	}
	var oldest float64
	var dead, live int64
	if err := c.QueryRow(ctx, `select coalesce((select extract(epoch from max(now() - xact_start)) from pg_stat_activity where datname = current_database()), 0)::float8,
		coalesce(sum(n_dead_tup), 0)::bigint, coalesce(sum(n_live_tup), 0)::bigint from pg_stat_user_tables where schemaname = current_schema()`).Scan(&oldest, &dead, &live); err != nil {
		return "", err
	}
	if age := time.Duration(oldest * float64(time.Second)); age > oldSnapshot {
		wrong = append(wrong, fmt.Errorf("a transaction has been open for %s: until it ends no deleted row can be cleared away, and leasing gets slower", age.Round(time.Minute)))
	}
	if dead > manyDead && dead > live {
		wrong = append(wrong, fmt.Errorf("%d deleted rows wait to be cleared away, more than the %d that live: look after autovacuum", dead, live))
	}
	return strings.Join(parts, "; "), errors.Join(wrong...)
}

// Gateways lists the gateways on this queue, and the commands that are at work beside them, by name.
func (s *Store) Gateways(ctx context.Context) (out []queue.Node, err error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	return s.nodes(ctx, s.pool)
}

func (s *Store) nodes(ctx context.Context, q querier) ([]queue.Node, error) {
	rows, err := q.Query(ctx, `select n.name, count(l.item), n.alive <= `+clock+`, n.alive from node n left join lease l on l.node = n.name
		group by n.name, n.alive order by n.name limit 100`, s.at())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (n queue.Node, err error) {
		var until int64
		err = r.Scan(&n.Name, &n.Leases, &n.Silent, &until)
		n.Until = timeOf(until)
		return n, err
	})
}

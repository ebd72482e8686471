package pgqueue

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
)

// steps are the changes of the tables, in order: a file each, applied once and never edited afterwards.
//
//go:embed migrations/*.sql
var steps embed.FS

// step is one migration.
type step struct {
	version   int
	name, sql string
	checksum  string
}

func readSteps(fsys fs.FS) ([]step, error) {
	files, err := fs.Glob(fsys, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	out := make([]step, len(files))
	for i, f := range files { // in the order of their names
		b, err := fs.ReadFile(fsys, f)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		out[i] = step{version: i + 1, name: f[len("migrations/"):], sql: string(b), checksum: hex.EncodeToString(sum[:])}
	}
	return out, nil
}

// migrate brings the tables up to this program's. Several gateways may start at once: the first takes the others' lock on
// the list of steps. Tables that a newer program has made, or that say of a step what ours does not, are an error:
// there is no way back but the archive (`backbone queue export`).
func migrate(ctx context.Context, conn *pgx.Conn, steps []step) error {
	if _, err := conn.Exec(ctx, `create table if not exists migration (
		version integer not null primary key, name text not null, checksum text not null, applied text not null)`); err != nil {
		// Two sessions that make a table at once: one fails on the catalogue's own index, and finds the table.
		if code(err) != "23505" && code(err) != "42P07" {
			return fmt.Errorf("table of migrations: %w", err)
		}
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Making tables may wait for others longer than a statement of the daily work does.
		if _, err := tx.Exec(ctx, "set local statement_timeout = '10min'; set local lock_timeout = '1min'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "lock table migration in exclusive mode"); err != nil {
			return fmt.Errorf("another gateway is changing the tables: %w", err)
		}
		done, err := applied(ctx, tx)
		if err != nil {
			return err
		}
		if len(done) > len(steps) {
			return fmt.Errorf("the tables are at version %d, this program knows %d: run the newer program", len(done), len(steps))
		}
		for i, s := range steps {
			if i < len(done) {
				if done[i].checksum != s.checksum || done[i].version != s.version {
					return fmt.Errorf("migration %d (%s) is not the one that made these tables (%s): they belong to another program", s.version, s.name, done[i].name)
				}
				continue
			}
			if _, err := tx.Exec(ctx, s.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("migration %s: %w", s.name, err)
			}
			if _, err := tx.Exec(ctx, "insert into migration values ($1, $2, $3, $4)", s.version, s.name, s.checksum, time.Now().UTC().Format(time.RFC3339)); err != nil {
				return fmt.Errorf("migration %s: %w", s.name, err)
			}
		}
		return nil
	})
}

func applied(ctx context.Context, tx pgx.Tx) ([]step, error) {
	rows, err := tx.Query(ctx, "select version, name, checksum from migration order by version")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (s step, err error) {
		return s, r.Scan(&s.version, &s.name, &s.checksum)
	})
}

package pgqueue

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
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

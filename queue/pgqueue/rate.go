package pgqueue

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/gateway/mail/pace"
)

const (
	// maxRates is how many keys of a kind have counts of their own, and a few more: new ones of other gateways are seen when a
	// gateway tidies up.
	maxRates = 100_000
	// tidyEvery is how often counts that are whole again are taken out, while there are any; tidySoon when there are too many.
	tidyEvery = time.Minute
	tidySoon  = 10 * time.Second
	tidySlice = 10_000
)

// rates is the count that the gateways on this database have in common: the generic cell rate algorithm, as in package pace, with
// one row a key. An event is one statement under whatever limits, on the server's clock, and its commit waits for no disk: after a
// crash of the server a few events are not counted.
//
// Rows are locked in the order of an event's limits, the same for all events of a sort, and no other kind of row with them.
type rates struct {
	s   *Store
	max int

	mu     sync.Mutex
	known  map[string]int // rows by kind when they were last counted, and those made here since
	begun  chan struct{}  // there is something to tidy up
	urgent chan struct{}  // and too much of it
}

// Limits is the count under limits that hold across the cluster.
func (s *Store) Limits() pace.Shared { return s.rates }

func newRates(s *Store) *rates {
	return &rates{s: s, max: maxRates, known: map[string]int{}, begun: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
}

// asynchronous makes the commit of its transaction wait for no disk.
const asynchronous = "select set_config('synchronous_commit', 'off', true)"

// answer is what one limit makes of an event.
type answer struct {
	counted bool
	off     time.Duration // Take: until the count was whole, as others left it; Book: until the event's turn
	new     bool          // the key had no row, or none yet
}

// Take implements pace.Shared.
func (r *rates) Take(ctx context.Context, limits []pace.Limit) (counted int, wait time.Duration, err error) {
	out, err := r.ask(ctx, limits, false)
	if err != nil {
		return 0, 0, err
	}
	for i, l := range limits {
		if !out[i].counted {
			// The row was read before others changed it that came at the same time: a hint, and never less than a moment.
			each := time.Hour / time.Duration(l.PerHour)
			return i, max(out[i].off-each*time.Duration(l.PerHour-1), min(each, time.Second)), nil
		}
	}
	return len(limits), 0, nil
}

// Book implements pace.Shared.
func (r *rates) Book(ctx context.Context, limits []pace.Limit) ([]time.Duration, error) {
	out, err := r.ask(ctx, limits, true)
	if err != nil {
		return nil, err
	}
	waits := make([]time.Duration, len(out))
	for i := range out {
		waits[i] = max(out[i].off, 0)
	}
	return waits, nil
}

// ask makes one trip.
func (r *rates) ask(ctx context.Context, limits []pace.Limit, book bool) ([]answer, error) {
	if err := r.s.openWrite(ctx); err != nil {
		return nil, err
	}
	out := make([]answer, len(limits))
	var into []any
	for i := range out {
		into = append(into, &out[i].counted, (*int64)(&out[i].off), &out[i].new)
	}
	sql, args := r.statement(limits, book)
	err := r.s.batch(ctx, query{sql: asynchronous}, query{sql: sql, args: args, read: func(rows pgx.Rows) error { return rows.Scan(into...) }})
	r.note(limits, out)
	return out, err
}

// statement counts an event under one limit after the other, in the common table expressions l0, l1, ...; before each, k finds the
// row of its key, or that of all new keys once there are too many.
func (r *rates) statement(limits []pace.Limit, book bool) (string, []any) {
	args := []any{r.s.at()}
	p := func(v any, typ string) string {
		args = append(args, v)
		return fmt.Sprintf("$%d::%s", len(args), typ)
	}
	var with, out []string
	late := "false" // whether an earlier limit puts the event off
	for i, l := range limits {
		k, n := fmt.Sprint("k", i), fmt.Sprint("l", i)
		each := int64(time.Hour / time.Duration(l.PerHour))
		kind, key, step := p(l.Kind, "text"), p(hashOf(l.Key), "bytea"), p(each, "bigint")
		if book && l.Later != "" {
			key = "case when " + late + " then " + p(hashOf(l.Later), "bytea") + " else " + key + " end"
		}
		from, when, off := k, "", ""
		if book {
			off = "coalesce((select whole from " + n + "), 0) - " + p(each*int64(l.PerHour), "bigint") + " - " + clock
			late += " or " + off + " > 0"
		} else {
			off = "coalesce((select whole from " + k + "), 0) - " + clock
			when = " where r.whole - " + p(each*int64(l.PerHour-1), "bigint") + " <= " + clock
			if i > 0 {
				from += fmt.Sprintf(" where exists (select 1 from l%d)", i-1)
			}
		}
		with = append(with,
			k+" as materialized (select case when r.key is null and "+p(r.crowded(l.Kind), "boolean")+" then ''::bytea else x.key end as key, r.whole"+
				" from (select "+key+" as key) x left join rate r on r.kind = "+kind+" and r.key = x.key)",
			n+" as (insert into rate as r (kind, key, whole) select "+kind+", key, "+clock+" + "+step+" from "+from+
				" on conflict (kind, key) do update set whole = greatest(r.whole, "+clock+") + "+step+when+" returning r.whole)")
		out = append(out, "exists (select 1 from "+n+")", off, "(select whole is null from "+k+")")
	}
	return "with " + strings.Join(with, ", ") + " select " + strings.Join(out, ", "), args
}

// crowded tells that a kind has all the counts that it may have.
func (r *rates) crowded(kind string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[kind] >= r.max
}

// note notes the rows that an event may have made.
func (r *rates) note(limits []pace.Limit, made []answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, l := range limits {
		if made[i].new {
			r.known[l.Kind]++
		}
		if r.known[l.Kind] >= r.max {
			tell(r.urgent)
		}
	}
	tell(r.begun)
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keep tidies up as long as there is something to.
func (r *rates) keep() {
	for {
		select {
		case <-r.s.ctx.Done():
			return
		case <-r.begun:
		}
		for rows := 1; rows > 0; {
			if !r.wait() {
				return
			}
			var err error
			if rows, err = r.tidy(r.s.ctx); err != nil {
				rows = 1
				if r.s.ctx.Err() == nil {
					r.s.slog.Debug("counts under limits not tidied up", "err", err)
				}
			}
		}
	}
}

// wait waits for the time to tidy up, and is false when the store closes.
func (r *rates) wait() bool {
	soon, t := time.NewTimer(tidySoon), time.NewTimer(tidyEvery)
	defer soon.Stop()
	defer t.Stop()
	select {
	case <-r.s.ctx.Done():
		return false
	case <-soon.C:
	}
	select {
	case <-r.s.ctx.Done():
		return false
	case <-r.urgent:
	case <-t.C:
	}
	return true
}

// tidy takes out the counts that are whole again, and counts the others. Rows in use are passed over, so that nobody waits.
func (r *rates) tidy(ctx context.Context) (rows int, err error) {
	for n := int64(tidySlice); n == tidySlice; {
		err := r.s.limited(ctx, func(ctx context.Context) error {
			return r.s.batch(ctx, query{sql: asynchronous}, query{sql: `delete from rate where (kind, key) in (
				select kind, key from rate where whole <= ` + clock + ` limit $2 for update skip locked)`, args: []any{r.s.at(), tidySlice}, n: &n})
		})
		if err != nil {
			return 0, err
		}
	}
	known := map[string]int{}
	err = r.s.limited(ctx, func(ctx context.Context) error {
		return r.s.batch(ctx, query{sql: "select kind, count(*) from rate group by kind", read: func(x pgx.Rows) error {
			var kind string
			var n int
			err := x.Scan(&kind, &n)
			known[kind] = n
			rows += n
			return err
		}})
	})
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = known
	return rows, nil
}

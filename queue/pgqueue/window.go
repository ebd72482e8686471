package pgqueue

import (
	"math"

	"backbone/queue"
	"backbone/queue/exactjson"
)

// window is a destination with the room that a lease has in it.
type window struct {
	dest queue.Dest
	room int
}

// lock is the statement before a lease that fills a window: of the gateways that are about to, each counts after the one before has
// committed. The row is made when it is not there, and locked when it is: an update with a false condition locks without
// writing. Whoever holds it waits for nobody (items that are locked are passed over), and each destination has a row of its own.
func (w window) lock() query {
	return query{sql: `insert into dest_window (connector, host) values ($1, $2)
		on conflict (connector, host) do update set host = excluded.host where false`,
		args: []any{exactjson.Text(w.dest.Connector), exactjson.Text(w.dest.Host)}}
}

// others counts the leases that fill the window of $7, $8 and are not those of owner $4. It is exact in a statement that begins when
// the lock is there: what everybody has committed who had it before is in the statement's snapshot.
const others = `(select count(*) from lease o where o.connector = $7::text and o.host = $8::text and o.owner <> $4::text)`

// within is how many leases the room ($10, null for one without bound) leaves.
const within = `with free as materialized (
	select case when $10::bigint is null then $9::integer else least(greatest($10::bigint - ` + others + `, 0), $9::integer)::integer end as n), `

// filled is whose window a lease fills.
const filled = `case when $10::bigint is not null then $7::text end as connector, case when $10::bigint is not null then $8::text end as host`

// bound is the room as a parameter.
func (w window) bound() any {
	if w.room == queue.NoWindow {
		return nil
	}
	return min(int64(w.room), math.MaxInt32)
}

// roomLeft is what the others leave of a room, $5.
const roomLeft = `$5::bigint - (select count(*) from lease where connector = $2::text and host = $3::text and owner <> $4::text)`

// forgetWindows takes out the rows of destinations for which nothing waits: strangers choose some of them. One that is locked is in
// use; one that is waited for is made again.
func forgetWindows() query {
	return query{sql: `delete from dest_window where (connector, host) in (select w.connector, w.host from dest_window w
			where not exists (select 1 from item i where i.connector = w.connector and i.host = w.host and i.state <> 'trash')
			limit $1 for update of w skip locked)`,
		args: []any{sweepSlice}}
}

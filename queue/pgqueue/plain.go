package pgqueue

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"backbone/queue"
)

// plain is a settlement that many transfers end with: nothing is left, or the item is kept as it is for another attempt.
type plain struct {
	lease   *queue.Lease
	body    uint64
	keep    *queue.Item // nil: nothing is left
	rekey   bool
	outcome outcome
}

// locked is SQL that locks the bodies $4, the items $2 of theirs and the items' leases of epochs $3, in this order and each in
// the order of keys. Rows of mine are what is still ours. In a group, rows that others have locked are left out, so that
// nobody waits for another's and groups never wait for each other in a circle. One whose body is damaged goes by itself.
func locked(skip string) string {
	join := "join"
	if skip == "" {
		join = "left join"
	}
	return `with b as materialized (select c.body from chunk c where c.body = any($4::bigint[]) and c.n = 0 order by c.body for update` + skip + `),
	i as materialized (select i.id, i.dedup, u.epoch from unnest($2::bigint[], $3::bigint[]) as u(id, epoch) join item i on i.id = u.id
		` + join + ` b on b.body = i.body order by i.id for update of i` + skip + `),
	mine as materialized (select l.item, l.epoch, i.dedup from i join lease l on l.item = i.id and l.epoch = i.epoch
		where l.until > ` + clock + ` order by l.item for update of l` + skip + `)`
}

const skipLocked = " skip locked"

// finished is SQL that settles leases of which nothing is left.
func finished(skip string) string {
	return locked(skip) + `,
	ended as (delete from lease using mine where lease.item = mine.item and lease.epoch = mine.epoch
		returning lease.item, lease.epoch, lease.node, lease.owner, lease.began),
	noted as (insert into attempt (item, epoch, node, owner, began, ended, outcome, class)
		select item, epoch, node, owner, began, ` + clock + `, $5::text, '' from ended),
	dropped as (delete from recipient using ended where recipient.item = ended.item),
	renewed as (update dedup set day = ` + clock + ` / 86400000000000 from mine where dedup.hash = mine.dedup and dedup.day < ` + clock + ` / 86400000000000)
	delete from item using ended where item.id = ended.item returning item.id`
}

var (
	finishFree = finished(skipLocked)
	finishOne  = finished("")
	lockFree   = locked(skipLocked) + " select mine.item from mine"
)

// target are the parameters of locked.
func (s *Store) target(cs []*plain) []any {
	bodies := column(cs, func(c *plain) int64 { return int64(c.body) })
	slices.Sort(bodies)
	return []any{s.at(), column(cs, func(c *plain) int64 { return int64(c.lease.ID) }), column(cs, func(c *plain) int64 { return int64(c.lease.Epoch) }),
		slices.Compact(bodies)}
}

// finishAll settles attempts that leave nothing, in one trip.
func (s *Store) finishAll(ctx context.Context, sql string, cs []*plain) (done map[queue.ID]bool, err error) {
	args := s.target(cs)
	done = map[queue.ID]bool{}
	err = s.batch(ctx, query{sql: sql, args: append(args, "done"), read: intoSet(done)}, dropBodies(args[3]))
	return done, err
}

func intoSet(ids map[queue.ID]bool) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var id queue.ID
		err := rows.Scan(&id)
		ids[id] = true
		return err
	}
}

// finish is finishAll for one that waits for whoever has locked something of it.
func (s *Store) finish(ctx context.Context, c *plain) error {
	done, err := s.finishAll(ctx, finishOne, []*plain{c})
	if err == nil && !done[c.lease.ID] {
		return fmt.Errorf("%s: %w", c.lease.ID, queue.ErrLeaseLost)
	}
	return err
}

// distinct leaves out who settles the same item as another: by itself, it loses.
func distinct(cs []*plain) []*plain {
	seen := map[queue.ID]bool{}
	return slices.DeleteFunc(cs, func(c *plain) bool {
		was := seen[c.lease.ID]
		seen[c.lease.ID] = true
		return was
	})
}

// carryFinishes is a group's try. Whoever was not served goes by itself: something of it was locked, or the lease is lost.
func (s *Store) carryFinishes(cs []*plain) (more bool) {
	cs = distinct(cs)
	var done map[queue.ID]bool
	o, more := s.try(func(ctx context.Context) (err error) { done, err = s.finishAll(ctx, finishFree, cs); return err })
	mark(cs, o, done)
	return more
}

// mark says of each what became of it, when of all together o did.
func mark(cs []*plain, o outcome, done map[queue.ID]bool) {
	for _, c := range cs {
		if c.outcome = o; o == served && !done[c.lease.ID] {
			c.outcome = alone
		}
	}
}

// carryKeeps is a group's try.
func (s *Store) carryKeeps(cs []*plain) (more bool) {
	cs = distinct(cs)
	var done map[queue.ID]bool
	o, more := s.try(func(ctx context.Context) error {
		return s.tx(ctx, func(tx pgx.Tx) (err error) { done, err = s.keepAll(ctx, tx, cs); return err })
	})
	mark(cs, o, done)
	return more
}

// keepAll keeps items for another attempt.
func (s *Store) keepAll(ctx context.Context, tx pgx.Tx, cs []*plain) (done map[queue.ID]bool, err error) {
	args := s.target(cs)
	done = map[queue.ID]bool{}
	old, now := map[queue.ID]*record{}, int64(0)
	err = run(ctx, tx, query{sql: lockFree, args: args, read: intoSet(done)},
		query{sql: "select " + clock + ", " + columns + fromItem + " where i.id = any($2::bigint[])", args: args[:2], read: func(rows pgx.Rows) error {
			r, err := scanAt(rows, &now)
			if err == nil {
				old[r.ID] = r
			}
			return err
		}})
	if err != nil {
		return nil, err
	}
	var rs, changed []*record
	var epochs []int64
	for _, c := range cs {
		id := c.lease.ID
		if !done[id] {
			continue
		}
		r := old[id].kept(c.keep, c.rekey, timeOf(now))
		rs, epochs = append(rs, r), append(epochs, int64(c.lease.Epoch))
		if !slices.Equal(r.Envelope.Recipients, old[id].Envelope.Recipients) {
			changed = append(changed, r)
		}
	}
	rows, err := rowsOf(rs, nil)
	if err != nil || len(rows) == 0 {
		return done, err
	}
	others, err := rowsOf(changed, nil)
	if err != nil {
		return nil, err
	}
	q := []query{{sql: `with u as materialized (select * from unnest($2::bigint[], $3::bigint[], $4::text[]) as u(item, epoch, class)),
			ended as (delete from lease using u where lease.item = u.item and lease.epoch = u.epoch
				returning lease.item, lease.epoch, lease.node, lease.owner, lease.began, u.class)
		insert into attempt (item, epoch, node, owner, began, ended, outcome, class)
		select item, epoch, node, owner, began, ` + clock + `, 'kept', class from ended`,
		args: []any{s.at(), column(rows, idOf), epochs, column(rows, func(r row) string { return class(&r.Item) })}}, updateItems(rows)}
	return done, run(ctx, tx, append(q, rewriteRecipients(others)...)...)
}

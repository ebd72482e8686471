package pgqueue

import (
	"fmt"
	"time"

	"backbone/gateway/mail"
	"backbone/queue/exactjson"
)

// row is a record being written, with what of it is JSON.
type row struct {
	*record
	put                   *int64 // the Put that must own the record's dedup key, or nil
	envelope, tries, last string
}

func rowsOf(rs []*record, put *int64) (rows []row, err error) {
	for _, r := range rs {
		x := row{record: r, put: put}
		if x.envelope, x.tries, x.last, err = r.texts(); err != nil {
			return nil, fmt.Errorf("queue entry %s: %w", r.ID, err)
		}
		rows = append(rows, x)
	}
	return rows, nil
}

// texts are the parts of a row that are JSON.
func (r *record) texts() (envelope, tries, last string, err error) {
	e := r.Envelope
	e.Recipients = nil
	b, err := exactjson.Marshal(e)
	if err != nil {
		return "", "", "", err
	}
	t, err := exactjson.Marshal(r.Tries)
	if err != nil || r.Last == nil {
		return string(b), string(t), "", err
	}
	f := *r.Last
	if f.Text == "" && f.Cause != nil {
		f.Text = f.Cause.Error() // the cause itself is not kept
	}
	f.Cause = nil
	l, err := exactjson.Marshal(f)
	return string(b), string(t), string(l), err
}

// column is a parameter: one value of each of the rows, for unnest.
func column[R, V any](rows []R, f func(R) V) []V {
	vs := make([]V, len(rows))
	for i, r := range rows {
		vs[i] = f(r)
	}
	return vs
}

// text is a column of what strangers wrote.
func text[R any](rows []R, f func(R) string) []string {
	return column(rows, func(r R) string { return exactjson.Text(f(r)) })
}

// timeOrNull is a time as the tables hold it, null for none.
func timeOrNull(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ns := nanos(t)
	return &ns
}

func idOf(r row) int64 { return int64(r.ID) }

// isPuts is the condition under which a row u of a Put is stored: the dedup key, if there is one, is this Put's. A subquery
// for a value is asked for each row by index, whatever the planner thinks of the table's size.
const isPuts = ` where u.put is null or (select d.put from dedup d where d.hash = u.dedup) = u.put`

// insertItems is the statements that make rows and those of their recipients. Created is the time of the statement where it
// is not set.
func (s *Store) insertItems(rows []row) []query {
	if len(rows) == 0 {
		return nil
	}
	items := query{sql: `insert into item (id, body, size, sha256, connector, host, rank, state, was, next, expires, created, changed, attempts, key, delayed,
			unknown, reason, by_whom, dedup, message, message_id, originator, class, envelope, tries, last)
		select u.id, body, size, sha256, connector, host, rank, state, was, next, expires, coalesce(created, ` + clock + `), changed, attempts, key, delayed,
			unknown, reason, by_whom, dedup, message, message_id, originator, class, envelope, tries, last
		from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::smallint[], $9::text[], $10::text[], $11::bigint[],
			$12::bigint[], $13::bigint[], $14::bigint[], $15::integer[], $16::text[], $17::boolean[], $18::boolean[], $19::text[], $20::text[], $21::bytea[],
			$22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[], $28::text[], $29::bigint[])
			as u(id, body, size, sha256, connector, host, rank, state, was, next, expires, created, changed, attempts, key, delayed,
			unknown, reason, by_whom, dedup, message, message_id, originator, class, envelope, tries, last, put)` + isPuts,
		args: []any{s.at(),
			column(rows, idOf),
			column(rows, func(r row) int64 { return int64(r.body) }),
			column(rows, func(r row) int64 { return r.Body.Size }),
			column(rows, func(r row) string { return r.Body.SHA256 }),
			text(rows, func(r row) string { return r.Dest.Connector }),
			text(rows, func(r row) string { return r.Dest.Host }),
			column(rows, func(r row) int16 { return int16(rankOf(r.Envelope.Priority)) }),
			column(rows, func(r row) string { return string(r.State) }),
			column(rows, func(r row) string { return string(r.was) }),
			column(rows, func(r row) int64 { return nanos(r.Next) }),
			column(rows, func(r row) int64 { return nanos(r.Expires) }),
			column(rows, func(r row) *int64 { return timeOrNull(r.Created) }),
			column(rows, func(r row) *int64 { return timeOrNull(r.Changed) }),
			column(rows, func(r row) int32 { return int32(r.Attempts) }),
			column(rows, func(r row) string { return r.Key }),
			column(rows, func(r row) bool { return r.Delayed }),
			column(rows, func(r row) bool { return r.Unknown }),
			text(rows, func(r row) string { return r.Reason }),
			text(rows, func(r row) string { return r.By }),
			column(rows, func(r row) []byte { return r.dedup }),
			text(rows, func(r row) string { return r.Envelope.ID }),
			text(rows, func(r row) string { return r.Envelope.MessageID }),
			text(rows, func(r row) string { return r.Envelope.Originator.String() }),
			column(rows, func(r row) string { return class(&r.Item) }),
			column(rows, func(r row) string { return r.envelope }),
			column(rows, func(r row) string { return r.tries }),
			column(rows, func(r row) string { return r.last }),
			column(rows, func(r row) *int64 { return r.put })}}
	return append([]query{items}, insertRecipients(rows)...)
}

// insertRecipients is the statement that makes the rows of recipients.
func insertRecipients(rows []row) []query {
	type recipient struct {
		row
		mail.Recipient
		n int32
	}
	var rs []recipient
	for _, r := range rows {
		for i, x := range r.Envelope.Recipients {
			rs = append(rs, recipient{r, x, int32(i + 1)})
		}
	}
	if len(rs) == 0 {
		return nil
	}
	return []query{{sql: `insert into recipient (item, n, type, address, name, orcpt, notify, number)
		select item, n, type, address, name, orcpt, notify, number
		from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::integer[], $9::bytea[], $10::bigint[])
			as u(item, n, type, address, name, orcpt, notify, number, dedup, put)` + isPuts,
		args: []any{
			column(rs, func(r recipient) int64 { return int64(r.ID) }),
			column(rs, func(r recipient) int32 { return r.n }),
			text(rs, func(r recipient) string { return string(r.Address.Type) }),
			text(rs, func(r recipient) string { return r.Address.Value }),
			text(rs, func(r recipient) string { return r.Name }),
			text(rs, func(r recipient) string { return r.ORCPT }),
			column(rs, func(r recipient) int16 { return int16(r.Notify) }),
			column(rs, func(r recipient) int32 { return int32(r.Number) }),
			column(rs, func(r recipient) []byte { return r.dedup }),
			column(rs, func(r recipient) *int64 { return r.put })}}}
}

// updateItems is the statement that writes what a settlement or an operator may change, but for recipients.
func updateItems(rows []row) query {
	return query{sql: `update item set connector = u.connector, host = u.host, rank = u.rank, state = u.state, was = u.was, next = u.next, expires = u.expires,
			changed = u.changed, attempts = u.attempts, key = u.key, delayed = u.delayed, unknown = u.unknown, reason = u.reason, by_whom = u.by_whom,
			class = u.class, envelope = u.envelope, tries = u.tries, last = u.last
		from unnest($1::bigint[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::integer[],
			$11::text[], $12::boolean[], $13::boolean[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[])
			as u(id, connector, host, rank, state, was, next, expires, changed, attempts, key, delayed, unknown, reason, by_whom, class, envelope, tries, last)
		where item.id = u.id`,
		args: []any{
			column(rows, idOf),
			text(rows, func(r row) string { return r.Dest.Connector }),
			text(rows, func(r row) string { return r.Dest.Host }),
			column(rows, func(r row) int16 { return int16(rankOf(r.Envelope.Priority)) }),
			column(rows, func(r row) string { return string(r.State) }),
			column(rows, func(r row) string { return string(r.was) }),
			column(rows, func(r row) int64 { return nanos(r.Next) }),
			column(rows, func(r row) int64 { return nanos(r.Expires) }),
			column(rows, func(r row) int64 { return nanos(r.Changed) }),
			column(rows, func(r row) int32 { return int32(r.Attempts) }),
			column(rows, func(r row) string { return r.Key }),
			column(rows, func(r row) bool { return r.Delayed }),
			column(rows, func(r row) bool { return r.Unknown }),
			text(rows, func(r row) string { return r.Reason }),
			text(rows, func(r row) string { return r.By }),
			column(rows, func(r row) string { return class(&r.Item) }),
			column(rows, func(r row) string { return r.envelope }),
			column(rows, func(r row) string { return r.tries }),
			column(rows, func(r row) string { return r.last })}}
}

// rewriteRecipients is the statements that replace those of rows.
func rewriteRecipients(rows []row) []query {
	if len(rows) == 0 {
		return nil
	}
	return append([]query{{sql: "delete from recipient where item = any($1::bigint[])", args: []any{column(rows, idOf)}}}, insertRecipients(rows)...)
}

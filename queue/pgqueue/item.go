package pgqueue

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/queue/exactjson"
)

// record is an item as its row and its lease's row say.
type record struct {
	queue.Item
	body  uint64
	was   queue.State // before it went to the trash
	dedup []byte      // hash of its message's dedup key, or nil
	lease *lease
}

// lease is a row of a running attempt.
type lease struct {
	epoch       uint64
	node, owner string
	began       int64
	until       int64
	held        bool
	pending     []queue.Op
}

// columns of a record, of item i and lease l.
const columns = `i.id, i.body, i.size, i.sha256, i.connector, i.host, i.rank, i.state, i.was, i.next, i.expires, i.created, i.changed, i.attempts,
	i.key, i.delayed, i.unknown, i.reason, i.by_whom, i.dedup, i.envelope, i.tries, i.last,
	l.epoch, l.node, l.owner, l.began, l.until, l.held, l.pending,
	(select coalesce(json_agg(json_build_array(r.type, r.address, r.name, r.orcpt, r.notify, r.number) order by r.n), '[]')::text
		from recipient r where r.item = i.id)`

const fromItem = ` from item i left join lease l on l.item = i.id `

func where(body uint64) string { return "chunks of " + queue.ID(body).String() }

func timeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// nanos is a time as the tables hold it. The zero time is 0: nothing was due or created in 1970.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOrZero(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return timeOf(ns)
}

// rankOf is the order in which priorities are leased.
func rankOf(p mail.Priority) int { return 1 - max(min(int(p), 1), -1) }

// scan reads columns.
func scan(rows pgx.Rows) (*record, error) {
	r := &record{}
	it := &r.Item
	var rank int
	var state, was, envelope, tries, last, recipients string
	var next, expires, created int64
	var changed, epoch, began, until *int64
	var node, owner, pending *string
	var held *bool
	err := rows.Scan(&it.ID, &r.body, &it.Body.Size, &it.Body.SHA256, &it.Dest.Connector, &it.Dest.Host, &rank, &state, &was, &next, &expires, &created,
		&changed, &it.Attempts, &it.Key, &it.Delayed, &it.Unknown, &it.Reason, &it.By, &r.dedup, &envelope, &tries, &last,
		&epoch, &node, &owner, &began, &until, &held, &pending, &recipients)
	if err != nil {
		return nil, err
	}
	for _, s := range []*string{&it.Dest.Connector, &it.Dest.Host, &it.Reason, &it.By} {
		*s = exactjson.Original(*s)
	}
	it.State, r.was, it.Body.Where = queue.State(state), queue.State(was), where(r.body)
	it.Next, it.Expires, it.Created = timeOrZero(next), timeOrZero(expires), timeOrZero(created)
	if changed != nil {
		it.Changed = timeOrZero(*changed)
	}
	if err := exactjson.Unmarshal([]byte(envelope), &it.Envelope); err != nil {
		return nil, fmt.Errorf("queue entry %s: envelope: %w", it.ID, err)
	}
	if err := exactjson.Unmarshal([]byte(tries), &it.Tries); err != nil {
		return nil, fmt.Errorf("queue entry %s: tries: %w", it.ID, err)
	}
	if last != "" {
		it.Last = &mail.Failure{}
		if err := exactjson.Unmarshal([]byte(last), it.Last); err != nil {
			return nil, fmt.Errorf("queue entry %s: last failure: %w", it.ID, err)
		}
	}
	if it.Envelope.Recipients, err = recipientsOf(recipients); err != nil {
		return nil, fmt.Errorf("queue entry %s: recipients: %w", it.ID, err)
	}
	if epoch == nil {
		return r, nil
	}
	l := &lease{epoch: uint64(*epoch), node: *node, owner: exactjson.Original(*owner), began: *began, until: *until, held: *held}
	if err := exactjson.Unmarshal([]byte(*pending), &l.pending); err != nil {
		return nil, fmt.Errorf("queue entry %s: pending: %w", it.ID, err)
	}
	r.lease = l
	return r, nil
}

// shown is the item as others see it.
func (r *record) shown() queue.Item {
	it := r.Item
	if l := r.lease; l != nil {
		it.State, it.LeaseOwner, it.LeaseUntil = queue.Leased, l.owner, timeOf(l.until)
	}
	return it
}

// recipientsOf reads the last of columns: rows as arrays.
func recipientsOf(text string) (rs []mail.Recipient, err error) {
	var rows [][]json.RawMessage
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		return nil, err
	}
	for _, a := range rows {
		var r mail.Recipient
		var kind string
		for i, to := range []any{&kind, &r.Address.Value, &r.Name, &r.ORCPT, &r.Notify, &r.Number} {
			if err := exactjson.Unmarshal(a[i], to); err != nil {
				return nil, err
			}
		}
		r.Address.Type = address.Type(kind)
		rs = append(rs, r)
	}
	return rs, nil
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

func class(it *queue.Item) string {
	if it.Last == nil {
		return ""
	}
	return string(it.Last.Class)
}

// insert is the statements that make a row and its recipients, if the condition holds: SQL over parameters from $30 on.
// Created is the time of the statement when it is not set.
func (r *record) insert(s *Store, condition string, args ...any) ([]query, error) {
	envelope, tries, last, err := r.texts()
	if err != nil {
		return nil, fmt.Errorf("queue entry %s: %w", r.ID, err)
	}
	var created any
	if !r.Created.IsZero() {
		created = nanos(r.Created)
	}
	var changed any
	if !r.Changed.IsZero() {
		changed = nanos(r.Changed)
	}
	row := query{sql: `insert into item (id, body, size, sha256, connector, host, rank, state, was, next, expires, created, changed, attempts, key, delayed,
			unknown, reason, by_whom, dedup, message, message_id, originator, class, envelope, tries, last)
		select $2::bigint, $3::bigint, $4::bigint, $5::text, $6::text, $7::text, $8::smallint, $9::text, $10::text, $11::bigint, $12::bigint,
			coalesce($13::bigint, ` + clock + `), $14::bigint, $15::integer, $16::text, $17::boolean, $18::boolean, $19::text, $20::text, $21::bytea,
			$22::text, $23::text, $24::text, $25::text, $26::text, $27::text, $28::text` + condition,
		args: append([]any{s.at(), int64(r.ID), int64(r.body), r.Body.Size, r.Body.SHA256, exactjson.Text(r.Dest.Connector), exactjson.Text(r.Dest.Host),
			rankOf(r.Envelope.Priority), string(r.State), string(r.was), nanos(r.Next), nanos(r.Expires), created, changed, r.Attempts, r.Key, r.Delayed,
			r.Unknown, exactjson.Text(r.Reason), exactjson.Text(r.By), r.dedup, exactjson.Text(r.Envelope.ID), exactjson.Text(r.Envelope.MessageID),
			exactjson.Text(r.Envelope.Originator.String()), class(&r.Item), envelope, tries, last}, args...)}
	return append([]query{row}, r.insertRecipients()...), nil
}

// insertRecipients is the statement that makes the rows of recipients, if the item's row is there.
func (r *record) insertRecipients() []query {
	n := len(r.Envelope.Recipients)
	if n == 0 {
		return nil
	}
	types, addresses, names, orcpts := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	notify, numbers := make([]int16, n), make([]int32, n)
	for i, x := range r.Envelope.Recipients {
		types[i], addresses[i], names[i] = exactjson.Text(string(x.Address.Type)), exactjson.Text(x.Address.Value), exactjson.Text(x.Name)
		orcpts[i], notify[i], numbers[i] = exactjson.Text(x.ORCPT), int16(x.Notify), int32(x.Number)
	}
	return []query{{sql: `insert into recipient (item, n, type, address, name, orcpt, notify, number)
		select $1::bigint, u.n, u.a, u.b, u.c, u.d, u.e, u.f
		from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::integer[]) with ordinality as u(a, b, c, d, e, f, n)
		where exists (select 1 from item where id = $1::bigint)`,
		args: []any{int64(r.ID), types, addresses, names, orcpts, notify, numbers}}}
}

// update is the statements that write what a settlement or an operator may change.
func (r *record) update(recipients bool) ([]query, error) {
	envelope, tries, last, err := r.texts()
	if err != nil {
		return nil, fmt.Errorf("queue entry %s: %w", r.ID, err)
	}
	q := []query{{sql: `update item set connector = $2, host = $3, rank = $4, state = $5, was = $6, next = $7, expires = $8, changed = $9, attempts = $10,
			key = $11, delayed = $12, unknown = $13, reason = $14, by_whom = $15, class = $16, envelope = $17, tries = $18, last = $19
		where id = $1`,
		args: []any{int64(r.ID), exactjson.Text(r.Dest.Connector), exactjson.Text(r.Dest.Host), rankOf(r.Envelope.Priority), string(r.State), string(r.was),
			nanos(r.Next), nanos(r.Expires), nanos(r.Changed), r.Attempts, r.Key, r.Delayed, r.Unknown, exactjson.Text(r.Reason), exactjson.Text(r.By),
			class(&r.Item), envelope, tries, last}}}
	if recipients {
		q = append(q, query{sql: "delete from recipient where item = $1", args: []any{int64(r.ID)}})
		q = append(q, r.insertRecipients()...)
	}
	return q, nil
}

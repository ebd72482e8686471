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

func class(it *queue.Item) string {
	if it.Last == nil {
		return ""
	}
	return string(it.Last.Class)
}

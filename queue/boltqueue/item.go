package boltqueue

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"backbone/gateway/mail"
	"backbone/queue"
)

// record is an item as it is stored: the lease fields of queue.Item are never in it, because a lease is the running
// process's.
type record struct {
	queue.Item
	body  uint64      // number of its body
	file  bool        // the body has a file of its own
	was   queue.State // before it went to the trash
	dedup []byte      // hash of its message's dedup key, or nil
	raw   []byte      // as stored; never changed once set
}

// encode sets raw.
func (r *record) encode() {
	e := make(enc, 0, 256)
	it := &r.Item
	e.uint(1, uint64(it.ID))
	e.sub(2, func(e *enc) { e.envelope(&it.Envelope) })
	e.uint(3, r.body)
	e.int(4, it.Body.Size)
	if sum, err := hex.DecodeString(it.Body.SHA256); err == nil && len(sum) > 0 {
		e.bytes(5, sum)
	}
	e.str(6, it.Dest.Connector)
	e.str(7, it.Dest.Host)
	e.str(8, string(it.State))
	e.str(9, it.Key)
	e.int(10, int64(it.Attempts))
	for _, k := range slices.Sorted(maps.Keys(it.Tries)) {
		e.sub(11, func(e *enc) { e.str(1, k); e.int(2, int64(it.Tries[k])) })
	}
	e.time(12, it.Next)
	e.time(13, it.Expires)
	e.time(14, it.Created)
	if it.Last != nil {
		e.sub(15, func(e *enc) { e.failure(it.Last) })
	}
	e.bool(16, it.Delayed)
	e.bool(17, it.Unknown)
	e.str(18, it.Reason)
	e.str(19, it.By)
	e.time(20, it.Changed)
	e.bool(21, r.file)
	e.str(22, string(r.was))
	if len(r.dedup) > 0 {
		e.bytes(23, r.dedup)
	}
	r.raw = e
}

// decodeItem reads what encode wrote. The record keeps b.
func decodeItem(b []byte) (*record, error) {
	r := &record{raw: b}
	it := &r.Item
	err := fields(b, func(f field) (err error) {
		switch f.N {
		case 1:
			it.ID = queue.ID(f.Num)
		case 2:
			err = decodeEnvelope(f.Raw, &it.Envelope)
		case 3:
			r.body = f.Num
		case 4:
			it.Body.Size = f.int()
		case 5:
			it.Body.SHA256 = hex.EncodeToString(f.Raw)
		case 6:
			it.Dest.Connector = f.str()
		case 7:
			it.Dest.Host = f.str()
		case 8:
			it.State = knownState(f.Raw)
		case 9:
			it.Key = f.str()
		case 10:
			it.Attempts = int(f.int())
		case 11:
			err = decodeTries(f.Raw, it)
		case 12:
			it.Next = f.time()
		case 13:
			it.Expires = f.time()
		case 14:
			it.Created = f.time()
		case 15:
			it.Last = &mail.Failure{}
			err = decodeFailure(f.Raw, it.Last)
		case 16:
			it.Delayed = f.bool()
		case 17:
			it.Unknown = f.bool()
		case 18:
			it.Reason = f.str()
		case 19:
			it.By = f.str()
		case 20:
			it.Changed = f.time()
		case 21:
			r.file = f.bool()
		case 22:
			r.was = knownState(f.Raw)
		case 23:
			r.dedup = f.Raw
		}
		return err
	})
	it.Body.Where = where(r.body, r.file)
	if err != nil {
		return nil, fmt.Errorf("queue entry %s: %w", it.ID, err)
	}
	return r, nil
}

func knownState(b []byte) queue.State {
	for _, s := range []queue.State{queue.Ready, queue.Held, queue.Trash} {
		if string(b) == string(s) {
			return s
		}
	}
	return queue.State(b)
}

func decodeTries(b []byte, it *queue.Item) error {
	var k string
	var n int
	err := fields(b, func(f field) error {
		switch f.N {
		case 1:
			k = f.str()
		case 2:
			n = int(f.int())
		}
		return nil
	})
	if it.Tries == nil {
		it.Tries = map[string]int{}
	}
	it.Tries[k] = n
	return err
}

package directory

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"backbone/gateway/address"
)

// A MS Mail user can answer only what looks like NET/PO/MAILBOX, or a type for which his post office has a gateway. A
// sender whom nobody put into the directory gets an address of our shadow post office that leads back to him: a mailbox
// made of a digest of his address, so that he has the same one each time. It is durable before a message with it leaves.
// *Ours*; Exchange's users outside had to be custom recipients first.

// replyAddresses are the given ones, by mailbox.
type replyAddresses struct {
	mu sync.RWMutex
	m  map[string]given
}

type given struct {
	Address address.Address `json:"address"`
	At      time.Time       `json:"at"` // last used
}

// reuse is the share of its life after which an address's last use is written again.
const reuse = 16

func (d *Directory) loadReplies(tx *bbolt.Tx) error {
	d.replies.m = map[string]given{}
	return tx.Bucket(bucketReply).ForEach(func(k, v []byte) error {
		var g given
		if err := json.Unmarshal(v, &g); err != nil {
			return fmt.Errorf("reply address %s: %w", k, err)
		}
		d.replies.m[string(k)] = g
		return nil
	})
}

// replyAddress gives a sender his address in our shadow post office; ok is false when there can be none.
func (d *Directory) replyAddress(a address.Address) (out address.Address, ok bool) {
	if d.o.ReplyAddresses <= 0 || d.o.Site.MS == "" {
		return a, false
	}
	po, err := address.ParsePostOffice(d.o.Site.MS)
	if err != nil {
		return a, false
	}
	now := time.Now().UTC()
	for n := range 8 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", a.Key(), n))
		po.Mailbox = "R" + base32.StdEncoding.EncodeToString(sum[:6])[:9]
		if out, err = po.Address(); err != nil {
			return a, false
		}
		d.replies.mu.RLock()
		g, known := d.replies.m[po.Mailbox]
		d.replies.mu.RUnlock()
		if known && !g.Address.Equal(a) && now.Sub(g.At) <= d.o.ReplyAddresses {
			continue // two senders with one digest
		}
		if known && g.Address.Equal(a) && now.Sub(g.At) < d.o.ReplyAddresses/reuse {
			return out, true
		}
		if err := d.giveReply(po.Mailbox, given{a, now}); err != nil {
			d.o.Log.Error("reply address not kept; the sender can't be answered from MS Mail", "originator", a.String(), "err", err)
			return a, false
		}
		return out, true
	}
	return a, false
}

// giveReply keeps an address on disk, then in memory. At the bound the tenth that was used least lately goes.
func (d *Directory) giveReply(mailbox string, g given) error {
	d.replies.mu.Lock()
	defer d.replies.mu.Unlock()
	old := d.oldReplies(g.At)
	v, err := json.Marshal(g)
	if err != nil {
		return err
	}
	err = d.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketReply)
		for _, k := range old {
			if err := b.Delete([]byte(k)); err != nil {
				return err
			}
		}
		return b.Put([]byte(mailbox), v)
	})
	if err != nil {
		return err
	}
	for _, k := range old {
		delete(d.replies.m, k)
	}
	d.replies.m[mailbox] = g
	return nil
}

// oldReplies are those to forget when there are too many. Callers hold the lock.
func (d *Directory) oldReplies(now time.Time) []string {
	if len(d.replies.m) < d.o.MaxReplyRoutes {
		return nil
	}
	times := make([]time.Time, 0, len(d.replies.m))
	for _, g := range d.replies.m {
		times = append(times, g.At)
	}
	slices.SortFunc(times, time.Time.Compare)
	bound := times[len(times)/10]
	if expired := now.Add(-d.o.ReplyAddresses); expired.After(bound) {
		bound = expired
	}
	var old []string
	for k, g := range d.replies.m {
		if !g.At.After(bound) {
			old = append(old, k)
		}
	}
	return old
}

// replied is whom an address of our shadow post office was given to.
func (d *Directory) replied(a address.Address) (address.Address, bool) {
	if d.o.ReplyAddresses <= 0 || a.Type != address.MS {
		return a, false
	}
	m, err := a.MSMail()
	if err != nil || fold(m.PostOffice().String()) != fold(d.o.Site.MS) {
		return a, false
	}
	d.replies.mu.RLock()
	defer d.replies.mu.RUnlock()
	g, ok := d.replies.m[m.Mailbox]
	if !ok || time.Since(g.At) > d.o.ReplyAddresses {
		return a, false
	}
	return g.Address, true
}

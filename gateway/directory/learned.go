package directory

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"backbone/gateway/address"
)

// Learned is a way back: the connector and next hop over which mail from an address last arrived.
type Learned struct {
	Connector string    `json:"connector"`
	NextHop   string    `json:"next_hop,omitempty"`
	At        time.Time `json:"at"`
}

// flushEvery is how long a learned route may wait for the disk.
const flushEvery = 5 * time.Second

// refreshAfter is the share of its life after which a known route is written again because mail came that way again.
const refreshAfter = 64

type learnedRoutes struct {
	d     *Directory
	mu    sync.Mutex
	m     map[string]Learned
	dirty map[string]bool // to be written, or removed when no longer in m
	timer *time.Timer     // running while dirty is not empty
	ended bool
	wg    sync.WaitGroup
}

// start reads what is on disk.
func (l *learnedRoutes) start(d *Directory) {
	l.d, l.m, l.dirty = d, map[string]Learned{}, map[string]bool{}
	err := d.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLearned).ForEach(func(k, v []byte) error {
			var r Learned
			if err := json.Unmarshal(v, &r); err != nil {
				l.dirty[string(k)] = true // of no use: the next flush removes it
				return nil
			}
			l.m[string(k)] = r
			return nil
		})
	})
	if err != nil {
		d.o.Log.Warn("learned reply routes not read", "err", err)
	}
}

// Learn remembers that mail from an address arrived over a connector from a next hop. Call it for peers that are
// authenticated only: what is learned here is used to send mail. It costs no disk write of its own.
func (d *Directory) Learn(a address.Address, connector, nextHop string, at time.Time) {
	if a.IsZero() || connector == "" || d.o.ReplyRoutes <= 0 {
		return
	}
	l := &d.learned
	k := a.Key()
	l.mu.Lock()
	defer l.mu.Unlock()
	old, known := l.m[k]
	if known && old.Connector == connector && old.NextHop == nextHop && at.Sub(old.At) < d.o.ReplyRoutes/refreshAfter || old.At.After(at) {
		return
	}
	if !known && len(l.m) >= d.o.MaxReplyRoutes {
		l.shed()
	}
	l.m[k] = Learned{Connector: connector, NextHop: nextHop, At: at.UTC()}
	l.mark(k)
}

// Learned is the way back to an address, while it is not older than Options.ReplyRoutes.
func (d *Directory) Learned(a address.Address) (Learned, bool) {
	l := &d.learned
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.m[a.Key()]
	if !ok || time.Since(r.At) > d.o.ReplyRoutes {
		return Learned{}, false
	}
	return r, true
}

// shed drops what has expired and, if that is not a tenth, the oldest tenth.
func (l *learnedRoutes) shed() {
	times := make([]time.Time, 0, len(l.m))
	for _, r := range l.m {
		times = append(times, r.At)
	}
	slices.SortFunc(times, time.Time.Compare)
	oldest := times[len(times)/10]
	if expired := time.Now().Add(-l.d.o.ReplyRoutes); expired.After(oldest) {
		oldest = expired
	}
	for k, r := range l.m {
		if !r.At.After(oldest) {
			delete(l.m, k)
			l.mark(k)
		}
	}
}

// mark plans the writing of a key. Callers hold mu.
func (l *learnedRoutes) mark(k string) {
	l.dirty[k] = true
	if l.timer == nil && !l.ended {
		l.wg.Add(1)
		l.timer = time.AfterFunc(flushEvery, func() {
			defer l.wg.Done()
			if err := l.flush(); err != nil {
				l.d.o.Log.Warn("learned reply routes not written; they stay in memory", "err", err)
			}
		})
	}
}

// flush writes the marked routes in one transaction.
func (l *learnedRoutes) flush() error {
	l.mu.Lock()
	l.timer = nil
	puts := make(map[string][]byte, len(l.dirty))
	for k := range l.dirty {
		puts[k] = nil
		if r, ok := l.m[k]; ok {
			b, err := json.Marshal(r)
			if err != nil {
				l.mu.Unlock()
				return fmt.Errorf("directory: learned route: %w", err)
			}
			puts[k] = b
		}
	}
	clear(l.dirty)
	l.mu.Unlock()
	if len(puts) == 0 {
		return nil
	}
	err := l.d.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketLearned)
		for k, v := range puts {
			var err error
			if v == nil {
				err = b.Delete([]byte(k))
			} else {
				err = b.Put([]byte(k), v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range puts {
		l.mark(k)
	}
	return fmt.Errorf("directory: learned routes: %w", err)
}

// stop waits for a flush that is under way and writes the rest.
func (l *learnedRoutes) stop() error {
	if l.d == nil {
		return nil
	}
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return nil
	}
	l.ended = true
	if l.timer != nil && l.timer.Stop() {
		l.wg.Done()
	}
	l.mu.Unlock()
	l.wg.Wait()
	return l.flush()
}

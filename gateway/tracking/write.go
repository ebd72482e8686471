package tracking

import (
	"fmt"
	"os"
	"time"
)

// maxFile is the size at which a day gets a further file, in octets: the unit in which MaxBytes gives space back.
const maxFile = 1 << 30

// maxBatch bounds one write, in octets.
const maxBatch = 1 << 20

// writer is the state of the one goroutine that writes.
type writer struct {
	l    *Log
	f    *os.File
	seg  segment
	size int64
	torn bool // the file ends in half a line that could not be taken back
	seen map[uint64]struct{}
	// synced answers when a sync that runs beside the writing is through; nil while none runs. Dirty tells that there
	// was writing since the last one began.
	synced  chan error
	syncing int64 // how much of the file it covers
	dirty   bool
}

// write is the log's goroutine, from Open to Close. It wakes only for work: an idle log sets no timers.
func (l *Log) write() {
	defer l.wg.Done()
	w := &writer{l: l, seen: map[uint64]struct{}{}}
	var sync <-chan time.Time
	for {
		select {
		case p, ok := <-l.in:
			if !ok {
				w.close()
				return
			}
			w.batch(w.gather(p))
		case <-sync:
			sync = nil
			w.startSync()
		case err := <-w.synced:
			w.endSync(err)
		}
		if w.dirty && sync == nil && w.synced == nil {
			sync = time.After(l.o.SyncEvery)
		}
	}
}

// gather takes what else is waiting, up to a bound.
func (w *writer) gather(first *pending) []*pending {
	ps, n := []*pending{first}, first.octets()
	for n < maxBatch {
		select {
		case p, ok := <-w.l.in:
			if !ok {
				return ps
			}
			ps, n = append(ps, p), n+p.octets()
		default:
			return ps
		}
	}
	return ps
}

func (p *pending) octets() (n int) {
	for _, b := range p.lines {
		n += len(b)
	}
	return n
}

// batch writes the events of ps in one go and answers them.
func (w *writer) batch(ps []*pending) {
	err := w.ready(time.Now().UTC().Format(dayLayout))
	if err == nil {
		err = w.append(ps)
	}
	w.note(err)
	for _, p := range ps {
		if err == nil {
			w.l.written.Add(int64(len(p.events)))
		} else {
			w.l.failed.Add(int64(len(p.events)))
		}
	}
	if err == nil {
		w.l.tell(ps)
	}
	for _, p := range ps {
		p.done <- err
	}
}

func (w *writer) note(err error) {
	if err != nil {
		w.l.lastErr.Store(&err)
		return
	}
	w.l.lastErr.Store(nil)
}

// append writes ps at the end of the open file. What was written of a batch that failed is taken back.
func (w *writer) append(ps []*pending) error {
	var buf []byte
	if w.torn {
		buf = append(buf, '\n')
	}
	var posts []posting
	for _, p := range ps {
		for i, line := range p.lines {
			posts = w.post(posts, w.size+int64(len(buf)), p.ids[i], p.names[i])
			buf = append(buf, line...)
		}
	}
	if n, err := w.f.Write(buf); err != nil {
		if n > 0 {
			w.torn = w.f.Truncate(w.size) != nil
		}
		if w.torn {
			w.size += int64(n)
		}
		return fmt.Errorf("tracking log: %w", err)
	}
	w.torn, w.dirty = false, true
	w.size += int64(len(buf))
	full := w.publish(posts)
	if full {
		w.flushIndex()
	}
	return nil
}

// post notes where an event can be found. The message's id is noted for each event; its other names only once a chunk,
// since they lead to the id.
func (w *writer) post(to []posting, off int64, id string, names []string) []posting {
	for i, n := range names {
		h := hash(n)
		if i > 0 && id != "" {
			pair := h ^ hash(id)*31
			if _, ok := w.seen[pair]; ok {
				continue
			}
			w.seen[pair] = struct{}{}
		}
		to = append(to, posting{h, off})
	}
	return to
}

// publish makes what was written visible to readers, and tells when the chunk is full.
func (w *writer) publish(posts []posting) bool {
	l := w.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = w.size
	l.chunk = append(l.chunk, posts...)
	close(l.grown)
	l.grown = make(chan struct{})
	return len(l.chunk) >= chunkPostings
}

// flushIndex moves the chunk from memory to the index file. When that fails the chunk is found again by a scan.
func (w *writer) flushIndex() {
	l := w.l
	l.mu.RLock()
	posts, from, to := l.chunk, l.chunkAt, l.size
	l.mu.RUnlock()
	if err := l.index.add(w.seg, from, to, posts); err != nil {
		l.o.Log.Warn("tracking index not written; it will be made again when needed", "file", w.seg.index(l.dir), "err", err)
	}
	l.mu.Lock()
	l.chunk, l.chunkAt = nil, to
	l.mu.Unlock()
	clear(w.seen)
}

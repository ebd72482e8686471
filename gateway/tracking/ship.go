package tracking

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"
)

const (
	// shipLines and shipOctets bound what goes to the archive at once.
	shipLines  = 500
	shipOctets = 1 << 20
	// shipAgain is how long after an error the next try is, doubled at each up to shipSlow.
	shipAgain = time.Second
	shipSlow  = 30 * time.Second
	// shipLast bounds what Close waits for the archive.
	shipLast = 5 * time.Second
)

// shipper adds the log to the archive. It is one goroutine, from Open to Close; mail never waits for it. Only what is synced goes:
// a log that loses its end in a power failure loses nothing that the archive counts by its place.
type shipper struct {
	l      *Log
	known  bool
	stored Cursor // how far the archive has the log, as it says
	at     place  // the same, as this log has it
	moved  bool   // at is another place than stored
	// What was told already of places that the log does not have any longer.
	unsure Cursor
	lost   segment
}

func (l *Log) ship() {
	defer l.shipping.Done()
	s := &shipper{l: l}
	wait := shipAgain
	for {
		es, more := l.durable()
		full, err := s.some(l.shipCtx, es)
		if l.shipCtx.Err() != nil {
			return
		}
		if err != nil {
			if l.shipErr.Swap(&err) == nil {
				l.o.Log.Warn("events wait here for the archive, which will be tried again", "class", "local", "err", err)
			}
			if !sleep(l.shipCtx, l.ending, wait) {
				return
			}
			wait = min(2*wait, shipSlow)
			continue
		}
		if wait = shipAgain; l.shipErr.Swap(nil) != nil {
			l.o.Log.Info("the archive takes events again")
		}
		switch {
		case full:
		case more == nil:
			return
		default:
			select {
			case <-more:
			case <-l.shipCtx.Done():
				return
			}
		}
	}
}

// sleep waits, and tells whether it is worth going on: a log that is closed while the archive is away waits no longer.
func sleep(ctx context.Context, ending <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-ending:
	}
	return false
}

// some ships a batch, and tells whether there may be more at once.
func (s *shipper) some(ctx context.Context, es []extent) (full bool, err error) {
	if !s.known {
		if s.stored, err = s.l.o.Archive.Position(ctx, s.l.o.Node); err != nil {
			return false, err
		}
		var sure bool
		if s.at, sure = s.l.resume(s.stored); !sure && s.unsure != s.stored {
			s.unsure = s.stored
			s.l.o.Log.Error("the archive has this gateway's log as far as a place that the log does not have: shipping goes on with what is written from now on",
				"class", "local", "place", string(s.stored), "from", string(s.at.cursor()))
		}
		s.known, s.moved = true, !sure
	}
	if len(es) > 0 && s.l.prunedAfter(s.at) {
		if s.lost != es[0].segment {
			s.lost = es[0].segment
			s.l.o.Log.Error("tracking log removed before it was in the archive: its events are lost there", "class", "local",
				"after", string(s.at.cursor()), "before", es[0].String())
		}
		s.at, s.moved = place{es[0].segment, 0}, true
	}
	rs, to, full, err := s.l.collect(ctx, es, s.at)
	if err != nil || to == s.at && !s.moved {
		return false, err
	}
	ok, err := s.l.o.Archive.Add(ctx, s.l.o.Node, s.stored, to.cursor(), rs)
	if err == nil && !ok {
		err = errMoved
	}
	if err != nil {
		s.known = false // whether it was stored the archive says when it is asked again
		return false, err
	}
	s.stored, s.at, s.moved = to.cursor(), to, false
	s.l.shipped.Add(int64(len(rs)))
	return full, nil
}

var errMoved = errors.New("the archive has this gateway's log as far as some other place than a moment ago")

// prunedAfter tells whether something behind a place has been removed, as far as this process knows: of a file that was
// removed before, there may have been something left.
func (l *Log) prunedAfter(p place) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	known := p == (place{})
	for seg, size := range l.pruned {
		switch c := seg.compare(p.seg); {
		case c > 0 && size > 0, c == 0 && size > p.off:
			return true
		case c == 0:
			known = true
		}
	}
	if known {
		return false
	}
	for _, s := range l.segs {
		if s == p.seg {
			return false
		}
	}
	return true
}

// durable is the log as far as no power failure can take it, and a channel that closes when that is more; nil after Close.
func (l *Log) durable() (es []extent, more <-chan struct{}) {
	es, _ = l.view()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n := len(es); n > 0 && es[n-1].active {
		es[n-1].size = min(es[n-1].size, l.synced)
	}
	if l.syncs != nil {
		more = l.syncs
	}
	return es, more
}

// syncedTo notes how much of the file that is written to is durable.
func (l *Log) syncedTo(size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced = size
	close(l.syncs)
	l.syncs = make(chan struct{})
}

// resume is the place from which the log goes on behind what the archive has. sure is false when the log has no such place,
// because it is not the one that was shipped, or lost its end: then it is where this process began to write.
func (l *Log) resume(stored Cursor) (p place, sure bool) {
	p, err := stored.place()
	if err != nil {
		return l.opened, false
	}
	if p == (place{}) {
		return p, true
	}
	es, _ := l.view()
	for _, x := range es {
		if x.segment != p.seg {
			continue
		}
		if p.off == 0 {
			return p, true
		}
		if p.off > x.size || !endsLine(x.log(l.dir), p.off) {
			return l.opened, false
		}
		return p, true
	}
	if len(es) == 0 || p.seg.compare(es[len(es)-1].segment) > 0 {
		return l.opened, false
	}
	return p, true
}

// endsLine tells whether a line ends before an offset.
func endsLine(path string, off int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], off-1)
	return err == nil && b[0] == '\n'
}

// collect reads records from a place on. to is the place behind them; full tells that there is more. What is so old
// that an archive may have forgotten how far it had the log is left out.
func (l *Log) collect(ctx context.Context, es []extent, from place) (rs []Record, to place, full bool, err error) {
	to = from
	octets := 0
	for i, x := range es {
		if x.segment.compare(from.seg) < 0 {
			continue
		}
		at := int64(0)
		if x.segment == from.seg {
			at = from.off
		}
		if to.seg.compare(x.segment) < 0 {
			to = place{x.segment, 0}
		}
		if at >= x.size && i == len(es)-1 {
			break
		}
		err = l.scan(x, at, func(off int64, line []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if len(rs) >= shipLines || octets >= shipOctets {
				full = true
				return errStop
			}
			to = place{x.segment, off + int64(len(line)) + 1}
			var e Event
			if json.Unmarshal(line, &e) != nil || l.o.Keep > 0 && time.Since(e.Time) > l.o.Keep+24*time.Hour {
				return nil // torn or foreign, or old
			}
			rs = append(rs, l.record(&e, place{x.segment, off}, line))
			octets += len(line)
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) || full {
			return rs, to, full, err
		}
		if i < len(es)-1 {
			to = place{es[i+1].segment, 0} // it is finished: it may be removed
		}
	}
	return rs, to, false, nil
}

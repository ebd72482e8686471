package tracking

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Cursor is a place in the log, between two events. It stays good across restarts; "" is the beginning. Its text is
// "yyyymmdd[-n]:offset".
type Cursor string

// ErrCursor says that a cursor was not made by this log.
var ErrCursor = errors.New("tracking log: not a cursor of this log")

// place is a decoded cursor.
type place struct {
	seg segment
	off int64
}

func (p place) cursor() Cursor {
	if p == (place{}) {
		return ""
	}
	return Cursor(p.seg.String() + ":" + strconv.FormatInt(p.off, 10))
}

func (c Cursor) place() (place, error) {
	if c == "" {
		return place{}, nil
	}
	name, off, ok := strings.Cut(string(c), ":")
	s, good := parseSegment(name)
	n, err := strconv.ParseInt(off, 10, 64)
	if !ok || !good || err != nil || n < 0 {
		return place{}, fmt.Errorf("%w: %q", ErrCursor, string(c))
	}
	return place{s, n}, nil
}

// extent is a file as far as it is written.
type extent struct {
	segment
	size   int64
	active bool
	// chunkAt and chunk are what the active file has in memory instead of the index file.
	chunkAt int64
	chunk   []posting
}

// view is the log at one moment: files, oldest first, and a channel that closes when there is more. Grown is nil after
// Close.
func (l *Log) view() (es []extent, grown <-chan struct{}) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i, s := range l.segs {
		e := extent{segment: s}
		if l.active && i == len(l.segs)-1 {
			e.size, e.active, e.chunkAt, e.chunk = l.size, true, l.chunkAt, l.chunk
		} else if st, err := os.Stat(s.log(l.dir)); err == nil {
			e.size = st.Size()
		} else {
			continue // removed meanwhile
		}
		es = append(es, e)
	}
	if l.grown != nil {
		grown = l.grown
	}
	return es, grown
}

// each reads events from a place on, to the end of what es shows. fn gets the place after each event and ends the
// reading with errStop. want tells from a line's text whether it is worth decoding.
func (l *Log) each(es []extent, from place, want func(line []byte) bool, fn func(e Event, next place) error) error {
	return l.lines(es, from, want, func(e Event, _, next place) error { return fn(e, next) })
}

// lines is each for whoever wants to know where an event's line begins, too.
func (l *Log) lines(es []extent, from place, want func(line []byte) bool, fn func(e Event, begin, next place) error) error {
	stopped := false
	for _, x := range es {
		if x.segment.compare(from.seg) < 0 {
			continue
		}
		at := int64(0)
		if x.segment == from.seg {
			at = from.off
		}
		err := l.scan(x, at, func(off int64, line []byte) error {
			if want != nil && !want(line) {
				return nil
			}
			var e Event
			if json.Unmarshal(line, &e) != nil {
				return nil // torn or foreign
			}
			err := fn(e, place{x.segment, off}, place{x.segment, off + int64(len(line)) + 1})
			stopped = errors.Is(err, errStop)
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil || stopped {
			return err
		}
	}
	return nil
}

// scan reads one file from an offset, which must be where a line begins.
func (l *Log) scan(x extent, from int64, fn func(off int64, line []byte) error) error {
	path := x.log(l.dir)
	if from > 0 {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		var before [1]byte
		_, err = f.ReadAt(before[:], from-1)
		if cerr := f.Close(); cerr != nil {
			return cerr
		}
		if err != nil || before[0] != '\n' || from > x.size {
			return fmt.Errorf("%w: %s", ErrCursor, place{x.segment, from}.cursor())
		}
	}
	return scan(path, from, x.size, fn)
}

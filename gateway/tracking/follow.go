package tracking

import (
	"context"
	"iter"
)

// Entry is an event with the cursor behind it: to go on after it later, hand that to Follow or Search.
type Entry struct {
	Cursor Cursor `json:"cursor"`
	Event
}

// Tail is the cursor at the log's present end.
func (l *Log) Tail() Cursor {
	es, _ := l.view()
	if len(es) == 0 {
		return ""
	}
	last := es[len(es)-1]
	return place{last.segment, last.size}.cursor()
}

// Follow yields the events after a cursor, then each new one as it is written, until ctx ends or the log is closed. It
// misses none and repeats none, across restarts too; of a cursor whose file is past its retention it goes on with the
// oldest event that is left. A slow reader costs the log nothing. An error ends the sequence.
func (l *Log) Follow(ctx context.Context, after Cursor) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		at, err := after.place()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for {
			es, grown := l.view()
			stopped := false
			err := l.each(es, at, nil, func(e Event, next place) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				at = next
				if !yield(Entry{next.cursor(), e}, nil) {
					stopped = true
					return errStop
				}
				return nil
			})
			switch {
			case stopped:
				return
			case ctx.Err() != nil:
				return
			case err != nil:
				yield(Entry{}, err)
				return
			case grown == nil:
				return
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
}

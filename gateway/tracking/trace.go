package tracking

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

const (
	maxTimeline = 20_000 // events
	maxMessages = 1_000
)

// Trace finds all events of the messages that a key names, in order: a message's id, its RFC 5322 Message-ID (with or
// without angle brackets), a queue entry's id, or the name of a drop file, in any letter case. Reports about the messages
// are part of their timeline. ErrNotFound when nothing has the key. Of more than 20,000 events the newest are returned.
func (l *Log) Trace(ctx context.Context, key string) ([]Event, error) {
	t := tracer{l: l, found: map[place]Event{}, asked: map[string]bool{}}
	t.es, _ = l.view()
	words := []string{fold(key)}
	// Three rounds: the key to its messages, the messages to all their events and the reports, the reports to theirs.
	for range 3 {
		for _, w := range words {
			if t.asked[w] || w == "" || len(t.asked) > maxMessages {
				continue
			}
			t.asked[w] = true
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := t.look(w); err != nil {
				return nil, err
			}
		}
		words = words[:0]
		for _, e := range t.found {
			words = append(words, fold(e.ID), fold(e.About))
		}
		slices.Sort(words)
		words = slices.Compact(words)
	}
	if len(t.found) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	places := make([]place, 0, len(t.found))
	for p := range t.found {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(t.found[a].Time.Compare(t.found[b].Time), a.compare(b))
	})
	places = places[max(0, len(places)-maxTimeline):]
	out := make([]Event, len(places))
	for i, p := range places {
		out[i] = t.found[p]
	}
	return out, nil
}

// tracer collects the events of one Trace.
type tracer struct {
	l     *Log
	es    []extent
	found map[place]Event
	asked map[string]bool
}

// look finds the events that have a name, newest file first.
func (t *tracer) look(name string) error {
	for i := len(t.es) - 1; i >= 0 && len(t.found) <= maxTimeline; i-- {
		err := t.lookIn(t.es[i], name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (t *tracer) lookIn(x extent, name string) error {
	h := hash(name)
	limit := x.size
	var offs []int64
	if x.active {
		limit = x.chunkAt
		for _, p := range x.chunk {
			if p.hash == h {
				offs = append(offs, p.off)
			}
		}
	}
	indexed, err := t.l.index.find(x.segment, limit, h)
	if err != nil {
		return err
	}
	if offs = append(offs, indexed...); len(offs) == 0 {
		return nil
	}
	f, err := os.Open(x.log(t.l.dir))
	if err != nil {
		return err
	}
	defer f.Close()
	slices.Sort(offs)
	for _, off := range slices.Compact(offs) {
		line, err := readLine(f, off, x.size)
		if err != nil {
			return fmt.Errorf("tracking log %s: %w", x.log(t.l.dir), err)
		}
		var e Event
		if json.Unmarshal(line, &e) == nil && slices.Contains(e.names(), name) {
			t.found[place{x.segment, off}] = e
		}
	}
	return nil
}

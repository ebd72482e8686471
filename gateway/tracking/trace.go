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

// Timeline is what happened to a message, in order.
type Timeline struct {
	Key string `json:"key"`
	// IDs are the messages that the key led to: one for an identifier, perhaps several for a drop file, and the reports
	// about them.
	IDs    []string `json:"ids"`
	Events []Event  `json:"events"`
	// Truncated is set when there were more events or messages than a timeline holds; the newest were kept.
	Truncated bool `json:"truncated,omitempty"`
}

const (
	maxTimeline = 20_000 // events
	maxMessages = 1_000
)

// Trace finds all events of the messages that a key names: a message's id, its RFC 5322 Message-ID (with or without
// angle brackets), a queue entry's id, or the name of a drop file, in any letter case. Reports about the messages are
// part of their timeline. A key that nothing has gives a Timeline without events.
func (l *Log) Trace(ctx context.Context, key string) (Timeline, error) {
	t := tracer{l: l, es: nil, found: map[place]Event{}, asked: map[string]bool{}}
	t.es, _ = l.view()
	tl := Timeline{Key: key, IDs: []string{}, Events: []Event{}}
	words := []string{fold(key)}
	// Three rounds: the key to its messages, the messages to all their events and the reports, the reports to theirs.
	for range 3 {
		var next []string
		for _, w := range words {
			if t.asked[w] || w == "" {
				continue
			}
			if len(t.asked) > maxMessages {
				tl.Truncated = true
				break
			}
			t.asked[w] = true
			if err := ctx.Err(); err != nil {
				return tl, err
			}
			if err := t.look(w); err != nil {
				return tl, err
			}
		}
		for _, e := range t.found {
			next = append(next, fold(e.ID), fold(e.About))
		}
		slices.Sort(next)
		words = slices.Compact(next)
	}
	places := make([]place, 0, len(t.found))
	for p := range t.found {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(t.found[a].Time.Compare(t.found[b].Time), a.compare(b))
	})
	if len(places) > maxTimeline {
		places, tl.Truncated = places[len(places)-maxTimeline:], true
	}
	ids := map[string]bool{}
	for _, p := range places {
		e := t.found[p]
		tl.Events = append(tl.Events, e)
		if e.ID != "" && !ids[e.ID] {
			ids[e.ID] = true
			tl.IDs = append(tl.IDs, e.ID)
		}
	}
	return tl, nil
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
	f, err := os.Open(x.log(t.l.o.Dir))
	if err != nil {
		return err
	}
	defer f.Close()
	slices.Sort(offs)
	for _, off := range slices.Compact(offs) {
		line, err := readLine(f, off, x.size)
		if err != nil {
			return fmt.Errorf("tracking log %s: %w", x.log(t.l.o.Dir), err)
		}
		var e Event
		if json.Unmarshal(line, &e) == nil && slices.Contains(e.names(), name) {
			t.found[place{x.segment, off}] = e
		}
	}
	return nil
}

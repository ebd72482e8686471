package tracking

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

const (
	maxTimeline = 20_000 // events
	maxMessages = 1_000
)

// Trace finds all events of the messages that a key names, in order: a message's id, its RFC 5322 Message-ID (with or
// without angle brackets), a queue entry's id, or the name of a drop file, in any letter case. Reports about the messages
// are part of their timeline. ErrNotFound when nothing has the key. Of more than 20,000 events the newest are returned. With an
// archive these are the events of all gateways, each with its node; a Partly beside them says that they are only this one's.
func (l *Log) Trace(ctx context.Context, key string) ([]Event, error) {
	t := tracer{l: l, found: map[Mark]Event{}, asked: map[string]bool{}}
	t.es, _ = l.view()
	words := []string{fold(key)}
	// Three rounds: the key to its messages, the messages to all their events and the reports, the reports to theirs.
	for range 3 {
		words = slices.DeleteFunc(words, func(w string) bool { return w == "" || t.asked[w] })
		words = words[:min(len(words), max(0, maxMessages-len(t.asked)))]
		for _, w := range words {
			t.asked[w] = true
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := t.look(w); err != nil {
				return nil, err
			}
		}
		if err := t.lookInArchive(ctx, words); err != nil {
			return nil, err
		}
		words = words[:0]
		for _, e := range t.found {
			words = append(words, fold(e.ID), fold(e.About))
		}
		slices.Sort(words)
		words = slices.Compact(words)
	}
	if len(t.found) == 0 {
		if t.partly != nil {
			return nil, fmt.Errorf("%w: %s (%w)", ErrNotFound, key, t.partly)
		}
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	marks := slices.SortedFunc(maps.Keys(t.found), Mark.Compare)
	marks = marks[max(0, len(marks)-maxTimeline):]
	out := make([]Event, len(marks))
	for i, m := range marks {
		out[i] = t.found[m]
	}
	return out, t.partly
}

// tracer collects the events of one Trace. An event that is in the log and in the archive has the same mark in both.
type tracer struct {
	l      *Log
	es     []extent
	found  map[Mark]Event
	asked  map[string]bool
	partly error
}

// lookInArchive finds the events of all gateways that have one of the names. An archive that can't be asked makes the trace a part of
// the whole, not an error.
func (t *tracer) lookInArchive(ctx context.Context, names []string) error {
	if t.l.o.Archive == nil || t.partly != nil || len(names) == 0 {
		return nil
	}
	hashes := make([]int64, len(names))
	for i, n := range names {
		hashes[i] = int64(hash(n))
	}
	rs, err := t.l.o.Archive.Named(ctx, hashes, maxTimeline)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.partly = &Partly{t.l.o.Node, err}
		return nil
	}
	for i := range rs {
		e, ok := rs[i].event()
		if ok && slices.ContainsFunc(e.names(), func(n string) bool { return slices.Contains(names, n) }) {
			t.found[rs[i].Mark] = e
		}
	}
	return nil
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
			e.Node = t.l.o.Node
			t.found[t.l.mark(&e, place{x.segment, off})] = e
		}
	}
	return nil
}

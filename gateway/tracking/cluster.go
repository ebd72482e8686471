package tracking

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"slices"
)

// searchAll is Search over the archive and what of this gateway's log is not in it yet. What other gateways have written in the last
// second or so, or since they were cut off from the archive, is not there yet.
func (l *Log) searchAll(ctx context.Context, f Filter, after Cursor, n int) ([]Event, Cursor, error) {
	from, ok := after.mark()
	if after != "" && !ok {
		es, next, err := l.searchOwn(ctx, f, after, n)
		if err == nil {
			err = &Partly{l.o.Node, errors.New("the listing was begun when the archive could not be asked")}
		}
		return es, next, err
	}
	es, next, err := l.merged(ctx, f, from, n)
	if err == nil || ctx.Err() != nil || after != "" {
		return es, next, err
	}
	away := err
	if es, next, err = l.searchOwn(ctx, f, "", n); err == nil {
		err = &Partly{l.o.Node, away}
	}
	return es, next, err
}

// merged is the first n events behind a mark that f selects, of the archive and of the log's end that is not in it.
func (l *Log) merged(ctx context.Context, f Filter, from Mark, n int) ([]Event, Cursor, error) {
	stored, err := l.o.Archive.Position(ctx, l.o.Node) // first: what is shipped from now on is found twice, not missed
	if err != nil {
		return nil, "", err
	}
	there, err := l.inArchive(ctx, f, from, n+1)
	if err != nil {
		return nil, "", err
	}
	here, err := l.notInArchive(ctx, f, stored, from, n+1)
	if err != nil {
		return nil, "", err
	}
	both := append(there, here...)
	slices.SortFunc(both, func(a, b found) int { return a.Mark.Compare(b.Mark) })
	both = slices.CompactFunc(both, func(a, b found) bool { return a.Mark == b.Mark })
	next := Cursor("")
	if len(both) > n {
		both = both[:n]
		next = both[n-1].cursor()
	}
	es := make([]Event, len(both))
	for i := range both {
		es[i] = both[i].e
	}
	return es, next, nil
}

type found struct {
	Mark
	e Event
}

// inArchive is the first n events behind a mark in the archive that f selects.
func (l *Log) inArchive(ctx context.Context, f Filter, from Mark, n int) (out []found, err error) {
	m := f.matcher()
	if f.ID != "" { // the archive has an index of those
		rs, err := l.o.Archive.Named(ctx, []int64{int64(hash(fold(f.ID)))}, maxTimeline)
		for i := range rs {
			if e, ok := rs[i].event(); ok && m.match(&e) && (from == (Mark{}) || rs[i].Mark.Compare(from) > 0) {
				out = append(out, found{rs[i].Mark, e})
			}
		}
		return out, err
	}
	q := Query{From: f.From, To: f.To}
	for _, lit := range m.literals {
		q.All = append(q.All, string(lit))
	}
	for _, t := range f.Types {
		q.Any = append(q.Any, `"type":"`+string(t)+`"`)
	}
	if from == (Mark{}) {
		from.Time = math.MinInt64
	}
	for {
		rs, end, err := l.o.Archive.Page(ctx, q, from)
		if err != nil {
			return nil, err
		}
		for i := range rs {
			e, ok := rs[i].event()
			if !ok || !m.match(&e) {
				continue
			}
			if out = append(out, found{rs[i].Mark, e}); len(out) == n {
				return out, nil
			}
		}
		if end == (Mark{}) {
			return out, nil
		}
		from = end
	}
}

// notInArchive is the first n events behind a mark that f selects, of the log behind what the archive has of it. An outage may
// have left much there: no more than a few times n are held.
func (l *Log) notInArchive(ctx context.Context, f Filter, stored Cursor, from Mark, n int) (out []found, err error) {
	at, _ := l.resume(stored)
	first := func() {
		slices.SortFunc(out, func(a, b found) int { return a.Mark.Compare(b.Mark) })
		out = out[:min(len(out), n)]
	}
	m := f.matcher()
	es, _ := l.view()
	err = l.lines(es, at, m.maybe, func(e Event, begin, _ place) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		mark := l.mark(&e, begin)
		if !m.match(&e) || from != (Mark{}) && mark.Compare(from) <= 0 {
			return nil
		}
		e.Node = l.o.Node
		if out = append(out, found{mark, e}); len(out) >= 4*n+1000 {
			first()
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	first()
	return out, err
}

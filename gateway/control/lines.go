package control

import (
	"context"
	"net/http"
	"strconv"

	"golang.org/x/sync/errgroup"

	"backbone/queue"
)

// linesPage is how many entries are read from the store, and encoded, at a time; a few times as many are in memory.
const linesPage = 250

// lines writes the entries that a filter selects, one JSON object a line or (format=rows) a QueueRow, without pages: the form for many of them. A list
// that can't be finished breaks off, which the client notices; before the first entry the error is answered as usual.
func (s *Service) lines(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f, err := filterFrom(q)
	if err != nil {
		answer(w, nil, bad(err))
		return
	}
	encode, kind := encodeLines, "application/jsonl"
	if q.Get("format") == "rows" {
		encode, kind = encodeRows, "text/tab-separated-values"
	}
	left := -1
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 {
		left = n
	}
	size := func() int {
		if left >= 0 {
			return min(left, linesPage)
		}
		return linesPage
	}
	items, next, err := s.Store.List(r.Context(), f, queue.Cursor(q.Get("after")), size())
	if err != nil {
		answer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", kind)
	encoded := make(chan chan []byte, 2) // in the order of the list
	g, ctx := errgroup.WithContext(r.Context())
	g.Go(func() error {
		defer close(encoded)
		for len(items) > 0 {
			if left >= 0 {
				left -= len(items)
			}
			page, out := items, make(chan []byte, 1)
			g.Go(func() error {
				defer close(out)
				b, err := encode(page)
				if err == nil {
					out <- b
				}
				return err
			})
			select {
			case encoded <- out:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if next == "" || left == 0 {
				return nil
			}
			var err error
			if items, next, err = s.Store.List(ctx, f, next, size()); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		for out := range encoded {
			b, ok := <-out
			if !ok {
				return nil // its encoder has the error
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		if r.Context().Err() != nil {
			return // the client went away
		}
		s.Log.Warn("a list of the queue broke off", "err", err)
		panic(http.ErrAbortHandler)
	}
}

func encodeLines(items []queue.Item) ([]byte, error) {
	var out []byte
	for i := range items {
		b, err := MarshalJSON(&items[i])
		if err != nil {
			return nil, err
		}
		out = append(append(out, b...), '\n')
	}
	return out, nil
}

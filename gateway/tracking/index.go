package tracking

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
)

// The index file beside each log file tells where events with a name are. It is a sequence of runs, each covering a
// range of the log: a 32 octet header, then (hash of a name, offset of the line) pairs in order. A run's pairs are
// synced before its header is written, so a header that is there can be believed. Whatever is missing, because the
// process was killed or somebody removed the file, is made again from the log when somebody asks. Layout is ours.

// posting says that a line has a name.
type posting struct {
	hash uint64
	off  int64
}

// chunkPostings is how many postings the writer collects in memory before it writes a run: half a megabyte.
const chunkPostings = 32 << 10

const (
	runMagic   = 0x42425449
	headerSize = 32
	pairSize   = 16
)

// run is one run of an index file.
type run struct {
	from, to int64 // of the log
	at       int64 // of its pairs in the index file
	n        int
}

// indexes are the index files of a folder.
type indexes struct {
	dir  string
	fill sync.Mutex // one filler at a time
	mu   sync.Mutex // guards loaded and the writing of runs; held for moments only
	runs map[segment]*loaded
}

type loaded struct {
	runs []run
	end  int64 // where the next run goes
}

// hash is FNV-1a, which is the same in each process.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h ^= uint64(s[i])
		h *= 1099511628211
	}
	return h
}

// forget drops what is known of segments that are gone.
func (ix *indexes) forget(keep []segment) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for s := range ix.runs {
		if !slices.Contains(keep, s) {
			delete(ix.runs, s)
		}
	}
}

// find returns the offsets of lines before limit that may have the name: the caller checks. It first indexes what is
// not indexed yet.
func (ix *indexes) find(s segment, limit int64, h uint64) ([]int64, error) {
	runs, err := ix.complete(s, limit)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.index(ix.dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // an empty log has no index
	}
	if err != nil {
		return nil, fmt.Errorf("tracking index: %w", err)
	}
	defer f.Close()
	var out []int64
	for _, r := range runs {
		if out, err = r.find(f, h, out); err != nil {
			return nil, fmt.Errorf("tracking index %s: %w", s.index(ix.dir), err)
		}
	}
	return out, nil
}

// complete makes sure that runs cover the log up to limit, and returns them.
func (ix *indexes) complete(s segment, limit int64) ([]run, error) {
	runs, gaps, err := ix.gaps(s, limit)
	if err != nil || len(gaps) == 0 {
		return runs, err
	}
	ix.fill.Lock()
	defer ix.fill.Unlock()
	if runs, gaps, err = ix.gaps(s, limit); err != nil {
		return nil, err
	}
	for _, g := range gaps {
		if err := ix.scan(s, g.from, g.to); err != nil {
			return nil, err
		}
	}
	if len(gaps) > 0 {
		runs, _, err = ix.gaps(s, limit)
	}
	return runs, err
}

func (ix *indexes) gaps(s segment, limit int64) (runs, gaps []run, err error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	l, err := ix.load(s, limit)
	if err != nil {
		return nil, nil, err
	}
	runs = slices.Clone(l.runs)
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.from, b.from) })
	var at int64
	for _, r := range runs {
		if r.from > at {
			gaps = append(gaps, run{from: at, to: r.from})
		}
		at = max(at, r.to)
	}
	if at < limit {
		gaps = append(gaps, run{from: at, to: limit})
	}
	return runs, gaps, nil
}

// scan indexes a range of the log, run by run.
func (ix *indexes) scan(s segment, from, to int64) error {
	var posts []posting
	start, end := from, from
	flush := func() error {
		err := ix.add(s, start, end, posts)
		posts, start = posts[:0], end
		return err
	}
	err := scan(s.log(ix.dir), from, to, func(off int64, line []byte) error {
		end = off + int64(len(line)) + 1
		var e struct {
			ID        string `json:"id"`
			MessageID string `json:"message_id"`
			Item      string `json:"item"`
			About     string `json:"about"`
			Source    string `json:"source"`
		}
		if json.Unmarshal(line, &e) != nil {
			return nil // a torn or foreign line has no names
		}
		ev := Event{ID: e.ID, MessageID: e.MessageID, Item: e.Item, About: e.About, Source: e.Source}
		for _, n := range ev.names() {
			posts = append(posts, posting{hash(n), off})
		}
		if len(posts) >= chunkPostings {
			return flush()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tracking log: %w", err)
	}
	end = to // what a last unreadable stretch holds has no names either
	return flush()
}

package boltqueue

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"backbone/queue"
)

// TestGrowth puts many messages through, each with a dedup key that is remembered for weeks, and bounds what the folder
// takes when the queue is empty: 100 MB, however many there were. GROWTH=n puts n through (a million: docs/crash.md);
// a plain run takes few, and also bounds what one of them may leave.
func TestGrowth(t *testing.T) {
	n, limit := 20_000, int64(100<<20)
	if v := os.Getenv("GROWTH"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 1 {
			t.Fatalf("GROWTH=%q is no number", v)
		}
	}
	o := Options{dir: fastDir(t)}
	s := openBench(t, o)
	body := bytes.Repeat([]byte("0123456789abcdef"), 128)
	const round = 5000
	for done := 0; done < n; done += round {
		var wg sync.WaitGroup
		for w := range 50 {
			wg.Go(func() {
				for i := w; i < min(round, n-done); i += 50 {
					g, err := s.Stage(context.Background(), bytes.NewReader(body), 0)
					if err == nil {
						_, _, err = s.Put(context.Background(), queue.New{Body: g, Items: []queue.Item{message1(site)}, Dedup: fmt.Sprintf("SITEB SITEB-%020d", done+i)})
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		drain(t, s, min(round, n-done), 20)
	}
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var total int64
	if err := filepath.WalkDir(o.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		total += st.Size()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(o.dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages of %d octets went through: the folder has %d KB, the index %d KB of them", n, len(body), total>>10, st.Size()>>10)
	if total > limit {
		t.Errorf("the folder of an empty queue has %d octets, at most %d are allowed", total, limit)
	}
	if most := 20<<20 + 50*int64(n); st.Size() > most { // bbolt takes space by 16 MB; with two segments this is 100 MB at a million
		t.Errorf("the index has %d octets, at most %d are allowed after %d messages", st.Size(), most, n)
	}
}
